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
# **Claim.** The same file on the same machine answers more or fewer requests, sooner or later, by how the cores are divided and
# by what happens to requests that arrive together.
#
# **Cost.** No accuracy. But throughput and the latency of a single request are two goals, and this chapter is about the price
# of one in the other.
#
# **Needs** chapters [1](01_baseline.ipynb) to [6](06_runtime.ipynb). **Leaves** the rungs of one thread and of several
# instances, and with them what the story goes on from.

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
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
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
from functools import lru_cache
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
# ## 7.1 Idea: the cores and the queue
#
# The *cores*: a small product cannot keep many threads busy, but several requests can. An *instance* is one copy of the model
# with cores of its own; several of them answer several requests at the same time. The *queue*: requests come when they like,
# and how long they wait depends on who is served first and on who is turned away.
#
# What is served is the file that chapter 6 left.

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
# ## 7.2 Predict: what may dividing the cores bring?
#
# If instances shared nothing, one on each core would answer as many times as much as one on one core as there are cores. They
# do share: the memory's bandwidth, the last cache, and the power of the processor. So that number is the bound, and what is
# missing to it is what sharing costs. Against *one* instance on all cores the gain can be larger, for threads that divide a
# small product spend much of their time waiting for each other.
#
# ## 7.3 Measure: dividing the cores
#
# One instance with every core, or an instance for each core, or something between? FastFormers' table 2, for this machine: one
# request at a time for each instance, all instances busy. An instance is a process with a session of its own, or a thread with
# one; both are pinned to physical cores that no other has. *p50* and *p95* are of a request on a busy machine; they lie apart
# because requests differ in length. A process costs a copy over a socket for each request, but if it dies, it dies alone.

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
halves = bench.machine["hyper_threads"]
rows = core_split.study(
    served_file, requests, right, instance_kinds, rounds, 0.3, hyper_threads=halves, also=also
)
chosen = core_split.chosen(rows, goal, instances, instance_threads)
division, kind = (chosen["instances"], chosen["threads"]), chosen["kind"]

# %% tags=["hide-input"]
rows_by_model = {
    "teacher, fp32": (teacher_rows, core_split.best(teacher_rows, goal)),
    f"{final}, {recipe or 'fp32'}": (rows, chosen),
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
    found = f"Several instances answer {gain:.2f} times as much as one with all threads. One on each core answer "
    found += f"{core_split.of_the_bound(rows):.0%} of the bound of 7.2."
Markdown(
    f"{found} For {goal}: **{division[0]} x {division[1]}**, as {kind}. "
    f"`python -m fflib.serving.core_split --run {run} --write NAME` keeps that as hardware parameters."
)

# %% [markdown]
# ## 7.4 Do it: one thread, and several instances
#
# Instances get the batches that suit them best, among those in which the answers keep the rule on dev: with dynamic scales an
# answer depends on its batch. These are picked in a first pass and timed anew in a second, since the best of many noisy numbers
# flatters. The paper's graph gets the same instances, and the same precision: where chapter 5 found no recipe
# that keeps its labels, neither is in eight bits.

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
# The same instances have now been timed three times: in 7.3 one request at a time, in the first pass, and in the second. Their
# requests per second are those of the second pass, and only these are shown: there the batches were picked already, and the rung below
# took part in the same rounds, so neither the luck of the pick nor a machine that drifts is in the step. The others are ratios.

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
# ## 7.5 Check: accuracy in the batches that are served
#
# It is measured on all of test: with dynamic scales an answer may depend on the batch it is in.

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
    f"{over_papers[0]:.2f} times as much as with the paper's, one by one {over_papers[1]:.2f} times."
)

# %% [markdown]
# The peer, OpenVINO, has its own way to throughput: one session that keeps as many requests *in flight* as there are threads. It
# gets the batches of the instances, and is told as a ratio to them, in the same rounds.

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
# Now requests arrive when they like. They wait in a *bounded queue*: who finds it full is refused at once, for a promise that
# cannot be kept is better not made. An instance that is free asks a *policy* what to take from the queue. Like lengths are padded
# by `server_padding` at most: in a short queue the nearest length may be far, and a server that slows down as soon as a queue begins
# makes it grow. While a load lasts, Python's garbage collector leaves alone what was there before, for it stops every thread.

# %%
policies = {
    "one by one": scheduling.one_by_one,
    "adaptive batches": scheduling.adaptive(server_tokens),
    "like lengths": scheduling.like_lengths(server_tokens, server_padding),
}
order = np.random.default_rng(seed).choice(len(test), n_server_requests)
right_labels = answers["in order", 1].logits.argmax(1)
load_test = LoadTest(several, test, order, right_labels, labels_to_keep, queue_limit, seed)
display.source(scheduling.adaptive)

# %% [markdown]
# MLPerf names three scenarios. *Offline*: all requests are there at once. Batches of unlike lengths can lose to none at all, by
# their padding; the policy that answers the most is asked the rest. *Single stream*: the next request comes when the last is
# answered, so nobody ever waits.

# %%
floods = {name: load_test.offline(policy) for name, policy in policies.items()}
best_policy = max(floods, key=lambda name: floods[name].throughput_per_s)
policy, flood = policies[best_policy], floods[best_policy]
stream = load_test.single_stream(policy)

# %% [markdown]
# *Server*: requests come as a Poisson process, at a rate that does not care how busy the server is. A latency counts from the moment
# a request was due. The *capacity* is what the server answers when more comes than it can: who sends has to work too, on the same
# cores, so it is not what the offline scenario answers. All loads are parts of it. They are offered in turn, a part of each in every
# round, so that a machine that drifts is in all of them, and each has requests of its own. The other policies get one load, for 7.7.

# %%
most = n_load_requests, load_seconds
flooding = {overload: (policy, overload * flood.throughput_per_s)}
overloaded = load_test.in_turn(flooding, *most, rounds=1)[overload]
capacity_per_s = overloaded.throughput_per_s

# %%
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
heads = {"offered_per_s": "offered/s", "answered_per_s": "answered/s", "refused_share": "refused"}
heads |= {f"p{q}_ms": f"p{q} ms" for q in (50, 95, 99)} | {"late_share": "late %"}
in_percent = [point | {"late_share": 100 * point["late_share"]} for point in points]
show(bench.table([{heads[key]: point[key] for key in heads} for point in in_percent]))
not_valid = [f"{point['offered_per_s']:.0f} a second" for point in points if not point["valid"]]
told = f"The knee is at {points[knee]['offered_per_s']:.0f} requests a second."
if not_valid:
    told += f" **Not valid, since the generator was late: {', '.join(not_valid)}.**"
Markdown(told)

# %% [markdown]
# The *knee* is the load with the most throughput for its mean latency: more load than that buys little and costs much. (The 99th
# percentile is left out where fewer than 500 requests were answered.) *Late* is the part of the latency that is not the server's:
# the generator shares the cores, and sends some requests after they were due. Where that is more than a fifth, the load is not valid.
#
# And if an instance dies under load? A process that is lost is noticed and started anew, and what it had is asked once more, so
# every request has exactly one answer; `tests/serving` kills one to see it. Instances that are threads end with the whole server.
#
# ## 7.7 A fleet, simulated from measured times
#
# How many such machines would answer a hundred million requests a day? The queue is simulated, with the server's own policies. The
# rest is the server's log: how long an instance is *occupied* by a batch of a given shape, alone and beside another that computes;
# how late a request is queued, and how long an instance that sleeps needs to take it. A batch that is timed by itself tells too
# little: in the server, who sends and who answers runs on the same cores.
#
# The simulation learns from some loads and is checked at others, with other requests, and at one under each other policy: the same
# requests at the same times, simulated and measured. It claims to hit the 95th percentile within a quarter. What misses that has
# no fleet below.

# %%
learned = [loads[share] for share in server_loads if share not in checked_loads]
server = server_model.ServerModel.of_loads(learned, division[0], [*floods.values()])


def examine(name):
    """Simulate the load of that name and set it beside the measured one."""
    way = others.get(name, policy)
    return simulation_check.examine(server, loads[name], test.lengths, way, queue_limit, seed)


# %%
examined = {name: examine(name) for name in loads}
checks = {best_policy: [examined[share] for share in checked_loads]}
checks |= {name: [examined[name]] for name in others}

# %% tags=["hide-input"]
curve = [examined[share] for share in (*server_loads, overload)]
simulated = bench.facts["simulated"] = [row["simulated"] for row in curve]
bench.facts["simulation_checks"] = [
    {"policy": name} | row for name, rows in checks.items() for row in rows
]
holds = {name: simulation_check.holds(rows) for name, rows in checks.items()}
bench.facts["simulation_holds"] = holds[best_policy]
caption = f"{bench.caption}; {n_load_requests} requests a point at most, queue of {queue_limit}"
show(bench.figure(figures.load(curve, knee, capacity_per_s, simulated, caption), "server"))
show(bench.table(simulation_check.table(bench.facts["simulation_checks"])))
missed = [name for name, it_holds in holds.items() if not it_holds]
Markdown(
    f"**It does not hold here for {', '.join(missed)}**: no fleet is built on that."
    if missed
    else "**It holds for every policy.**"
)

# %%
machines = {
    way: lambda rate_per_s, policy=policy: server.poisson(
        rate_per_s, n_simulated, test.lengths, policy, seed=seed
    )
    for way, policy in policies.items()
    if holds[way]
}
traffic = requests_per_day, peak_factor
fleet, impossible = capacity.fleets(*traffic, p99_bound_ms, usd_per_hour, machines)

# %% tags=["hide-input"]
bench.facts["fleet"] = fleet
for way, why in impossible.items():
    show(Markdown(f"*{way}: {why}*"))
if fleet:
    told = f"{requests_per_day:,.0f} requests a day, {peak_factor:g} times as dense at the peak"
    caption = f"{told}; simulated; {bench.caption}"
    show(bench.figure(figures.fleet(fleet, p99_bound_ms, caption), "fleet"))

# %% [markdown]
# ## 7.8 Short and long requests apart
#
# A short request behind a long one waits for work that is not its own. Here are five policies on the real server, at a load that
# each of them can answer, in a queue that holds all: the oldest first, one by one and in batches; neighbours in length; the
# shortest first, with patience, so that no long one starves; and an instance of their own for the short ones. One run each:
# small differences mean nothing.

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
caption = f"{bench.caption}; {len(order)} requests, {rate_per_s:.0f} a second; short: under {middle} tokens"
bench.figure(figures.by_length(rows, caption), "by_length")

# %% [markdown]
# ## 7.9 What it cost
#
# No accuracy beyond the rounding that chapter 5 has paid for already. The wait of a single request: more instances on the same
# cores answer more, each of them later. And memory: every instance has its own copy of the weights.

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
            "p50, times that of one session": timing.latency_p50_ms / one.latency_p50_ms,
        }
        | {"requests/s, times": timing.throughput_per_s / one.throughput_per_s}
        | {"MB of weights in memory": weights_mb * copies[name]}
        for name, timing in timings.items()
    ]
)

# %% [markdown]
# ## 7.10 When it does not pay
#
# - **One user at a time**: then the best division is the one with the lowest latency, not with the most answers (`goal`).
# - **Several instances of a large model** share one memory and one cache: the teacher's panel in 7.3 shows what is left of it.
# - **A long queue** answers everybody late. A short one answers most in time, and tells the others at once.
# - **A fleet from a simulation** that misses its own check: 7.7 says whether it does.
#
# ## 7.11 Exercises
#
# 1. Set `goal` to latency. Which rungs change, and by how much?
# 2. `queue_limit` decides who is refused. Draw the 99th percentile of those who are answered over it, at the highest load.
# 3. Write a policy that takes the longest request first, and set it beside those of 7.8. Who pays for it?
#
# **Next:** [chapter 9](09_story.ipynb) puts the rungs together.

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
