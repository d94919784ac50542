"""A server that is made up: two instances that slow each other down, a way to the queue, and a wake-up, all known.

An oracle for `fflib.serving.server_model`, event by event and written apart from `fflib.serving.queue_sim`. What a
batch has left to do shrinks more slowly while the other instance computes too, whenever that begins and ends.
"""

from __future__ import annotations

import math

import numpy as np

from fflib.serving import queue_sim, scheduling
from fflib.serving.loadgen import Load
from fflib.serving.server import Batch

CALL_S, TOKEN_S, PAIR_S = 4e-4, 1.2e-5, 1.6e-8
BESIDE = 1.6  # times as long, while the other instance computes too
AROUND_S = 5e-4  # of each batch: padding, handing out the answers, coming back to the queue
WAKE_S, LAG_S = 1.5e-4, 3e-4  # on average


def batch_s(rows, length):
    """What a batch takes by itself, as one would time it without a server."""
    return CALL_S + rows * length * (TOKEN_S + length * PAIR_S)


def serve(lengths, order, rate_per_s, policy, limit, seed):
    """Return the `Load` of Poisson requests, the texts of ``lengths`` [examples] at the indices ``order`` [n]."""
    rng = np.random.default_rng(seed)
    due_s = queue_sim.poisson_arrivals(rate_per_s, len(order), rng)
    sent_s = np.maximum.accumulate(due_s + rng.exponential(LAG_S, len(order)))
    tokens = lengths[order]
    queue, left_s, wakes_at = scheduling.Queue([], tokens), [0.0, 0.0], [math.inf, math.inf]
    batches: list = [None, None]  # (requests, when each was queued, when they were taken) of each instance
    refused, ended_s, log = np.zeros(len(order), bool), np.full(len(order), np.nan), []
    now, coming = 0.0, 0

    def take(instance):
        wakes_at[instance] = math.inf
        if not queue.waiting:
            return
        places = policy(queue, now)
        taken = [queue.waiting[place] for place in places]
        queue.waiting = [one for place, one in enumerate(queue.waiting) if place not in places]
        numbers, queued_s = zip(*taken, strict=True)
        batches[instance] = list(numbers), queued_s, now
        noise = rng.lognormal(0.0, 0.1)
        left_s[instance] = AROUND_S + noise * batch_s(len(taken), int(tokens[list(numbers)].max()))

    while coming < len(order) or any(batches) or queue.waiting:
        busy = [instance for instance in (0, 1) if batches[instance]]
        slower = BESIDE if len(busy) == 2 else 1.0
        events = [(now + slower * left_s[instance], "end", instance) for instance in busy]
        events += [(wakes_at[instance], "wake", instance) for instance in (0, 1) if wakes_at[instance] < math.inf]
        if coming < len(order):
            events.append((sent_s[coming], "comes", coming))
        at, what, which = min(events)
        for instance in busy:
            left_s[instance] -= (at - now) / slower
        now = at
        if what == "comes":
            refused[which] = len(queue.waiting) >= limit
            coming += 1
            if not refused[which]:
                queue.waiting.append((which, now))
                wake_s = rng.exponential(WAKE_S)
                for instance in (0, 1):
                    if not batches[instance] and wakes_at[instance] == math.inf:
                        wakes_at[instance] = now + wake_s
        elif what == "end":
            numbers, queued_s, taken_s = batches[which]
            ended_s[numbers] = now
            log.append(Batch(which, int(tokens[numbers].max()), queued_s, taken_s, now))
            batches[which] = None
            take(which)
        else:
            take(which)
    return Load(
        offered_per_s=len(order) / due_s[-1],
        latency_ms=1e3 * (ended_s - due_s),
        answers=np.zeros((len(order), 2)),
        refused=refused,
        failed=np.zeros(len(order), bool),
        span_s=float(np.nanmax(ended_s) - due_s[0]),
        lateness_ms=1e3 * (sent_s - due_s),
        order=np.asarray(order),
        due_s=due_s,
        log=log,
    )
