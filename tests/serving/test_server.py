"""A server under many threads: every request gets one outcome, its own answer, and nothing hangs."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

import numpy as np
import pytest
from conftest import examples_of

from fflib.data import batching
from fflib.files import InputError
from fflib.serving import scheduling
from fflib.serving.server import Refused, Server

LONG_S = 30.0  # nothing here takes so long, unless it hangs


def echo(inputs):
    """Logits that follow from the tokens of a text alone, [batch, 2]: their sum, and how many they are."""
    mask = inputs["attention_mask"]
    return np.stack([(inputs["input_ids"] * mask).sum(1), mask.sum(1)], axis=1).astype(np.float32)


def text(length, token=1):
    return np.full(length, token), np.zeros(length, np.int64)


class Gate:
    """A predictor that tells when it has begun, and answers once it is open."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, inputs):
        self.begun.set()
        assert self.open.wait(LONG_S)
        return echo(inputs)


def behind_gate(server, gate, count):
    """Submit one text, which the gate holds, and ``count`` that wait behind it; text ``i`` has ``i + 1`` tokens."""
    futures = [server.submit(*text(1))]
    assert gate.begun.wait(LONG_S)
    return futures + [server.submit(*text(i + 2)) for i in range(count)]


def lengths_of(futures):
    return [future.result(LONG_S)[1] for future in futures]


def until(condition):
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def only(low, high):
    """A policy for the texts of ``low`` to ``high - 1`` tokens, one at a time."""
    return lambda queue, now_s: [i for i in range(len(queue.waiting)) if low <= queue.length(i) < high][:1]


def nothing(queue, now_s):
    return []


def server_threads():
    return [thread for thread in threading.enumerate() if "_work" in thread.name]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    until(lambda: not server_threads())


@pytest.mark.parametrize("policy", [scheduling.one_by_one, scheduling.adaptive(200), scheduling.like_lengths(200)])
def test_many_senders_each_get_their_own_answers(policy):
    examples = examples_of(np.random.default_rng(0).integers(1, 60, 1200))

    def send(rows):
        return [(i, server.submit(examples.input_ids[i], examples.token_type_ids[i], wait=True)) for i in rows]

    with Server([echo] * 3, policy, queue_limit=64) as server, ThreadPoolExecutor(6) as senders:
        sent = [pair for pairs in senders.map(send, np.split(np.arange(1200), 6)) for pair in pairs]
        for i, future in sent:
            assert future.result(LONG_S).tolist() == [examples.input_ids[i].sum(), len(examples.input_ids[i])]
        assert server.answered == sum(server.batch_sizes) == 1200
        assert server.waiting == 0


def test_batches_are_padded_as_collate_does():
    gate, seen = Gate(), []

    def predict(inputs):
        seen.append(inputs)
        return gate(inputs)

    examples = examples_of([4, 9, 2, 7])
    for types in examples.token_type_ids:
        types[-1] = 1
    with Server([predict], scheduling.adaptive(1000), queue_limit=10, pad_token_id=3) as server:
        server.submit(*text(1))
        assert gate.begun.wait(LONG_S)
        for ids, types in zip(examples.input_ids, examples.token_type_ids, strict=True):
            server.submit(ids, types)
        gate.open.set()
    assert server.batch_sizes == [1, 4]
    wanted = batching.collate(examples, range(4), pad_token_id=3).inputs
    assert seen[1].keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(seen[1][name], wanted[name])


def test_the_policy_chooses_places_of_the_queue():
    gate = Gate()
    with Server([gate], lambda queue, now_s: [len(queue.waiting) - 1, 0][: len(queue.waiting)], 10) as server:
        futures = behind_gate(server, gate, 5)
        gate.open.set()
        assert lengths_of(futures) == [1, 2, 3, 4, 5, 6]
    assert server.batch_sizes == [1, 2, 2, 1]


def test_a_full_queue_refuses():
    gate = Gate()
    with Server([gate], scheduling.one_by_one, queue_limit=3) as server:
        futures = behind_gate(server, gate, 3)
        assert server.waiting == 3
        with pytest.raises(Refused, match="3 requests wait already and the queue holds no more; send this one later"):
            server.submit(*text(9))
        gate.open.set()
        assert lengths_of(futures) == [1, 2, 3, 4]
        assert lengths_of([server.submit(*text(9))]) == [9]
    assert server.answered == 5


def test_a_sender_may_wait_for_a_place():
    gate = Gate()
    with Server([gate], scheduling.one_by_one, queue_limit=1) as server, ThreadPoolExecutor(4) as senders:
        futures = behind_gate(server, gate, 1)
        late = [senders.submit(server.submit, *text(n), wait=True) for n in (10, 11, 12, 13)]
        assert not wait(late, 0.05).done
        gate.open.set()
        assert lengths_of(futures) == [1, 2]
        assert lengths_of(sender.result(LONG_S) for sender in late) == [10, 11, 12, 13]


def test_a_sender_does_not_wait_for_a_place_that_never_comes():
    server = Server([echo, echo], only(1, 3), queue_limit=1)
    behind = server.submit(*text(5), wait=True)
    with pytest.raises(Refused, match="1 requests wait already"):
        server.submit(*text(2), wait=True)
    server.close()
    with pytest.raises(Refused, match="this server is closed; send the request to another, or open a new one"):
        behind.result(0)


def test_waiting_senders_are_refused_when_the_server_closes():
    gate = Gate()
    server = Server([gate], scheduling.one_by_one, queue_limit=1)
    with ThreadPoolExecutor(2) as pool:
        futures = behind_gate(server, gate, 1)
        late = pool.submit(server.submit, *text(9), wait=True)
        assert not wait([late], 0.05).done
        closed = pool.submit(server.close)
        with pytest.raises(Refused, match="this server is closed"):
            late.result(LONG_S)
        gate.open.set()
        closed.result(LONG_S)
    assert lengths_of(futures) == [1, 2]


@pytest.mark.parametrize("error", [ValueError("out of range"), SystemExit(3)])
def test_what_a_predictor_raises_fails_that_batch_only(error):
    def predict(inputs):
        if (inputs["input_ids"] == 13).any():
            raise error
        return echo(inputs)

    gate = Gate()
    with Server([lambda inputs: predict(inputs) if gate.open.is_set() else gate(inputs)], fours, 100) as server:
        server.submit(*text(1))
        assert gate.begun.wait(LONG_S)
        futures = [server.submit(*text(i + 1, token=13 if i == 5 else 1)) for i in range(12)]
        gate.open.set()
        wait(futures, LONG_S)
        assert [future.exception(0) for future in futures] == [None] * 4 + [error] * 4 + [None] * 4
    assert server.answered == 9 and server.batch_sizes == [1, 4, 4, 4]


def fours(queue, now_s):
    return list(range(min(4, len(queue.waiting))))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_predictor_must_give_each_request_an_answer(rows):
    gate = Gate()
    with Server([lambda inputs: gate(inputs)[:1].repeat(rows, 0)], fours, queue_limit=10) as server:
        futures = behind_gate(server, gate, 2)
        gate.open.set()
        for future in futures[1:]:
            with pytest.raises(RuntimeError, match=f"gave {rows} answers to 2 requests"):
                future.result(LONG_S)


def test_closing_answers_what_waits():
    def slow(inputs):
        time.sleep(0.002)
        return echo(inputs)

    with Server([slow] * 2, scheduling.one_by_one, queue_limit=100) as server:
        futures = [server.submit(*text(i + 1)) for i in range(60)]
    assert all(future.done() for future in futures)
    assert lengths_of(futures) == list(range(1, 61))
    with pytest.raises(Refused, match="this server is closed"):
        server.submit(*text(1))
    server.close()
    assert server.answered == len(server.log) == 60
    assert all(batch.done_s - batch.taken_s >= 0.002 for batch in server.log)


def test_the_log_tells_who_waited_how_long_for_which_batch():
    """One request holds the instance, four wait in pairs; the second batch of the five fails and is in the log too."""

    def fail(inputs):
        if inputs["input_ids"].shape[1] == 3:
            raise ValueError("three")
        return gate(inputs)

    gate = Gate()
    before_s = time.perf_counter()
    with Server([fail], lambda queue, now_s: [0, 1][: len(queue.waiting)], queue_limit=10) as server:
        futures = behind_gate(server, gate, 4)
        held_s = time.perf_counter()
        gate.open.set()
        wait(futures, LONG_S)
    first, second, third = server.log
    assert [len(batch.queued_s) for batch in server.log] == [1, 2, 2]
    assert [batch.length for batch in server.log] == [1, 3, 5] and isinstance(futures[1].exception(), ValueError)
    queued_s = [at for batch in server.log for at in batch.queued_s]
    assert before_s < queued_s[0] and queued_s == sorted(queued_s) and queued_s[-1] < held_s
    assert first.taken_s < queued_s[1] and held_s < first.done_s <= second.taken_s < second.done_s <= third.taken_s
    assert third.done_s < time.perf_counter() and {batch.instance for batch in server.log} == {0}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_the_block_refuses_what_waits(error):
    gate = Gate()
    with pytest.raises(error), Server([gate], scheduling.one_by_one, queue_limit=10) as server:
        futures = behind_gate(server, gate, 4)
        futures[1].add_done_callback(lambda refused: gate.open.set())  # the batch that runs ends after the refusals
        raise error
    assert futures[0].result(0).tolist() == [1, 1]
    for future in futures[1:]:
        with pytest.raises(Refused, match="this server is closed"):
            future.result(0)
    assert server.answered == 1


def test_ctrl_c_while_it_closes_refuses_what_waits():
    gate = Gate()
    server = Server([gate], scheduling.one_by_one, queue_limit=10)
    futures = behind_gate(server, gate, 4)

    def interrupt():
        until(lambda: is_closed(server))
        os.kill(os.getpid(), signal.SIGINT)
        wait(futures[1:], LONG_S)
        gate.open.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            server.close()
        done.result(LONG_S)
    assert futures[0].result(0).tolist() == [1, 1]
    assert all(isinstance(future.exception(0), Refused) for future in futures[1:])


def is_closed(server):
    try:
        server.submit(*text(1), wait=False)
    except Refused as error:
        return "closed" in str(error)
    return False


def test_while_one_instance_hangs_the_other_serves():
    gate, gates = Gate(), [True]

    def predict(inputs):
        return gate(inputs) if gates and gates.pop() else echo(inputs)

    with Server([predict, predict], scheduling.one_by_one, queue_limit=100) as server:
        futures = behind_gate(server, gate, 50)
        assert lengths_of(futures[1:]) == list(range(2, 52))
        assert not futures[0].done()
        assert not server.idle
        gate.open.set()
    assert lengths_of(futures) == list(range(1, 52))
    assert {batch.instance for batch in server.log} == {0, 1}


def test_a_policy_for_each_instance():
    seen = [[], []]

    def instance(i):
        return lambda inputs: seen[i].append(inputs["input_ids"].shape[1]) or echo(inputs)

    with Server([instance(0), instance(1)], [only(1, 10), only(10, 50)], queue_limit=400) as server:
        lengths = np.random.default_rng(0).integers(1, 50, 300)
        futures = [server.submit(*text(n)) for n in lengths]
        assert lengths_of(futures) == lengths.tolist()
    assert sorted(seen[0]) == sorted(lengths[lengths < 10])
    assert sorted(seen[1]) == sorted(lengths[lengths >= 10])


def test_a_request_that_no_policy_takes_is_refused_at_the_end():
    with Server([echo, echo], [only(1, 10), only(10, 50)], queue_limit=400) as server:
        orphan = server.submit(*text(50))
        assert lengths_of([server.submit(*text(9)), server.submit(*text(49))]) == [9, 49]
        until(lambda: server.idle)
        assert server.waiting == 1 and not orphan.done()
    with pytest.raises(Refused, match="closed"):
        orphan.result(0)


def test_closing_asks_again_those_who_left_the_queue_before():
    """Each takes the oldest request only, so what one leaves now it takes when the other has taken another."""

    def oldest(parity):
        return lambda queue, now_s: [0] if queue.length(0) % 2 == parity else []

    for count in range(1, 12):
        server = Server([echo, echo], [oldest(0), oldest(1)], queue_limit=100)
        futures = [server.submit(*text(n)) for n in np.random.default_rng(count).integers(1, 40, count)]
        server.close()
        assert all(future.exception(0) is None for future in futures)


def test_a_policy_may_wait_and_is_answered_in_time():
    with Server([echo], scheduling.adaptive(1000, max_wait_s=0.1), queue_limit=10) as server:
        start = time.perf_counter()
        assert lengths_of([server.submit(*text(5))]) == [5]
        assert 0.1 <= time.perf_counter() - start < 5


def test_an_arrival_wakes_a_policy_that_waits_and_closing_ends_the_wait():
    with Server([echo] * 2, scheduling.adaptive(30, max_wait_s=1000), queue_limit=10) as server:
        futures = [server.submit(*text(10)) for _ in range(4)]
        assert lengths_of(futures[:3]) == [10, 10, 10]
        assert not wait(futures[3:], 0.05).done
        assert not server.idle
    assert lengths_of(futures[3:]) == [10]
    assert server.batch_sizes == [3, 1]


def test_a_policy_may_wait_for_ever():
    patient = [scheduling.WaitUntil(float("inf"))]
    with Server([echo], lambda queue, now_s: [0] if len(queue.waiting) > 1 else patient[0], queue_limit=10) as server:
        futures = [server.submit(*text(1))]
        assert not wait(futures, 0.05).done
        futures.append(server.submit(*text(2)))
        assert lengths_of(futures[:1]) == [1]
    with pytest.raises(Refused):  # alone again, and told that nobody comes, it would wait for ever
        futures[1].result(0)


def test_an_idle_server_costs_nothing():
    with Server([echo] * 4, scheduling.adaptive(1000, max_wait_s=1000), queue_limit=10) as server:
        server.submit(*text(1))
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - start < 0.1


def test_a_policy_that_raises_fails_what_waits():
    gate, wrong = Gate(), ZeroDivisionError("no tokens")

    def policy(queue, now_s):
        if queue.length(0) == 3:
            raise wrong
        return [0]

    with Server([gate], policy, queue_limit=10) as server:
        futures = behind_gate(server, gate, 3)
        gate.open.set()
        wait(futures, LONG_S)
        assert [future.exception(0) for future in futures] == [None, None, wrong, wrong]
        assert lengths_of([server.submit(*text(9))]) == [9]


@pytest.mark.parametrize("places", [[0, 0], [1], [-1], [0, 7]])
def test_a_policy_must_name_places_of_the_queue(places):
    with Server([echo] * 2, lambda queue, now_s: places, queue_limit=10) as server:
        with pytest.raises(IndexError, match="took a place twice, or one that a queue of 1 does not have"):
            server.submit(*text(5)).result(LONG_S)
        assert server.waiting == 0


def test_who_changed_their_mind_is_not_answered():
    gate = Gate()
    with Server([gate], fours, queue_limit=10) as server:
        futures = behind_gate(server, gate, 8)
        assert not futures[0].cancel()
        assert all(futures[i].cancel() for i in (1, 2, 3, 4, 6))
        gate.open.set()
        assert lengths_of(futures[i] for i in (0, 5, 7, 8)) == [1, 6, 8, 9]
        with pytest.raises(CancelledError):
            futures[6].result(0)
    assert server.answered == 4 and server.batch_sizes == [1, 3]


def test_bad_arguments():
    with pytest.raises(InputError, match="0 predictors and 0 policies; give each predictor one"):
        Server([], scheduling.one_by_one, 10)
    with pytest.raises(InputError, match="2 predictors and 1 policies"):
        Server([echo, echo], [scheduling.one_by_one], 10)
    with pytest.raises(InputError, match="queue_limit is 0; give at least 1"):
        Server([echo], scheduling.one_by_one, 0)


@pytest.mark.parametrize("shapes", [((0,), (0,)), ((2, 3), (2, 3)), ((3,), (4,)), ((), ())])
def test_a_request_is_one_text(shapes):
    with (
        Server([echo], scheduling.one_by_one, 10) as server,
        pytest.raises(InputError, match=r"give both \[length\], at least 1"),
    ):
        server.submit(*(np.ones(shape, np.int64) for shape in shapes))


def test_closing_twice_at_the_same_time():
    for _ in range(20):
        server = Server([echo] * 3, scheduling.one_by_one, queue_limit=10)
        future = server.submit(*text(5))
        with ThreadPoolExecutor(3) as pool:
            for closed in [pool.submit(server.close, drain) for drain in (True, True, False)]:
                closed.result(LONG_S)
        assert future.done() and server.idle


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_request_has_one_outcome(seed):
    """Moody policies and predictors, senders who cancel, a close in the midst of it all."""
    dice = random.Random(seed)

    def policy(queue, now_s):
        mood = dice.random()
        if mood < 0.2:
            return scheduling.WaitUntil(now_s + 0.001)
        if mood < 0.3:
            return []
        if mood < 0.31:
            raise ArithmeticError
        return dice.sample(range(len(queue.waiting)), min(len(queue.waiting), dice.randint(1, 5)))

    def predict(inputs):
        if dice.random() < 0.1:
            raise OSError
        time.sleep(dice.random() * 0.001)
        return echo(inputs)

    server = Server([predict] * 3, policy, queue_limit=20)
    outcomes: list[tuple[int, Future]] = []

    def send(sender):
        for length in range(1, 80):
            try:
                future = server.submit(*text(length), wait=dice.random() < 0.5)
            except Refused:
                outcomes.append((length, None))
                continue
            future.add_done_callback(lambda future, length=length: outcomes.append((length, future)))
            if dice.random() < 0.1:
                future.cancel()

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send, sender) for sender in range(4)]
        time.sleep(0.02)
        server.close(drain=seed % 2 == 0)
        for sender in senders:
            sender.result(LONG_S)
    assert sorted(length for length, _ in outcomes) == sorted([*range(1, 80)] * 4)
    answered = [(n, future) for n, future in outcomes if future and not (future.cancelled() or future.exception(0))]
    assert all(future.result(0).tolist() == [n, n] for n, future in answered)
    assert server.answered == len(answered)


def test_drawing_ends_when_nobody_is_left():
    """A policy of chance may leave the queue, and want it when asked again: too late, for the others have gone."""
    for seed in range(30):
        dice = random.Random(seed)
        server = Server([echo] * 3, lambda queue, now_s, dice=dice: [0] if dice.random() < 0.4 else [], 50)
        futures = [server.submit(*text(n + 1)) for n in range(8)]
        server.close()
        assert all(future.done() for future in futures)
