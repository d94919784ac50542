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
# # 7 · Serving: many requests, the same cores
#
# **Claim.** The model is finished; what is left to decide is how one machine serves it. How many copies of it run side by side, how
# many cores each copy gets, and which of the waiting requests are answered first: these three decisions change how many requests the
# machine answers, and how soon, as much as a technique of the earlier chapters does.
#
# **Cost.** No accuracy. But [throughput](glossary.md#throughput), the number of answers per second, and
# [latency](glossary.md#latency), the time that one request takes, are two different goals. This chapter is about how much of one you
# pay for the other. Copies of a model also take memory.
#
# **Needs** chapters [1](01_baseline.ipynb) to [6](06_runtime.ipynb). **Leaves** the last two [rungs](glossary.md#rung), *one thread*
# and *instances*, and the decision which of them [chapter 9](09_story.ipynb) goes on from.

# %% tags=["parameters"]
goal: str = "throughput"  # what the division of the cores is chosen for: throughput or latency
instances: int = 0  # how many; 0 takes the best division that this run measures
instance_threads: int = 1  # of each, where instances is not 0
instance_kinds: list[str] = ["process", "thread"]  # what an instance is
token_budgets: list[int] = [256, 1024]  # padded tokens in a batch
server_loads: list[float] = [0.3, 0.5, 0.7, 0.85]  # arrivals, in parts of the capacity
queue_limit: int = 16  # how many requests may wait
server_tokens: int = 512  # padded tokens a batch of the server may hold
requests_per_day: float = 1.0e8  # the traffic of a fleet
p99_bound_ms: float = 200.0  # the promise: 99 of 100 requests are answered within
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost columns; set yours
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
n_server_requests: int = 60  # requests of a scenario, and of each policy
n_load_requests: int = 120  # requests at each of server_loads
load_seconds: float = 10.0  # the most that one of them may last
server_padding: float = 0.1  # of a batch of like lengths, over its texts
overload: float = 1.5  # arrivals to find the capacity, over the offline scenario's answers
checked_loads: list[float] = [0.5, 0.7]  # of server_loads: the simulation learns of the others
peak_factor: float = 2.0  # its densest hour over the mean
n_simulated: int = 2000  # requests of a simulated load
seed: int = 0  # of arrivals

# %% tags=["hide-input"]
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.engine import export, predictors
from fflib.measure import cores, fitness
from fflib.measure.timing import Variant
from fflib.model import cache, training
from fflib.runtime import openvino, served
from fflib.serving import (
    capacity,
    core_split,
    figures,
    loadgen,
    scheduling,
    server_model,
    simulation_check,
)
from fflib.serving.instances import KINDS
from fflib.serving.instances import start as start_instances
from fflib.serving.load_test import LoadTest

bench = Bench.open("07_serving", globals())

# %% [markdown]
# ## 7.1 Idea: divide the cores, order the queue
#
# This is everything that a request meets on its way:
#
# ```text
#  requests           queue               instances             cores
#
#  o  o   o  ---->  [ o o o o ]  --batch-->  copy 1 of the model --  core 1
#  come when they   a few may    --batch-->  copy 2 of the model --  core 2
#  like             wait, the rest           ...                     ...
#                   are refused
# ```
#
# **The right half: the cores.** An [instance](glossary.md#instance) is one copy of the model with cores of its own. Why should
# several copies be faster than one copy that uses all cores? The products of a small model are so small that it hardly pays to
# split one of them among threads: handing out the pieces and waiting for the slowest takes longer than the work. Two requests, on the other hand, have nothing
# to do with each other. Two instances compute them side by side and never wait for one another.
#
# **The left half: the queue.** Requests do not come one after another like the lines of a test set. Sometimes three arrive at once,
# and then none for a while. How long a request waits depends on how busy the machine is, on which requests are taken first, and on
# whether requests are turned away before the queue gets long.
#
# One law ties the two halves together, [Little's law](https://doi.org/10.1287/opre.9.3.383):
#
# $$L = \lambda W$$
#
# $L$ is the mean number of requests that are inside the system, waiting or being computed. $\lambda$ is how many are answered per
# second, and $W$ is the mean time that a request spends inside, in seconds. It holds for any order of service and any kind of
# arrivals, as long as, over time, as many requests
# leave the system as enter it. For example, if four requests are inside on average and each of them stays a
# fiftieth of a second, two hundred are answered per second. A single instance that takes one request at a time has $L = 1$, so
# its throughput is $1 / W$. With $c$ such instances $L$ is $c$, and the throughput grows to $c / W$, *if* $W$ stays what it was.
# Whether it does is the question of 7.3.
#
# The model that is served here is the file that chapter 6 left.

# %% tags=["hide-input"]
# A slip in the parameters stops here, before anything takes time.
files.check_known("kind of instance", instance_kinds, KINDS)
files.check_known("goal", [goal], core_split.GOALS)
if instances:
    cores.divide(instances, instance_threads)
also = [(1, bench.threads), (instances, instance_threads)]
simulation_check.check_loads(server_loads, checked_loads)
quantised = bench.facts_of("05_quantization")["quantised"]
recipe, final = quantised["recipe"], quantised["model"]
left, base = (bench.facts_of("06_runtime")[name] for name in ("files", "goes_on_from"))
served_file, papers_file = (files.resolve(left[name]) for name in ("served", "the paper's graph"))
model = bench.load(final)
for path in (served_file, papers_file):
    export.check_belongs(path, model)
test = bench.texts("test", final)
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
busy_logits = training.predict(model, busy)
one_instance = predictors.onnx_predictor(predictors.onnx_session(served_file, bench.threads))

# %% [markdown]
# ## 7.2 Predict: what may it bring?
#
# **Cores.** Let $X_1$ be the throughput of one instance on one core. Then $c$ instances on a core each answer
#
# $$X_c \le c\, X_1$$
#
# requests per second. They would reach $c\, X_1$ if they shared nothing. In fact they share the bandwidth of the memory, the last
# level of the cache, and the power that the processor may draw, so some part of the bound is lost. Compared with *one* instance on
# *all* cores the gain can be larger or smaller: that depends on how badly this one instance uses its threads.
#
# **Queue.** Let $S$ be the mean time that an instance needs for a request, and let $\lambda$ requests arrive per second. Then the
# instances are busy for the share
#
# $$\rho = \frac{\lambda S}{c}$$
#
# of the time, the [utilisation](glossary.md#utilisation). If requests arrive at random, as a [Poisson process](glossary.md#poisson-process), and a single instance serves
# them in order, the mean time that a request waits before it is served is (the formula of Pollaczek and Khinchine)
#
# $$W_q = \frac{\rho}{1 - \rho} \cdot \frac{1 + C^2}{2} \cdot S$$
#
# where $C$ is the standard deviation of the service times over their mean: 0 if all requests take equally long, larger if a few
# take much longer than the others. The first fraction is the one that hurts. On a machine that is busy half of the time, a request with $C = 0$ waits
# half as long as it is served. Nine tenths busy, it waits four and a half service times, and as $\rho$ approaches 1 the wait has no
# bound. So expect a latency that stays flat for a long while and then rises steeply, long before the machine is full. 7.6 measures it.
#
# ## 7.3 Measure: dividing the cores
#
# One instance with every core, an instance for each core, or something between? FastFormers tries this for two models
# ([Kim and Hassan Awadalla, Table 2](https://arxiv.org/abs/2010.13382)); here it is done on your machine, for the [teacher](glossary.md#teacher) and for
# the model that is served. Each instance gets one request at a time, and all instances are busy all the time.
#
# An instance can be a *process*, with a copy of Python and of the model of its own, or a *thread* of the process that is there
# already. Both are pinned to physical cores that no other instance uses. Threads do compute side by side, because the engine
# lets go of Python's lock while it works. A request to a process is copied over a socket, which
# costs a little; in return, a process that crashes takes no other with it.
#
# The latencies are those of a request on this busy machine: [p50](glossary.md#p50-and-p95) is the median, and p95 is the time within
# which 95 of 100 requests are answered,
#
# $$p_{95} = \min \{ t : P(\mathrm{latency} \le t) \ge 0.95 \}.$$
#
# The two functions below list the divisions that are tried and give each instance its cores.

# %% tags=["hide-input"]
display.source(cores.divide, core_split.divisions)

# %%
teacher, teacher_texts = bench.load("teacher"), bench.texts("test", "teacher")
spread = batching.evenly_by_length(teacher_texts.lengths, max(2, n_requests // 5))
teacher_requests = teacher_texts.take(spread)
teacher_file = export.save_onnx(teacher, served_file.parent.with_name("teacher") / "model.onnx")
right = training.predict(teacher, teacher_requests)
teacher_rows = core_split.study(
    teacher_file, teacher_requests, right, instance_kinds, rounds, tolerance=1e-3, also=also
)

# %%
# In eight bits another division of a product may push a value across the border of its code: so the served file is
# compared with its own answers, and more loosely.
one_by_one = batching.in_order(requests.lengths, 1)
right = Variant("alone", one_instance, one_by_one).logits(requests)
limit, halves = served.tolerance(recipe, right), bench.machine["hyper_threads"]
rows = core_split.study(
    served_file, requests, right, instance_kinds, rounds, limit, hyper_threads=halves, also=also
)
chosen = core_split.chosen(rows, goal, instances, instance_threads)
division, kind = (chosen["instances"], chosen["threads"]), chosen["kind"]

# %% tags=["hide-input"]
rows_by_model = {
    "teacher, fp32": (teacher_rows, core_split.best(teacher_rows, goal)),
    f"{final}, {f'int8 {recipe}' if recipe else 'fp32'}": (rows, chosen),
}
drawn = [
    {"model": name} | row | {"chosen": row == best}
    for name, (model_rows, best) in rows_by_model.items()
    for row in model_rows
]
bench.facts["divisions"] = drawn[len(teacher_rows) :]
bench.facts["teacher_divisions"] = drawn[: len(teacher_rows)]
bench.facts["division"] = next(row for row in bench.facts["divisions"] if row["chosen"])
caption = f"{bench.caption}; one request at a time for each instance"
ratios = core_split.over_one(drawn[: len(teacher_rows)], bench.threads)
ratios += core_split.over_one(drawn[len(teacher_rows) :], bench.threads)
unit = "times as many requests as one instance with all threads"
show(bench.figure(figures.divisions(ratios, caption, unit), "divisions"))
gain = bench.facts["instances_gain"] = core_split.gain(rows, bench.threads)
found = "On one core there is one instance."
if gain:
    found = f"Several instances answer {gain:.2f} times as many requests as one with all threads. One instance on each "
    found += f"core, as {kind}, has {core_split.of_the_bound(rows, kind):.0%} of the bound of 7.2."
Markdown(
    f"{found} The best division for {goal}: **{division[0]} x {division[1]}** (instances x threads of each), as {kind}. "
    f"`.venv/bin/python -m fflib.serving.core_split --run {run} --write NAME` keeps it as hardware parameters."
)

# %% [markdown]
# **Reading the figure.** Further right is more throughput, as a multiple of one instance with all threads; lower is less
# latency. A label gives the number of instances x the threads of each. A mark is the 95th percentile, and its line reaches down
# to the median; the two lie apart because some texts are longer than others. The upper panel is the teacher. Its products are
# large enough to occupy several threads, so it usually gains less from being copied than the small model in the lower panel does.
#
# The sentence below the figure names the share of the bound $c\, X_1$ that one instance per core reaches, all of them of the
# chosen kind, process or thread. A share above the whole bound cannot be real. It says that the machine itself became faster or slower between two measurements, as virtual
# machines do that share a processor with strangers; read it as "no loss that could be measured here".
#
# ## 7.4 Do it: one thread, and several instances
#
# Now the division becomes a rung of the [ladder](glossary.md#ladder). What is compared with what:
#
# | name in the tables | file that is served | instances | threads of each |
# |:--|:--|:--|:--|
# | the rung that chapter 6 ended with | this book's graph | one | all |
# | one thread | this book's graph | one | one |
# | instances | this book's graph | as chosen in 7.3 | as chosen in 7.3 |
# | the paper's graph | the graph that FastFormers' recipe makes | as chosen in 7.3 | as chosen in 7.3 |
#
# *This book's graph* is the file that chapter 6 left. If the graph for the first token missed the rule there, that is chapter 5's
# file, which computes all tokens, and then it lacks the advantage that chapter 6 measured. The paper's graph has the same
# precision as this book's: where chapter 5 found no eight-bit recipe that keeps the model's labels, neither of them is in eight
# bits. So the comparison is one of graphs.
#
# Each of these may serve its requests one by one (`in order 1`) or in batches of similar length that hold up to a
# [token budget](glossary.md#token-budget), [padding](glossary.md#padding) included. Which batches are best is measured, not assumed, and in two passes. If you time many variants
# once and report the fastest, you mostly report the luckiest. So the first pass only picks, and the second pass
# times what was picked anew.
#
# A batch also has to keep [the rule](glossary.md#the-rule), that is the required share of the teacher's score on
# [dev](glossary.md#dev-and-test). Why could a batch change an answer at all? Dynamic eight-bit scales are set by the largest value in the whole batch
# (chapter 5), so the neighbours of a text shift how its own values are rounded.

# %%
running = ExitStack()  # they run until the end of the chapter
several = running.enter_context(start_instances(served_file, *division, kind))
papers = running.enter_context(start_instances(papers_file, *division, kind))
one_thread = running.enter_context(start_instances(served_file, 1, 1, "thread"))
ways = {
    base: predictors.together([one_instance]),
    "one thread": predictors.together(one_thread),
    "instances": predictors.together(several),
    "the paper's graph": predictors.together(papers),
}
plans = batching.grid(busy.lengths, {"in order": [1], "token budget": token_budgets})
plans[bench.best_batching] = bench.best_plan(busy.lengths)


# %% tags=["hide-input"]
labels_to_keep = served.labels_to_keep(recipe, min_agreement, len(test))


def answers_to(texts, batches):
    logits = cache.predict_cached(model, texts)
    return served.answers(one_instance, texts, logits, batches, labels_to_keep)


@lru_cache
def kept_in(batches):
    return bench.retention(answers_to(bench.texts("dev", final), batches).logits, "dev")


def named(way, batches):
    return f"{way}, {batching.words(*batches)}"


def compare(pairs, rounds, seed=0):
    """Time pairs of a way and its batches, all in turn."""
    return bench.compare_at_once(
        {named(way, batches): ways[way] for way, batches in pairs},
        busy,
        busy_logits,
        plans={named(way, batches): plans[batches] for way, batches in pairs},
        rounds=rounds,
        seed=seed,
        tolerance=served.tolerance(recipe, busy_logits),
    )


# %%
first_pass = compare([*product(("one thread", "instances"), plans)], max(1, rounds - 1))


def best_batches(way):
    speed = {batches: first_pass[named(way, batches)].throughput_per_s for batches in plans}
    fastest, *_ = by_speed = sorted(plans, key=speed.get, reverse=True)
    return next((each for each in by_speed if kept_in(each).holds(min_retention)), fastest)


best_for = {way: best_batches(way) for way in ("one thread", "instances")}
first_pass.ratios(over=named("one thread", ("in order", 1)))

# %%
second_pass = compare(
    [
        (base, bench.best_batching),
        ("one thread", best_for["one thread"]),
        ("instances", best_for["instances"]),
        ("instances", ("in order", 1)),
        ("the paper's graph", ("in order", 1)),
        ("the paper's graph", best_for["instances"]),
    ],
    rounds,
    seed=1,
)
one_session = named(base, bench.best_batching)

# %% [markdown]
# **How to read the numbers.** The table above is the first pass. It shows ratios only: its job was to pick. The table
# below is the second pass, and its requests per second are the ones that count. The model that chapter 6 ended with took part in the same rounds, so a
# machine that drifts does not enter the step between the two rungs. Its own requests per second are left empty here
# because they stand in chapter 6: one configuration has one number in this book.
#
# You may find that a row that was *not* picked comes out ahead in the second pass. Then the two were too close for the first pass to
# tell apart. The rung keeps what was picked beforehand, since picking again now would let the luck back in.

# %% tags=["hide-input"]
over_papers = [
    second_pass.speedup(named("instances", batches), named("the paper's graph", batches))
    for batches in (best_for["instances"], ("in order", 1))
]
bench.facts["instances_over_the_papers_graph"] = over_papers
bench.facts["one_by_one"] = second_pass[named("instances", ("in order", 1))].row
rows = second_pass.rows(over=one_session)
for row in rows:
    row["answers"] = fitness.verdict(second_pass[row["way"]].checked, min_agreement)
rows[0] |= dict.fromkeys(second_pass[one_session].row)  # its own numbers are chapter 6's
display.table(rows)

# %% [markdown]
# The last column says whether the answers still are those of the model: *checked* if enough [labels stayed the same](glossary.md#label-agreement). The
# two latencies of a row belong to a busy machine, and in batches a request is answered only when its whole batch is.
#
# ## 7.5 Check: accuracy in the batches that are served
#
# Because an answer may depend on its batch, accuracy is measured once more, on all of test and in exactly the batches that are
# served.

# %%
answers = {
    batches: answers_to(test, batches)
    for batches in {*best_for.values(), bench.best_batching, ("in order", 1)}
}


# %% tags=["hide-input"]
def add_rung(name, count, threads_each):
    batches = best_for[name]
    bench.add_rung(
        name,
        replace(second_pass[named(name, batches)], checked=answers[batches].check),
        on=base,
        like=base,
        below=second_pass[one_session],
        batching=batching.words(*batches),
        plan=plans[batches],
        instances=count,
        threads=threads_each,
        scored=bench.scored(answers[batches].logits, test.gold),
        kept=kept_in(batches),
    )


add_rung("one thread", 1, 1)
add_rung("instances", *division)
pays = second_pass.speedup(named("instances", best_for["instances"]), one_session) > 1
pays = pays and kept_in(best_for["instances"]).holds(min_retention)
bench.facts["goes_on_from"] = "instances" if pays else base
show(bench.rungs_table())
Markdown(
    f"The story goes on from **{bench.facts['goes_on_from']}**. With this book's graph the same instances answer "
    f"{over_papers[0]:.2f} times as many requests as with the paper's graph, and one by one {over_papers[1]:.2f} times."
)

# %% [markdown]
# The table has both new rungs with their intervals, and the sentence below it says from which rung the book goes on: from *instances*, if
# they are faster than the one instance with all threads and keep the rule, otherwise from the rung before.
#
# **The peer.** OpenVINO reaches throughput in another way: one copy of the model that keeps as many requests
# [in flight](glossary.md#in-flight) as there are threads, and divides the cores itself. Where it is installed, it gets the same batches as the instances, in
# the same rounds, and the table below shows its throughput as a multiple of theirs. Where it is not, the next cells do nothing.

# %%
peers = {name: path for name, path in left.items() if name.startswith("OpenVINO")}
if peers and bench.threads > 1:
    in_flight = {
        name: openvino.in_flight(files.resolve(path), bench.threads, bench.threads)
        for name, path in peers.items()
    }
    in_flight["this book's instances"] = ways["instances"]
    peers_race = bench.compare_at_once(
        in_flight, busy, busy_logits, plans=plans[best_for["instances"]], tolerance=np.inf
    )

# %% tags=["hide-input"]
if peers and bench.threads > 1:
    batches = f"{best_for['instances'][0]} {best_for['instances'][1]}"
    bench.facts["peers_at_once"] = [
        {"way": name, "batches": batches}
        | {"times this book's": peers_race.speedup(name, "this book's instances")}
        for name in peers_race
    ]
    kept = {
        row["engine"]: row["labels kept %"] / 100 for row in bench.facts_of("06_runtime")["engines"]
    }
    kept["this book's instances"] = answers[best_for["instances"]].check.label_agreement
    verdicts = {
        name: fitness.CHECKED if share >= min_agreement else fitness.NOT_SERVED
        for name, share in kept.items()
    }
    show(
        bench.table(
            [row | {"answers": verdicts[row["way"]]} for row in bench.facts["peers_at_once"]]
        )
    )
Markdown(f"*OpenVINO left out: {openvino.missing()}*" if not peers else "")

# %% [markdown]
# ## 7.6 Measure: a server under load
#
# So far every instance found its next request ready. A real server does not choose when requests come. Three things now decide what a
# user sees:
#
# - **The queue is bounded.** At most `queue_limit` requests may wait. A request that finds the queue full is refused at once. That sounds harsh,
#   but the alternative is an answer that comes long after anybody needs it, and a queue that makes all later requests late as well.
# - **A policy fills the batches.** When an instance becomes free, a [policy](glossary.md#policy) decides which of the waiting
#   requests it takes. *One by one* takes the oldest. *Adaptive batches* takes as many of the oldest as fit into `server_tokens`, and never waits
#   for more to come: where the queue is short, so are the batches. *Like lengths* takes the oldest and those of nearly the same length.
# - **Padding is limited.** In a batch, all texts are padded to the longest. One text of twenty tokens beside one of two hundred makes a
#   batch of four hundred, of which almost half is padding. In a short queue the nearest length may be that far away, so *like lengths* stops before padding
#   exceeds the share `server_padding` of the texts.
#
# Below are the policies, and the code of the adaptive one. One technical detail: while a load lasts, Python's garbage collector
# leaves alone what existed before, because a collection stops every thread of the server.

# %%
policies = {
    "one by one": scheduling.one_by_one,
    "adaptive batches": scheduling.adaptive(server_tokens),
    "like lengths": scheduling.like_lengths(server_tokens, server_padding),
}
order = np.random.default_rng(seed).choice(len(test), n_server_requests)
right_labels = answers["in order", 1].logits.argmax(1)
enough = partial(served.labels_to_keep, recipe, min_agreement)  # of the labels of so many requests
load_test = LoadTest(several, test, order, right_labels, enough, queue_limit, seed)
display.source(scheduling.adaptive)

# %% [markdown]
# MLPerf, the industry's benchmark of inference, distinguishes scenarios by who sets the pace
# ([Reddi et al.](https://arxiv.org/abs/1911.02549)). Three of them matter for a single machine:
#
# | scenario | when does the next request come? | question |
# |:--|:--|:--|
# | offline | all are there from the start | how many answers per second at best? |
# | single stream | when the one before is answered | how long does a request take that never waits? |
# | server | at random times, however busy the server is | how long does a request take that may have to wait? |
#
# *Offline* is run with each policy. Batches of unequal lengths can be slower here than no batches at all, because of their padding.
# The policy with the most answers per second is used for everything that follows.
#
# *Server* is the scenario of users. Requests arrive as a [Poisson process](glossary.md#poisson-process): the gaps between them are
# random and independent of what the server does. A latency counts from the moment at which a request was *due*. Otherwise
# a server that falls behind would slow down its own test and look better than it is.
#
# First the [capacity](glossary.md#capacity): what the server answers while more requests come than it can answer. It is lower than
# the offline throughput, since the program that sends the requests works on the same cores. Every [load](glossary.md#load) below is a share of the
# capacity. The loads take turns, with a part of each in every round, so that a machine that drifts affects all of them; and each load has
# requests of its own. The two other policies get one load each, which 7.7 needs.

# %%
floods = {name: load_test.offline(policy) for name, policy in policies.items()}
best_policy = max(floods, key=lambda name: floods[name].throughput_per_s)
policy, flood = policies[best_policy], floods[best_policy]
stream = load_test.single_stream(policy)

# %%
most = n_load_requests, load_seconds
flooding = {overload: (policy, overload * flood.throughput_per_s)}
overloaded = load_test.in_turn(flooding, *most, rounds=1)[overload]
capacity_per_s = overloaded.throughput_per_s
of_flood = max(checked_loads) * capacity_per_s / flood.throughput_per_s
others = {name: policies[name] for name in policies if name != best_policy}
asked = {share: (policy, share * capacity_per_s) for share in server_loads}
for name, other in others.items():
    asked[name] = other, of_flood * floods[name].throughput_per_s
loads = load_test.in_turn(asked, *most, rounds) | {overload: overloaded}
points = [loads[share].summary for share in (*server_loads, overload)]
knee = loadgen.knee([loads[share] for share in (*server_loads, overload)])

# %% tags=["hide-input"]
bench.facts["offline"] = {name: load.throughput_per_s for name, load in floods.items()}
bench.facts["server"] = {
    "points": points,
    "knee": knee,
    "capacity_per_s": capacity_per_s,
    "single_stream_p50_ms": stream.percentile_ms(50),
    "lateness_p99_ms": max(float(np.percentile(load.lateness_ms, 99)) for load in loads.values()),
}
alone_ms = {"p50 ms": stream.percentile_ms(50), "p95 ms": stream.percentile_ms(95)}
scenarios = [{"scenario": "single stream"} | alone_ms]
for name, per_s in bench.facts["offline"].items():
    scenarios.append({"scenario": f"offline, {name}", "answered/s": per_s})
show(bench.table(scenarios))
heads = {"offered_per_s": "offered/s", "answered_per_s": "answered/s", "refused_share": "refused %"}
heads |= {f"p{q}_ms": f"p{q} ms" for q in (50, 95, 99)} | {"late_share": "late %"}
in_percent = [
    point | {share: 100 * point[share] for share in ("refused_share", "late_share")}
    for point in points
]
show(bench.table([{heads[key]: point[key] for key in heads} for point in in_percent]))
not_valid = [f"{point['offered_per_s']:.0f} per second" for point in points if not point["valid"]]
told = f"Policy: *{best_policy}*. The capacity is {capacity_per_s:.0f} requests per second, "
told += f"and the knee is at {points[knee]['offered_per_s']:.0f}."
if not_valid:
    told += f" **Not valid, because the generator itself was late: {', '.join(not_valid)}.**"
Markdown(told)

# %% [markdown]
# **Reading the tables.** The first one has the scenarios in which nobody chooses the load. In the second, each row is one offered
# load, in requests per second. As long as the server keeps up, *answered/s* equals *offered/s* and nobody is refused. In the last
# row more is offered than it can answer: the rest is refused, and those who do get in wait behind a full queue. (There
# *answered/s* is a little less than *offered/s* without the refused, because the clock runs until the last answer.) Compare the rows
# with the prediction of 7.2: latency should rise slowly at first, and then steeply. Where p95 *falls* from one row to the next, the machine was disturbed during the
# earlier one.
#
# The [knee](glossary.md#knee) is the load with the best bargain between the two goals, the largest ratio
#
# $$P = \frac{X}{W}$$
#
# of answers per second $X$ to mean latency $W$, which Kleinrock called power. Beyond the knee, more load buys few answers for much waiting.
#
# Two columns need a word. *p99* is empty where fewer than 500 requests were answered, since a hundredth of them would be too few. *Late* is the part of
# the latency that is not the server's fault: the *generator*, the program that sends the requests, shares the cores with the
# server and sends some of them after they were due. Where that exceeds a fifth of the mean latency, the load is marked as not valid.
#
# What if an instance dies under load? A process that is lost is noticed and started anew, and its requests are asked once more, so that
# each request still gets exactly one answer. A test in `tests/serving` kills one to make sure. Instances that are threads end together with the server.
#
# ## 7.7 A fleet, simulated from measured times
#
# How many machines like this one answer a hundred million requests a day, with a promise about waiting? Nobody here has a fleet, so the
# queue is simulated. The policies in the simulation are the server's own. Everything else comes from the server's log: how long an instance is *occupied* by a
# batch of a given shape, alone and while another one computes; how late a request reaches the queue; and how long a sleeping
# instance takes to wake up. Timing a batch by itself would not do, because in the server, sending and answering take place on the same cores.
#
# A simulation that nobody checks is a guess. This one learns from some of the loads and is tested on the others, the
# `checked_loads`, with other requests, and once under each other policy. In each test the same requests come at the same times, once
# simulated and once measured. It claims to meet the measured p95 within a quarter, up or down. **A policy for which it misses that gets no fleet below.**

# %%
learned = [loads[share] for share in server_loads if share not in checked_loads]
server = server_model.ServerModel.of_loads(learned, division[0], [*floods.values()])


def examine(name):
    """Simulate the load of that name and set it beside the measured one."""
    way = others.get(name, policy)
    return simulation_check.examine(server, loads[name], test.lengths, way, queue_limit, seed)


examined = {name: examine(name) for name in loads}

# %% tags=["hide-input"]
checks = {best_policy: [examined[share] for share in checked_loads]}
checks |= {name: [examined[name]] for name in others}
curve = [examined[share] for share in (*server_loads, overload)]
simulated = bench.facts["simulated"] = [row["simulated"] for row in curve]
bench.facts["simulation_checks"] = [
    {"policy": name} | row for name, rows in checks.items() for row in rows
]
holds = {name: simulation_check.holds(rows) for name, rows in checks.items()}
missed = [name for name, it_holds in holds.items() if not it_holds]
bench.facts["simulation_holds"], bench.facts["simulation_misses"] = holds[best_policy], missed
caption = f"{bench.caption}; at most {n_load_requests} requests a load, {queue_limit} may wait"
show(bench.figure(figures.load(curve, knee, capacity_per_s, simulated, caption), "server"))
show(bench.table(simulation_check.table(bench.facts["simulation_checks"])))
Markdown(
    f"**The simulation misses its check here for: {', '.join(missed)}.** No fleet is built on these."
    if missed
    else "**The simulation holds for every policy.**"
)

# %%
machines = {
    way: partial(server.poisson, count=n_simulated, lengths=test.lengths, policy=policy, seed=seed)
    for way, policy in policies.items()
    if holds[way]
}
traffic = requests_per_day, peak_factor
fleet, impossible = capacity.fleets(*traffic, p99_bound_ms, usd_per_hour, machines)

# %% tags=["hide-input"]
bench.facts["fleet"] = fleet
at_least = capacity.lower_bound(*traffic, capacity_per_s)
show(Markdown(f"Lower bound: {at_least} machines, if all were busy without a pause at the peak."))
for way, why in impossible.items():
    show(Markdown(f"*{way}: {why}*"))
if fleet:
    told = f"{requests_per_day:,.0f} requests a day, {peak_factor:g} times as many at the peak"
    caption = f"{told}; simulated; {bench.caption}"
    show(bench.figure(figures.fleet(fleet, p99_bound_ms, caption), "fleet"))

# %% [markdown]
# **Reading the figure and its table.** Full lines are measured and dashed ones simulated. In the table, *busy %* is the
# utilisation of 7.2, and *ratio of p95* is the simulated p95 over the measured one; the claim is a ratio between 0.8 and 1.25.
# The interval beside the measured p95 shows how far chance alone moves it. Where it reaches further than a quarter to either side,
# a check that is passed says little, and so does one that is missed. On a machine that others use too, the measured p95 contains their disturbances, which the simulation
# cannot know: then the simulated one is smaller and the check fails. It is too large, with a ratio above one, where the
# disturbance fell into the loads that the simulation learned from.
#
# The fleet itself follows from a short argument. With $N$ requests a day and a peak that is $f$ times as dense as the mean, the peak brings
# $\lambda = f N / 86400$ requests per second. A balancer that sends each request to one of $M$ machines at random gives every machine a Poisson process with
# rate $\lambda / M$. So the fleet is the smallest $M$ for which one simulated machine at that rate answers 99 of 100 requests within the
# promised time and refuses nobody. Whatever the simulation says, $M$ cannot be smaller than $\lambda$ over the capacity of one machine, which is
# printed above as the lower bound.
#
# A policy that passes its check can still lack a fleet. In a short simulation a queue that grows for ever may look short, so
# the simulated time has to be a hundred times the promised one. Where it is not, the line above says how many requests it
# takes; give that number to `n_simulated`.
#
# ## 7.8 Short and long requests apart
#
# A short request behind a long one waits for work that is not its own. Can a better order help? Five policies run on the real
# server, at a load that each of them can answer and with a queue that holds everybody:
#
# - *oldest first, one by one* and *oldest first, in batches*;
# - *like lengths*, as in 7.6;
# - *shortest first*, except that a request that has waited for half of the promised time goes first, so that no long one waits for ever;
# - *short ones apart*: half of the instances take only texts up to the median length, the others only longer ones.
#
# Each policy runs once, so small differences mean nothing.

# %%
middle = min(int(np.median(test.lengths)) + 1, int(test.lengths.max()))
by_policy = {
    "oldest first, one by one": scheduling.one_by_one,
    "oldest first, in batches": policies["adaptive batches"],
    "like lengths": policies["like lengths"],
    "shortest first": scheduling.short_first(1, p99_bound_ms / 2e3),
}
if len(several) > 1:
    for_short = scheduling.within(1, 0, middle)
    for_long = scheduling.within(1, middle, bench.task.max_length + 1)
    half = len(several) // 2
    by_policy["short ones apart"] = [for_short] * half + [for_long] * (len(several) - half)

# %%
rate_per_s = 0.85 * min(load.throughput_per_s for load in floods.values())
by_length = {
    name: load_test.poisson(policy, rate_per_s, queue_limit=len(order))
    for name, policy in by_policy.items()
}

# %% tags=["hide-input"]
rows = [
    {"policy": name, "throughput_per_s": load.throughput_per_s}
    | load.p95_by_length(test.lengths[order], middle)
    for name, load in by_length.items()
]
bench.facts["policies"] = rows
caption = f"{bench.caption}; {len(order)} requests, {rate_per_s:.0f} per second; short: under {middle} tokens"
bench.figure(figures.by_length(rows, caption), "by_length")

# %% [markdown]
# **Reading the figure.** Each line joins the p95 of short requests with that of long ones; the shorter the line, the more
# evenly a policy treats them. The throughput at the right is nearly the same for all, because the load is. The policies only
# redistribute the waiting. In batches the two marks move together and to the right, because a short request then waits for the long ones
# beside it. Watch who pays: what helps short requests usually makes the long ones slower. Instances that are reserved for one kind
# stand idle while the other kind queues.
#
# ## 7.9 What it cost
#
# No accuracy, beyond the rounding that chapter 5 has already paid for. What it costs is time for the single request: several
# instances on the same cores answer more requests, but each request gets fewer cores. And it costs memory, as
# each instance has its own copy of the weights.

# %% tags=["hide-input"]
# All three in the second pass: what the machine has drifted since chapter 6 is not in it.
one = second_pass[one_session]
timings = {base: one}
timings |= {name: second_pass[named(name, batches)] for name, batches in best_for.items()}
copies = {base: 1, "one thread": 1, "instances": division[0]}
weights_mb = bench.rung(base)["model_mb"]
bench.table(
    [
        {
            "rung": name,
            "p50, as a multiple": timing.latency_p50_ms / one.latency_p50_ms,
        }
        | {"requests/s, as a multiple": timing.throughput_per_s / one.throughput_per_s}
        | {"MB of weights in memory": weights_mb * copies[name]}
        for name, timing in timings.items()
    ]
)

# %% [markdown]
# The first row is the one instance with all threads, and the others are given as multiples of it. *One thread* shows what a core
# does by itself. *Instances* shows the trade: compare its gain in requests per second with its latency, and with
# the memory in the last column. Mind the batches that 7.5 names: a row that serves one by one can have a shorter p50 with
# fewer threads, since its requests do not wait for a batch.
#
# ## 7.10 When it does not pay
#
# - **One user at a time.** If requests come singly, instances have nothing to share out. Then the best division is the one with the lowest
#   latency: set `goal` to `latency`.
# - **Several instances of a large model** compete for one memory and one cache: the teacher's panel in 7.3 shows how little is left of the gain.
# - **A long queue** answers everybody late. A short queue answers most requests in time and tells the others at once.
# - **A fleet from a simulation** that misses its own check: 7.7 says whether it does.
#
# ## 7.11 Exercises
#
# **Exercise 1: the other goal.** Suppose that your users send one request at a time. Which point of the lower panel in 7.3 would you
# choose, and how many requests per second would you give up? Predict, then let the chapter choose:
#
#     make book SET="goal=latency"
#
# Only this chapter and those that come after it run again; `make plan SET="goal=latency"` says beforehand how long that takes.

# %% tags=["answer"]
divisions = bench.facts["divisions"]
most, soonest = (core_split.best(divisions, aim) for aim in ("throughput", "latency"))
kept = soonest["throughput_per_s"] / most["throughput_per_s"]
gained = most["p95_ms"] / soonest["p95_ms"]
answer = f"The goal *latency* takes {soonest['instances']} x {soonest['threads']}, as {soonest['kind']}. "
answer += f"Its p95 is {gained:.2f} times as short, and it answers {kept:.0%} as many requests as "
answer += f"{most['instances']} x {most['threads']}, as {most['kind']}."
if soonest is most:
    answer = "Both goals take the same division here, so nothing has to be given up."
show(Markdown(answer))

# %% [markdown]
# **Exercise 2: how long is a full queue?** In the last row of the second table in 7.6, the queue is full almost all the time. Use
# Little's law to predict how long a request waits in a queue of `queue_limit` requests, and compare it with the p50 of that row.
# What happens to p50 and to the share that is refused if the queue may be four times as long?
#
#     make book SET="queue_limit=256"

# %% tags=["answer"]
full = bench.facts["server"]["points"][-1]
wait_ms = 1000 * queue_limit / bench.facts["server"]["capacity_per_s"]
answer = f"W = L / λ: {queue_limit} requests, answered at the capacity, take {wait_ms:,.0f} ms; the measured "
answer += f"p50 is {full['p50_ms']:,.0f} ms. A queue of {4 * queue_limit} would take {4 * wait_ms:,.0f} ms. "
answer += f"The share that is refused ({full['refused_share']:.0%} here) hardly changes: the machine answers no "
answer += "more than before. A longer queue only makes everybody wait longer."
if not full["refused_share"]:
    answer += " (In this run nobody was refused: the load ended before the queue was full.)"
show(Markdown(answer))

# %% [markdown]
# **Exercise 3: the curve of waiting.** Take the whole machine as one server whose service time is one over its capacity, and let all requests take
# equally long ($C = 0$). What mean wait does the formula of 7.2 give at each load? Why is the measured p95 longer? To see more of the curve:
#
#     make book SET="server_loads=[0.2,0.4,0.6,0.8,0.9,0.95] checked_loads=[0.4,0.6]"

# %% tags=["answer"]
service_ms = 1000 / bench.facts["server"]["capacity_per_s"]
curve_rows = [
    {"load": load, "mean wait by the formula, ms": load / (1 - load) * service_ms / 2}
    | {"measured p50, ms": point["p50_ms"], "measured p95, ms": point["p95_ms"]}
    for load, point in zip(server_loads, points, strict=False)
]
show(bench.table(curve_rows))
words = "A latency holds the service as well as the wait, and one instance serves a request more slowly than "
words += "the whole machine does. Texts differ in length ($C > 0$), and 5 of 100 requests wait longer than p95."
show(Markdown(words))

# %% [markdown]
# **Next:** [chapter 8](08_beyond.ipynb) asks what work need not be done at all.

# %% tags=["hide-input"]
running.close()
student, pruned = (
    bench.facts_of("03_distillation")["student"],
    bench.facts_of("04_pruning")["pruned"],
)
origin = pruned if final == "pruned student" else student
bench.facts["served"] = {
    "onnx": files.shown(served_file),
    "tokenizer": files.shown(files.resolve(origin["folder"])),
    "rung": bench.facts["goes_on_from"],
    "model": final,
    "recipe": recipe,
    "first_token": base == "first token",
    "batches": list(best_for["instances"]),
    "division": [*division, kind],
}
if not pays:
    alone = {"batches": list(bench.best_batching), "division": [1, bench.threads, "thread"]}
    bench.facts["served"] |= alone
# Nothing is chosen on test any more: what the whole stack keeps there is what this run may say of itself.
end = bench.retention(answers[tuple(bench.facts["served"]["batches"])].logits, "test")
bench.facts["served"]["retention"] = end.fact(min_retention) if bench.teacher_is_clear else None
bench.save()
