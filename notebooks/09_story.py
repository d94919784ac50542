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
# **Claim.** Every step so far, together: from the stock model that pads every request to a small one that keeps its teacher's
# accuracy and answers many times as many requests on the same processor. How many times is *measured*, start and end side by
# side, and told against five starting points, since a speed-up says nothing before it says *against what*.
#
# **Cost.** The points of accuracy in the ladder. Throughput means that all requests are at hand; a single request gains less, and has
# its own ladder in 9.7.
#
# **Needs** chapters [1](01_baseline.ipynb) to [7](07_serving.ipynb): their numbers are taken as they are, and refused if any came
# from other code, data or hardware. Measured here are the headline, and the combinations that no chapter did: the stack with one technique
# left out, the reference on a faster engine, and every model of the story with one request at a time. **Leaves** `ladder.csv`, `ladder.md`, and the figures
# of the story.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
reference: str = "google-bert/bert-base-uncased"  # the speed reference
left_out: list[str] = []  # techniques to leave out, one at a time; empty: each
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
watts_per_core: float = 4.0  # of a busy core, where the processor does not count its energy
requests_per_day: float = 1.0e8  # the traffic of a fleet
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
n_calibrate: int = 8  # training texts that show what values flow
n_importance: int = 32  # training texts that the cut of the teacher is chosen and tuned by
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
headline_rounds: int = 2  # interleaved rounds of the headline; six give an interval of 95 %

# %% tags=["hide-input"]
import math
from dataclasses import replace
from functools import partial

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.data import batching, metrics, retention
from fflib.engine import predictors
from fflib.measure import fitness
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, hf_names, training
from fflib.model.encoder import Classifier
from fflib.runs import ladder as ladders
from fflib.runs import records
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.runtime import engines, openvino, served
from fflib.story import (
    bill,
    factors,
    fastformers,
    figures,
    front,
    front_figure,
    headline,
    headline_told,
    latency,
    leave_one_out,
    leave_one_out_figure,
    limit,
    stacks,
)
from fflib.story.factors import AGAINST, TEACHER
from fflib.story.leave_one_out import FULL

# A slip in the parameters stops here, before anything takes time.
files.check_known("technique", left_out, leave_one_out.TECHNIQUES)
bench = Bench.open("09_story", globals())
threads = bench.threads

# %% [markdown]
# ## 9.1 Idea, and a prediction: the steps multiply
#
# A rung stacks on another one; where several stack on the same they are alternatives, of which the run took one. *Step* is the throughput
# against the rung below, both timed in the same rounds, so each step is sound. Their product should be what the last rung has gained over the
# first. But it is made of ratios from different minutes and of different requests, and each rung was timed twice: when it was added, and
# again as the ground of the next. So the product is a *prediction*, and what is told is measured.

# %%
earlier = records.all_current(run_dir, before=bench.name)
by_steps = factors.ladder_of(earlier, watts_per_core)
last = factors.last_rung(earlier)
rungs_taken = ladders.stack(by_steps, last)  # from the padded reference up to the last rung
steps = factors.factors(by_steps, rungs_taken)
Markdown(f"Predicted: **{steps[-1]['total']:.0f} times** the padded reference.")

# %% [markdown]
# ## 9.2 Measure: the headline
#
# In every round other requests are drawn from test, of each length as many as there are. The last rung answers all of them, as it is
# served, with its instances and batches; each starting point answers a few that stand for all, one by one, for it is slow. The last rung is
# timed before and after each of them, and the factor is taken from these neighbours. Everything is checked first, on other requests, and in
# every round again. The file that is served is checked on all of test: in eight bits it has to keep the labels.

# %%
models = {name: bench.load(name) for name in ("teacher", "student", "pruned student")}
test = bench.texts("test")
train = bench.texts("train", limit=n_train)
served_file = bench.facts_of("07_serving")["served"]
full = stacks.of_run(served_file)

# %% tags=["hide-input"]
onnx = bench.folder / "models" / "onnx"
quantised = bench.facts_of("05_quantization")["quantised"]
graphs = stacks.graphs_of_run(bench.folder, served_file, quantised)
calibration_texts = train.take(range(min(n_calibrate, len(train))))
parts = stacks.Parts(models, graphs, onnx / "story", calibration_texts, threads)
num_labels = bench.task.num_labels
architecture = checkpoints.untrained_classifier(reference, num_labels).config.to_dict()
config = replace(hf_names.our_config(architecture), spans=bench.task.spans)
large = Classifier(config, num_labels).eval()
stock = predictors.torch_predictor(checkpoints.to_transformers(large))

# %%
running = stacks.RunningStacks({FULL: full}, parts)
full_logits = running.logits(FULL, test)
full_kept = metrics.kept(full_logits, cache.predict_cached(models[full.model], test), test.gold)
assert full_kept >= served.labels_to_keep(full.recipe, min_agreement, len(test))
# In eight bits another division of a product may push a value across the border of its code;
# how far that moves a logit goes with how large the model's logits are.
tolerance = max(0.3, 0.1 * np.ptp(full_logits)) if full.recipe else 1e-3
the_end = headline.Way(
    running.together(FULL), partial(running.expected, FULL), tolerance, full.plan
)

# %%
reference_engines = {"ONNX Runtime": "onnxruntime"}
if not openvino.missing():
    reference_engines["OpenVINO"] = "openvino"
reference_on = {
    f"reference, {name}": engines.serve(large, engine, threads, onnx / "reference")[0]
    for name, engine in reference_engines.items()
}
teacher_on = {
    TEACHER: engines.serve(models["teacher"], "pytorch", threads, onnx / "teacher")[0],
    latency.TEACHER_ON_ONNX: engines.serve(
        models["teacher"], "onnxruntime", threads, onnx / "teacher"
    )[0],
}

# %%
few = max(2, n_requests // 6)
large_says, teacher_says = (
    partial(training.predict, model) for model in (large, models["teacher"])
)
padded = predictors.in_turn(stock, pad_to=bench.task.max_length)
starts = {PADDED: headline.Way(padded, large_says, count=max(1, n_requests // 32))}
for name, predict in {UNPADDED: stock, **reference_on}.items():
    starts[name] = headline.Way(predictors.in_turn(predict), large_says, count=few)
for name, predict in teacher_on.items():
    starts[name] = headline.Way(predictors.in_turn(predict), teacher_says, count=few)
found = headline.measure(the_end, starts, test, n_busy_requests, headline_rounds)
running.close()
unpadded_references = [UNPADDED, *reference_on]
best_reference = max(unpadded_references, key=found.per_s.get)
best_fp32 = found.per_s[best_reference] / found.per_s[UNPADDED]
teacher_fp32 = found.per_s[latency.TEACHER_ON_ONNX] / found.per_s[TEACHER]
products = factors.speedups(by_steps, last, best_fp32, teacher_fp32)
measured_starts = (PADDED, UNPADDED, best_reference, TEACHER, latency.TEACHER_ON_ONNX)
start_by_name = dict(zip(AGAINST, measured_starts, strict=True))

# %% tags=["hide-input"]
told = bench.facts["headline"] = headline_told.fact(found, last, start_by_name, products)
ladder = headline_told.in_ladder(by_steps, told)
show(display.table(headline_told.rows(told)))
show(Markdown(headline_told.sentence(told)))
bench.facts["factors"] = steps
ground = {"rung": PADDED, "what": "where it starts", "factor": 1.0, "total": 1.0}
against_padded = told["against"][AGAINST[0]]
show(bench.figure(figures.waterfall([ground, *steps], bench.caption, against_padded), "waterfall"))
all_rungs = [rung for record in earlier for rung in record["rungs"]]
again = headline_told.timed_again(all_rungs, rungs_taken, found)
show(bench.table(again, keep="timed_again"))
Markdown(headline_told.explanation(told, again))

# %% [markdown]
# **The ladder.** Names in brackets are alternatives that the run did not take. *vs padded* and *vs unpadded* of the last rung are the measured
# ones. Those of every other rung are the product of its steps, not the ratio of two cells of *requests/s*, which were measured at other times.
# An empty cell was not measured. Below stand its figure, and what each rung consists of, with how much of the teacher's accuracy it keeps.

# %% tags=["hide-input"]
ladders.write_ladder(run_dir, ladder)
show(Markdown(ladders.ladder_markdown(factors.mark_alternatives(ladder, rungs_taken))))
show(bench.figure(figures.ladder(ladder, rungs_taken, bench.caption, last), "ladder"))
columns = ["rung", "stacks_on", "model", "engine", "precision", "batching", "batch_size"]
columns += ["threads", "instances", "n_requests", "retention", "keeps_rule"]
consists_of = ladder[columns].rename(
    columns={"n_requests": "latencies", "batch_size": "mean batch"}
)
consists_of["retention"] = consists_of["retention"].map(ladders.kept_words)
display.table(consists_of.rename(columns=lambda name: name.replace("_", " ")))

# %% [markdown]
# ## 9.3 Accuracy against speed
#
# FastFormers' figure 3, with every rung of this run: the last one where it was measured, the others as far from it as their steps
# say. Who wants another balance than the story takes another point of the *front*: there nothing is both faster and more accurate.
# A cross is below the rule: the story takes none of these. The thin lines cover the choice of test texts: smaller differences decide
# nothing.

# %%
points = front.points(by_steps, rungs_taken, against_padded["factor"] / against_padded["product"])
unbeaten = front.pareto(points)
teacher_accuracy = bench.teacher_accuracy

# %% tags=["hide-input"]
bench.facts["front"] = unbeaten
figure = front_figure.accuracy_against_speed(
    points,
    teacher_accuracy,
    bench.caption,
    min_retention=min_retention,
    teacher_is_clear=bench.teacher_is_clear,
)
bench.figure(figure, "accuracy_against_speed")

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
#
# Below: how the teacher is cut, and what is changed in the full stack for each technique.

# %%
predicted = factors.factor_by_technique(steps)

has_student = bench.facts_of("03_distillation")["student"]["shape"] != "teacher"
stack_by_name = {FULL: full}
for technique in left_out or leave_one_out.TECHNIQUES:
    lacking = leave_one_out.without(technique, full, threads)
    # Else the run's own stack does without it, or there is no student that was taught.
    if lacking != full and (has_student or technique != "distillation"):
        stack_by_name[technique] = lacking

# %% tags=["hide-input"]
show(display.source(leave_one_out.cut_in_proportion))
display.table(
    [
        {
            "without": technique,
            "what changes": leave_one_out.changes(stack_by_name.get(technique, full), full)
            or "nothing: not in this run's stack",
        }
        for technique in left_out or leave_one_out.TECHNIQUES
    ]
)

# %% [markdown]
# ## 9.5 Do it: the stacks
#
# All models come from earlier chapters but one, the teacher that is cut as the student was. Every stack is started, with all its
# instances: they run beside each other until they have been timed.

# %%
if "distillation" in stack_by_name:
    importance_texts = train.take(range(min(n_importance, len(train))))
    models[leave_one_out.CUT_TEACHER] = leave_one_out.cut_in_proportion(
        models["teacher"], models["student"], models[full.model], importance_texts
    )
running = stacks.RunningStacks(stack_by_name, parts)

# %% [markdown]
# ## 9.6 Check, then measure
#
# First all of test, in the batches that are served: in fp32 the logits of the model, in eight bits the labels that stay. A stack that keeps
# too few is timed all the same and marked as *not served*. Then the clock: in every round each stack answers all requests, in an order
# drawn anew, and its answers are compared with those of the check. The figure sets what each technique is worth in the full stack beside
# the prediction, what it brought when it was added.

# %%
logits, labels_kept = {FULL: full_logits}, {FULL: full_kept}
for name, stack in stack_by_name.items():
    float_logits = cache.predict_cached(models[stack.model], test)
    if name != FULL:
        logits[name] = running.logits(name, test) if stack.recipe else float_logits
        labels_kept[name] = metrics.kept(logits[name], float_logits, test.gold)

# %%
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
expected = {name: running.expected(name, busy) for name in stack_by_name}
timings = running.time(busy, expected, rounds, tolerance)
running.close()
wall_s = {name: timing.wall_s for name, timing in timings.items()}
slowdowns = leave_one_out.slowdowns(wall_s)
accuracy = {name: bench.score(logits[name], test.gold) for name in slowdowns}
full_score = bench.scored(logits[FULL], test.gold)

# %% tags=["hide-input"]
rows = []
for name, (factor, low, high) in slowdowns.items():
    row = {"technique": leave_one_out.label(name, full, threads)}
    row |= {"factor": factor, "low": low, "high": high}
    row["added"] = leave_one_out.factor_when_added(name, full, threads, predicted)
    row["throughput_per_s"] = timings[name].throughput_per_s
    difference = 100 * (accuracy[name] - full_score.value)
    row |= {"accuracy": accuracy[name], "points": difference}
    served_if = fitness.least(min_agreement, len(test))  # none of dev is left to judge these
    rows.append(row | {"labels_kept": labels_kept[name], "served": labels_kept[name] >= served_if})
bench.facts["leave_one_out"] = rows
if rows:
    caption = f"{bench.caption}; {len(busy)} requests, {rounds} rounds"
    figure = leave_one_out_figure.leave_one_out(rows, caption)
    show(bench.figure(figure, "leave_one_out"))
routes = {row["route"]: row for row in bench.facts_of("03_distillation")["routes"]}
remark = ""
if "labels" in routes:
    labels = routes["labels"]
    remark = (
        f" In chapter 3 the same student, trained on labels alone, had {labels['against two stages, points']:+.1f} points "
        f"({labels['95 % from']:+.1f} to {labels['to']:+.1f}) against the distilled one, before pruning and rounding."
    )
Markdown(
    f"The full stack has {full_score.value:.1%} on test; points are against that. Speed is only half of it: a technique may be there for the "
    f"accuracy that the others cost.{remark}"
)

# %% [markdown]
# ## 9.7 One request at a time
#
# Throughput counts answers of a busy machine. Who sends one request and waits sees another ladder: no batches and no neighbours, all
# threads for one text. So every model of the story is timed here in the same rounds, with the reference on other engines beside it, and
# fewer requests than where its rung was added: between the two, only factors can be compared. The reference has untrained weights here,
# which changes no time.
#
# Instances are not in it: one request keeps one of them busy, so they cannot help it. *One thread* is what a request takes in an
# instance of one core while its neighbours rest; what it takes when all of them are busy stands in the table below the figure.

# %%
requests = test.take(batching.evenly_by_length(test.lengths, max(2, n_requests // 2)))
pruned_rung = bench.facts_of("04_pruning")["goes_on_from"]
int8_rung = bench.facts_of("05_quantization")["goes_on_from"]
eight_bits = stacks.Stack(full.model, full.recipe, threads=threads)
alone = {
    TEACHER: stacks.Stack("teacher", engine="pytorch", threads=threads),
    latency.TEACHER_ON_ONNX: stacks.Stack("teacher", threads=threads),
    "distilled student": stacks.Stack("student", engine="pytorch", threads=threads),
    "ONNX Runtime": stacks.Stack("student", threads=threads),
    pruned_rung: stacks.Stack(full.model, threads=threads),
    int8_rung: eight_bits,
    "first token": replace(eight_bits, first_token=True),
}
if not has_student:
    del alone["distilled student"]  # it is the teacher
if threads > 1:
    alone["first token, one thread"] = replace(eight_bits, first_token=True, threads=1)

# %%
one_by_one = batching.in_order(requests.lengths, 1)
two_requests = [one_by_one[i] for i in batching.evenly_by_length(requests.lengths, 2)]
ways = {
    PADDED: Variant(PADDED, stock, two_requests, pad_to=bench.task.max_length),
    UNPADDED: stock,
    **reference_on,
}

# %%
running = stacks.RunningStacks(alone, parts)
ways.update(running.one_by_one(requests, busy, min_agreement))  # each against its own model
race = bench.compare(ways, requests, training.predict(large, requests))
running.close()

# %% tags=["hide-input"]
rows = latency.rows(race)
bench.facts["latency"] = rows
caption = f"{bench.caption}; {len(requests)} requests of all lengths (padded: {len(two_requests)}), {rounds} rounds"
show(bench.figure(figures.latency_ladder(rows, caption), "latency"))
display.table([bench.facts_of("07_serving")["one_by_one"]])

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

# %% tags=["hide-input"]
last_alone = latency.LAST if full.first_token else int8_rung
latency_gain = latency.speedups(race, best_reference, last_alone)
end = ladder.set_index("rung").loc[last]
starts_and_end = {"padded": PADDED, "unpadded": UNPADDED, "end": last_alone}
most_frequent = metrics.chance(bench.task, test.gold)
bench.facts["speedups"] = {
    "rung": last,
    "throughput": {name: row["factor"] for name, row in told["against"].items()},
    "latency": latency_gain,
    "one_request_ms": {name: race[way].latency_p50_ms for name, way in starts_and_end.items()},
    "best_fp32_engine": best_reference.partition(", ")[2] or "PyTorch",
    "accuracy": float(end["accuracy"]),
    "retention": None if math.isnan(end["retention"]) else float(end["retention"]),
    "teacher_accuracy": teacher_accuracy,
    "most_frequent_answer": most_frequent,
}
display.table(
    [
        {
            "against": name,
            "throughput, measured": headline_told.factor_words(row),
            "one request, p50": f"{latency_gain[name]:.0f}x",
        }
        for name, row in told["against"].items()
    ]
)

# %% tags=["hide-input"]
below_rule = retention.missed(served_file["retention"])
keeps = front.keeps(end["accuracy"], teacher_accuracy, end["retention"])
warning = ""
if end["accuracy_low"] <= most_frequent:
    warning = "**The accuracy is not clearly above guessing: what is kept of it means nothing.**"
# Chapter 7 served it, and test took no part in any choice: this is what the run may say of itself.
bench.facts["retention"] = served_file["retention"]
Markdown(
    f"With *{last}*: {headline_told.sentence(told)} It comes from a teacher {keeps}{below_rule} (always the most "
    f"frequent answer: {most_frequent:.1%}). {warning} {retention.certificate(bench.facts['retention'])}"
)

# %% [markdown]
# ## 9.9 Where the limit lies
#
# A processor multiplies so many numbers a second and not more. The matrix products of a request, over the best rate that any product of
# this engine reached here (one thread's rate times the threads), are a limit for *this model on this engine*; a smaller model moves it.
# What is measured is the last rung, as chapter 7 timed it.

# %%
products = bench.facts_of("06_runtime")["int8_products"]
if full.recipe:
    best_gop_per_s = limit.best_rate(products, threads)
else:
    best_gop_per_s = bench.facts_of("01_baseline")["ceiling"]["fp32_gflop_per_s"]
limit_per_s = best_gop_per_s / products[0]["operations, G"]
measured_per_s = float(end["throughput_per_s"])

# %% tags=["hide-input"]
rows = limit.rows(measured_per_s, limit_per_s)
bench.facts["limits"] = rows
caption = f"{bench.caption}; a request of {round(float(test.lengths.mean()))} tokens, the mean"
show(bench.figure(figures.limits(rows, caption), "limits"))
Markdown(
    f"Between {measured_per_s:,.0f} and {limit_per_s:,.0f} a second lie attention's own products, LayerNorm, activations, rounding, "
    "padding inside batches, and calls; beyond that the model has to do less."
)

# %% [markdown]
# ## 9.10 What it cost: money and energy
#
# USD for 100 million requests, on a machine of the price that stands in the hardware parameters, always busy. Energy is counted by the
# processor where it lets us (the column says so), else it is an estimate: busy cores times a typical draw, good for the order of magnitude
# of one machine, no more: it follows the money in proportion. Both are by the ladder's factors from the padded reference on, the last
# rung's by the measured one, so that no drift of the machine between chapters is in them; `ladder.csv` has them by each rung's own requests per second.

# %%
costs = bill.bill(ladder, rungs_taken)
always_busy = bill.machines_always_busy(ladder, last, requests_per_day)

# %% tags=["hide-input"]
show(display.table(costs))
serving = bench.facts_of("07_serving")
fleet = min(serving["fleet"], key=lambda row: row["machines"], default=None)
if not serving["simulation_holds"]:
    fleet = None
    remark = "*Chapter 7's simulation misses its own check here: no fleet is built on it.*"
elif fleet:
    remark = (
        "With a densest hour and a promise about waiting, chapter 7's simulation asks for "
        f"**{fleet['machines']}**: {fleet['usd_per_day']:,.0f} USD a day."
    )
else:
    remark = "*Chapter 7 found no fleet that holds its promise.*"
bench.facts["machines"] = fleet and fleet["machines"]
Markdown(
    f"{requests_per_day:,.0f} requests a day keep {always_busy:.1f} such machines, at {usd_per_hour:g} USD an hour each, "
    f"busy all day. {remark}"
)

# %% [markdown]
# ## 9.11 Beside the paper
#
# FastFormers' Table 3: BoolQ, batch 1, eight cores of an Azure F16s v2. Its order of steps is another one, and its student stands on
# BERT-base where this book's stands on a teacher that is small already; so what belongs together is multiplied. Its end is the
# throughput of eight processes; a single request takes about eight times its share of the seconds. It kept 72.81 of 74.01 points; in its
# Table 1 the same kind of teacher has 75.99.
#
# Its price column, in the second table, follows from its seconds at one price per hour, which is this book's default.

# %%
comparison = factors.beside_the_paper(steps)
paper_kept = fastformers.TABLE_3[-1].accuracy / fastformers.TABLE_3[0].accuracy

# %% tags=["hide-input"]
rows = [
    {
        "technique": row["technique"],
        "paper": f"{row['paper']:.3g}x" if row["paper"] else "",
        "here": f"{row['here']:.3g}x" if row["here"] else "",
    }
    for row in comparison
]
rows[-1]["accuracy kept, paper"] = f"{paper_kept:.1%}"
rows[-1]["accuracy kept, here"] = ladders.kept_words(end["retention"])
show(display.table(rows))
display.table(bill.papers_bill())

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
#    table? Look for `paired_baseline_per_s` in `results/`.
# 2. Leave out *two* techniques at once. Which pair is worth more than the product of its two factors, and why?
# 3. `make compare` sets this run beside a reference run, `make compare WITH=paper` beside the paper. Which differences are larger than
#    their intervals?

# %% tags=["hide-input"]
bench.facts["speedup_vs_padded"] = float(end["speedup_vs_padded"])
bench.facts["energy"] = sorted({*ladder["energy_source"]} - {""})
bench.save()
