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
# # 3 · Distillation: small students that keep the teacher's accuracy
#
# **Claim.** A model with fewer layers can answer as its teacher does, if it learns from what the teacher computes and not
# from labels alone. This is the largest single factor of the whole ladder.
#
# **Cost.** Training time, paid once, and usually a little accuracy; both are measured here.
#
# **Needs** chapters [1](01_baseline.ipynb) and [2](02_batching.ipynb). **Leaves** the distilled student, chosen by a rule,
# and its rung.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs or BoolQ
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
teacher: str = "sentence-transformers/all-MiniLM-L6-v2"  # the model that is fine-tuned
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_distil: int = 64  # training examples that the teacher answers; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
seed: int = 0  # of the training
student_from: str = "teacher"  # teacher: its own layers; else the hub name of a small general model
logits_only: bool = False  # allow a named student of another vocabulary: logits alone are compared
students_tried: list[str] = ["3x384", "2x192@last"]  # layers x hidden width @ layers to start from
learn_from: str = "uniform"  # layers it learns from: uniform, last, first or such as 3,6
match: list[str] = ["hidden"]  # what stage one compares: embedding, hidden, attention, relations
stage_epochs: list[int] = [1, 1]  # of the intermediate and of the prediction stage
stage_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
temperature: float = 1.0  # of the soft labels
min_retention: float = 0.98  # the rule: the smallest student that keeps this share of dev accuracy
weak_teacher: str = "warn"  # what to do with a teacher that only guesses: warn or refuse
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
n_compare: int = 32  # training examples of the ablation
variants_tried: list[str] = ["without the inside", "ReLU"]  # of the ablation; all are in 3.11
copies: int = 1  # new texts an example, where a route makes some
routes_tried: list[str] = ["labels", "one stage", "augmented"]  # beside the two stages
data_sizes: list[int] = [16]  # further numbers of examples, for the curve
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np
from IPython.display import Markdown, display

from fflib import batching, checkpoints, data, files, hardware, measure, pages, results, rungs
from fflib import figures_distillation as figures

chapter = results.Chapter("03_distillation", globals())
threads = hardware.set_threads(threads)
chapter.show_summary()

# %%
from fflib import (
    augmentation,
    distillation,
    objective,
    pruning,
    runtime,
    students,
    tasks,
    trained,
    training,
)
from fflib.objective import Objectives
from fflib.students import Shape, Stage
from fflib.teacher import Outputs, check_fine_tuned

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads, PyTorch fp32; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 3.1 Idea: two routes to a small model
#
# A small model can be made *before* the task is known, by distilling a big one on general text, and then be fine-tuned on
# the task's labels. Or it can learn the task itself from a fine-tuned teacher. FastFormers takes the second route wherever
# it pays, and so does this chapter; the first one is a student with a hub name (`student_from`).

# %% tags=["hide-input"]
figure = figures.routes()
chapter.save_figure(figure, "routes")
figure

# %% [markdown]
# Why should a teacher help when the labels are there already? A label says *yes*. The teacher says *yes, but barely*,
# which tells more about the text. And its inner states tell **how** it came to that: what each layer made of the tokens.
# TinyBERT learns the inside first and the answers second.
#
# ## 3.2 The teacher
#
# It answers every training example once, with dropout off; what it computes is kept on disk, for every student after it.

# %%
baseline = results.read(run_dir, "01_baseline")
facts = baseline["facts"]
the_task = tasks.get_task(task)
splits = {
    name: data.load_split(task, name, data_source, limit or None)
    for name, limit in (("train", n_distil), ("dev", n_dev), ("test", n_test))
}
for name in ("dev", "test"):
    assert splits[name].fingerprint == facts["data_fingerprint"][name], "chapter 1 saw other data"
chapter.facts["data_fingerprint"] = facts["data_fingerprint"]
chapter.facts["distil_fingerprint"] = splits["train"].fingerprint

# %%
teacher_folder = files.resolve(facts["teacher"]["folder"])
teacher_model = checkpoints.load(teacher_folder)
tokenizer = checkpoints.load_tokenizer(str(teacher_folder))
train = data.tokenize(splits["train"], tokenizer, distil_length)
dev, test = (
    data.tokenize(splits[name], tokenizer, the_task.max_length) for name in ("dev", "test")
)
dev_logits = trained.predict_cached(teacher_model, dev)
test_logits = trained.predict_cached(teacher_model, test)


def score(logits, labels):
    return tasks.score(the_task, logits, labels)


teacher_dev = score(dev_logits, dev.labels)
teacher_test = score(test_logits, test.labels)

# %% [markdown]
# A teacher that was never fine-tuned answers at random, and its students learn just that, without any error message. So it
# is asked first:

# %%
try:
    check_fine_tuned(the_task, dev_logits, dev.labels)
    verdict = f"The teacher scores **{teacher_dev:.1%}** on dev, well above guessing."
except files.InputError as error:
    if weak_teacher == "refuse":
        raise
    verdict = f"**Careful: {error}.** This run goes on, since `weak_teacher` is '{weak_teacher}'; its accuracies mean nothing."
Markdown(verdict)

# %%
outputs = Outputs(teacher_model, train, teacher_cache_gb)

# %% [markdown]
# ## 3.3 Four losses
#
# Each compares one thing a student computes with one thing its teacher computes, and leaves padding out.
#
# - **Logits**: cross-entropy with the teacher's probabilities. *What* it answers.

# %%
pages.source(distillation.soft_cross_entropy)

# %% [markdown]
# - **Hidden states** (and embeddings): mean squared difference, through a learned projection if the widths differ.
#   *What a layer made of each token*.
# - **Attention**: mean squared difference of the scores **before** the softmax. *Which token looks at which*.
#   FastFormers compares the probabilities behind it, by their cosine.

# %%
pages.source(
    distillation.state_loss, distillation.attention_loss, distillation.attention_cosine_loss
)

# %% [markdown]
# - **Relations** (MiniLMv2): how the tokens' queries, keys and values relate among themselves. It needs neither the same
#   number of heads nor the same width, so it also serves pruned models.

# %%
pages.source(distillation.relation_loss)

# %% [markdown]
# A student has fewer layers than its teacher. Which of them learns from which?

# %%
pages.source(distillation.layer_map)

# %%
n_layers = len(teacher_model.encoder.layers)
depth = min(Shape.parse(students_tried[0]).layers, n_layers)
maps = {
    kind: distillation.layer_map(kind, depth, n_layers) for kind in ("uniform", "last", "first")
}
figure = figures.layer_maps(maps, n_layers)
chapter.save_figure(figure, "layer_maps")
figure

# %% [markdown]
# ## 3.4 Predict: what will a smaller student save?
#
# Students are named by their size and start: *3x384* has three layers of width 384, the teacher's first ones;
# *2x384@2,3* has its second and third. One of full width is made of the teacher's own layers; a narrower one keeps the
# most important heads, neurons and hidden units, by their first-order importance on training texts. A student with a hub
# name comes as it is.
#
# The operations can be counted before anything is trained. What a student will know, nobody can count.

# %%
named = student_from != "teacher"
student_tokenizer = tokenizer
if named:
    general = (student_from, the_task.num_labels, tokenizer, logits_only, seed)
    student_tokenizer = students.from_checkpoint(*general)[1]
own_train = data.tokenize(splits["train"], student_tokenizer, distil_length)
own_dev, own_test = (
    data.tokenize(splits[name], student_tokenizer, the_task.max_length) for name in ("dev", "test")
)

# %%
sizes = [] if named else [Shape.parse(text) for text in students_tried]
narrow = any(shape.hidden < teacher_model.encoder.config.hidden_size for shape in sizes)
few_texts = train.take(range(min(len(train), 256)))
importance = pruning.importance(teacher_model, few_texts) if narrow else None


def start(shape, layers="", activation=""):
    if not named:
        size_of = Shape.parse(shape)
        size_of = replace(size_of, start=layers or size_of.start)
        return students.from_teacher(teacher_model, size_of, importance, activation)
    student, _ = students.from_checkpoint(*general)
    return students.with_activation(student, activation) if activation else student


# %%
candidates = [student_from] if named else students_tried
typical = int(np.median(test.lengths))
teacher_flop = hardware.forward_flop(teacher_model.encoder.config, typical)
flop = {shape: hardware.forward_flop(start(shape).encoder.config, typical) for shape in candidates}
predicted = {shape: teacher_flop / value for shape, value in flop.items()}
pages.table([{"student": shape, "predicted speed-up": value} for shape, value in predicted.items()])

# %% [markdown]
# ## 3.5 Do it: two stages
#
# TinyBERT's two stages, one after the other: first the inside, which has no answers to score yet, then the answers. Both
# run through the training loop of chapter 1; only the loss differs.

# %%
INNER = ("embedding", "hidden", "attention", "attention_cosine", "relations")
students.check_known("part of the inside", match, INNER)
INSIDE = Objectives(**dict.fromkeys(match, 1.0))
ANSWERS = Objectives(logits=1.0, temperature=temperature)


def recipe(epochs, rate, evaluations=1):
    return training.Recipe(
        epochs,
        batch_size,
        rate,
        dropout=dropout,
        freeze_words=True,
        evaluations_per_epoch=evaluations,
        seed=seed,
    )


inside = Stage("inside", INSIDE, recipe(stage_epochs[0], stage_rates[0], evaluations=0))
answers = Stage("answers", ANSWERS, recipe(stage_epochs[1], stage_rates[1]))
two_stages = [answers] if logits_only else [inside, answers]


# %%
def distil(
    name, shape, stages=two_stages, teacher_outputs=outputs, make=None, learn=learn_from, **options
):
    make = make or (lambda: start(shape, **options))
    depth = len(make().encoder.layers)
    own = own_train.take(range(len(teacher_outputs.examples))) if logits_only else None
    return students.distil(
        make,
        stages,
        teacher_outputs,
        own_dev,
        score,
        chapter.folder / "models" / "students" / name,
        origin=f"{name} {shape} {student_from} {options}",
        maps_to=distillation.layer_map(learn, depth, n_layers),
        train=own,
    )


distilled = {shape: distil(shape.replace("/", "--"), shape) for shape in candidates}
agreement = score(outputs.logits.numpy(), train.labels)
Markdown(
    f"Of {len(train)} training texts, cut to {distil_length} tokens, the teacher answers {agreement:.1%} as their labels do. "
    f"The students learn its answers, not the labels."
)

# %%
stage_losses = {
    f"{shape}, stage {number}: {stage.name}": history.loss
    for shape, (_, histories) in distilled.items()
    for number, (stage, history) in enumerate(zip(two_stages, histories, strict=True), start=1)
    if history.loss
}
figure = figures.losses(stage_losses, caption)
chapter.save_figure(figure, "distillation_losses")
figure

# %% [markdown]
# ## 3.6 Choose on dev, report on test
#
# The rule stands in the parameters: the smallest student, by its operations, that keeps the wanted share of the teacher's
# accuracy **on dev**. Test takes no part in it.

# %%
dev_scores = {
    shape: score(trained.predict_cached(model, own_dev), dev.labels)
    for shape, (model, _) in distilled.items()
}
holding = [shape for shape in candidates if dev_scores[shape] >= min_retention * teacher_dev]
chosen = min(holding, key=flop.get) if holding else max(candidates, key=dev_scores.get)
student = distilled[chosen][0]
outcome = "is the smallest that keeps" if holding else "is the most accurate; none keeps"
Markdown(f"**{chosen}** {outcome} {min_retention:.0%} of the teacher's accuracy on dev.")


# %%
def on_test(model):
    logits = trained.predict_cached(model, test if model is teacher_model else own_test)
    interval = tasks.score_interval(the_task, logits, test.labels, resamples=n_resamples)
    return logits, score(logits, test.labels), interval


scores = {shape: on_test(model) for shape, (model, _) in distilled.items()}
grid = [
    {
        "student": shape,
        "MB": checkpoints.size_mb(model),
        "minutes of training": sum(history.seconds for history in histories) / 60,
        "dev": dev_scores[shape],
        "dev retention": dev_scores[shape] / teacher_dev,
        "test": scores[shape][1],
        "low": scores[shape][2][0],
        "high": scores[shape][2][1],
        "test retention": scores[shape][1] / teacher_test,
    }
    for shape, (model, histories) in distilled.items()
]
chapter.facts["grid"] = grid
pages.table(grid, decimals=3)

# %% [markdown]
# ## 3.7 Check
#
# A student is another model, so it need not answer as its teacher does. But in the class that serves it, and in the
# batches it is served in, it must answer as it did when it was scored.

# %%
picked = batching.evenly_by_length(test.lengths, n_requests)
requests, own_requests = test.take(picked), own_test.take(picked)
best_kind, best_size = results.read(run_dir, "02_batching")["facts"]["best"]
models = {"teacher": teacher_model} | {shape: model for shape, (model, _) in distilled.items()}


def variants_of(name, model):
    predict = runtime.torch_predictor(runtime.eager(model)[0])
    asked = requests if name == "teacher" else own_requests
    plans = {"one by one": batching.in_order(asked.lengths, 1)}
    if name in ("teacher", chosen):
        plans["best batching"] = batching.PLANS[best_kind](asked.lengths, best_size)
    expected = training.predict(model, asked)
    timed = [
        measure.Variant(f"{name}, {kind}", predict, plan, examples=asked)
        for kind, plan in plans.items()
    ]
    return [measure.check(variant, asked, expected) for variant in timed]


variants = [variant for name, model in models.items() for variant in variants_of(name, model)]
worst = max(variant.checked.max_abs_difference for variant in variants)
Markdown(f"Largest difference of a logit: {worst:.1e}; every label is the same.")

# %% [markdown]
# ## 3.8 Measure
#
# Teacher and students in the same rounds, so each step is a ratio of neighbours in time.

# %%
timings = measure.time_interleaved(variants, requests, rounds)
teacher_timing = timings["teacher, one by one"]
speed = {shape: timings[f"{shape}, one by one"] for shape in candidates}
rows = [
    {
        "student": shape,
        "p50 ms": timing.latency_p50_ms,
        "p95 ms": timing.latency_p95_ms,
        "requests/s": timing.throughput_per_s,
        "predicted speed-up": predicted[shape],
        "measured speed-up": timing.throughput_per_s / teacher_timing.throughput_per_s,
    }
    for shape, timing in speed.items()
]
chapter.facts["speed"] = rows
pages.table(rows)


# %%
def point(name, timing, accuracy, interval, route):
    return {
        "name": name,
        "x": timing.throughput_per_s,
        "accuracy": accuracy,
        "low": interval[0],
        "high": interval[1],
        "route": route,
        "chosen": name == chosen,
    }


teacher_point = point("teacher", teacher_timing, *on_test(teacher_model)[1:], "teacher")
points = [point(shape, speed[shape], *scores[shape][1:], "two stages") for shape in candidates]
figure = figures.students(
    points,
    teacher_point,
    min_retention * teacher_test,
    floor_label=f"{min_retention:.0%} of the teacher",
    caption=f"{caption}; one by one, {len(test)} test examples",
)
chapter.save_figure(figure, "students")
figure

# %% [markdown]
# ## 3.9 The rung
#
# The chosen student, in the batches that chapter 2 found best. Its anchor is the rung below, the teacher in these batches,
# timed again beside it.

# %%
before = next(
    rung
    for rung in results.read(run_dir, "02_batching")["rungs"]
    if rung["rung"] == "best batching"
)
served = next(variant for variant in variants if variant.name == f"{chosen}, best batching")
rung = rungs.Rung(
    "distilled student",
    stacks_on="best batching",
    model=f"{chosen} of {facts['teacher']['name']}",
    engine=runtime.eager(student)[1],
    precision="fp32",
    batching=before["batching"],
    batch_size=round(np.mean([len(group) for group in served.plan])),
    threads=threads,
    model_mb=checkpoints.size_mb(student),
)
rung.anchor_per_s = timings["teacher, best batching"].throughput_per_s
rung.timed(timings[served.name], served.checked, usd_per_hour)
chapter.add(rung.scored(*scores[chosen][1:], teacher_test))

# %%
folder = chapter.folder / "models" / "student"
checkpoints.save(student, folder, student_tokenizer)
chapter.facts["student"] = {
    "shape": chosen,
    "folder": files.shown(folder),
    "met_the_rule": bool(holding),
    "accuracy": scores[chosen][1],
    "retention": scores[chosen][1] / teacher_test,
}
Markdown(
    f"**{chosen}**: {rung.throughput_per_s / rung.anchor_per_s:.2f} times the teacher's throughput, at "
    f"{rung.retention:.1%} of its accuracy on test."
)

# %% [markdown]
# ## 3.10 What does the teacher give that labels do not?
#
# The chosen architecture again, on the same examples and for as many epochs, by other routes:
#
# - **labels**: no teacher at all. The layers are those of the *pretrained* model, as one would begin without a teacher;
# - **labels, teacher's layers**: begun from the fine-tuned teacher, but trained on labels;
# - **one stage**: FastFormers' recipe, logits with a little of the embeddings and of the last hidden state;
# - **augmented** and **recombined**: the two stages on more text, which nobody labelled but the teacher. Augmented text has
#   words replaced by neighbours of theirs in the encoder's own embeddings; recombined text pairs the first text of one
#   example with the second of another.

# %%
pages.source(augmentation.augment)

# %%
all_epochs = sum(stage_epochs) if inside in two_stages else stage_epochs[1]


def pretrained():
    if named:
        return start(chosen)
    whole = checkpoints.load_classifier(teacher, the_task.num_labels, seed)
    return students.from_teacher(whole, Shape.parse(chosen), importance)


def more_text(route):
    if route == "recombined":
        new = augmentation.recombined(train, tokenizer, copies, distil_length, seed)
    else:
        words = teacher_model.encoder.embeddings.word.weight
        near = augmentation.neighbour_candidates(train, tokenizer, words)
        new = augmentation.augment(train, tokenizer, near, copies, seed=seed)
    return Outputs(teacher_model, augmentation.joined(train, new), teacher_cache_gb)


# %%
def one_stage(name, objectives):
    return [Stage(name, objectives, recipe(all_epochs, stage_rates[1]))]


LABELS = Objectives(labels=1.0)
routes = {
    "labels": {"stages": one_stage("labels", LABELS), "make": pretrained},
    "labels, teacher's layers": {"stages": one_stage("labels", LABELS)},
    "one stage": {"stages": one_stage("single", objective.FASTFORMERS)},
}
if not logits_only:  # new text is made of the teacher's tokens
    routes |= {"augmented": {}, "recombined": {}}
students.check_known("route", routes_tried, routes)


def travel(route):
    options = dict(routes[route])
    if route in ("augmented", "recombined"):
        options["teacher_outputs"] = more_text(route)
    return distil(f"route-{route}", chosen, **options)


travelled = {"two stages": distilled[chosen]} | {route: travel(route) for route in routes_tried}

# %% [markdown]
# Each route beside the two stages on the same test examples; *difference* is paired, so texts that are hard for both do not
# blur it.

# %%
route_rows = []
for route, (model, histories) in travelled.items():
    logits, accuracy, _ = on_test(model)
    difference = tasks.difference_interval(
        the_task, scores[chosen][0], logits, test.labels, resamples=n_resamples
    )
    route_rows.append(
        {
            "route": route,
            "dev": score(trained.predict_cached(model, own_dev), dev.labels),
            "test": accuracy,
            "two stages ahead by": difference[0],
            "from": difference[1],
            "to": difference[2],
            "minutes": sum(history.seconds for history in histories) / 60,
        }
    )
chapter.facts["routes"] = route_rows
pages.table(route_rows, decimals=3)

# %%
if "labels" in travelled:
    ahead = next(row for row in route_rows if row["route"] == "labels")
    clear = ahead["from"] > 0
    display(
        Markdown(
            f"The distilled student is {ahead['two stages ahead by']:+.1%} ahead of the same architecture without a teacher "
            f"({ahead['from']:+.1%} to {ahead['to']:+.1%}): {'a clear gain' if clear else 'not a clear gain here'}."
        )
    )

# %% [markdown]
# ## 3.11 Which part of the recipe matters?
#
# TinyBERT's question: leave one thing out, or exchange it, and look at dev. All of these are trained on fewer examples, and
# compared with the full recipe on those same few.

# %%
few = outputs.take(range(min(n_compare, len(train))))


def inside_with(**weights):
    return [replace(inside, objectives=replace(INSIDE, **weights)), answers]


def with_answers(**weights):
    return replace(answers, objectives=Objectives(**weights))


# %%
known_variants = {
    **{
        f"without {part}": {"stages": inside_with(**{part: 0.0})}
        for part in match
        if len(match) > 1
    },
    **{
        f"with {part}": {"stages": inside_with(**{part: 1.0})}
        for part in INNER
        if part not in match
    },
    "without the inside": {"stages": [answers]},
    "labels for answers": {"stages": [inside, with_answers(labels=1.0)]},
    "answers and labels": {"stages": [inside, with_answers(logits=1.0, labels=1.0)]},
    "temperature 2": {"stages": [inside, with_answers(logits=1.0, temperature=2.0)]},
    "ReLU": {"activation": "relu"},
    **{f"start from {kind}": {"layers": kind} for kind in ("first", "last", "uniform")},
    **{f"learn from {kind}": {"learn": kind} for kind in ("first", "last", "uniform")},
}
students.check_known("variant", variants_tried, known_variants)

# %%
base = distil("few-base", chosen, teacher_outputs=few)
varied = {
    name: distil(f"few-{name}", chosen, teacher_outputs=few, **known_variants[name])
    for name in variants_tried
}

# %%
base_logits = trained.predict_cached(base[0], own_dev)
ablation = []
for name, (model, _) in varied.items():
    logits = trained.predict_cached(model, own_dev)
    difference, low, high = tasks.difference_interval(
        the_task, logits, base_logits, dev.labels, resamples=n_resamples
    )
    ablation.append({"name": name, "difference": difference, "low": low, "high": high})
base_dev = score(base_logits, dev.labels)
chapter.facts["ablation"] = {"base": base_dev, "n_train": len(few.examples), "rows": ablation}
pages.table(ablation, decimals=3)

# %%
if ablation:
    figure = figures.ablation(
        ablation,
        base_dev,
        caption=f"{chosen}, {len(few.examples)} training and {len(dev)} dev examples; one seed",
    )
    chapter.save_figure(figure, "ablation")
    display(figure)

# %% [markdown]
# ## 3.12 How much text does the teacher have to answer?
#
# The full recipe on more and more examples, each run with as many epochs; few examples are therefore also few steps.

# %%
curve = {len(few.examples): base, len(train): distilled[chosen]}
for count in data_sizes:
    some = outputs.take(range(min(count, len(train))))
    curve[len(some.examples)] = distil(f"size-{count}", chosen, teacher_outputs=some)
curve_rows = []
for count in sorted(curve):
    logits = trained.predict_cached(curve[count][0], own_dev)
    low, high = tasks.score_interval(the_task, logits, dev.labels, resamples=n_resamples)
    curve_rows.append((count, score(logits, dev.labels), low, high))
chapter.facts["data_curve"] = curve_rows

# %%
guessing = np.bincount(dev.labels).max() / len(dev)
line = tuple(list(column) for column in zip(*curve_rows, strict=True))
figure = figures.data_curve(
    {f"{chosen}, two stages": line}, teacher_dev, guessing, caption=f"{caption}; dev, one seed"
)
chapter.save_figure(figure, "data_curve")
figure

# %% [markdown]
# ## 3.13 What it cost
#
# Accuracy is in the tables above. The rest is time, paid once, and the teacher's answers, computed once for all students.

# %%
spent = {
    "the students of the grid": sum(h.seconds for _, hs in distilled.values() for h in hs),
    "other routes": sum(h.seconds for route in routes_tried for h in travelled[route][1]),
    "comparisons": sum(h.seconds for _, hs in [base, *varied.values()] for h in hs),
}
chapter.facts["training_seconds"] = spent
pages.table([{"trained": what, "minutes": seconds / 60} for what, seconds in spent.items()])

# %% [markdown]
# ## 3.14 When it does not pay
#
# - **The teacher is poor.** A student learns its mistakes as faithfully as its answers. (TinyBERT's users met this: a
#   teacher that was never fine-tuned gives students that guess.)
# - **Labels are many and the task is easy.** Then a small model learns it from labels; the route table says how far that
#   goes here.
# - **Teacher and student read different tokens.** Their inner states belong to different pieces of text. FastFormers found
#   that distilling across such families does not work well; here such a pair is refused unless only logits are compared.
# - **The student is too narrow for its start.** Cutting the hidden width of a trained model breaks it more than cutting
#   layers, and needs far more text to mend; general distillation on raw text is the paper's answer.
#
# ## 3.15 Exercises
#
# 1. Start a student from the *last* layers (`2x384@last`). Why do lower ones work better here?
# 2. Distil the chosen student once more, from the student instead of the teacher. Does it gain or lose?
# 3. Which of the teacher's layers should a student of two layers learn from? Try `learn_from` as "2,6".
#
# **Next:** [chapter 7](07_story.ipynb) puts the rungs together.

# %%
chapter.save()
