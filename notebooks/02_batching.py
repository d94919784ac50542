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
# # 2 · Batching: which requests to answer together
#
# **Claim.** On a CPU a batch saves the overhead of single calls, and it wastes work on [padding](glossary.md#padding).
# Grouping requests of similar length takes most of that waste away. Whether batches then pay depends on the size of the
# model.
#
# **Cost.** No accuracy: the answers are checked to be the same. But a request now waits for the others of its batch, so its
# [latency](glossary.md#latency) goes up while the [throughput](glossary.md#throughput) of the machine does too.
#
# **Needs** [chapter 1](01_baseline.ipynb). **Leaves** one [rung](glossary.md#rung) of the [ladder](glossary.md#ladder), *best batching*.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
batch_sizes: list[int] = [1, 4]  # of the small model's sweep
big_batch_sizes: list[int] = [1, 2]  # of the big model's sweep
token_budgets: list[int] = [256, 1024]  # padded tokens in a batch, small model
offered_loads: list[float] = [0.5, 1.2]  # arrivals, in multiples of the one-by-one capacity
online_budget: int = 512  # padded tokens an online batch may hold
max_wait_ms: float = 50.0  # how long the patient policy holds a request back
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
device: str = "cpu"  # cpu or cuda; the file of params/hardware says which
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost column; set yours
n_test: int = 96  # test examples; 0 takes all
n_big_sweep_requests: int = 4  # requests in the sweep of the big model
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
seed: int = 0  # of the arrivals

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
from IPython.display import Markdown
from IPython.display import display as show

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
# A model computes a batch as one rectangle of token positions: a row for each request, as wide as the longest of them. Shorter requests
# are filled up with blanks, and a blank costs as much as a word. So it matters which requests share a rectangle. Take six requests, of
# 2, 9, 3, 8, 2 and 9 tokens, in batches of two (`#` is a token, `.` a blank):
#
# ```text
#  in order of arrival            sorted by length
#  ## .......                     ##
#  #########                      ##            nothing wasted
#
#  ### .....                      ### .....
#  ########                       ########      five blanks
#
#  ## .......                     #########
#  #########                      #########     nothing wasted
#
#  19 blanks, 33 tokens           5 blanks, 33 tokens
# ```
#
# With $n_i$ the tokens of request $i$ and $B_b$ the number of requests in batch $b$, the share of all positions that is blank is
#
# $$\mathrm{waste} = 1 - \frac{\sum_{i} n_i}{\sum_{b} B_b \, \max_{i \in b} n_i}$$
#
# In the sketch that is 19 of 52 positions in order, and 5 of 38 sorted. In common data sets up to half of all positions
# are padding ([Krell et al.](https://arxiv.org/abs/2107.02027)). This chapter compares three ways to form batches:
#
# - **in order**: the requests as they come, a fixed number in each batch. This is what the paper does. One long request makes all its neighbours long.
# - **sorted**: sorted by length first, then a fixed number in each batch.
# - **token budget**: sorted as well, but each batch holds about the same number of *tokens*, many short requests or a few long ones. The
#   [budget](glossary.md#token-budget) is the size of the rectangle, blanks included.
#
# In code, sorted batches and a token budget are these few lines:

# %% tags=["hide-input"]
display.source(batching.sorted_by_length, batching.token_budget)

# %% [markdown]
# We use the same test requests and the same [teacher](glossary.md#teacher) as in chapter 1. First, where is the padding?

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
caption = f"{len(test):,} test requests of the task {bench.task.name}"
bench.figure(figures.padding(lengths, tokens_computed, caption), "padding")

# %% [markdown]
# Each panel is a histogram of the requests by their length. The height of a bar is what the model computes for the
# requests of that length; its hatched part is padding. On the left every request is filled up to the limit of the
# model. In the middle, a batch of sixteen requests almost always contains a long one, and fifteen others pay for it. On
# the right, after sorting, little padding is left; the more requests there are to sort, the less.
#
# ## 2.2 Predict
#
# Suppose for a moment that time goes with the number of positions and nothing else. Answering one by one computes no blanks, so the
# speed-up of any batch over it would be
#
# $$s = \frac{\sum_{i} n_i}{\sum_{b} B_b \, \max_{i \in b} n_i} = 1 - \mathrm{waste}$$
#
# That is never above one: if nothing else counted, batches could only lose. What a batch can win is what this formula
# leaves out. Every call of a model has a fixed cost (Python, checks, dozens of small operations), and every call
# fetches all the weights from memory again. A batch pays both once for all its requests. A big model hardly notices,
# since its products take much longer; a small model does.
#
# In code, a *plan* is a list of batches, and a batch is a list of request numbers. `grid` makes one plan for each way
# to form batches and each size.

# %%
requests = test.take(batching.evenly_by_length(lengths, n_sweep_requests))
big_requests = test.take(batching.evenly_by_length(lengths, n_big_sweep_requests))

sizes = {"in order": batch_sizes, "sorted": batch_sizes, "token budget": token_budgets}
big_sizes = {"in order": big_batch_sizes, "sorted": big_batch_sizes}
small_plans = batching.grid(requests.lengths, sizes)
big_plans = batching.grid(big_requests.lengths, big_sizes)

# %%
waste = {key: batching.padding_share(requests.lengths, plan) for key, plan in small_plans.items()}
predicted_speedup = {key: 1 - share for key, share in waste.items()}

# %% [markdown]
# ## 2.3 Do it, Check, Measure
#
# We time the small teacher and the big reference of chapter 1. A batch must not change an answer. So the
# [logits](glossary.md#logit) of every way to form batches are compared with those of answering one by one; they may
# differ by a rounding error only, because in another rectangle the same numbers are added in another order. Then all
# ways are timed in turn, in several rounds.

# %%
models = {
    "teacher": checkpoints.to_transformers(teacher),
    "reference": bench.placed(
        checkpoints.untrained_classifier(reference, bench.task.num_labels, spans=bench.task.spans)
    ),
}


def sweep(model, requests, plans, rounds):
    predict = predictors.torch_predictor(model)
    alone = Variant("alone", predict, plans["in order", 1]).logits(requests)
    ways = {batching.words(*key): Variant("", predict, plan) for key, plan in plans.items()}
    return bench.compare(ways, requests, alone, rounds=rounds)


# %%
small = sweep(models["teacher"], requests, small_plans, rounds)
big = sweep(models["reference"], big_requests, big_plans, max(2, rounds - 1))

# %% tags=["hide-input"]
worst = max(small.largest_difference, big.largest_difference)
show(
    Markdown(
        f"Largest difference of a logit between any batch and one by one: {worst:.1e}; {small.labels_kept}."
    )
)


def curve(race, sizes, kind):
    names = {1: "in order 1"}  # a batch of one is the same in every order
    names |= {size: batching.words(kind, size) for size in sizes[kind] if size > 1}
    return list(names), [race[name].throughput_per_s for name in names.values()]


panels = {
    f"{what}, {checkpoints.size_mb(models[name]):.0f} MB": {
        kind: curve(race, race_sizes, kind) for kind in ("in order", "sorted")
    }
    for what, name, race, race_sizes in (
        ("small: the teacher", "teacher", small, sizes),
        ("big: the reference", "reference", big, big_sizes),
    )
}
labels = (
    "requests in a batch",
    "requests per second",
    "Throughput by batch size, in order and sorted",
)
bench.figure(figures.curves(panels, *labels, log_x=True, caption=bench.caption), "batch_size")

# %% [markdown]
# A line that falls says that larger batches are slower. Watch how far *in order* falls below its own first point, which
# is answering one by one, and how much of that *sorted* wins back. The distance between the two lines at the same batch
# size is what padding costs. With only a few timed requests, even sorted neighbours differ in length, so large batches
# keep some padding. With thousands of requests, as in the figure of section 2.1, *sorted* would waste less. In the size
# `full` many more are timed.
#
# The table has every way for the small model, predicted and measured:

# %% tags=["hide-input"]
bench.facts["sweep"] = rows = [
    {
        "batching": kind,
        "batch size or tokens": size,
        "padding": f"{waste[kind, size]:.0%}",
        "predicted speed-up": predicted_speedup[kind, size],
        "measured speed-up": small.speedup(batching.words(kind, size), "in order 1"),
        "requests/s": small[batching.words(kind, size)].throughput_per_s,
        "batch p50 ms": small[batching.words(kind, size)].latency_p50_ms,
    }
    for (kind, size), plan in small_plans.items()
]
heads = {
    "batching": "batches",
    "batch size or tokens": "requests or tokens in a batch",
    "padding": "waste",
    "predicted speed-up": "speed-up, predicted",
    "measured speed-up": "speed-up, measured",
    "requests/s": "throughput (requests/s)",
    "batch p50 ms": "median latency (ms)",
}
display.table(rows, heads=heads)

# %% [markdown]
# Both speed-ups are against the first row, one by one. Where the measured one is above the predicted one, the batch
# saved overhead. Where it is below, something costs more in a batch: a large rectangle may no longer fit in the
# processor's cache, so more has to be fetched from memory. The last column is the price: a request gets its answer only
# when its whole batch is done.
#
# ## 2.4 The rung
#
# The best of the table goes on the ladder. But the best of many noisy numbers is often just a lucky one. So we time the
# winner again, in turn with one by one, and the ladder gets this second figure. The step on the ladder is the ratio of
# these two, so it does not matter whether the machine has become slower or faster since chapter 1. It may be well below
# the factor in the table: the difference is the luck of the winner. In the call of `add_rung` below, `on` names the
# rung that this one stands on, and `below` is that rung, timed again.

# %%
best = max(small_plans, key=lambda key: small[batching.words(*key)].throughput_per_s)
finalists = {key: small_plans[key] for key in [("in order", 1), best]}
again = sweep(models["teacher"], requests, finalists, rounds)

# %% [markdown]
# The rung also carries an accuracy. We need not score all of *test* again: it is enough that test texts of all lengths, in the very batches of this rung, get the
# logits of chapter 1. Then the accuracy is the same too.

# %% tags=["hide-input"]
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
gain = again.speedup(batching.words(*best), "in order 1")
won = (
    f"**{rung.batching}**, {gain:.2f} times the throughput of one by one when both were timed again"
)
if best == ("in order", 1):
    won = "**one by one**: on this machine no batch of this model pays"
Markdown(
    f"The best: {won}. In its batches no logit of {len(chosen)} texts differs by more than "
    f"{checked.max_abs_difference:.1e}, so the accuracy is still {rung.accuracy:.1%}. (One by one, the machine now runs at "
    f"{drift:.2f} times its speed in chapter 1. The step on the ladder does not depend on that.)"
)

# %% [markdown]
# ## 2.5 Online: requests that arrive one at a time
#
# So far all requests were there at once. A server sees them arrive one at a time and cannot sort what has not arrived.
# Whenever the model is free, the server has to choose: answer the request it has, or hold it back until others have
# come? We compare four rules for that choice, called [policies](glossary.md#policy), in front of the same model:
#
# | policy | what it does when the model is free |
# |:--|:--|
# | **one by one** | takes the oldest request; the paper's choice for most of its tasks |
# | **adaptive** | takes all that wait, oldest first, up to a token budget. In light traffic that is one request; when a queue builds up, batches form by themselves |
# | **like lengths** | takes the oldest, and with it the requests of the queue that are nearest to it in length, up to the budget |
# | **patient** | as adaptive, but while all that wait fit into one batch, it holds them back for a while in the hope of more |
#
# The last is known as delayed batching ([Crankshaw et al.](https://arxiv.org/abs/1612.03079)). In code, a policy is a function that looks at the queue and says which requests to take now. `fitting` takes them one after the other while their rectangle
# stays within the budget:

# %% tags=["hide-input"]
display.source(scheduling.adaptive, scheduling.like_lengths)

# %% [markdown]
# For the arrivals we draw the gaps between requests at random and independently (a [Poisson
# process](glossary.md#poisson-process)). This is what the traffic of many independent users looks like. How busy the
# server is with it is its [load](glossary.md#load)
#
# $$\rho = \frac{\lambda}{\mu}$$
#
# where $\lambda$ is the number of requests that arrive a second, and $\mu$ the number that one-by-one serving can answer a second when it never has
# to wait for one. We measure $\mu$ on these very requests. Below load 1 a queue comes and goes. Above it, one by one cannot keep up, the
# queue grows as long as the test lasts, and the latencies there say more about the length of the test than about the server.
#
# Every batch is really computed and its time measured. Only the idle waiting between two arrivals is skipped: the clock of the test
# jumps over it.

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
but = f", but for {n_unlike} whose two classes score so nearly the same that the rounding decides"
Markdown(
    f"All {len(served)} load tests gave the same {len(arriving)} answers{but if n_unlike else ''}. None was lost and none given twice."
)


# %% tags=["hide-input"]
def percentiles(name, q):
    return [float(np.percentile(served[name, load].latency_ms, q)) for load in offered_loads]


panels = {
    title: {name: (offered_loads, percentiles(name, q)) for name in policies}
    for title, q in (("half of the requests take at most", 50), ("95 % take at most", 95))
}
labels = (
    "load (1: all that one by one can answer)",
    "latency, waiting included (ms)",
    "How long requests take, by load and policy",
)
caption = f"{bench.caption}; {len(arriving)} requests a point, Poisson arrivals"
bench.figure(figures.curves(panels, *labels, log_y=True, caption=caption), "online")

# %% [markdown]
# The lower a line, the sooner requests get their answer; the vertical axis is logarithmic. On the left of each panel
# the server is mostly idle: there the policies that do not wait look alike, and *patient* waits for nothing. (Where the
# table below has a mean batch of one, a policy does the same as *one by one*, and the difference between them is
# noise.) Towards the right a queue builds up. Compare *adaptive* with *like lengths* there: both form batches of the
# same budget, and only the second one tries to avoid padding. The same tests as numbers:

# %% tags=["hide-input"]
bench.facts["online"] = rows = [
    {
        "load": load,
        "policy": name,
        "answered/s": outcome.throughput_per_s,
        "p50 ms": float(np.percentile(outcome.latency_ms, 50)),
        "p95 ms": float(np.percentile(outcome.latency_ms, 95)),
        "mean ms": float(outcome.latency_ms.mean()),
        "in the system": float(outcome.latency_ms.sum() / 1e3 / outcome.span_s),
        "mean batch": float(outcome.batch_sizes.mean()),
        "model busy": f"{outcome.utilisation:.0%}",
    }
    for (name, load), outcome in served.items()
]
heads = {
    "answered/s": "answered a second",
    "p50 ms": "p50 (ms)",
    "p95 ms": "p95 (ms)",
    "mean ms": "mean (ms)",
    "in the system": "in the system, mean",
    "mean batch": "in a batch, mean",
    "model busy": "model busy",
}
display.table(rows, decimals=1, heads=heads)

# %% [markdown]
# The requests *in the system*, also called [in flight](glossary.md#in-flight), are those that wait or are being computed. There is a law that ties three of these columns together,
# whatever the policy and however the requests arrive ([Little](https://doi.org/10.1287/opre.9.3.383)):
#
# $$L = \lambda W$$
#
# On average, the number $L$ of requests in the system is the number $\lambda$ that are answered a second, times the
# mean latency $W$ in seconds. Take any row and check it. The law also works backwards. At a given traffic the latency
# is short only if few requests are in the system. So a policy that holds requests back raises the latency, unless its
# batches make up for it by being faster.
#
# For each load, which policy has the lowest p95?

# %% tags=["hide-input"]
p95_ms = {key: float(np.percentile(outcome.latency_ms, 95)) for key, outcome in served.items()}
lowest = {load: min(policies, key=lambda name: p95_ms[name, load]) for load in offered_loads}
bench.table(
    [
        {
            "load": load,
            "policy with the lowest p95": name,
            "its p95 (ms)": p95_ms[name, load],
            "p95 of one by one (ms)": p95_ms["one by one", load],
        }
        for load, name in lowest.items()
    ]
)

# %% [markdown]
# Where the two figures of a row are close, the winner is a matter of luck, for each test has few requests. [Chapter 7](07_serving.ipynb) repeats
# the question with a real server, several copies of the final model, and many more requests.
#
# ## 2.6 The paper answers one by one: was that right?
#
# On a CPU the paper answers one by one on most of its tasks
# ([Kim and Hassan Awadalla, section 6.2](https://arxiv.org/abs/2010.13382)), and its batches are in order. Here is this machine's answer:


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


bench.facts["batch_1"] = rows = [verdict("small", small), verdict("big", big)]
heads = {
    "best in order": "best batch size, in order",
    "its gain over one by one": "its speed-up over one by one",
    "best of all": "best way of all",
    "its gain": "its speed-up over one by one ",
}
shown = pd.DataFrame(rows).replace({"batch 1": "1, one by one", "in order 1": "one by one"})
shown["best in order"] = shown["best in order"].str.removeprefix("batch ")
display.table(shown, heads=heads)

# %% [markdown]
# If the second column says *one by one*, the paper was right about batches in order. If the fourth column names
# something else, batches of similar length were the fastest in the sweep of 2.3. These factors are those of the sweep,
# with the luck of the winner in them; for the small model believe the one that was timed again in 2.4.
#
# ## 2.7 When it does not pay
#
# - **Where one request already keeps all cores busy.** A GPU needs a batch to be busy, a few CPU cores do not. All that a batch can win
#   here is the overhead of calls.
# - **Where a large rectangle no longer fits in the cache.** Look in the table of section 2.3 for large batches that are slower than their waste predicts.
# - **In light traffic.** There is nobody to share a batch with, and the *patient* policy makes everyone wait for nothing.
# - **Where requests come one at a time.** Sorting needs many at once: a job that works through a file, or a long queue.
#
# **Next:** [chapter 3](03_distillation.ipynb) makes the model itself smaller.
#
# ## 2.8 Exercises
#
# As in chapter 1: predict, then open the answer. `make plan SET=...` says how long a command takes.
#
# **Exercise 1.** The figure of section 2.1 has batches of 16. Predict the waste of batches of 4 and of 64 requests, in
# order and sorted. Which of the two grows faster with the size of the batch? Then measure batches of these sizes:
#
# ```text
# make book SET="batch_sizes=[1,4,16,64] n_sweep_requests=128"
# ```


# %% tags=["answer"]
rows = []
for size in (4, 16, 64):
    plans = batching.in_order(lengths, size), batching.sorted_by_length(lengths, size)
    mixed, alike = (f"{batching.padding_share(lengths, plan):.0%}" for plan in plans)
    rows.append({"requests in a batch": size, "waste in order": mixed, "waste sorted": alike})
show(display.table(rows))
Markdown(
    "In order, a larger batch is more likely to hold a long request, and all its others pay for that one. "
    "Sorted, only the spread of the lengths within a batch is wasted, so the waste stays small while there are many requests to sort."
)

# %% [markdown]
# **Exercise 2.** At the highest load of section 2.5, how many requests are in the system on average with *one by one*, and how many with *like lengths*? Work
# it out from two columns of the table with Little's law, then look at the column that counts them. Then predict both for twice that load and run
#
# ```text
# make book SET="offered_loads=[0.5,1.0,2.8]"
# ```

# %% tags=["answer"]
highest, rows = max(offered_loads), []
for row in bench.facts["online"]:
    if row["load"] == highest:
        law = row["answered/s"] * row["mean ms"] / 1e3
        rows.append({"policy": row["policy"], "by the law": law, "counted": row["in the system"]})
show(display.table(rows))
left = 1 - 1 / (2 * highest)  # of all requests, when the last one arrives
Markdown(
    f"At load {2 * highest:g} one by one has answered a share of {1 / (2 * highest):.2f} when the last request arrives. The other "
    f"{left:.2f} of {len(arriving)} wait then, and about half as many on average over the test: {left / 2 * len(arriving):.0f}."
)

# %% [markdown]
# **Exercise 3.** A server may also take the *shortest* request of the queue first, whoever came first. Suppose it answers one by one and is
# busy nearly all the time. Which order has the lower mean latency, and which the lower longest latency? The policy is `short_first` in
# `fflib/serving/scheduling.py`; to measure it, run this chapter in `make lab` with one more line in `policies`:
#
# ```text
# "shortest first": scheduling.short_first(1, patience_s=60.0),
# ```

# %% tags=["answer"]
rng, rows = np.random.default_rng(seed), []
arrivals_s = queue_sim.poisson_arrivals(0.95 * capacity_per_s, 1000, rng)
many = rng.choice(lengths, 1000)
position_s = 1 / (capacity_per_s * many.mean())
words = "Computed for a thousand requests at load 0.95, with the same time for every token. Short requests no longer wait behind long ones, so the mean falls. The long ones wait until nobody else is there, so the longest latency grows."


def service(batch, _):
    return batch, position_s * many[batch].sum()


tried = scheduling.one_by_one, scheduling.short_first(1, np.inf)
for name, policy in zip(("oldest first", "shortest first"), tried, strict=True):
    ms = queue_sim.replay(arrivals_s, many, policy, service).latency_ms
    rows.append({"order": name, "mean (ms)": ms.mean(), "longest (ms)": ms.max()})
show(display.table(rows, decimals=0), Markdown(words))

# %% [markdown]
# **Exercise 4.** Is there a load at which *patient* beats *adaptive*? Say first which latency it can improve and which it cannot. Then let it wait
# only as long as one request takes:
#
# ```text
# make book SET="max_wait_ms=20.0 n_online_requests=200"
# ```

# %% tags=["answer"]
patient = f"patient, {max_wait_ms:.0f} ms"
better = [load for load in offered_loads if p95_ms[patient, load] < p95_ms["adaptive", load]]
where = f"at load {', '.join(f'{load:g}' for load in better)}" if better else "at no load"
Markdown(
    f"In this run its p95 is lower {where}. Holding a request back never makes that request faster. It can only make the batch fuller, and so help those that come later. "
    "That needs a queue, and where there is a queue *adaptive* finds company without waiting. So the two policies become alike at high load, and a "
    "win of *patient* in a test as short as this one is mostly chance."
)

# %% tags=["hide-input"]
bench.save()
