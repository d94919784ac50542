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
# # 9 · The story: what it adds up to
#
# **Claim.** Every step so far, multiplied: from the stock model that pads every request to a small one that keeps its teacher's
# accuracy and answers many times as many requests on the same processor. And the same number told in five ways, since a
# speed-up says nothing before it says *against what*.
#
# **Cost.** The points of accuracy in the ladder. Throughput means that all requests are at hand; a single request gains less, and has
# its own ladder in 9.7.
#
# **Needs** chapters [1](01_baseline.ipynb) to [6](06_runtime.ipynb): their numbers are taken as they are, and refused if any came
# from other code, data or hardware. Measured here are the combinations that no chapter did: the stack with one technique left out, the
# reference on a faster engine, and every model of the story with one request at a time. **Leaves** `ladder.csv`, `ladder.md`, and the figures
# of the story.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the speed reference
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
watts_per_core: float = 4.0  # of a busy core, where the processor does not count its energy
requests_per_day: float = 1.0e8  # the traffic of a fleet
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
n_calibrate: int = 8  # training texts that show what values flow
n_importance: int = 32  # training texts that the cut of the teacher is chosen and tuned by
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
min_agreement: float = 0.5  # a file that keeps fewer of the original's labels is not served
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
left_out: list[str] = []  # techniques to leave out, one at a time; empty: each

# %% tags=["hide-input"]
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from fflib import display as pages
from fflib import files
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.data import splits as data
from fflib.measure import hardware
from fflib.measure import timing as measure
from fflib.model import checkpoints
from fflib.runs import ladder as rungs
from fflib.runs import records

chapter = Bench.open("09_story", globals())
threads = chapter.threads

# %% tags=["hide-input"]
from fflib import plotting
from fflib.data import metrics, registry
from fflib.engine import predictors
from fflib.measure import cost
from fflib.model import cache, hf_names, training
from fflib.model.encoder import Classifier
from fflib.runtime import engines, openvino
from fflib.story import factors, fastformers, figures, leave_one_out

# A slip in the parameters stops here, before anything takes time.
files.check_known("technique", left_out, leave_one_out.TECHNIQUES)
left_out = left_out or list(leave_one_out.TECHNIQUES)
machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 9.1 The ladder
#
# A rung stacks on another one; where several stack on the same they are alternatives, of which the run took one. **Names in
# brackets are those alternatives.** *Step* is the throughput against the rung below, both timed in the same rounds. *vs padded*
# and *vs unpadded* compare with the two baselines of chapter 1: they are the **product of the steps**, not the ratio of two cells of
# *requests/s*, which were measured at other times, on other samples of requests. An empty cell was not measured.

# %%
earlier = records.all_current(run_dir, before=chapter.name)
facts = {record["chapter"]: record["facts"] for record in earlier}
ladder = rungs.ladder([rung for record in earlier for rung in record["rungs"]], watts_per_core)
rungs.write_ladder(run_dir, ladder)
last = factors.last_rung(earlier)
stack = rungs.stack(ladder, last)
Markdown(rungs.ladder_markdown(factors.ladder_with_ways(ladder, stack)))

# %%
figure = plotting.ladder(ladder, "padded reference", stack, caption)
chapter.figure(figure, "ladder")
figure

# %% [markdown]
# What each rung is made of, and how much of the teacher's accuracy it keeps:

# %%
columns = ["rung", "stacks_on", "model", "engine", "precision", "batching", "batch_size"]
columns += ["threads", "instances", "n_requests", "retention"]
made_of = ladder[columns].rename(columns={"n_requests": "latencies", "batch_size": "mean batch"})
made_of["retention"] = [
    "" if pd.isna(kept) else f"{kept:.1%}" for kept in made_of["retention"].astype(float)
]
pages.table(made_of.rename(columns=lambda name: name.replace("_", " ")))

# %% [markdown]
# ## 9.2 Where the factor comes from
#
# The way to the last rung, step by step, on a log scale: equal lengths are equal factors.

# %%
steps = factors.factors(ladder, stack)
chapter.facts["factors"] = steps
assert np.isclose(np.prod([step["factor"] for step in steps]), steps[-1]["total"]), (
    "steps do not multiply"
)
ground = {"rung": rungs.PADDED, "what": "where it starts", "factor": 1.0, "total": 1.0}
figure = figures.waterfall([ground, *steps], caption)
chapter.figure(figure, "waterfall")
figure

# %% [markdown]
# ## 9.3 Accuracy against speed
#
# FastFormers' figure 3, with every rung of this run. Who wants another balance than the story takes another point of the *front*: there
# nothing is both faster and more accurate. The thin lines cover the choice of test texts: smaller differences decide nothing.

# %%
scored = ladder[ladder["accuracy"].notna() & ladder["throughput_per_s"].notna()]
padded_per_s = ladder.set_index("rung").loc[rungs.PADDED, "throughput_per_s"]
points = [
    {
        "rung": row.rung,
        # The ladder's own factor: what the machine drifted between chapters is not in it.
        "throughput_per_s": row.speedup_vs_padded * padded_per_s,
        "on_the_way": row.rung in stack,
        "accuracy": row.accuracy,
        "accuracy_low": row.accuracy_low,
        "accuracy_high": row.accuracy_high,
    }
    for row in scored.itertuples()
]
teacher_accuracy = ladder.set_index("rung").loc[factors.TEACHER, "accuracy"]
chapter.facts["front"] = figures.pareto(points)
figure = figures.accuracy_against_speed(points, teacher_accuracy, caption)
chapter.figure(figure, "accuracy_against_speed")
figure

# %% [markdown]
# ## 9.4 Predict: one technique left out
#
# The order of a ladder is a choice. In the finished stack, what would be missed without a technique? If steps did not depend on each
# other, the stack without it would be slower by the very factor that the ladder shows for its step. They do depend: batches save calls
# and cost padding, which weighs more the smaller the model is; a small product gains less from eight bits than a large one.
#
# Without *distillation* there is nothing that teaches a small model or mends a cut one: the fine-tuned teacher itself, with all its
# layers, loses in each the share of heads and neurons that the student lost, and is tuned but not trained. *ONNX Runtime* takes its
# integers and its instances along. Nothing else is tuned anew: batches stay those of the full stack, so the factors are rather too
# large than too small. The choice of a smaller teacher, and not to pad, belong to the start of the story and are not left out.

# %%
display(pages.source(leave_one_out.without, leave_one_out.cut_alike))
served = facts["06_runtime"]["served"]
count, each, kind = served["division"]
full = leave_one_out.Stack(
    model=served["model"],
    recipe=served["recipe"],
    first_token=True,
    engine="onnxruntime",
    instances=count,
    threads=each,
    kind=kind,
    batches=tuple(served["batches"]),
)
stacks = {name: leave_one_out.without(name, full, threads) for name in left_out}
same = [name for name, one in stacks.items() if one == full]
stacks = {"the full stack": full} | {name: one for name, one in stacks.items() if name not in same}
Markdown(f"*Not in this run's stack: {', '.join(same)}.*" if same else f"{len(stacks)} stacks.")

# %% [markdown]
# ## 9.5 Do it: the models

# %%
the_task = registry.get_task(task)
splits = {
    name: data.load_split(task, name, data_source, limit or None)
    for name, limit in (("train", n_train), ("test", n_test))
}
assert splits["test"].fingerprint == facts["01_baseline"]["data_fingerprint"]["test"], "other data"
chapter.facts["data_fingerprint"] = facts["01_baseline"]["data_fingerprint"]
folders = {
    "teacher": facts["01_baseline"]["teacher"]["folder"],
    "student": facts["03_distillation"]["student"]["folder"],
    "pruned student": facts["04_pruning"]["pruned"]["folder"],
}
tokenizer = checkpoints.load_tokenizer(str(files.resolve(folders["teacher"])))
if facts["05_quantization"]["quantised"]["learned"]:  # other weights, in a folder of their own
    folders[served["model"]] = f"{files.shown(chapter.folder)}/models/quantised-student"
models = {name: checkpoints.load(files.resolve(folder)) for name, folder in folders.items()}
train, test = (data.tokenize(splits[name], tokenizer, the_task.max_length) for name in splits)
seen = train.take(range(min(n_calibrate, len(train))))
if "distillation" in stacks:
    models[leave_one_out.TEACHER_CUT] = leave_one_out.cut_alike(
        models["teacher"],
        models["student"],
        models[full.model],
        train.take(range(min(n_importance, len(train)))),
    )

# %%
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
onnx = chapter.folder / "models" / "onnx"
quantised, whole = facts["05_quantization"]["quantised"]["onnx"], onnx / "whole" / "model.onnx"
sources = {  # made by chapters 4 to 6
    ("student", False): onnx / "unpruned" / "model.onnx",
    (full.model, False): files.resolve(quantised).with_name("model.onnx") if quantised else whole,
    (full.model, True): files.resolve(served["onnx"]).with_name("model.onnx"),
}
parts = leave_one_out.Parts(models, sources, onnx / "story", seen, threads)
running = ExitStack()  # instances run until they are timed
crews = {
    name: running.enter_context(leave_one_out.serve(one, parts)) for name, one in stacks.items()
}
plans = {
    name: batching.PLANS[one.batches[0]](busy.lengths, one.batches[1])
    for name, one in stacks.items()
}

# %% [markdown]
# ## 9.6 Check, then measure
#
# First all of test, in the batches that are served: in fp32 the logits of the model, in eight bits the labels that stay. Then the clock:
# in every round each stack answers all requests, in an order drawn anew, and its answers are compared with those of the check.


# %%
def on_test(name):
    """Logits of all of test as the stack answers them; in fp32 the busy requests stand for it."""
    one, model = stacks[name], models[stacks[name].model]
    if not one.recipe:
        return cache.predict_cached(model, test)
    plan = batching.PLANS[one.batches[0]](test.lengths, one.batches[1])
    return measure.Variant(name, crews[name][0], plan).logits(test)


answers = {name: on_test(name) for name in stacks}
kept = {
    name: metrics.kept(answers[name], cache.predict_cached(models[one.model], test), test.gold)
    for name, one in stacks.items()
}
assert kept["the full stack"] >= min(0.85, min_agreement), f"labels kept by eight bits: {kept}"

# %%
right = {
    name: measure.Variant(name, crews[name][0], plans[name]).logits(busy)
    if one.recipe
    else training.predict(models[one.model], busy)
    for name, one in stacks.items()
}
for name, one in stacks.items():
    if not one.recipe:  # whose accuracy is that of the model
        measure.check(measure.Variant(name, crews[name][0], plans[name]), busy, right[name])
# In eight bits another division of a product may push a value across the border of its code; how far that moves a logit
# goes with how large the model's logits are.
tolerance = max(0.3, 0.1 * np.ptp(right["the full stack"])) if full.recipe else 1e-3
together = {name: predictors.together(crew) for name, crew in crews.items()}
took = measure.time_at_once(together, busy, plans, right, rounds, tolerance)
running.close()

# %%
full_s = took["the full stack"].wall_s
found = leave_one_out.factors(
    full_s, {name: timing.wall_s for name, timing in took.items() if name != "the full stack"}
)
full_score = metrics.scored(the_task, answers["the full stack"], splits["test"].gold, n_resamples)
when_added, rows = factors.added(steps), []
for name, (factor, low, high) in found.items():
    score = metrics.score(the_task, answers[name], splits["test"].gold)
    label = leave_one_out.label(name, full, threads)
    row = {"technique": label, "factor": factor, "low": low, "high": high}
    along = leave_one_out.taken_along(name, full, threads)
    gone = [when_added.get(each) for each in (name, *along)]
    row["added"] = float(np.prod([each for each in gone if each])) if gone[0] else None
    row["throughput_per_s"] = took[name].throughput_per_s
    row |= {"accuracy": score, "points": 100 * (score - full_score.value)}
    rows.append(row | {"labels_kept": kept[name]})
chapter.facts["leave_one_out"] = rows
chapter.facts["full_stack"] = took["the full stack"].row | {"accuracy": full_score.value}

# %%
if rows:
    told = f"{caption}; {len(busy)} requests, {rounds} rounds"
    figure = figures.leave_one_out(rows, told)
    chapter.figure(figure, "leave_one_out")
    display(figure)
labels_only = [row for row in facts["03_distillation"]["routes"] if row["route"] == "labels"]
told = (
    f" In chapter 3 the same student, trained on labels alone, had {labels_only[0]['against two stages, points']:+.1f} points "
    f"({labels_only[0]['95 % from']:+.1f} to {labels_only[0]['to']:+.1f}) against the distilled one, before pruning and rounding."
    if labels_only
    else ""
)
Markdown(
    f"The full stack has {full_score.value:.1%} on test; points are against that. Speed is only half of it: a technique may be there for the "
    f"accuracy that the others cost.{told}"
)

# %% [markdown]
# ## 9.7 One request at a time
#
# Throughput counts answers of a busy machine. Who sends one request and waits sees another ladder: no batches and no neighbours, all
# threads for one text. So every model of the story is timed again here, all in the same rounds, with the reference on other engines
# beside it. Its weights are those of chapter 1: untrained where the hub's cannot be had, which changes no time.

# %%
known = checkpoints.untrained_classifier(reference, the_task.num_labels).config.to_dict()
big = Classifier(
    replace(hf_names.our_config(known), spans=the_task.spans), the_task.num_labels
).eval()
requests = test.take(batching.evenly_by_length(test.lengths, max(2, n_requests // 2)))
alone = batching.in_order(requests.lengths, 1)


def stack_of(model, recipe="", first=False, count=threads, engine="onnxruntime"):
    batches = ("in order", 1)
    return leave_one_out.Stack(model, recipe, first, engine, 1, count, "thread", batches)


pruned_rung, int8_rung = (facts[name]["goes_on_from"] for name in ("04_pruning", "05_quantization"))
sources["teacher", False] = onnx / "teacher" / "model.onnx"
ways = {
    factors.TEACHER: stack_of("teacher", engine="pytorch"),
    "teacher, ONNX Runtime": stack_of("teacher"),
    "distilled student": stack_of("student", engine="pytorch"),
    "ONNX Runtime": stack_of("student"),
    pruned_rung: stack_of(full.model),
    int8_rung: stack_of(full.model, full.recipe),
    "first token": stack_of(full.model, full.recipe, True),
}
if threads > 1:
    ways["first token, one thread"] = stack_of(full.model, full.recipe, True, 1)

# %%
stock = predictors.torch_predictor(checkpoints.to_transformers(big))
faster = {"ONNX Runtime": "onnxruntime"}
faster |= {} if openvino.missing() else {"OpenVINO": "openvino"}
served_by = {rungs.UNPADDED: (stock, big)}
for name, engine in faster.items():
    served_by[f"reference, {name}"] = (
        engines.serve(big, engine, threads, onnx / "reference")[0],
        big,
    )
for name, one in ways.items():
    with leave_one_out.serve(one, parts) as (predict,):
        served_by[name] = predict, models[one.model]
expected = {model: training.predict(model, requests) for _, model in served_by.values()}
rounded = {"tolerance": np.inf, "agreement": 0.5}  # of few texts; all of test was judged above
variants = []
for name, (predict, model) in served_by.items():
    tolerance = rounded if name in ways and ways[name].recipe else {}
    variant = measure.Variant(name, predict, alone)
    variants.append(measure.check(variant, requests, expected[model], **tolerance))
few = [alone[i] for i in batching.evenly_by_length(requests.lengths, 2)]
padded = measure.Variant(rungs.PADDED, stock, few, pad_to=the_task.max_length)
variants.insert(0, measure.check(padded, requests, expected[big]))

# %%
timings = measure.time_interleaved(variants, requests, rounds)
p50_ms = {name: timing.latency_p50_ms for name, timing in timings.items()}
latencies = [
    {
        "rung": name,
        "p50_ms": p50_ms[name],
        "p95_ms": timing.latency_p95_ms,
        "times": p50_ms[rungs.PADDED] / p50_ms[name],
        "times_unpadded": p50_ms[rungs.UNPADDED] / p50_ms[name],
        "latencies": timing.n_requests,
    }
    for name, timing in timings.items()
]
chapter.facts["latency"] = latencies
told = f"{caption}; {len(requests)} requests of all lengths (padded: {len(few)}), {rounds} rounds"
figure = figures.latency_ladder(latencies, told)
chapter.figure(figure, "latency")
figure

# %% [markdown]
# Instances are not in it: one request keeps one of them busy, so they cannot help it. *One thread* is what a request takes in an
# instance of one core while its neighbours rest; with all of them busy, one request each:

# %%
pages.table([facts["06_runtime"]["one_by_one"]])

# %% [markdown]
# ## 9.8 Which speed-up is which
#
# - **Against the padded reference**: the paper's definition, and the headline of every "200-fold". It contains the choice to pad,
#   which is no compression and no engineering, and which nobody has to make.
# - **Against the unpadded reference**: the same stock model without padding, one request at a time. What small models, batches,
#   eight bits, graphs and cores really brought.
# - **Against the best fp32 engine tried**: the same reference again, one request at a time, but exported and run where it is fastest
#   here. PyTorch's eager fp32 products are slower than they could be, on some AMD processors twice; a gain over a slow start is no gain.
# - **Against this run's own teacher**: the model whose accuracy is kept, in PyTorch and on ONNX Runtime. Where the reference's weights
#   are untrained, as without the hub, these are the only ones with the same task on both sides: **speed and accuracy kept belong to
#   the same model here, and only here.**

# %%
per_s = {name: timing.throughput_per_s for name, timing in timings.items()}
by_engine = {"PyTorch": 1.0} | {
    name: per_s[f"reference, {name}"] / per_s[rungs.UNPADDED] for name in faster
}
best_engine = max(by_engine, key=by_engine.get)
best_start = rungs.UNPADDED if best_engine == "PyTorch" else f"reference, {best_engine}"
teacher_engine = per_s["teacher, ONNX Runtime"] / per_s[factors.TEACHER]
throughput = factors.speedups(ladder, last, by_engine[best_engine], teacher_engine)
starts = (rungs.PADDED, rungs.UNPADDED, best_start, factors.TEACHER, "teacher, ONNX Runtime")
fastest_ms = p50_ms["first token"]
latency = {
    against: p50_ms[start] / fastest_ms for against, start in zip(throughput, starts, strict=True)
}
pages.table(
    [
        {
            "against": against,
            "throughput": f"{times:.0f}x",
            "one request, p50": f"{latency[against]:.0f}x",
        }
        for against, times in throughput.items()
    ]
)

# %%
end = ladder.set_index("rung").loc[last]
chapter.facts["speedups"] = {
    "rung": last,
    "throughput": {name: float(times) for name, times in throughput.items()},
    "latency": latency,
    "one_request_ms": {"padded": p50_ms[rungs.PADDED], "unpadded": p50_ms[rungs.UNPADDED]}
    | {"end": fastest_ms},
    "best_fp32_engine": best_engine,
    "accuracy": float(end["accuracy"]),
    "retention": None if pd.isna(end["retention"]) else float(end["retention"]),
    "teacher_accuracy": float(teacher_accuracy),
    "most_frequent_answer": metrics.chance(the_task, splits["test"].gold),
    "measured_against_unpadded": took["the full stack"].throughput_per_s / per_s[rungs.UNPADDED],
}
told = chapter.facts["speedups"]

# %%
own_times = throughput["this run's own teacher, unpadded"]
Markdown(
    f"With *{last}*: **{end['speedup_vs_padded']:.0f} times** the padded reference, **{end['speedup_vs_unpadded']:.0f} "
    f"times** the unpadded one, {own_times:.0f} times its own teacher, whose accuracy it keeps to "
    f"{end['retention']:.1%}: {end['accuracy']:.1%} against {teacher_accuracy:.1%} (always the most frequent answer: "
    f"{told['most_frequent_answer']:.1%}). Measured directly, the full stack of 9.6 over the unpadded reference of 9.7: "
    f"{told['measured_against_unpadded']:.0f} times; what lies between that and the product of steps is this machine's noise. "
    + (
        ""
        if end["accuracy_low"] > told["most_frequent_answer"]
        else "**The accuracy is not clearly above guessing: what is kept of it means nothing.**"
    )
)

# %% [markdown]
# ## 9.9 Where the limit lies
#
# A processor multiplies so many numbers a second and not more. The matrix products of a request, over the best rate that any product of
# this engine reached here (one thread's rate times the threads), are a limit for *this model on this engine*; a smaller model moves it.
# The full stack is taken as it was timed in 9.6.

# %%
products = facts["06_runtime"]["int8_products"]
best_gop_per_s = facts["01_baseline"]["ceiling"]["fp32_gflop_per_s"]
if full.recipe:
    best_gop_per_s = max(
        max(row["best rate measured, GOP/s"], row["GOP/s"]) * threads / row["threads"]
        for row in products
    )
limit_per_s = best_gop_per_s / products[0]["operations, G"]
measured_per_s = took["the full stack"].throughput_per_s
limit = "what its matrix products alone would allow"
rows = [
    {"limit": "the full stack", "throughput_per_s": measured_per_s, "kind": "measured"},
    {"limit": limit, "throughput_per_s": limit_per_s, "kind": "limit"},
]
chapter.facts["limits"] = rows
mean_length = round(float(test.lengths.mean()))
figure = figures.limits(rows, f"{caption}; a request of {mean_length} tokens, the mean")
chapter.figure(figure, "limits")
figure

# %%
Markdown(
    f"Between {measured_per_s:,.0f} and {limit_per_s:,.0f} a second lie attention's own products, LayerNorm, activations, rounding, "
    "padding inside batches, and calls; beyond that the model has to do less."
)

# %% [markdown]
# ## 9.10 What it costs: money and energy
#
# USD for 100 million requests, on a machine of the price that stands in the hardware parameters, always busy. Energy is counted by the
# processor where it lets us (the column says so), else it is an estimate: busy cores times a typical draw, good for the order of magnitude
# of one machine, no more: it follows the money in proportion. Both are by the ladder's factors from the padded reference on, so that
# no drift of the machine between chapters is in them; `ladder.csv` has them by each rung's own requests per second.

# %%
bill = ladder.set_index("rung").loc[[rungs.PADDED, rungs.UNPADDED, *stack[1:]]].reset_index()
# By the factors: what the machine drifted between chapters is not in them.
drift = bill["throughput_per_s"] / (bill["speedup_vs_padded"] * padded_per_s)
bill[["usd_per_100m", "energy_wh_per_1k"]] = bill[["usd_per_100m", "energy_wh_per_1k"]].mul(
    drift, axis=0
)
bill["requests for 1 USD"] = [f"{1e8 / usd:,.0f}" for usd in bill["usd_per_100m"]]
bill["kWh for 100 million"] = bill["energy_wh_per_1k"] * 1e8 / 1e3 / 1e3
bill = bill.rename(columns={"usd_per_100m": "USD for 100 million", "energy_source": "energy"})
columns = ["rung", "USD for 100 million", "requests for 1 USD", "kWh for 100 million", "energy"]
display(pages.table(bill[columns]))
fleet = min(facts["06_runtime"]["fleet"], key=lambda row: row["machines"], default=None)
chapter.facts["machines"] = fleet and fleet["machines"]
always = requests_per_day / 86_400 / (end["speedup_vs_padded"] * padded_per_s)
Markdown(
    f"{requests_per_day:,.0f} requests a day keep {always:.1f} such machines, at {usd_per_hour:g} USD an hour each, busy all day. With a densest hour and a promise about "
    f"waiting, chapter 6's simulation asks for **{fleet['machines']}**: {fleet['usd_per_day']:,.0f} USD a day."
    if fleet
    else "*Chapter 6 found no fleet that holds its promise.*"
)

# %% [markdown]
# ## 9.11 Beside the paper
#
# FastFormers' Table 3: BoolQ, batch 1, eight cores of an Azure F16s v2. Its order of steps is another one, and its student stands on
# BERT-base where this book's stands on a teacher that is small already; so what belongs together is multiplied. Its end is the
# throughput of eight processes; a single request takes about eight times its share of the seconds. It kept 72.81 of 74.01 points; in its
# Table 1 the same kind of teacher has 75.99.

# %%
told = [
    {"technique": row["technique"]}
    | {side: f"{row[side]:.3g}x" if row[side] else "" for side in ("paper", "here")}
    for row in factors.beside_the_paper(steps)
]
told[-1]["accuracy kept, paper"] = (
    f"{fastformers.TABLE_3[-1].accuracy / fastformers.TABLE_3[0].accuracy:.1%}"
)
told[-1]["accuracy kept, here"] = f"{end['retention']:.1%}"
pages.table(told)

# %% [markdown]
# Its price column follows from its seconds at one price per hour, which is this book's default:

# %%
table = fastformers.table()
again = [cost.usd_per_100m(rate, fastformers.USD_PER_HOUR) for rate in table["throughput_per_s"]]
pages.table(
    [
        {
            "the paper's rung": row.rung,
            "seconds": row.seconds,
            "USD, paper": f"{row.usd_per_100m:,.0f}",
            "USD, from its seconds": f"{usd:,.0f}",
        }
        for row, usd in zip(table.itertuples(), again, strict=True)
    ]
)

# %% [markdown]
# ## 9.12 When it does not pay
#
# - **Few requests.** Training a teacher and a student, and the days of whoever does it, cost more than a slow model that is asked a
#   thousand times a day.
# - **A task that the small model cannot learn.** The ladder's accuracies are of this task. In the paper's Table 1 the student that keeps
#   BoolQ falls from 64.81 to 33.68 on ReCoRD.
# - **Labels that change weekly**: every step is to be done again, and all choices are made anew on dev.
#
# ## 9.13 Exercises
#
# 1. Open `ladder.csv` and compute *speedup_step* of the last rung from the throughputs alone. Why is it not quite the figure in the
#    table? Look for the anchors in `results/`.
# 2. Leave out *two* techniques at once. Which pair is worth more than the product of its two factors, and why?
# 3. `make compare` sets this run beside a reference run, `make compare WITH=paper` beside the paper. Which differences are larger than
#    their intervals?

# %%
chapter.facts["speedup_vs_padded"] = float(end["speedup_vs_padded"])
chapter.facts["energy"] = sorted({*ladder["energy_source"]} - {""})
chapter.save()
