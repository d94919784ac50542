# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · Batching: who shares a rectangle with whom
#
# **Claim.** On a CPU a batch is worth what it saves in overhead, minus what it wastes on padding. Sorting by length
# takes the waste away; whether the rest pays depends on the size of the model.
#
# **Cost.** No accuracy: the answers are asserted to be the same. But a request now waits for its batch, so the latency of
# a single request goes up.
#
# **Needs** [chapter 1](01_baseline.ipynb). **Leaves** the batching rung.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
batch_sizes: list[int] = [1, 4]  # of the small model's sweep
big_batch_sizes: list[int] = [1, 4]  # of the big model's sweep
token_budgets: list[int] = [256, 1024]  # padded tokens in a batch, small model
offered_loads: list[float] = [0.5, 1.2]  # arrivals, in multiples of the one-by-one capacity
online_budget: int = 512  # padded tokens an online batch may hold
max_wait_ms: float = 50.0  # how long the patient batcher holds a request back
n_sweep_requests: int = 16  # requests in the sweep of the small model
n_online_requests: int = 16  # requests of each load test
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the big model
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_test: int = 96  # test examples; 0 takes all
n_big_sweep_requests: int = 4  # requests in the sweep of the big model
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
seed: int = 0  # of the arrivals

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown

from fflib import display
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.engine import predictors
from fflib.measure import figures, timing
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints
from fflib.serving import queue_sim, scheduling

bench = Bench.open("02_batching", globals())

# %% [markdown]
# ## 2.1 Idea: a batch is a rectangle
#
# A model computes a batch as one rectangle of tokens, as wide as its longest member. Everything shorter is filled up
# with padding, which costs as much as words do. Three ways to decide who shares a rectangle:
#
# - **in order**: as requests come; the paper's batches. One long request makes all its neighbours long.
# - **sorted**: neighbours in length share a batch; hardly any padding is left.
# - **token budget**: sorted, and every rectangle holds about as many *tokens*; many short requests or a few long ones.

# %% tags=["hide-input"]
display.source(batching.sorted_by_length, batching.token_budget, batching.collate)

# %% [markdown]
# The same test requests and the same teacher as in chapter 1. Where the padding is, drawn over the histogram of lengths: a
# bar's height is what the model computes for the requests of that length; the hatched part is padding. *Sorted* has next to
# none.

# %%
teacher, test = bench.load("teacher"), bench.texts("test")
lengths, max_length = test.lengths, bench.task.max_length
in_order = batching.in_order(lengths, 16)
in_length = batching.sorted_by_length(lengths, 16)
tokens_computed = {
    f"one by one, padded to {max_length}": np.full(len(test), max_length),
    "batches of 16, in order": batching.padded_lengths(lengths, in_order),
    "batches of 16, sorted": batching.padded_lengths(lengths, in_length),
}

# %% tags=["hide-input"]
caption = f"{len(test)} test requests of {bench.task.name}"
bench.figure(figures.padding(lengths, tokens_computed, caption), "padding")

# %% [markdown]
# ## 2.2 Predict
#
# If time went with the number of tokens, padding would decide alone: the speed-up over one-by-one serving would be the
# ratio of the tokens computed, so *below* one for anything with padding. What a batch can win beside that is the overhead
# of each call, which a big model hardly notices and a small one does.

# %%
requests = test.take(batching.evenly_by_length(lengths, n_sweep_requests))
big_requests = test.take(batching.evenly_by_length(lengths, n_big_sweep_requests))

sizes = {"in order": batch_sizes, "sorted": batch_sizes, "token budget": token_budgets}
big_sizes = {"in order": big_batch_sizes, "sorted": big_batch_sizes}
small_plans = batching.grid(requests.lengths, sizes)
big_plans = batching.grid(big_requests.lengths, big_sizes)

# %%
tokens = {key: batching.padded_tokens(requests.lengths, plan) for key, plan in small_plans.items()}
predicted_speedup = {key: tokens["in order", 1] / count for key, count in tokens.items()}

# %% [markdown]
# ## 2.3 Do it, Check, Measure
#
# Both models as in chapter 1. Batching must not change an answer: the logits of every plan are compared with those of
# serving one by one, up to the rounding of another order of additions. Then all plans of a model are timed in turn.

# %%
models = {
    "teacher": checkpoints.to_transformers(teacher),
    "reference": checkpoints.untrained_classifier(
        reference, bench.task.num_labels, spans=bench.task.spans
    ),
}


# %%
def sweep(model, requests, plans, rounds):
    predict = predictors.torch_predictor(model)
    alone = Variant("alone", predict, plans["in order", 1]).logits(requests)
    ways = {batching.words(*key): Variant("", predict, plan) for key, plan in plans.items()}
    return bench.compare(ways, requests, alone, rounds=rounds)


small = sweep(models["teacher"], requests, small_plans, rounds)
big = sweep(models["reference"], big_requests, big_plans, max(2, rounds - 1))

# %% tags=["hide-input"]
worst = max(small.largest_difference, big.largest_difference)
Markdown(
    f"Largest difference of a logit between any batch and one by one: {worst:.1e}; {small.labels_kept}."
)


# %% tags=["hide-input"]
def curve(race, sizes, kind):
    sizes = [size for size in sizes[kind] if batching.words(kind, size) in race]
    return sizes, [race[batching.words(kind, size)].throughput_per_s for size in sizes]


panels = {
    f"{what}, {checkpoints.size_mb(models[name]):.0f} MB": {
        kind: curve(race, race_sizes, kind) for kind in ("in order", "sorted")
    }
    for what, name, race, race_sizes in (
        ("small: the teacher", "teacher", small, sizes),
        ("big: the reference", "reference", big, big_sizes),
    )
}
title = "What a batch buys, with padding and without"
labels = "batch size", "requests per second", title
bench.figure(figures.curves(panels, *labels, log_x=True, caption=bench.caption), "batch_size")

# %% [markdown]
# The small model's sweep in full. *Predicted* counts tokens only; what is measured above it is overhead saved, what is
# below it is overhead added (larger rectangles leave the cache).

# %% tags=["hide-input"]
rows = [
    {
        "batching": kind,
        "batch size or tokens": size,
        "padding": f"{batching.padding_share(requests.lengths, plan):.0%}",
        "predicted speed-up": predicted_speedup[kind, size],
        "measured speed-up": small.speedup(batching.words(kind, size), "in order 1"),
        "requests/s": small[batching.words(kind, size)].throughput_per_s,
        "batch p50 ms": small[batching.words(kind, size)].latency_p50_ms,
    }
    for (kind, size), plan in small_plans.items()
]
bench.table(rows, keep="sweep")

# %% [markdown]
# ## 2.4 The rung
#
# The best of the sweep goes on the ladder. Picking the best of many noisy numbers flatters it, so it is timed again,
# beside serving one by one; that second figure is what the ladder gets. The step is the ratio of the two, so what the machine
# has drifted since chapter 1 is left out of it.

# %%
best = max(small_plans, key=lambda key: small[batching.words(*key)].throughput_per_s)
finalists = {key: small_plans[key] for key in [("in order", 1), best]}
again = sweep(models["teacher"], requests, finalists, rounds)

# %% [markdown]
# Batches must not change an answer. So test texts of all lengths go through the very batches of the rung; where their logits are
# those of chapter 1, so is the accuracy on all of test.

# %%
logits = cache.predict_cached(teacher, test)  # chapter 1's
chosen = batching.evenly_by_length(test.lengths, min(len(test), 400))
plan = batching.PLANS[best[0]](test.lengths[chosen], best[1])
predict = predictors.torch_predictor(models["teacher"])
checked = timing.check(Variant("", predict, plan), test.take(chosen), logits[chosen]).checked

# %%
rung = bench.add_rung(
    "best batching",
    again[batching.words(*best)],
    on="teacher unpadded",
    like="teacher unpadded",
    below=again["in order 1"],
    batching=batching.words(*best),
    plan=small_plans[best],
    scored=bench.scored(logits, test.gold),
)

# %% tags=["hide-input"]
drift = again["in order 1"].throughput_per_s / bench.rung("teacher unpadded")["throughput_per_s"]
bench.facts["best"], bench.facts["drift_since_baseline"] = list(best), drift
Markdown(
    f"Best: **{rung.batching}**. One by one, this machine now runs at {drift:.2f} times its speed in chapter 1. "
    f"In its batches no logit of {len(chosen)} texts differs by more than {checked.max_abs_difference:.1e}; accuracy {rung.accuracy:.1%}."
)

# %% [markdown]
# ## 2.5 Online: requests that do not wait to be sorted
#
# So far all requests were there at once. A server sees them arrive at random, and has to choose: answer the one it has,
# or hold it back for company. Four policies in front of the same model:
#
# - **one by one**, the paper's choice for most of its tasks;
# - **adaptive**: whenever the model is free, it takes those that wait, oldest first, up to a token budget. Light traffic
#   therefore runs one by one, and a queue turns into batches by itself;
# - **like lengths**: the same, but next to the oldest it takes those of the queue that are nearest to it in length;
# - **patient**: adaptive, but it holds a lone request back for a while in the hope of company.

# %% tags=["hide-input"]
display.source(scheduling.adaptive, scheduling.like_lengths)

# %% [markdown]
# Arrivals are a seeded Poisson process. Each batch is really computed and its time measured; only the waiting between
# arrivals is skipped. *Load 1* is the rate that one-by-one serving can just answer, measured on these very requests.

# %%
repeats = n_online_requests > len(test)
arriving = test.take(np.random.default_rng(seed).choice(len(test), n_online_requests, repeats))
policies = {
    "one by one": scheduling.one_by_one,
    "adaptive": scheduling.adaptive(online_budget),
    "like lengths": scheduling.like_lengths(online_budget),
    f"patient, {max_wait_ms:.0f} ms": scheduling.adaptive(online_budget, max_wait_ms / 1e3),
}


# %%
def answer(indices):
    return predict(batching.collate(arriving, indices).inputs)


def serve(policy, arrivals_s):
    return queue_sim.serve(arrivals_s, arriving.lengths, policy, answer)


all_at_once = np.zeros(len(arriving))
capacity_per_s = serve(policies["one by one"], all_at_once).throughput_per_s

# %%
served = {}
for load in offered_loads:
    for name, policy in policies.items():
        rng = np.random.default_rng(seed)  # the same arrivals for each policy
        arrivals_s = queue_sim.poisson_arrivals(load * capacity_per_s, len(arriving), rng)
        served[name, load] = serve(policy, arrivals_s)

# %% tags=["hide-input"]
answers = np.array(
    [[outcome.answers[i] for i in range(len(arriving))] for outcome in served.values()]
)
assert np.abs(answers - answers[0]).max() <= 1e-3, "a batch changed an answer"
labels = answers.argmax(-1)
n_unlike = int((labels != labels[0]).any(axis=0).sum())
but = f" but {n_unlike}, which lie so near the border that a sum in another order tips them"
Markdown(
    f"All {len(served)} load tests gave the same {len(arriving)} answers{but if n_unlike else ''}, none lost and none twice."
)


# %% tags=["hide-input"]
def percentiles(name, q):
    return [float(np.percentile(served[name, load].latency_ms, q)) for load in offered_loads]


panels = {
    title: {name: (offered_loads, percentiles(name, q)) for name in policies}
    for title, q in (("median latency", 50), ("95th percentile", 95))
}
labels = (
    "offered load (1: all that one by one can answer)",
    "latency, waiting included (ms)",
    "When a queue builds up, does a batcher help?",
)
caption = f"{bench.caption}; {len(arriving)} requests a point, Poisson arrivals"
bench.figure(figures.curves(panels, *labels, log_y=True, caption=caption), "online")

# %% tags=["hide-input"]
rows = [
    {
        "load": load,
        "policy": name,
        "answered/s": outcome.throughput_per_s,
        "p50 ms": float(np.percentile(outcome.latency_ms, 50)),
        "p95 ms": float(np.percentile(outcome.latency_ms, 95)),
        "mean batch": float(outcome.batch_sizes.mean()),
        "model busy": f"{outcome.utilisation:.0%}",
    }
    for (name, load), outcome in served.items()
]
bench.table(rows, keep="online")

# %% [markdown]
# The verdict for each load: which policy has the lowest 95th percentile?

# %% tags=["hide-input"]
p95_ms = {key: float(np.percentile(outcome.latency_ms, 95)) for key, outcome in served.items()}
lowest = {load: min(policies, key=lambda name: p95_ms[name, load]) for load in offered_loads}
bench.table(
    [
        {
            "load": load,
            "lowest p95": name,
            "its p95 ms": p95_ms[name, load],
            "one by one's p95 ms": p95_ms["one by one", load],
        }
        for load, name in lowest.items()
    ]
)

# %% [markdown]
# ## 2.6 Was the paper right that batch 1 is best?
#
# The paper found batch 1 the fastest on most of its tasks, on a CPU, with batches in order. Here is this machine's answer:


# %% tags=["hide-input"]
def verdict(model, race):
    gain = {name: race.speedup(name, "in order 1") for name in race}
    in_order = max((name for name in gain if name.startswith("in order")), key=gain.get)
    best = max(gain, key=gain.get)
    return {
        "model": model,
        "best in order": in_order.replace("in order", "batch"),
        "its gain over one by one": gain[in_order],
        "best of all": best,
        "its gain": gain[best],
    }


bench.table([verdict("small", small), verdict("big", big)], keep="batch_1")

# %% [markdown]
# ## 2.7 When it does not pay
#
# - **Where one request already fills the cores.** A GPU needs a batch to be busy; two CPU cores do not. What a batch can
#   win here is the overhead of a call, and a mixed batch pays more than that for its longest member.
# - **Where a large rectangle leaves the cache**: see whether the sweep's largest batches are slower than their padding
#   explains.
# - **In light traffic**: the adaptive batcher never sees two requests, and *patient* costs every one its full wait.
# - Sorting needs many requests at once: an offline job, or a long queue.
#
# ## 2.8 Exercises
#
# 1. Write a policy that takes the shortest requests first. What happens to the longest one under heavy load?
# 2. Set `max_wait_ms` to the service time of one request. Is there a load at which *patient* beats *adaptive*?
# 3. Which token budget fits your processor's cache? Compare the sweep with its size.
#
# **Next:** [chapter 3](03_distillation.ipynb) makes the model itself smaller.

# %% tags=["hide-input"]
bench.save()
