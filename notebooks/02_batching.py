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
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the big model
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_test: int = 96  # test examples; 0 takes all
n_sweep_requests: int = 16  # requests in the sweep of the small model
n_big_sweep_requests: int = 4  # requests in the sweep of the big model
batch_sizes: list[int] = [1, 4]  # of the small model's sweep
big_batch_sizes: list[int] = [1, 4]  # of the big model's sweep
token_budgets: list[int] = [256, 1024]  # padded tokens in a batch, small model
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
n_online_requests: int = 16  # requests of each load test
offered_loads: list[float] = [0.5, 1.2]  # arrivals, in multiples of the one-by-one capacity
online_budget: int = 512  # padded tokens an online batch may hold
max_wait_ms: float = 50.0  # how long the patient batcher holds a request back
seed: int = 0  # of the arrivals

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown

from fflib import (
    batching,
    checkpoints,
    data,
    figures,
    files,
    hardware,
    measure,
    metrics,
    online,
    pages,
    policies,
    results,
    rungs,
    runtime,
    tasks,
    trained,
)

chapter = results.Chapter("02_batching", globals())
threads = hardware.set_threads(threads)
chapter.show_summary()

# %%
machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads, PyTorch fp32"
pages.card(machine, threads)

# %% [markdown]
# ## 2.1 Idea: a batch is a rectangle
#
# A model computes a batch as one rectangle of tokens, as wide as its longest member. Everything shorter is filled up
# with padding, which costs as much as words do. Three ways to decide who shares a rectangle:
#
# - **in order**: as requests come; the paper's batches. One long request makes all its neighbours long.
# - **sorted**: neighbours in length share a batch; hardly any padding is left.
# - **token budget**: sorted, and every rectangle holds about as many *tokens*; many short requests or a few long ones.

# %%
pages.source(batching.sorted_by_length, batching.token_budget, batching.collate)

# %% [markdown]
# The same test requests and the same teacher as in chapter 1:

# %%
baseline = results.read(run_dir, "01_baseline")
facts = baseline["facts"]
the_task = tasks.get_task(task)
test = data.load_split(task, "test", data_source, n_test or None)
assert test.fingerprint == facts["data_fingerprint"]["test"], "chapter 1 saw other test data"
teacher_folder = files.resolve(facts["teacher"]["folder"])
teacher, tokenizer = (
    checkpoints.load(teacher_folder),
    checkpoints.load_tokenizer(str(teacher_folder)),
)
encoded = data.tokenize(test, tokenizer, the_task.max_length)
chapter.facts["data_fingerprint"] = facts["data_fingerprint"]

# %% [markdown]
# Where the padding is, drawn over the histogram of lengths. A bar's height is what the model computes for the requests of
# that length; the hatched part is padding. *Sorted* has next to none.


# %%
def padded_length(plan, pad_to=None):
    padded = np.empty(len(encoded))
    for group in plan:
        padded[group] = pad_to or encoded.lengths[group].max()
    return padded


in_order, ascending = (
    batching.in_order(encoded.lengths, 16),
    batching.sorted_by_length(encoded.lengths, 16),
)
rectangles = {
    f"one by one, padded to {the_task.max_length}": padded_length(in_order, the_task.max_length),
    "batches of 16, in order": padded_length(in_order),
    "batches of 16, sorted": padded_length(ascending),
}
figure = figures.padding(
    encoded.lengths, rectangles, caption=f"{len(encoded)} test requests of {the_task.name}"
)
chapter.save_figure(figure, "padding")
figure

# %% [markdown]
# ## 2.2 Predict
#
# If time went with the number of tokens, padding would decide alone: the speed-up over one-by-one serving would be the
# ratio of the tokens computed, so *below* one for anything with padding. What a batch can win beside that is the overhead
# of each call, which a big model hardly notices and a small one does.

# %%
requests = encoded.take(batching.evenly_by_length(encoded.lengths, n_sweep_requests))
big_requests = encoded.take(batching.evenly_by_length(encoded.lengths, n_big_sweep_requests))


def plans(lengths, sizes, budgets):
    keys = [("in order", size) for size in sizes]
    keys += [("sorted", size) for size in sizes if size > 1]
    keys += [("token budget", tokens) for tokens in budgets]
    return {(kind, size): batching.PLANS[kind](lengths, size) for kind, size in keys}


small_plans = plans(requests.lengths, batch_sizes, token_budgets)
big_plans = plans(big_requests.lengths, big_batch_sizes, [])
waste = {key: batching.padding_share(requests.lengths, plan) for key, plan in small_plans.items()}

# %% [markdown]
# ## 2.3 Do it, and check it
#
# Both models as in chapter 1. Batching must not change an answer: the logits of every plan are compared with those of
# serving one by one, up to the rounding of another order of additions.

# %%
models = {
    "teacher": checkpoints.to_transformers(teacher),
    "reference": checkpoints.untrained_classifier(
        reference, the_task.num_labels, spans=the_task.spans
    ),
}


def checked_variants(model, some_requests, some_plans):
    predict = runtime.torch_predictor(model)
    alone = measure.Variant("alone", predict, batching.in_order(some_requests.lengths, 1)).logits(
        some_requests
    )
    return {
        key: measure.check(
            measure.Variant(f"{key[0]} {key[1]}", predict, plan), some_requests, alone
        )
        for key, plan in some_plans.items()
    }


small = checked_variants(models["teacher"], requests, small_plans)
big = checked_variants(models["reference"], big_requests, big_plans)
worst = max(variant.checked.max_abs_difference for variant in [*small.values(), *big.values()])
Markdown(
    f"Largest difference of a logit between any batch and one by one: {worst:.1e}; every label is the same."
)

# %% [markdown]
# ## 2.4 Measure: the sweep

# %%
small_timings = measure.time_interleaved(list(small.values()), requests, rounds)
big_timings = measure.time_interleaved(list(big.values()), big_requests, max(2, rounds - 1))


# %%
def throughputs(variants, timings, kind):
    sizes = [size for group, size in variants if group == kind]
    return sizes, [timings[variants[kind, size].name].throughput_per_s for size in sizes]


panels = {
    f"small: the teacher, {checkpoints.size_mb(teacher):.0f} MB": {
        kind: throughputs(small, small_timings, kind) for kind in ("in order", "sorted")
    },
    f"big: the reference, {checkpoints.size_mb(models['reference']):.0f} MB": {
        kind: throughputs(big, big_timings, kind) for kind in ("in order", "sorted")
    },
}
figure = figures.curves(
    panels,
    "batch size",
    "requests per second",
    "What a batch buys, with padding and without",
    log_x=True,
    caption=caption,
)
chapter.save_figure(figure, "batch_size")
figure

# %% [markdown]
# The small model's sweep in full. *Predicted* counts tokens only; what is measured above it is overhead saved, what is
# below it is overhead added (larger rectangles leave the cache).

# %%
alone = small_timings[small["in order", 1].name].throughput_per_s
tokens = {key: batching.padded_tokens(requests.lengths, plan) for key, plan in small_plans.items()}
sweep = [
    {
        "batching": kind,
        "batch size or tokens": size,
        "padding": f"{waste[kind, size]:.0%}",
        "predicted speed-up": tokens["in order", 1] / tokens[kind, size],
        "measured speed-up": small_timings[variant.name].throughput_per_s / alone,
        "requests/s": small_timings[variant.name].throughput_per_s,
        "batch p50 ms": small_timings[variant.name].latency_p50_ms,
    }
    for (kind, size), variant in small.items()
]
chapter.facts["sweep"] = sweep
pages.table(sweep)

# %% [markdown]
# ## 2.5 The rung
#
# The best of the sweep goes on the ladder. Picking the best of many noisy numbers flatters it, so it is timed again,
# beside serving one by one; that second figure is what the ladder gets. The one-by-one timing is its anchor: the step is
# the ratio of the two, so what the machine has drifted since chapter 1 is left out of it.

# %%
best = max(small, key=lambda key: small_timings[small[key].name].throughput_per_s)
contenders = [small[key] for key in {best, ("in order", 1)}]
again = measure.time_interleaved(contenders, requests, rounds, seed=1)
before = next(rung for rung in baseline["rungs"] if rung["rung"] == "teacher unpadded")
drift = again[small["in order", 1].name].throughput_per_s / before["throughput_per_s"]
chapter.facts["best"], chapter.facts["drift_since_baseline"] = list(best), drift
Markdown(
    f"Best: **{best[0]}, {best[1]}**. One by one, this machine now runs at {drift:.2f} times its speed in chapter 1."
)

# %%
rung = rungs.Rung(
    "best batching",
    stacks_on="teacher unpadded",
    model=before["model"],
    engine=before["engine"],
    precision="fp32",
    batching=" ".join(map(str, best)) + (" tokens" if best[0] == "token budget" else ""),
    batch_size=round(np.mean([len(group) for group in small[best].plan])),
    threads=threads,
    model_mb=before["model_mb"],
)
rung.anchor_per_s = again[small["in order", 1].name].throughput_per_s
rung.timed(again[small[best].name], small[best].checked, usd_per_hour)

# %% [markdown]
# The accuracy is that of the whole test set in the very batches of the rung, not a copy of chapter 1's:

# %%
predict = runtime.torch_predictor(models["teacher"])
rung_plan = batching.PLANS[best[0]](encoded.lengths, best[1])
logits = measure.Variant("whole test set", predict, rung_plan).logits(encoded)
same = logits.argmax(1) == trained.predict_cached(teacher, encoded).argmax(1)
accuracy = metrics.score(the_task, logits, test.gold)
interval = metrics.score_interval(the_task, logits, test.gold, resamples=n_resamples)
chapter.add(rung.scored(accuracy, interval, facts["teacher"]["accuracy"]))
assert same.mean() > 0.999, f"batching changed {1 - same.mean():.1%} of the labels"
Markdown(
    f"{same.mean():.2%} of {len(same)} labels are those of chapter 1's teacher; accuracy {accuracy:.1%}."
)

# %% [markdown]
# ## 2.6 Online: requests that do not wait to be sorted
#
# So far all requests were there at once. A server sees them arrive at random, and has to choose: answer the one it has,
# or hold it back for company. Four policies in front of the same model:
#
# - **one by one**, the paper's choice for most of its tasks;
# - **adaptive**: whenever the model is free, it takes those that wait, oldest first, up to a token budget. Light traffic
#   therefore runs one by one, and a queue turns into batches by itself;
# - **like lengths**: the same, but next to the oldest it takes those of the queue that are nearest to it in length;
# - **patient**: adaptive, but it holds a lone request back for a while in the hope of company.

# %%
pages.source(policies.adaptive, policies.like_lengths)

# %% [markdown]
# Arrivals are a seeded Poisson process. Each batch is really computed and its time measured; only the waiting between
# arrivals is skipped. *Load 1* is the rate that one-by-one serving can just answer, measured on these very requests.

# %%
rng = np.random.default_rng(seed)
arriving = encoded.take(
    rng.choice(len(encoded), n_online_requests, replace=n_online_requests > len(encoded))
)
tried = {
    "one by one": policies.one_by_one,
    "adaptive": policies.adaptive(online_budget),
    "like lengths": policies.like_lengths(online_budget),
    f"patient, {max_wait_ms:.0f} ms": policies.adaptive(online_budget, max_wait_ms / 1e3),
}


def answer(indices):
    return predict(batching.collate(arriving, indices).inputs)


all_at_once = np.zeros(len(arriving))
alone = online.serve(all_at_once, arriving.lengths, policies.one_by_one, answer)
capacity = alone.throughput_per_s


# %%
def serve(policy, load):
    arrivals = online.poisson_arrivals(load * capacity, len(arriving), np.random.default_rng(seed))
    return online.serve(arrivals, arriving.lengths, policy, answer)


served = {
    (name, load): serve(policy, load) for load in offered_loads for name, policy in tried.items()
}

# %%
for outcome in served.values():
    labels = [outcome.answers[i].argmax() for i in range(len(arriving))]
    assert labels == [
        served["one by one", offered_loads[0]].answers[i].argmax() for i in range(len(arriving))
    ]
Markdown(
    f"All {len(served)} load tests gave the same {len(arriving)} answers, none lost and none twice."
)

# %%
panels = {
    title: {
        name: (
            offered_loads,
            [np.percentile(served[name, load].latency_ms, q) for load in offered_loads],
        )
        for name in tried
    }
    for title, q in (("median latency", 50), ("95th percentile", 95))
}
figure = figures.curves(
    panels,
    "offered load (1: all that one by one can answer)",
    "latency, waiting included (ms)",
    "When a queue builds up, does a batcher help?",
    log_y=True,
    caption=f"{caption}; {len(arriving)} requests a point, Poisson arrivals",
)
chapter.save_figure(figure, "online")
figure

# %%
online_rows = [
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
chapter.facts["online"] = online_rows
pages.table(online_rows)

# %% [markdown]
# The verdict for each load: which policy has the lowest 95th percentile?

# %%
p95 = {key: float(np.percentile(outcome.latency_ms, 95)) for key, outcome in served.items()}
best_policy = {load: min(tried, key=lambda name: p95[name, load]) for load in offered_loads}
pages.table(
    [
        {
            "load": load,
            "lowest p95": name,
            "its p95 ms": p95[name, load],
            "one by one's p95 ms": p95["one by one", load],
        }
        for load, name in best_policy.items()
    ]
)

# %% [markdown]
# ## 2.7 Was the paper right that batch 1 is best?
#
# The paper found batch 1 the fastest on most of its tasks, on a CPU, with batches in order. Here is this machine's answer:


# %%
def verdict(name, variants, timings):
    one = timings[variants["in order", 1].name].throughput_per_s
    gain = {key: timings[variant.name].throughput_per_s / one for key, variant in variants.items()}
    in_order = max((key for key in gain if key[0] == "in order"), key=gain.get)
    best = max(gain, key=gain.get)
    return {
        "model": name,
        "best in order": f"batch {in_order[1]}",
        "its gain over one by one": gain[in_order],
        "best of all": f"{best[0]}, {best[1]}",
        "its gain": gain[best],
    }


verdicts = [verdict("small", small, small_timings), verdict("big", big, big_timings)]
chapter.facts["batch_1"] = verdicts
pages.table(verdicts)

# %% [markdown]
# ## 2.8 When it does not pay
#
# - **Where one request already fills the cores.** A GPU needs a batch to be busy; two CPU cores do not. What a batch can
#   win here is the overhead of a call, and a mixed batch pays more than that for its longest member.
# - **Where a large rectangle leaves the cache**: see whether the sweep's largest batches are slower than their padding
#   explains.
# - **In light traffic**: the adaptive batcher never sees two requests, and *patient* costs every one its full wait.
# - Sorting needs many requests at once: an offline job, or a long queue.
#
# ## 2.9 Exercises
#
# 1. Write a policy that takes the shortest requests first. What happens to the longest one under heavy load?
# 2. Set `max_wait_ms` to the service time of one request. Is there a load at which *patient* beats *adaptive*?
# 3. Which token budget fits your processor's cache? Compare the sweep with its size.
#
# **Next:** [chapter 3](03_distillation.ipynb) makes the model itself smaller.

# %%
chapter.save()
