"""Load tests on a real server: the same requests for every policy, answers compared, an instance that dies."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, predictors, sessions
from fflib.measure import cores
from fflib.measure.timing import Variant
from fflib.serving import instances, loadgen, scheduling
from fflib.serving.load_test import LoadTest
from fflib.serving.server import Server

EXAMPLES = examples_of((5, 9, 3, 12, 7, 30))
MODEL = tiny_classifier()
PREDICT = predictors.torch_predictor(MODEL)
ONE_EACH = batching.in_order(EXAMPLES.lengths, 1)
LABELS = Variant("right", PREDICT, ONE_EACH).logits(EXAMPLES).argmax(1)
ORDER = np.random.default_rng(1).integers(0, len(EXAMPLES), 30)


def load_test(predict=PREDICT, at_least=1.0, queue_limit=50):
    return LoadTest([predict], EXAMPLES, ORDER, LABELS, lambda n: at_least, queue_limit, seed=3)


def test_each_scenario_asks_the_same_requests_and_keeps_the_log():
    test = load_test()
    flood, stream = test.offline(scheduling.adaptive(64)), test.single_stream(scheduling.one_by_one)
    assert flood.answered == len(ORDER) and stream.answered == len(ORDER) // 3
    assert sum(len(batch.queued_s) for batch in flood.log) == len(ORDER)
    assert 0 < sum(batch.done_s - batch.taken_s for batch in flood.log) <= flood.span_s * 1.1
    first, second = (test.poisson(scheduling.one_by_one, 2000.0) for _ in range(2))
    assert first.answered == second.answered == len(ORDER)
    assert first.offered_per_s == pytest.approx(second.offered_per_s), "the same arrivals in each test"
    other = test.anew(40, seed=4).poisson(scheduling.one_by_one, 2000.0)
    assert other.answered == 40 and len(other.order) == 40 and other.order[:30].tolist() != ORDER.tolist()
    assert other.offered_per_s != pytest.approx(first.offered_per_s), "other requests at other times"


def test_loads_are_offered_in_turn_each_with_its_own_requests(monkeypatch):
    asked = []
    poisson = loadgen.poisson

    def noting(server, examples, order, rate_per_s, rng):
        asked.append((rate_per_s, len(order)))
        return poisson(server, examples, order, rate_per_s, rng)

    monkeypatch.setattr(loadgen, "poisson", noting)
    loads = {"thin": (scheduling.one_by_one, 500.0), "dense": (scheduling.adaptive(64), 4000.0)}
    found = load_test(queue_limit=500).in_turn(loads, count=120, seconds=0.16, rounds=2)
    assert asked == [(500.0, 40), (4000.0, 60)] * 2, "as many as are due in 0.16 s, and 120 at most"
    assert [len(load.order) for load in found.values()] == [80, 120] and found["dense"].answered == 120
    thin, dense = found["thin"], found["dense"]
    drawn = [
        load.order[start : start + 40].tolist() for load, start in ((thin, 0), (thin, 40), (dense, 0), (dense, 60))
    ]
    assert all(one != other for i, one in enumerate(drawn) for other in drawn[:i])
    assert found["thin"].offered_per_s == pytest.approx(500, rel=0.5)


def test_the_collector_does_not_look_at_what_was_there_before():
    frozen = []

    def predict(inputs):
        frozen.append(gc.get_freeze_count())
        return PREDICT(inputs)

    assert load_test(predict).offline(scheduling.one_by_one).answered == len(ORDER)
    assert min(frozen) > 1000 and gc.get_freeze_count() > 1000, "or the next load begins with the same search"


def test_the_queue_of_one_test_may_be_longer():
    def slow(inputs):
        time.sleep(0.005)
        return PREDICT(inputs)

    test = load_test(slow, queue_limit=1)
    assert test.poisson(scheduling.one_by_one, 5000.0).refused.any()
    assert not test.poisson(scheduling.one_by_one, 5000.0, queue_limit=len(ORDER)).refused.any()


def test_wrong_answers_are_told():
    with pytest.raises(AssertionError, match=r"only 0.0% of the server's answers are the model's"):
        load_test(lambda inputs: -PREDICT(inputs)).offline(scheduling.one_by_one)
    assert load_test(lambda inputs: -PREDICT(inputs), at_least=0.0).offline(scheduling.one_by_one).answered


def test_a_process_that_dies_under_load_costs_no_request(tmp_path, monkeypatch):
    """It is started anew and asked once more: every request has exactly one answer, and the right one."""
    if len(cores.physical_cores()) < 2:
        monkeypatch.setattr(cores, "divide", lambda count, *_: [cores.physical_cores()[:1]] * count)
    graph = export.save_onnx(MODEL, tmp_path / "model.onnx")
    alone = sessions.onnx_predictor(sessions.onnx_session(graph, 1))
    right = Variant("right", alone, ONE_EACH).logits(EXAMPLES)
    order = np.random.default_rng(0).integers(0, len(EXAMPLES), 2000)
    with instances.start(graph, 2, 1, "process") as pair:
        victim = pair[0].pid
        with Server(pair, scheduling.one_by_one, queue_limit=16) as server:

            def kill():
                while server.answered < len(order) // 2:
                    time.sleep(1e-3)
                os.kill(victim, signal.SIGKILL)

            killer = threading.Thread(target=kill, daemon=True)
            killer.start()
            load = loadgen.offline(server, EXAMPLES, order)  # asserts that none is lost and none answered twice
            killer.join(10)
        restarts = [process.restarts for process in pair]
        assert restarts == [1, 0] and pair[0].pid != victim
    assert load.answered == len(order) and not load.failed.any() and not load.refused.any()
    np.testing.assert_array_equal(load.answers, right[order])


def test_how_many_answers_have_to_be_right_goes_by_how_many_were_answered():
    """A load of a few dozen parts is not judged by what chance does to thousands."""
    asked = []

    def enough(n: int) -> float:
        asked.append(n)
        return 0.9

    test = replace(load_test(), at_least=enough)
    test.offline(scheduling.one_by_one)
    test.anew(7, seed=5).offline(scheduling.one_by_one)
    assert asked == [len(ORDER), 7]
