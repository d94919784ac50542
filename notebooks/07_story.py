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
# # 7 · The story: what it adds up to
#
# **Claim.** Every step so far, multiplied: from the stock model that pads every request to a small one that keeps its teacher's
# accuracy and answers hundreds of times as many requests on the same processor. And the same number told in four ways, since a
# speed-up says nothing before it says *against what*.
#
# **Cost.** The points of accuracy in the ladder; and the wait of a single request is another number than the throughput.
#
# **Needs** chapters [1](01_baseline.ipynb) to [6](06_runtime.ipynb): their numbers are taken as they are, and refused if any came
# from other code, data or hardware. Measured here is only what no chapter did: the stack with one technique left out, the reference
# on a faster engine, and every model of the story with one request at a time. **Leaves** `ladder.csv`, `ladder.md`, and the figures
# of the story.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record
task: str = "docs"  # docs or BoolQ
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the speed reference
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
watts_per_core: float = 4.0  # of a busy core, where the processor does not count its energy
requests_per_day: float = 1.0e8  # the traffic of a fleet
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
n_calibrate: int = 8  # training texts that show what values flow and what can be cut
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
left_out: list[str] = []  # techniques to leave out, one at a time; empty: each

# %% tags=["hide-input"]
from contextlib import ExitStack

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from fflib import batching, checkpoints, data, files, hardware, measure, pages, results, rungs

chapter = results.Chapter("07_story", globals())
threads = hardware.set_threads(threads)

# %% tags=["hide-input"]
from fflib import (
    cost,
    engines,
    figures,
    figures_story,
    leave_one_out,
    openvino_peer,
    paper,
    runtime,
    story,
    tasks,
    trained,
    training,
    weights,
)
from fflib.encoder import Classifier

# A slip in the parameters stops here, before anything takes time.
files.check_known("technique", left_out, leave_one_out.TECHNIQUES)
left_out = left_out or list(leave_one_out.TECHNIQUES)
machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 7.1 The ladder
#
# A rung stacks on another one; where several stack on the same they are alternatives, of which the run took one. **Names in
# brackets are those alternatives.** *Step* is the throughput against the rung below, both timed in the same rounds. *vs padded*
# and *vs unpadded* compare with the two baselines of chapter 1. An empty cell was not measured.

# %%
earlier = results.read_all(run_dir, before=chapter.name)
facts = {record["chapter"]: record["facts"] for record in earlier}
ladder = rungs.ladder([rung for record in earlier for rung in record["rungs"]], watts_per_core)
rungs.write_ladder(run_dir, ladder)
last = story.last_rung(earlier)
stack = rungs.stack(ladder, last)
Markdown(rungs.ladder_markdown(story.ladder_with_ways(ladder, stack)))

# %%
figure = figures.ladder(ladder, "padded reference", stack, caption)
chapter.save_figure(figure, "ladder")
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
# ## 7.2 Where the factor comes from
#
# The way to the last rung, step by step, on a log scale: equal lengths are equal factors.

# %%
steps = story.factors(ladder, stack)
chapter.facts["factors"] = steps
assert np.isclose(np.prod([step["factor"] for step in steps]), steps[-1]["total"]), (
    "steps do not multiply"
)
ground = {"rung": rungs.PADDED, "what": "where it starts", "factor": 1.0, "total": 1.0}
figure = figures_story.waterfall([ground, *steps], caption)
chapter.save_figure(figure, "waterfall")
figure

# %% [markdown]
# ## 7.3 Accuracy against speed
#
# FastFormers' figure 3, with every configuration of this run. Who wants another balance than the story takes another point of the
# *front*: there nothing is both faster and more accurate. Intervals cover the choice of test texts.

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
teacher_accuracy = ladder.set_index("rung").loc[story.TEACHER, "accuracy"]
chapter.facts["front"] = figures_story.pareto(points)
figure = figures_story.accuracy_against_speed(points, teacher_accuracy, caption)
chapter.save_figure(figure, "accuracy_against_speed")
figure

# %% [markdown]
# ## 7.4 Predict: one technique left out
#
# The order of a ladder is a choice. In the finished stack, what would be missed without a technique? If steps did not depend on each
# other, the stack without it would be slower by the very factor that the ladder shows for its step. They do depend: batches save calls
# and cost padding, which weighs more the smaller the model is; a small product gains less from eight bits than a large one.
#
# Without *distillation* there is nothing that teaches a small model or mends a cut one: the fine-tuned teacher itself is cut, by the
# shares that the student was cut by, and tuned but not trained. *ONNX Runtime* takes its integers and its instances along.

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
# ## 7.5 Do it: the models

# %%
the_task = tasks.get_task(task)
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
        models["teacher"], models["student"], models[full.model], seen
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
# ## 7.6 Check, then measure
#
# First all of test, in the batches that are served: in fp32 the logits of the model, in eight bits the labels that stay. Then the clock:
# in every round each stack answers all requests, in an order drawn anew, and its answers are compared with those of the check.


# %%
def on_test(name):
    """Logits of all of test as the stack answers them; in fp32 the busy requests stand for it."""
    one, model = stacks[name], models[stacks[name].model]
    if not one.recipe:
        return trained.predict_cached(model, test)
    plan = batching.PLANS[one.batches[0]](test.lengths, one.batches[1])
    return measure.Variant(name, crews[name][0], plan).logits(test)


answers = {name: on_test(name) for name in stacks}
float_labels = {
    name: trained.predict_cached(models[one.model], test).argmax(1) for name, one in stacks.items()
}
kept = {name: float((answers[name].argmax(1) == float_labels[name]).mean()) for name in stacks}
assert min(kept.values()) >= 0.7, f"labels kept by eight bits: {kept}"

# %%
right = {
    name: measure.Variant(name, crews[name][0], plans[name]).logits(busy)
    if one.recipe
    else training.predict(models[one.model], busy)
    for name, one in stacks.items()
}
# In eight bits another division of a product may push a value across the border of its code.
tolerance = 0.3 if full.recipe else 1e-3
together = {name: runtime.together(crew) for name, crew in crews.items()}
took = measure.time_at_once(together, busy, plans, right, rounds, tolerance)
running.close()

# %%
full_s = took["the full stack"].wall_s
found = leave_one_out.factors(
    full_s, {name: timing.wall_s for name, timing in took.items() if name != "the full stack"}
)
full_score = tasks.scored(the_task, answers["the full stack"], splits["test"].labels, n_resamples)
when_added, rows = story.added(steps), []
for name, (factor, low, high) in found.items():
    score = tasks.score(the_task, answers[name], splits["test"].labels)
    row = {"technique": leave_one_out.label(name), "factor": factor, "low": low, "high": high}
    gone = [when_added.get(each) for each in (name, *leave_one_out.TAKES_ALONG.get(name, ()))]
    row["added"] = np.prod([each for each in gone if each]) if gone[0] else None
    row["throughput_per_s"] = took[name].throughput_per_s
    row |= {"accuracy": score, "points": 100 * (score - full_score.value)}
    rows.append(row | {"labels_kept": kept[name]})
chapter.facts["leave_one_out"] = rows
chapter.facts["full_stack"] = took["the full stack"].row | {"accuracy": full_score.value}

# %%
figure = figures_story.leave_one_out(rows, f"{caption}; {len(busy)} requests, {rounds} rounds")
chapter.save_figure(figure, "leave_one_out")
display(figure)
labels_only = [row for row in facts["03_distillation"]["routes"] if row["route"] == "labels"]
told = (
    f" The student of chapter 3 trained on labels alone is as fast and has "
    f"{labels_only[0]['against two stages, points']:+.1f} points."
    if labels_only
    else ""
)
Markdown(
    f"The full stack has {full_score.value:.1%} on test; points are against that. Speed is only half of it: a technique may be there for the "
    f"accuracy that the others cost.{told}"
)

# %% [markdown]
# ## 7.7 One request at a time
#
# Throughput counts answers of a busy machine. Who sends one request and waits sees another ladder: no batches and no neighbours, all
# threads for one text. So every model of the story is timed again here, all in the same rounds, with the reference on other engines
# beside it. Its weights are those of chapter 1: untrained where the hub's cannot be had, which changes no time.

# %%
known = checkpoints.untrained_classifier(reference, the_task.num_labels).config.to_dict()
big = Classifier(weights.our_config(known), the_task.num_labels).eval()
requests = test.take(batching.evenly_by_length(test.lengths, max(2, n_requests // 2)))
alone = batching.in_order(requests.lengths, 1)


def stack_of(model, recipe="", first=False, count=threads, engine="onnxruntime"):
    batches = ("in order", 1)
    return leave_one_out.Stack(model, recipe, first, engine, 1, count, "thread", batches)


pruned_rung, int8_rung = (facts[name]["goes_on_from"] for name in ("04_pruning", "05_quantization"))
ways = {
    story.TEACHER: stack_of("teacher", engine="pytorch"),
    "distilled student": stack_of("student", engine="pytorch"),
    "ONNX Runtime": stack_of("student"),
    pruned_rung: stack_of(full.model),
    int8_rung: stack_of(full.model, full.recipe),
    "first token": stack_of(full.model, full.recipe, True),
    "first token, one thread": stack_of(full.model, full.recipe, True, 1),
}

# %%
stock = runtime.torch_predictor(checkpoints.to_transformers(big))
faster = {"ONNX Runtime": "onnxruntime"}
faster |= {} if openvino_peer.missing() else {"OpenVINO": "openvino"}
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
rounded = {"tolerance": np.inf, "agreement": 0.85}  # as everywhere where a model is in eight bits
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
told = f"{caption}; {len(requests)} requests of all lengths, one at a time, {rounds} rounds"
figure = figures_story.latency_ladder(latencies, told)
chapter.save_figure(figure, "latency")
figure

# %% [markdown]
# Instances are not in it: one request keeps one of them busy, so they cannot help it. *One thread* is what a request takes in an
# instance of one core; what it waits when its neighbours are busy too is the p50 of the ladder's last rung.
#
# ## 7.8 Which speed-up is which
#
# - **Against the padded reference**: the paper's definition, and the headline of every "200-fold". It contains the choice to pad,
#   which is no compression and no engineering, and which nobody has to make.
# - **Against the unpadded reference**: the same stock model without padding, one request at a time. What small models, batches,
#   eight bits, graphs and cores really brought.
# - **Against the best fp32 engine**: the same reference again, but exported and run where it is fastest here. PyTorch's eager fp32
#   products are slower than they could be, on some AMD processors twice; a gain over a slow start is no gain.
# - **Against this run's own teacher**: the model whose accuracy is kept. Where the reference's weights are untrained, as without the
#   hub, it is the only one of the four with the same task on both sides.

# %%
per_s = {name: timing.throughput_per_s for name, timing in timings.items()}
by_engine = {name: per_s[f"reference, {name}"] / per_s[rungs.UNPADDED] for name in faster}
best_engine = max(by_engine, key=by_engine.get)
best_fp32 = max(1.0, by_engine[best_engine])
throughput = story.speedups(ladder, last, best_fp32)
starts = (rungs.PADDED, rungs.UNPADDED, f"reference, {best_engine}", story.TEACHER)
fastest_ms = p50_ms["first token"]
rows = [
    {
        "against": against,
        "throughput": f"{times:.0f}x",
        "one request, p50": f"{p50_ms[start] / fastest_ms:.0f}x",
    }
    for (against, times), start in zip(throughput.items(), starts, strict=True)
]
pages.table(rows)

# %%
end = ladder.set_index("rung").loc[last]
chapter.facts["speedups"] = {
    "rung": last,
    "throughput": {name: float(times) for name, times in throughput.items()},
    "latency": {start: p50_ms[start] / fastest_ms for start in starts},
    "best_fp32_engine": best_engine if by_engine[best_engine] > 1 else "PyTorch",
    "best_fp32_over_pytorch": best_fp32,
    "accuracy": float(end["accuracy"]),
    "retention": float(end["retention"]),
}
Markdown(
    f"With *{last}*: **{end['speedup_vs_padded']:.0f} times** the padded reference, which is **{end['speedup_vs_unpadded']:.0f} "
    f"times** the unpadded one, at {end['accuracy']:.1%} on test, {end['retention']:.1%} of the teacher's accuracy. The fastest "
    f"fp32 engine for the reference here is {best_engine}, {by_engine[best_engine]:.2f} times PyTorch. A single request: "
    f"{p50_ms[rungs.PADDED]:.0f} ms padded, {fastest_ms:.1f} ms at the end."
)

# %% [markdown]
# ## 7.9 Where the limit lies
#
# A processor multiplies so many numbers a second and not more. The products of a request, over the best rate that any product
# reached here, are a limit that no engine passes *with this model*; a smaller model moves it. The full stack is taken as it was timed
# in 7.6.

# %%
products = facts["06_runtime"]["int8_products"]
fp32_rate, mean_length = (
    facts["01_baseline"]["ceiling"]["fp32_gflop_per_s"],
    round(float(test.lengths.mean())),
)
int8_rate = max(
    max(row["best rate measured, GOP/s"], row["GOP/s"] or 0) * threads / row["threads"]
    for row in products
)
work = {"its products, at the best rate": products[0]["operations, G"]}
bounds = story.limits(work, dict.fromkeys(work, int8_rate if full.recipe else fp32_rate))
measured_per_s = took["the full stack"].throughput_per_s
rows = [{"limit": "the full stack", "throughput_per_s": measured_per_s, "kind": "measured"}]
rows += [
    {"limit": name, "throughput_per_s": bound, "kind": "limit"} for name, bound in bounds.items()
]
chapter.facts["limits"] = rows
figure = figures_story.limits(rows, f"{caption}; a request of {mean_length} tokens, the mean")
chapter.save_figure(figure, "limits")
figure

# %%
reference_work = hardware.forward_flop(big.encoder.config, mean_length) / 1e9
Markdown(
    f"Between {measured_per_s:,.0f} and {min(bounds.values()):,.0f} a second lie attention's own products, LayerNorm, activations, rounding, "
    f"padding inside batches, and calls; beyond that the model has to do less. The reference at chapter 1's best fp32 rate could answer "
    f"{fp32_rate / reference_work:.1f} a second, the full stack answers {measured_per_s * reference_work / fp32_rate:.0f} times as many."
)

# %% [markdown]
# ## 7.10 What it costs: money and energy
#
# USD for 100 million requests, on a machine of the price that stands in the hardware parameters, always busy. Energy is counted by the
# processor where it lets us (the column says so), else it is an estimate: busy cores times a typical draw, good for comparing rungs
# of one machine, no more. Both follow from the requests/s of the ladder, which were measured chapter by chapter: on a machine that
# others share they drift, while the factors, measured side by side, do not.

# %%
bill = ladder.set_index("rung").loc[[rungs.PADDED, rungs.UNPADDED, *stack[1:]]].reset_index()
bill["requests for 1 USD"] = [f"{1e8 / usd:,.0f}" for usd in bill["usd_per_100m"]]
bill["kWh for 100 million"] = bill["energy_wh_per_1k"] * 1e8 / 1e3 / 1e3
bill = bill.rename(columns={"usd_per_100m": "USD for 100 million", "energy_source": "energy"})
columns = ["rung", "USD for 100 million", "requests for 1 USD", "kWh for 100 million", "energy"]
display(pages.table(bill[columns]))
fleet = facts["06_runtime"]["fleet"]
ways = [row for row in fleet if row["machines"] == min(row["machines"] for row in fleet)][:1]
chapter.facts["machines"] = ways[0]["machines"] if ways else None
always = requests_per_day / 86_400 / end["throughput_per_s"]
Markdown(
    f"{requests_per_day:,.0f} requests a day keep {always:.1f} such machines, at {usd_per_hour:g} USD an hour each, busy all day. With a densest hour and a promise about "
    f"waiting, chapter 6's simulation asks for **{ways[0]['machines']}**: {ways[0]['usd_per_day']:,.0f} USD a day."
    if ways
    else "*Chapter 6 found no fleet that holds its promise.*"
)

# %% [markdown]
# ## 7.11 Beside the paper
#
# FastFormers' Table 3: BoolQ, batch 1, eight cores of an Azure F16s v2; its last two rows are alternatives. Machine, models and task
# differ from this run's, and so does the order of the steps, so factors may be compared, seconds may not. Its price column follows
# from its seconds at one price per hour, which is this book's default.

# %%
told = story.beside_the_paper(ladder)
names = {"speedup_step": "step", "speedup_vs_padded": "vs padded"}
names |= {"speedup_vs_unpadded": "vs unpadded", "accuracy": "accuracy"}
for old, new in names.items():
    shape = "{:.1%}" if new == "accuracy" else "{:.3g}x"
    for side, column in (("paper", f"{old}, paper"), ("here", old)):
        values = told.pop(column).astype(float)
        told[f"{new}, {side}"] = ["" if pd.isna(v) else shape.format(v) for v in values]
prices = paper.table()["usd_per_100m"]
told["USD for 100 million, paper"] = [f"{usd:,.0f}" for usd in prices]
again = [cost.usd_per_100m(rate, paper.USD_PER_HOUR) for rate in paper.table()["throughput_per_s"]]
told["from its seconds"] = [f"{usd:,.0f}" for usd in again]
pages.table(told)

# %% [markdown]
# ## 7.12 When it does not pay
#
# - **Few requests.** Training a teacher and a student, and the days of whoever does it, cost more than a slow model that is asked a
#   thousand times a day. What the fleet saves a day is the number to compare with.
# - **A task that the small model cannot learn.** The ladder's accuracies are of this task. Distillation keeps what a small model can
#   hold; reasoning over long texts is not among it.
# - **A GPU that is there anyway**: it answers large batches of the teacher, and only the latency of a call is against it.
# - **Labels that change weekly**: every step is to be done again, and each has its own dev set to watch.
#
# ## 7.13 Exercises
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
