"""Load in real time: who is sent when, what counts from when, and that every request has exactly one outcome."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from conftest import examples_of

from fflib.files import InputError
from fflib.serving import loadgen, queue_sim, scheduling
from fflib.serving.loadgen import Load
from fflib.serving.server import Refused, Server

EXAMPLES = examples_of(np.random.default_rng(0).integers(3, 60, 100))
ORDER = np.random.default_rng(1).integers(0, 100, 200)  # some more than once
LONG_S = 30.0


def echo(inputs):
    mask = inputs["attention_mask"]
    return np.stack([(inputs["input_ids"] * mask).sum(1), mask.sum(1)], axis=1).astype(np.float32)


def echoes(order):
    """What `echo` says to the examples at ``order``, [n, 2]."""
    return np.array([[EXAMPLES.input_ids[i].sum(), len(EXAMPLES.input_ids[i])] for i in order])


def rng():
    return np.random.default_rng(0)


class Script:
    """A server by hand: ``answer(number, future)`` does with the request as it likes."""

    def __init__(self, answer):
        self.answer, self.sent_s, self.futures = answer, [], []
        self.idle, self.waiting = True, 0

    def submit(self, input_ids, token_type_ids, wait=False):
        self.sent_s.append(time.perf_counter())
        self.futures.append(Future())
        self.answer(len(self.futures) - 1, self.futures[-1])
        return self.futures[-1]


def at_once(number, future):
    future.set_result(np.array([number, 1.0]))


class Twice(Future):
    """Tells everybody who asks to be told, a second time."""

    def add_done_callback(self, tell):
        super().add_done_callback(tell)
        super().add_done_callback(tell)


def load_of(latency_ms, span_s=1.0, refused=(), lateness_ms=None):
    """A load of which everything not refused is answered."""
    latency_ms = np.asarray(latency_ms, float)
    off = np.isin(np.arange(len(latency_ms)), refused)
    answers = np.where(off, np.nan, 1.0)[:, None]
    late_ms = latency_ms * 0 if lateness_ms is None else np.asarray(lateness_ms, float)
    latency_ms, numbers = np.where(off, np.nan, latency_ms), np.arange(len(off))
    return Load(None, latency_ms, answers, off, off & False, span_s, late_ms, numbers, numbers * 1.0)


SCENARIOS = {
    "single stream": loadgen.single_stream,
    "offline": loadgen.offline,
    "poisson": lambda *args: loadgen.poisson(*args, rate_per_s=2000, rng=rng()),
}


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return SCENARIOS[request.param]


@pytest.mark.parametrize("policy", [scheduling.one_by_one, scheduling.adaptive(300), scheduling.like_lengths(300)])
def test_every_request_gets_its_own_answer(scenario, policy):
    with Server([echo] * 2, policy, queue_limit=1000) as server:
        load = scenario(server, EXAMPLES, ORDER)
    np.testing.assert_array_equal(load.answers, echoes(ORDER))
    assert load.answered == 200 and load.refused_share == 0 and not load.refused.any() and not load.failed.any()
    assert (load.latency_ms > 0).all() and (load.latency_ms >= load.lateness_ms).all()
    assert load.latency_ms.max() <= 1e3 * load.span_s
    assert load.throughput_per_s == pytest.approx(200 / load.span_s)


def test_twenty_thousand_requests():
    order = np.random.default_rng(2).integers(0, 100, 20_000)
    with Server([echo] * 2, scheduling.like_lengths(2000), queue_limit=256) as server:
        start_s = time.process_time()
        load = loadgen.offline(server, EXAMPLES, order)
        cpu_s = time.process_time() - start_s
    np.testing.assert_array_equal(load.answers, echoes(order))
    assert server.answered == load.answered == sum(server.batch_sizes) == 20_000
    assert cpu_s < 10  # a twentieth of a millisecond each on a quiet machine, so this allows for ten times as much


def test_single_stream_never_has_two_requests_at_a_time():
    def predict(inputs):
        time.sleep(0.005)
        return echo(inputs)

    with Server([predict] * 2, scheduling.adaptive(1000), queue_limit=1) as server:
        load = loadgen.single_stream(server, EXAMPLES, ORDER[:30])
    assert server.batch_sizes == [1] * 30
    assert load.latency_ms.min() >= 5
    assert load.latency_ms.sum() <= 1e3 * load.span_s  # one after the other
    assert load.offered_per_s is None


def test_offline_waits_for_places_and_all_are_due_at_the_start():
    def predict(inputs):
        time.sleep(0.002)
        return echo(inputs)

    with Server([predict], scheduling.one_by_one, queue_limit=3) as server:
        load = loadgen.offline(server, EXAMPLES, ORDER[:40])
    assert load.answered == 40 and load.offered_per_s is None
    assert (np.diff(load.latency_ms) >= 2).all()  # one instance, in order: each waits for all before it
    assert load.latency_ms[-1] == pytest.approx(1e3 * load.span_s)
    assert (np.diff(load.lateness_ms) >= 0).all()
    assert load.lateness_ms[-1] >= 2 * (40 - 6)  # all but those in the queue, running, and about to be sent are done


def test_poisson_sends_at_the_drawn_times():
    server = Script(at_once)
    start_s = time.perf_counter()
    load = loadgen.poisson(server, EXAMPLES, ORDER[:50], 200, rng())
    due_s = queue_sim.poisson_arrivals(200, 50, rng())
    sent_s = np.array(server.sent_s) - start_s
    assert (sent_s >= due_s).all()
    assert load.offered_per_s == pytest.approx(50 / due_s[-1])  # as it was drawn
    assert (load.lateness_ms >= 0).all() and load.lateness_ms.min() < 50
    off_ms = 1e3 * (sent_s - due_s) - load.lateness_ms
    assert 0 <= off_ms.min() < 50  # the clocks started one after the other
    np.testing.assert_array_equal(load.answers[:, 0], np.arange(50))


def test_a_load_keeps_who_was_asked_and_when_it_was_due():
    load = loadgen.poisson(Script(at_once), EXAMPLES, ORDER[:50], 2000, rng())
    assert load.order.tolist() == ORDER[:50].tolist()
    np.testing.assert_allclose(np.diff(load.due_s), np.diff(queue_sim.poisson_arrivals(2000, 50, rng())), atol=1e-9)
    assert (load.log, load.latency_ms.shape) == ((), load.due_s.shape)


def test_joined_loads_are_one_after_the_other():
    with Server([echo] * 2, scheduling.adaptive(300), queue_limit=1000) as server:
        parts = [loadgen.poisson(server, EXAMPLES, ORDER[i : i + 50], 2000, np.random.default_rng(i)) for i in (0, 50)]
    parts = [replace(part, log=tuple(own)) for part, own in zip(parts, by_time(server.log, parts), strict=True)]
    whole, (first, second) = loadgen.joined(parts), parts
    assert whole.order.tolist() == ORDER[:100].tolist() and whole.answered == 100
    np.testing.assert_array_equal(whole.answers, echoes(ORDER[:100]))
    assert whole.span_s == pytest.approx(first.span_s + second.span_s)
    assert 2 / whole.offered_per_s == pytest.approx(1 / first.offered_per_s + 1 / second.offered_per_s)
    np.testing.assert_allclose(np.diff(whole.due_s[50:]), np.diff(second.due_s), atol=1e-9)
    assert whole.due_s[0] == 0 and whole.due_s[50] == pytest.approx(first.span_s)
    batches, own = whole.log[len(first.log) :], second.log
    for name in ("taken_s", "done_s"):
        times = [[getattr(batch, name) for batch in log] for log in (batches, own)]
        np.testing.assert_allclose(
            np.array(times[0]) - whole.due_s[50], np.array(times[1]) - second.due_s[0], atol=1e-9
        )
    assert batches[0].queued_s[0] - whole.due_s[50] == pytest.approx(own[0].queued_s[0] - second.due_s[0], abs=1e-9)
    assert loadgen.joined([load_of([1.0]), load_of([2.0], refused=[0])]).offered_per_s is None


def by_time(log, parts):
    """The batches of each of two loads on the same server, one after the other."""
    return [[batch for batch in log if (batch.taken_s < parts[1].due_s[0]) == (own is parts[0])] for own in parts]


def test_a_generator_that_is_late_makes_a_load_that_is_not_valid():
    """It says which part of the latency is its own; past a fifth the load tells of the generator, not of the server."""
    assert load_of([10.0, 20.0, 30.0]).late_share == 0
    some, much = (load_of([10.0, 20.0, 30.0], lateness_ms=late) for late in ([0.0, 11.0, 0.0], [0.0, 13.0, 0.0]))
    assert some.late_share == pytest.approx(11 / 60) and some.valid and some.summary["valid"]
    assert much.late_share == pytest.approx(13 / 60) and not much.valid and not much.summary["valid"]
    assert not load_of([1.0], refused=[0]).valid, "nothing was answered"


def test_a_stalled_generator_is_found_out():
    """A server that holds the generator up with every request: all that are due meanwhile are sent late."""

    def stall(number, future):
        time.sleep(0.005)
        at_once(number, future)

    load = loadgen.poisson(Script(stall), EXAMPLES, ORDER[:50], 1000, rng())
    assert load.late_share > 0.9 and not load.valid


def test_poisson_does_not_wait_for_answers():
    def after_all(number, future):
        if number == 49:
            for earlier in server.futures:
                at_once(0, earlier)

    server = Script(after_all)
    load = loadgen.poisson(server, EXAMPLES, ORDER[:50], 2000, rng())
    assert load.answered == 50
    due_s = queue_sim.poisson_arrivals(2000, 50, rng())
    waited_ms = 1e3 * (due_s[-1] - due_s)
    assert (load.latency_ms >= waited_ms).all()


def test_latency_counts_from_when_a_request_was_due():
    """A server that stalls the generator at its third request: those that were due meanwhile have waited."""

    def stall(number, future):
        if number == 2:
            time.sleep(0.2)
        at_once(number, future)

    load = loadgen.poisson(Script(stall), EXAMPLES, ORDER[:20], 1000, rng())
    due_ms = 1e3 * queue_sim.poisson_arrivals(1000, 20, rng())
    stalled_ms = 200 - (due_ms[3:] - due_ms[2])
    assert stalled_ms.min() > 100
    assert (load.lateness_ms[3:] >= stalled_ms - 1e-6).all()
    assert (load.latency_ms >= load.lateness_ms).all() and load.latency_ms[2] >= 200


def test_poisson_counts_those_refused():
    """The first request holds the instance until the last is sent, and three may wait: the other 16 are turned away."""
    all_sent = threading.Event()

    class Slow(Server):
        sent = 0

        def submit(self, *request):
            self.sent += 1
            try:
                return super().submit(*request)
            finally:
                while self.sent == 1 and self.waiting:
                    time.sleep(0.001)
                if self.sent == 20:
                    all_sent.set()

    def predict(inputs):
        assert all_sent.wait(LONG_S)
        return echo(inputs)

    with Slow([predict], scheduling.one_by_one, queue_limit=3) as server:
        load = loadgen.poisson(server, EXAMPLES, ORDER[:20], 2000, rng())
    assert load.refused.tolist() == [False] * 4 + [True] * 16
    assert load.answered == 4 and load.refused_share == 0.8 and not load.failed.any()
    np.testing.assert_array_equal(np.isnan(load.latency_ms), load.refused)
    np.testing.assert_array_equal(load.answers[:4], echoes(ORDER[:4]))
    assert np.isnan(load.answers[4:]).all()
    assert load.percentile_ms(50) == pytest.approx(np.median(load.latency_ms[:4]))


def test_what_fails_is_told_from_what_is_answered(scenario):
    def predict(inputs):
        if inputs["input_ids"].shape[1] % 3 == 0:
            raise ValueError("divisible")
        return echo(inputs)

    with Server([predict] * 2, scheduling.one_by_one, queue_limit=1000) as server:
        load = scenario(server, EXAMPLES, ORDER)
    expected = EXAMPLES.lengths[ORDER] % 3 == 0
    assert 0 < expected.sum() < 200
    np.testing.assert_array_equal(load.failed, expected)
    assert not load.refused.any() and load.answered == (~expected).sum() == server.answered
    np.testing.assert_array_equal(load.answers[~expected], echoes(ORDER[~expected]))
    assert np.isnan(load.answers[expected]).all() and np.isnan(load.latency_ms[expected]).all()
    assert load.throughput_per_s == pytest.approx((~expected).sum() / load.span_s)


def test_nothing_is_answered(scenario):
    with Server([echo], scheduling.one_by_one, queue_limit=1) as server:
        pass
    load = scenario(server, EXAMPLES, ORDER[:10])
    assert load.refused.all() and load.refused_share == 1 and load.answered == 0
    assert load.answers.shape == (10, 0)
    assert load.throughput_per_s == 0 and np.isnan(load.percentile_ms(50))


def test_a_server_that_closes_in_the_middle(scenario):
    class Closing(Server):
        sent = 0

        def submit(self, *request):
            if self.sent == 100:
                self.close()
            self.sent += 1
            return super().submit(*request)

    load = scenario(Closing([echo], scheduling.one_by_one, queue_limit=1000), EXAMPLES, ORDER)
    assert load.refused.tolist() == [False] * 100 + [True] * 100
    assert load.answered == 100 and not load.failed.any()


def test_a_lost_request_is_told(monkeypatch):
    monkeypatch.setattr(loadgen, "STALL_S", 0.05)
    server = Script(lambda number, future: number == 3 or at_once(number, future))
    with pytest.raises(AssertionError, match="a request was lost: the server rests, but only 9 have ended"):
        loadgen.offline(server, EXAMPLES, ORDER[:10])


@pytest.mark.parametrize(("twice", "lost"), [(3, None), (3, 5), (9, None)])
def test_a_request_answered_twice_is_told(twice, lost):
    def answer(number, future):
        if number == twice:
            server.futures[number] = Twice()
        if number != lost:
            at_once(number, server.futures[number])

    server = Script(answer)
    with pytest.raises(AssertionError, match=f"1 requests were answered twice, the first is {twice}"):
        loadgen.offline(server, EXAMPLES, ORDER[:10])


def test_requests_that_no_policy_takes_are_told(scenario, monkeypatch):
    monkeypatch.setattr(loadgen, "STALL_S", 0.05)
    with (
        Server([echo] * 2, lambda queue, now_s: [], queue_limit=10) as server,
        pytest.raises(InputError, match="10 requests wait and no policy takes them|1 requests wait and no policy"),
    ):
        scenario(server, EXAMPLES, ORDER[:10])


def test_a_slow_answer_is_no_stall(scenario, monkeypatch):
    monkeypatch.setattr(loadgen, "STALL_S", 0.01)

    def predict(inputs):
        time.sleep(0.05)
        return echo(inputs)

    with Server([predict], scheduling.adaptive(1000, max_wait_s=0.05), queue_limit=10) as server:
        assert scenario(server, EXAMPLES, ORDER[:3]).answered == 3


def test_ctrl_c_ends_the_load_and_the_server(scenario):
    def predict(inputs):
        time.sleep(0.05)
        return echo(inputs)

    # Twice, as people do: Python loses one that comes while it clears a weak reference.
    ctrl_c = [threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)) for after_s in (0.2, 5.0)]
    start_s = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), Server([predict], scheduling.one_by_one, queue_limit=5000) as server:
        for press in ctrl_c:
            press.start()
        scenario(server, EXAMPLES, np.resize(ORDER, 2000))  # 100 s
    ctrl_c[1].cancel()
    assert time.perf_counter() - start_s < LONG_S
    assert server.idle and server.waiting == 0 and server.answered < 2000
    with pytest.raises(Refused):
        server.submit(np.ones(3), np.ones(3))


@pytest.mark.parametrize("order", [[], [0, 100], [-1, 0]])
def test_the_order_names_examples(scenario, order):
    with pytest.raises(InputError, match="order must hold at least one index, each from 0 to 99"):
        scenario(Script(at_once), EXAMPLES, order)


@pytest.mark.parametrize("rate_per_s", [0, -1, float("nan"), float("inf")])
def test_the_rate_is_positive(rate_per_s):
    with pytest.raises(InputError, match="give a positive number of requests a second"):
        loadgen.poisson(Script(at_once), EXAMPLES, [0], rate_per_s, rng())


def test_percentiles_of_the_answered():
    load = load_of(np.arange(101), span_s=2.0, refused=[100])
    assert load.percentile_ms(0) == 0 and load.percentile_ms(100) == 99 and load.percentile_ms(50) == 49.5
    assert load.answered == 100 and load.throughput_per_s == 50 and load.refused_share == pytest.approx(1 / 101)


def test_the_knee_of_a_queue_in_theory_is_half_its_capacity():
    """M/M/1 with service rate mu: mean latency 1 / (mu - rate), so power is rate (mu - rate), largest at mu / 2."""
    rates = np.arange(5, 100, 5)
    loads = [load_of(np.full(rate, 1e3 / (100 - rate))) for rate in rates]
    assert rates[loadgen.knee(loads)] == 50
    assert rates[::-1][loadgen.knee(loads[::-1])] == 50


def test_the_knee_is_sought_among_loads_without_refusals():
    slow, fast, refusing = load_of([10, 10]), load_of([5, 5]), load_of([1, 1, 1], refused=[1])
    assert loadgen.knee([slow, refusing, fast]) == 2
    assert loadgen.knee([load_of([9, 9], refused=[0]), refusing, load_of([1], refused=[0])]) == 1
    assert loadgen.knee([load_of([1], refused=[0])]) == 0
    with pytest.raises(InputError, match="give at least one"):
        loadgen.knee([])


def test_the_summary_is_what_was_measured():
    few, many = load_of([1.0, 2.0, 9.0], span_s=2.0), load_of(np.arange(1000.0) + 1)
    assert few.summary["p99_ms"] is None and many.summary["p99_ms"] == pytest.approx(
        np.percentile(np.arange(1000) + 1, 99)
    )
    assert (few.summary["p50_ms"], few.summary["answered_per_s"], few.summary["refused_share"]) == (2.0, 1.5, 0.0)


def test_the_short_and_the_long_have_their_own_percentiles():
    lengths = np.array([5, 50, 6, 60])
    load = load_of([1.0, 10.0, 2.0, 20.0])
    assert load.p95_by_length(lengths, 10) == {
        "short_p95_ms": pytest.approx(1.95), "long_p95_ms": pytest.approx(19.5)
    }  # fmt: skip
    alike = load.p95_by_length(lengths, 5)
    assert alike["short_p95_ms"] == alike["long_p95_ms"] == np.percentile([1, 10, 2, 20], 95)
