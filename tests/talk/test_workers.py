"""A process with models answers as they do, keeps its time in a heat, and its end is told in one sentence."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export
from fflib.files import InputError
from fflib.measure import cores
from fflib.model import checkpoints, training
from fflib.talk import workers
from fflib.talk.models import Model
from fflib.talk.workers import Worker

REQUESTS = examples_of([9, 5, 12, 7, 20, 6, 11, 8, 5, 10])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A classifier as a folder of weights and as a graph, and its labels."""
    folder = tmp_path_factory.mktemp("model")
    model = tiny_classifier(seed=3)
    checkpoints.save(model, folder / "weights")
    export.save_onnx(model, folder / "model.onnx")
    return folder, training.predict(model, REQUESTS).argmax(axis=-1)


@pytest.fixture(scope="module")
def worker(made):
    folder, _ = made
    graph = {"graph": str(folder / "model.onnx"), "threads": 1}
    models = [
        Model("weights", "", folder=str(folder / "weights")),
        Model("weights, padded", "", folder=str(folder / "weights"), pad_to=32),
        Model("graph", "", **graph),
        Model("graph, in batches", "", kind="thread", batches=("token budget", 40), **graph),
        Model("graph, in a process", "", kind="process", **graph),
    ]
    worker = Worker(models, REQUESTS)
    worker.wait_until_loaded()
    yield worker
    worker.close()


def cpus():
    return cores.physical_cores()[:1]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_it_answers_as_the_model_does(worker, made, index):
    for i, label in enumerate(made[1]):
        found, ms = worker.ask(index, REQUESTS.input_ids[i], REQUESTS.token_type_ids[i], cpus())
        assert found == label and 0 < ms < 10_000


@pytest.mark.parametrize("index", [0, 3, 4])
def test_a_heat_answers_all_requests_again_and_again_and_keeps_its_time(worker, made, index):
    rows = []
    with worker.heat(0.5, cpus(), index) as heat:
        while not heat.is_over:
            rows += heat.rows(1.0)
    assert len(rows) > len(REQUESTS) and max(row[0] for row in rows) <= 500
    counts = np.bincount([row[1] % len(REQUESTS) for row in rows], minlength=len(REQUESTS))
    assert (counts > 0).all(), "a request was never asked"
    assert len({row[1] for row in rows}) == len(rows), "a request was answered twice"
    assert all(row[2] == made[1][row[1] % len(REQUESTS)] for row in rows)


def test_instances_are_there_for_the_next_heat(worker):
    """A process takes seconds to start: a lane that did so in its heat would be taken for silent."""
    for _ in range(2):  # the first may start them
        begun = time.perf_counter()
        with worker.heat(30.0, cpus(), 4) as heat:
            assert heat.rows(60.0)
            taken = time.perf_counter() - begun
    assert taken < 2.0


def test_the_requests_of_a_lane_without_batches_are_asked_in_their_order(worker):
    with worker.heat(0.2, cpus(), 0) as heat:
        rows = []
        while not heat.is_over:
            rows += heat.rows(1.0)
    assert [row[1] for row in rows] == list(range(len(rows)))


def test_a_heat_that_is_left_ends_and_the_worker_goes_on(worker, monkeypatch):
    monkeypatch.setattr(workers, "BUSY_S", 0.1)
    with worker.heat(60.0, cpus(), 2) as heat:
        assert heat.rows(10.0)
        with pytest.raises(InputError, match="busy"):
            worker.ask(0, REQUESTS.input_ids[0], REQUESTS.token_type_ids[0], cpus())
    assert worker.ask(2, REQUESTS.input_ids[0], REQUESTS.token_type_ids[0], cpus())[0] in (0, 1)


def test_who_asks_waits_for_the_answer_before(worker, made):
    with ThreadPoolExecutor(4) as pool:
        asked = [(worker.ask, 0, REQUESTS.input_ids[i], REQUESTS.token_type_ids[i], cpus()) for i in range(8)]
        found = [future.result()[0] for future in [pool.submit(*each) for each in asked]]
    assert found == made[1][:8].tolist()


def test_what_the_model_refuses_is_a_sentence_and_the_worker_lives(worker):
    with pytest.raises(InputError, match="gave no answer"):
        worker.ask(2, np.array([10**6]), np.array([0]), cpus())
    assert worker.ask(2, REQUESTS.input_ids[0], REQUESTS.token_type_ids[0], cpus())[0] in (0, 1)


def test_a_process_that_dies_in_a_heat_is_told(made):
    dying = Worker([Model("graph", "", graph=str(made[0] / "model.onnx"), threads=1)], REQUESTS)
    try:
        dying.wait_until_loaded()
        with (
            pytest.raises(InputError, match="process of graph is gone; start the talk again"),
            dying.heat(60.0, cpus()) as heat,
        ):
            assert heat.rows(10.0)
            os.kill(dying.pid, signal.SIGKILL)
            while True:
                heat.rows(5.0)
    finally:
        dying.close()


def test_a_model_that_is_not_there(tmp_path):
    missing = Model("graph", "", graph=str(tmp_path / "model.onnx"))
    with pytest.raises(InputError, match=r"model\.onnx is missing, with which 'graph' answers|missing"):
        missing.check_files()
    worker = Worker([missing])
    try:
        with pytest.raises(InputError, match=r"cannot load graph: .*model\.onnx"):
            worker.wait_until_loaded()
    finally:
        worker.close()


def test_its_batches_are_those_of_its_plan():
    """The budget of the third lane holds several short requests, so that batches are more than one request each."""
    sizes = [len(group) for group in batching.token_budget(REQUESTS.lengths, 40)]
    assert max(sizes) > 1
