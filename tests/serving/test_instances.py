"""Instances: the same logits from each kind, on cores of their own; processes that are killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, sessions
from fflib.engine import predictors as runtime
from fflib.files import ROOT, InputError
from fflib.measure import cores
from fflib.serving import instances

EXAMPLES = examples_of([5, 9, 12, 7, 3, 11])
BATCHES = [batching.collate(EXAMPLES, [i % 6, (i * i + 1) % 6]).inputs for i in range(12)]
needs_pinning = pytest.mark.skipif(not cores.can_pin(), reason="this system pins no threads")
DIVIDE = cores.divide
SCRIPT = """
import os, signal, sys
from fflib.measure import cores
from fflib.serving import instances
cores.divide = lambda instances, threads_each, hyper_threads: [cores.physical_cores()[:1]] * instances
with instances.start(sys.argv[1], 2, 1) as pair:
    if sys.argv[2] == "SIGINT":
        os.kill(pair[0].pid, signal.SIGSTOP)
    print(pair[0].pid, pair[1].pid, flush=True)
    pair[0]({}) if sys.argv[2] == "SIGINT" else signal.pause()
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return export.save_onnx(tiny_classifier(num_labels=3), tmp_path_factory.mktemp("served") / "model.onnx")


@pytest.fixture(scope="module")
def expected(graph):
    """The logits of each of `BATCHES`, from a plain session."""
    predict = sessions.onnx_predictor(sessions.onnx_session(graph, 1))
    answers = [predict(inputs) for inputs in BATCHES]
    assert len({answer.tobytes() for answer in answers}) > 5  # so that a mixed-up order shows
    return answers


@pytest.fixture(scope="module", autouse=True)
def _two_cores():
    """Where there is one core only, two instances share it."""
    with pytest.MonkeyPatch.context() as patch:
        if len(cores.physical_cores()) < 2:
            patch.setattr(
                cores, "divide", lambda instances, threads_each, hyper_threads: [cores.physical_cores()] * instances
            )
        yield


@pytest.fixture(scope="module")
def pair(graph):
    """Two processes that many tests share; some tests kill them."""
    with instances.start(graph, 2, 1) as pair:
        yield pair


@pytest.fixture(autouse=True)
def _nothing_left_behind(pair):
    yield
    assert processes() == {instance.pid for instance in pair if instance.pid}


def processes() -> set[int]:
    """The instances' processes of this process that are there, dead ones included that nobody has waited for."""
    children = psutil.Process().children()
    return {child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE or is_instance(child)}


def is_instance(process: psutil.Process) -> bool:
    return "fflib.serving.instance_process" in process.cmdline()


def same(answers, expected) -> None:
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, wanted)


def until(condition, seconds: float = 30.0) -> bool:
    stop = time.monotonic() + seconds
    while not condition() and time.monotonic() < stop:
        time.sleep(0.01)
    return condition()


def test_processes_answer_in_order(pair, expected):
    answers, wall, seconds = runtime.in_parallel(pair, BATCHES * 5)
    same(answers, expected * 5)
    assert 0 < max(seconds) <= wall


def test_threads_answer_in_order(graph, pair, expected):
    with instances.start(graph, 2, 1, kind="thread") as predictors:
        same(runtime.in_parallel(predictors, BATCHES * 5)[0], expected * 5)
        assert len(processes()) == 2  # none but those of the pair


def test_one_process_shared_by_threads(pair, expected):
    """Each gets the answer to its own request."""
    same(runtime.in_parallel([pair[0]] * 4, BATCHES * 20)[0], expected * 20)


@needs_pinning
def test_processes_are_pinned_to_cores_of_their_own(pair):
    masks = []
    for instance in pair:
        threads = psutil.Process(instance.pid).threads()
        (mask,) = {tuple(sorted(os.sched_getaffinity(thread.id))) for thread in threads}  # NumPy's as well
        assert mask == instance.cpus == tuple(psutil.Process(instance.pid).cpu_affinity())
        masks.append(set(mask))
    assert len(masks[0]) == len(masks[1]) == 1
    assert not masks[0] & masks[1] or len(cores.physical_cores()) < 2


@needs_pinning
def test_threads_are_pinned_while_they_work(graph, monkeypatch):
    """Those of ONNX Runtime for good, the calling one for the time of a call."""
    before, cpu = os.sched_getaffinity(0), cores.physical_cores()[-1]
    monkeypatch.setattr(cores, "divide", lambda instances, threads_each, hyper_threads: [(cpu,)] * instances)
    monkeypatch.setattr(cores, "resolve_threads", lambda threads: 3)  # one is the calling thread
    monkeypatch.setattr(sessions, "onnx_predictor", lambda session: lambda inputs: (session, os.sched_getaffinity(0)))
    there = set(os.listdir("/proc/self/task"))
    with instances.start(graph, 1, 1, kind="thread") as (predict,):
        _session, mask = predict({})
        started = set(os.listdir("/proc/self/task")) - there
        assert len(started) == 2
        assert all(os.sched_getaffinity(int(thread)) == {cpu} for thread in started)
    assert mask == {cpu}
    assert os.sched_getaffinity(0) == before


def test_a_process_is_light(pair):
    process = psutil.Process(pair[1].pid)
    if psutil.LINUX:
        loaded = " ".join(region.path for region in process.memory_maps())
        assert "onnxruntime" in loaded and "libtorch" not in loaded and "onnx_cpp2py" not in loaded
    spent = process.cpu_times()
    assert spent.user + spent.system < 2.5  # s; importing PyTorch alone takes as much


def test_the_light_modules_import_no_pytorch():
    code = "import sys, fflib.serving.instance_process, fflib.serving.instances; "
    code += "print({'torch', 'onnx', 'transformers'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_killed_between_requests(pair, expected):
    instance = pair[0]
    before, pid = instance.restarts, instance.pid
    os.kill(pid, signal.SIGKILL)
    same([instance(inputs) for inputs in BATCHES], expected)
    assert instance.restarts == before + 1
    assert instance.pid != pid and not psutil.pid_exists(pid)


def test_killed_during_a_request(pair, expected):
    instance = pair[1]
    before, answers = instance.restarts, []
    os.kill(instance.pid, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: answers.append(instance(BATCHES[3])))
    asking.start()
    time.sleep(0.1)
    assert not answers
    os.kill(instance.pid, signal.SIGKILL)
    asking.join(30)
    same(answers, expected[3:4])
    assert instance.restarts == before + 1


def test_killed_again_and_again_in_a_stream(pair, expected):
    """Every request is answered, rightly and once, however often an instance is lost meanwhile."""
    before = sum(instance.restarts for instance in pair)
    answered: list[int] = []  # by which process
    killed: list[int] = []
    done = threading.Event()

    def counting(instance):
        def predict(inputs):
            answer = instance(inputs)
            answered.append(instance.pid)
            return answer

        return predict

    def kill():
        while len(killed) < 4 and not done.wait(0.005):
            pid = pair[len(killed) % 2].pid
            if pid in answered and pid not in killed:  # so no request loses its second process
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    served = 0
    try:
        while served < 2000 or len(killed) < 4:
            batches = BATCHES * 25
            same(runtime.in_parallel([counting(instance) for instance in pair], batches)[0], expected * 25)
            served += len(batches)
    finally:
        done.set()
        killer.join()
    same([instance(BATCHES[0]) for instance in pair], [expected[0]] * 2)  # who was idle when killed notices now
    assert len(answered) == served
    assert sum(instance.restarts for instance in pair) - before == len(killed) == len(set(killed)) == 4


def test_no_answer_in_time(graph, expected):
    """A process that hangs is replaced, also where the request is too large for the socket to hold."""
    large = BATCHES[2] | {"of_no_use": np.zeros(10**6)}
    with instances.ProcessInstance(graph, cores.physical_cores()[:1], timeout_s=1.5) as instance:
        instance.wait_until_ready()
        for count, (inputs, wanted) in enumerate([(BATCHES[1], expected[1]), (large, expected[2])]):
            os.kill(instance.pid, signal.SIGSTOP)
            start = time.monotonic()
            same([instance(inputs)], [wanted])
            assert time.monotonic() - start > 1.4
            assert instance.restarts == count + 1


@pytest.mark.parametrize(
    ("harm", "timeout_s", "said"),
    [
        (signal.SIGKILL, 60.0, "the process of an instance died of SIGKILL; "),
        (signal.SIGSTOP, 0.3, "answer in 0.3 s; "),
    ],
)
def test_a_request_that_harms_every_process(pair, graph, expected, monkeypatch, harm, timeout_s, said):
    with instances.ProcessInstance(graph, cores.physical_cores()[:1], timeout_s) as instance:
        healthy = instance.wait_until_ready

        def harmed():
            healthy()
            os.kill(instance.pid, harm)

        harmed()
        with monkeypatch.context() as patch:
            patch.setattr(instance, "wait_until_ready", harmed)
            with pytest.raises(instances.InstanceDied, match=said):
                instance(BATCHES[0])
        assert (instance.pid, instance.restarts) == (None, 1)
        instance.timeout_s = 60.0
        same([instance(BATCHES[0]), pair[0](BATCHES[1])], expected[:2])
        assert instance.restarts == 2


def test_the_graph_is_lost(graph, tmp_path, expected):
    """No new process can start: the requests of this instance fail, the other one goes on, and all heals later."""
    content, path = graph.read_bytes(), tmp_path / "model.onnx"
    path.write_bytes(content)
    with instances.start(path, 2, 1) as (lost, sound):
        path.write_bytes(b"garbage")
        os.kill(lost.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(instances.InstanceDied, match="cannot start again: .*model.onnx is missing") as error:
                lost(BATCHES[0])
            assert "\n" not in str(error.value)
            same([sound(inputs) for inputs in BATCHES], expected)
        assert (lost.restarts, lost.pid, sound.restarts) == (0, None, 0)
        path.write_bytes(content)
        same([lost(inputs) for inputs in BATCHES], expected)
        assert lost.restarts == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attention_mask": None}, "attention_mask"),
        ({"attention_mask": np.ones((2, 3), np.int64)}, "broadcast|dimension"),
        ({"input_ids": np.zeros((2, 9), np.float32)}, "INVALID_ARGUMENT"),
        ({"input_ids": np.full((2, 9), 999)}, "bounds"),
    ],
)
def test_bad_input_kills_nothing(pair, expected, change, reason):
    instance = pair[0]
    before = instance.pid, instance.restarts
    inputs = {name: array for name, array in (BATCHES[0] | change).items() if array is not None}
    with pytest.raises(InputError, match=reason) as error:
        instance(inputs)
    assert "\n" not in str(error.value)
    with pytest.raises(Exception, match="pickle|local"):
        instance({"input_ids": lambda: None})
    same([instance(BATCHES[1])], expected[1:2])
    assert (instance.pid, instance.restarts) == before


def test_a_process_does_not_heed_ctrl_c(pair, expected):
    instance = pair[0]
    before = instance.pid, instance.restarts
    os.kill(instance.pid, signal.SIGINT)
    same([instance(inputs) for inputs in BATCHES], expected)
    assert (instance.pid, instance.restarts) == before


def test_an_interrupted_request_leaves_no_answer_for_the_next(pair, expected):
    instance = pair[1]

    def interrupt(*_):
        os.kill(pid, signal.SIGCONT)  # from now on, the answer is on its way
        raise KeyboardInterrupt

    pid = instance.pid
    os.kill(pid, signal.SIGSTOP)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            instance(BATCHES[0])
    finally:
        signal.signal(signal.SIGALRM, handler)
    same([instance(inputs) for inputs in BATCHES[1:]], expected[1:])


@pytest.mark.parametrize("kind", instances.KINDS)
@pytest.mark.parametrize("content", [None, b"this is no graph"])
def test_no_instance_without_a_graph(tmp_path, kind, content):
    path = tmp_path / "model.onnx"
    if content:
        path.write_bytes(content)
    with (
        pytest.raises(InputError, match="model.onnx is missing or is no readable ONNX model") as error,
        instances.start(path, 1, 1, kind),
    ):
        pass
    assert "\n" not in str(error.value)


def test_what_cannot_be_started_is_refused(graph, monkeypatch):
    def refused(match, *arguments, **options):
        with pytest.raises(InputError, match=match), instances.start(graph, *arguments, **options):
            pass

    refused("no kind of instance 'fibre'; there are process, thread", 1, 1, kind="fibre")
    for timeout_s in (0, -1, float("nan"), float("inf")):
        refused("timeout_s is", 1, 1, timeout_s=timeout_s)
    monkeypatch.setattr(cores, "divide", DIVIDE)
    monkeypatch.setattr(cores, "physical_cores", lambda: (0, 1))
    refused("3 x 1 threads need 3 cores", 3, 1)
    refused("1 x 3 threads need 3 cores", 1, 3, kind="thread")
    refused("at least 1 of each", 0, 1)
    refused("at least 1 of each", 1, 0, kind="thread")


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_all_processes_end_with_the_block(graph, error):
    with pytest.raises(error), instances.start(graph, 2, 1) as made:
        pids = {instance.pid for instance in made}
        os.kill(made[0].pid, signal.SIGSTOP)
        assert pids < processes()
        raise error
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(InputError, match="has ended; call it inside the block"):
        made[1](BATCHES[0])


def test_the_block_is_left_while_a_request_waits(graph):
    """The waiting thread is told so, and starts no process anew."""
    errors = []

    def ask():
        try:
            instance(BATCHES[0])
        except InputError as error:
            errors.append(str(error))

    with instances.start(graph, 1, 1) as (instance,):
        os.kill(instance.pid, signal.SIGSTOP)
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.2)
    asking.join(30)
    assert len(errors) == 1 and "has ended" in errors[0]


@pytest.mark.parametrize("end", ["SIGINT", "SIGKILL"])
def test_no_process_outlives_its_parent(graph, end):
    """Ctrl-C at a terminal reaches the whole group, here while a stopped process is asked; kill -9 one process only."""
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, graph, end],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        pids = [int(word) for word in script.stdout.readline().split()]
        assert len(pids) == 2 and all(psutil.pid_exists(pid) for pid in pids)
        time.sleep(0.1)
        if end == "SIGINT":
            os.killpg(script.pid, signal.SIGINT)
        else:
            script.kill()
        errors = script.communicate(timeout=30)[1]
        assert until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    finally:
        script.kill()
        script.wait()
    assert errors.count("Traceback") == (end == "SIGINT")  # its own: the processes say nothing
    assert errors.strip().endswith("KeyboardInterrupt") or end == "SIGKILL"
