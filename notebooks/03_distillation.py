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
# **Claim.** A model with a fraction of the layers can answer as its teacher does, if it learns from what the teacher
# computes and not from labels alone. In FastFormers' ladder this is the largest single factor. The teacher of the default
# run is itself a small, distilled model, so less is left to gain here.
#
# **Cost.** Training time, paid once, and usually a little accuracy; both are measured below.
#
# **Needs** chapters [1](01_baseline.ipynb) and [2](02_batching.ipynb). **Leaves** the smallest student that keeps the rule
# of this book (else the teacher, whole), and the rungs of what was tried.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
n_distil: int = 64  # training examples that the teacher answers; 0 takes all
student_from: str = "teacher"  # teacher: its own layers; else the hub name of a small general model
students_tried: list[str] = ["3x192@last", "teacher"]  # from small to large: layers x width @ start
learn_from: str = "uniform"  # layers it learns from: uniform, last, first or such as 3,6
match: list[str] = ["hidden"]  # parts of stage one: embedding, hidden, attention, relations, ...
stage_epochs: list[int] = [1, 1]  # of the inside and of the answers
temperature: float = 1.0  # of the soft labels
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
routes_tried: list[str] = ["labels", "one stage", "augmented"]  # beside the two stages; see 3.10
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
teacher: str = "sentence-transformers/all-MiniLM-L6-v2"  # the model that is fine-tuned
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
seed: int = 0  # of the training
try_every_student: bool = False  # the whole curve: also what is larger than the first that holds
logits_only: bool = False  # allow a named student of another vocabulary: logits alone are compared
stage_rates: list[float] = [1.0e-3, 2.0e-4]  # peak learning rates of the two stages
weak_teacher: str = "warn"  # what to do with a teacher not clearly above the floors: warn or refuse
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
copies: int = 1  # new texts made from each example, in the routes that make some
n_compare: int = 32  # training examples of the ablation; 0 takes all
variants_tried: list[str] = ["without the inside", "ReLU"]  # of the ablation; see 3.11
data_sizes: list[int] = [16]  # further numbers of examples, for the curve
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.data import batching, metrics
from fflib.data.retention import until_one_holds
from fflib.distillation import ablation, figures, losses, routes
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import TEACHER, StudentInit
from fflib.distillation.study import (
    Study,
    first_that_holds,
    to_study,
    training_minutes,
    why_above,
)
from fflib.distillation.teacher import TeacherOutputs, check_teacher
from fflib.engine import predictors
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, floor_report, flops, training
from fflib.story import tinybert

bench = Bench.open("03_distillation", globals())
files.check_known("route", routes_tried, routes.names(logits_only))
files.check_known("variant", variants_tried, ablation.names())

# %% [markdown]
# ## 3.1 Idea: two routes to a small model
#
# Route A makes a small model *before* the task is known, by distilling a big one on general text; it is then fine-tuned on
# the task's labels. On route B the small model, the **student**, learns the task itself from a fine-tuned **teacher**.
# FastFormers tries both and reports the better; its headline student took route B. There a student starts from layers of
# its teacher, as in this run, or from a small general model (`student_from`), as FastFormers' did. Route A itself is that
# general model with the route *labels* of section 3.10.

# %% tags=["hide-input"]
bench.figure(figures.routes(), "routes")

# %% [markdown]
# Why should a teacher help when the labels are there already? A label says *yes*. The teacher says *yes, but barely*,
# which tells more about the text. And its inner states tell **how** it came to that: what each layer made of the tokens.
# TinyBERT learns the inside first and the answers second.
#
# ## 3.2 The teacher
#
# The teacher of chapter 1, and the very dev and test examples it was chosen and scored on. A teacher that was never
# fine-tuned answers at random, and its students learn just that, without any error message. So it has to be clearly above
# the floors of chapter 1; what happens where it is not, `weak_teacher` says.

# %%
teacher_model = bench.load("teacher")
tokenizer = bench.tokenizer("teacher")
train = bench.texts("train", limit=n_distil, length=distil_length)
dev = bench.texts("dev")
test = bench.texts("test")

dev_logits = cache.predict_cached(teacher_model, dev)
test_logits = cache.predict_cached(teacher_model, test)
teacher_dev = bench.score(dev_logits, dev.gold)
teacher_test = bench.scored(test_logits, test.gold)
beside_floors = bench.facts_of("01_baseline")["floors"]
own_data = floor_report.description_of(task)
Markdown(check_teacher(bench.task, beside_floors, weak_teacher, own_data))

# %% [markdown]
# ## 3.3 Four losses
#
# Each compares one thing a student computes with one thing its teacher computes, and leaves padding out.
#
# - **Logits**: cross-entropy with the teacher's probabilities. *What* it answers. A `temperature` above 1 flattens both
#   sides, so that small probabilities count more; TinyBERT uses 1.
# - **Hidden states** (and embeddings): mean squared difference, through a learned projection if the widths differ.
#   *What a layer made of each token*.
# - **Attention**: mean squared difference of the scores **before** the softmax. *Which token looks at which*.
#   FastFormers' code can compare the probabilities instead, by their cosine; by default it does not.
# - **Relations** (MiniLMv2): how the tokens' queries, keys and values relate among themselves. It needs neither the same
#   number of heads nor the same width, so it also serves pruned models.

# %% tags=["hide-input"]
display.source(
    losses.soft_cross_entropy, losses.state_loss, losses.attention_loss, losses.relation_loss
)

# %% [markdown]
# ## 3.4 Predict: what will a smaller student save?
#
# Students are named by their size and start: *3x384* has three layers of width 384, the teacher's first ones;
# *2x384@2,5* has its second and fifth. One of full width is made of the teacher's own layers. A narrower one keeps the
# heads, neurons and hidden units without which the loss would change most, estimated from its gradient on training texts
# (chapter 4 is about that). A student with a hub name comes as it is, and may read text as other tokens.
#
# A student has fewer layers than its teacher, so each of them is given one to learn from, as the figure below shows.
# *uniform* is TinyBERT's choice and the default (`learn_from`). Where a student **starts** (`@`) and what it **learns from** are two questions. The start
# in the sizes' parameters was itself chosen on dev, by trying several.
#
# *3x384@kept* is a student that comes with the book, as its teacher does: it went through two stages such as those below, on
# all of train, which takes longer than a reader should wait. TinyBERT and FastFormers too begin with a small model that somebody
# had distilled for long. It needs no more teaching here; `python -m fflib.distillation.make_student` makes it anew.
#
# The operations can be counted before anything is trained. What a student will know, nobody can count.

# %%
init = StudentInit(student_from, teacher_model, tokenizer, logits_only, train, bench.task)
candidates = init.candidates(students_tried)
*students, _ = candidates  # after them, in any case, the teacher itself
texts = {
    "train": bench.texts("train", init.tokenizer, n_distil, distil_length),
    "dev": bench.texts("dev", init.tokenizer),
    "test": bench.texts("test", init.tokenizer),
}


# %%
def flop_of(model, requests):
    return flops.forward_flop(model.encoder.config, int(np.median(requests.lengths)))


teacher_flop = flop_of(teacher_model, test)
flop = {name: flop_of(init.make(name), texts["test"]) for name in students}
predicted = {name: teacher_flop / count for name, count in flop.items()}
bench.table([{"student": name, "predicted speed-up": predicted[name]} for name in students])

# %% tags=["hide-input"]
n_layers = len(teacher_model.encoder.layers)
depth = len(init.make(candidates[0]).encoder.layers)
maps = {kind: losses.layer_map(kind, depth, n_layers) for kind in ("uniform", "last", "first")}
bench.figure(figures.layer_maps(maps, n_layers), "layer_maps")

# %% [markdown]
# ## 3.5 Do it: two stages
#
# Two stages after TinyBERT: first the *inside* (its intermediate distillation), which gives no answers to score yet, then
# the *answers* (its prediction distillation). TinyBERT's inside is embeddings, hidden states and attention; `match` names
# what this run compares. The word embeddings stay frozen, as in chapter 1. Both stages run through the training loop of
# chapter 1; only the loss and the learning rate differ.

# %%
recipe = training.Recipe(batch_size=batch_size, dropout=dropout, freeze_words=True, seed=seed)
inside = DistillationStage(
    "inside",
    Objectives.inside(match),
    replace(recipe, epochs=stage_epochs[0], learning_rate=stage_rates[0], evaluations_per_epoch=0),
)
looks = int(stage_epochs[1] > 1)  # at dev, each epoch: one alone, at the end, chooses nothing
answers = DistillationStage(
    "answers",
    Objectives(logits=1.0, temperature=temperature),
    replace(
        recipe, epochs=stage_epochs[1], learning_rate=stage_rates[1], evaluations_per_epoch=looks
    ),
)
stages = [answers] if logits_only or not match else [inside, answers]

# %% [markdown]
# The teacher computes once, with its dropout off, what the losses ask for; it is kept on disk for every student after. A
# *study* is what all students share: their start, the stages, the teacher's outputs and the texts that score them. Then one
# student: made of its teacher, scored, taught, and scored again.
#
# The others learn in the same way, **from small to large, until one keeps the rule** of 3.6; after the last of them stands
# the teacher, which need not learn. (`try_every_student` goes on, for the whole curve.) Each stage has its own loss on its own
# scale. Look for a first stage that still falls at its end: more of it would help.

# %%
outputs = TeacherOutputs(teacher_model, train, teacher_cache_gb)
folder = bench.folder / "models" / "students"
teachers_own = {"dev": dev, "test": test}
study = Study(
    init, stages, outputs, texts, bench.task, folder, learn_from, n_resamples, teachers_own
)

shape = candidates[0]
student = init.make(shape)
dev_before = study.score(student, "dev")
distilled = {shape: study.taught(shape, student)}
dev_after = study.score(distilled[shape].model, "dev")

# %% tags=["hide-input"]
agreement = bench.score(outputs.logits.numpy(), train.gold)
Markdown(
    f"On dev **{shape}** scores {dev_before:.1%} as it was made, {dev_after:.1%} after its stages, and its teacher "
    f"{teacher_dev:.1%}. On the {len(train)} training texts, cut to {distil_length} tokens, the teacher agrees with "
    f"{agreement:.1%} of the labels; it may have been fine-tuned on these very texts, so that flatters it."
)

# %%
kept = {}


def keeps_the_rule(name):
    if name not in distilled:
        distilled[name] = study.taught(name)
    kept[name] = bench.retention(study.logits(distilled[name].model, "dev"), "dev")
    return kept[name].holds(min_retention)


tried = until_one_holds(candidates, keeps_the_rule, every=try_every_student)
bench.figure(figures.losses(study.losses(distilled), bench.caption), "distillation_losses")

# %% [markdown]
# ## 3.6 Choose on dev, report on test
#
# **One rule holds for the whole ladder**: what goes on keeps `min_retention` of the *teacher's* score on dev, this chapter's
# student and all that later chapters make of it. So what the student does not spend of that budget is left for eight bits and
# for smaller layers. Test takes no part in the choice.
#
# Teacher and student answer the same examples. Only those that one of them alone has right tell them apart, so the interval
# of the *retention* is drawn from pairs, and is much narrower than those of two scores. On dev the value itself decides; on test
# the interval tells whether the rule was held, held within the interval (which has both sides of it), or missed. The figure is
# left out where all that were tried have as many layers.

# %%
chosen = first_that_holds(kept, min_retention)
student = distilled[chosen].model
tested, kept_on_test = {}, {}
for name in tried:
    tested[name] = study.scored(distilled[name].model, "test")
    kept_on_test[name] = bench.retention(study.logits(distilled[name].model, "test"), "test")

# %% tags=["hide-input"]
outcome = f"**{chosen}** is the first that keeps {min_retention:.1%} of the teacher's score on dev."
if chosen == TEACHER:
    outcome = f"no student keeps {min_retention:.1%} of the teacher's score on dev: **the teacher itself goes on**."
best_on_test = max(tried, key=lambda name: tested[name].value)
above_teacher = study.difference_to(test_logits, distilled[best_on_test].model, "test")
show(
    Markdown(
        f"Tried, from small to large: {', '.join(tried)}. Of these {outcome} "
        + why_above(best_on_test, above_teacher)
        + "".join(f" *{name}* was left out: {why}." for name, why in init.left_out.items())
    )
)
grid = [
    {
        "student": name,
        "MB": round(checkpoints.size_mb(each.model)),
        "minutes of training": round(each.minutes, 1),
        "dev": f"{study.score(each.model, 'dev'):.1%}",
        "of the teacher's": kept[name].words,
        "keeps the rule": "yes" if kept[name].holds(min_retention) else "no",
        "test": f"{tested[name].value:.1%}",
        "95 % from": f"{tested[name].low:.1%}",
        "to": f"{tested[name].high:.1%}",
        "of the teacher's on test": kept_on_test[name].words,
    }
    for name, each in distilled.items()
]
show(bench.table(grid, decimals=1, keep="grid"))
by_layers = [
    figures.kept_by(name, distilled[name].model, kept[name], chosen=name == chosen)
    for name in tried
    if kept[name].is_known
]
bench.facts["retention_by_layers"] = by_layers
if len({point["x"] for point in by_layers}) > 1:
    caption = f"{bench.caption}; {len(dev)} dev examples, one seed"
    show(
        bench.figure(figures.depth_curve(by_layers, min_retention, caption), "retention_by_layers")
    )

# %% [markdown]
# The size in MB falls less than the number of layers: the word embeddings stay.
#
# ## 3.7 Check
#
# A student is another model, so it need not answer as its teacher does. But in the class that serves it, and in the
# batches it is served in, it must answer as it did when it was scored. Nothing is timed before that holds.

# %%
indices = batching.evenly_by_length(test.lengths, n_requests)
requests = dict.fromkeys(students, texts["test"].take(indices))
requests["teacher"] = test.take(indices)
models = {name: each.model for name, each in distilled.items()}
models["teacher"] = teacher_model


# %%
def serve(name, plan):
    model, _ = predictors.eager(models[name])
    return Variant(name, predictors.torch_predictor(model), plan, examples=requests[name])


ways = {name: serve(name, batching.in_order(requests[name].lengths, 1)) for name in models}
expected = {name: training.predict(model, requests[name]) for name, model in models.items()}
faster_than_chosen = tried[: tried.index(chosen)]
for name in dict.fromkeys(["teacher", *faster_than_chosen, chosen]):
    best = f"{name}, best batching"
    ways[best] = serve(name, bench.best_plan(requests[name].lengths))
    expected[best] = expected[name]

race = bench.compare(ways, requests["teacher"], expected)
Markdown(f"Largest difference of a logit: {race.largest_difference:.1e}; {race.labels_kept}.")

# %% [markdown]
# ## 3.8 Measure
#
# Teacher and students in the same rounds, so each step is a ratio of neighbours in time. Where the measured speed-up stays
# below the predicted one, the overhead of a call shows, which does not shrink with the model.

# %% tags=["hide-input"]
speed = [
    {
        "student": name,
        "p50 ms": race[name].latency_p50_ms,
        "p95 ms": race[name].latency_p95_ms,
        "requests/s": race[name].throughput_per_s,
        "predicted speed-up": predicted[name],
        "measured speed-up": race.speedup(name, "teacher"),
    }
    for name in tried
    if name != TEACHER
]
show(bench.table(speed, keep="speed"))
per_s = {name: race[name].throughput_per_s for name in models}
figure = figures.students(
    [
        figures.point(name, per_s[name], tested[name], chosen=name == chosen)
        for name in tried
        if name != TEACHER
    ],
    figures.point("teacher", per_s["teacher"], teacher_test),
    min_retention * teacher_test.value,
    floor_label=f"{min_retention:.1%} of the teacher",
    caption=f"{bench.caption}\none by one; accuracy on {len(test)} test examples; ringed: chosen on dev",
)
bench.figure(figure, "students")

# %% [markdown]
# ## 3.9 The rungs
#
# The chosen student, in the batches that chapter 2 found best, and those that are faster but below the rule: the ladder shows
# what they would bring, and marks them. The rung below, the teacher in these batches, is timed again beside them, so that the
# step is a ratio of neighbours in time. Where the teacher itself goes on there is no step.


# %%
def add_rung(rung, name):
    bench.add_rung(
        rung,
        race[f"{name}, best batching"],
        on="best batching",
        like="best batching",
        below=race["teacher, best batching"],
        model=f"{name} of {teacher}",
        engine=predictors.eager(models[name])[1],
        model_mb=checkpoints.size_mb(models[name]),
        plan=ways[f"{name}, best batching"].plan,
        scored=tested[name],
        kept=kept[name],
    )


for name in faster_than_chosen:
    add_rung(f"student {name}", name)
if chosen != TEACHER:
    add_rung("distilled student", chosen)

# %% tags=["hide-input"]
own_tokenizer = tokenizer if chosen == TEACHER else init.tokenizer
checkpoints.save(student, bench.folder / "models" / "student", own_tokenizer)
bench.facts["distil_fingerprint"] = bench.split("train", n_distil).fingerprint
bench.facts["student"] = {
    "shape": chosen,
    "folder": files.shown(bench.folder / "models" / "student"),
    "met_the_rule": kept[chosen].holds(min_retention),
    "accuracy": tested[chosen].value,
    "kept": kept_on_test[chosen].fact(min_retention),
}
bench.facts["goes_on_from"] = "best batching" if chosen == TEACHER else "distilled student"
gain = race.speedup(f"{chosen}, best batching", "teacher, best batching")
Markdown(
    f"**{chosen}**: {gain:.2f} times the teacher's throughput, at {kept_on_test[chosen].words or 'no share'} of its score "
    "on test."
    + (" **It is no faster than its teacher here.**" if gain <= 1 and chosen != TEACHER else "")
)

# %% [markdown]
# ## 3.10 What does the teacher give that labels do not?
#
# The chosen student again, on the same examples and for as many epochs, by other routes (`routes_tried`). Where the teacher goes
# on, or the student that comes with the book, it is the last one that this run taught:
#
# - **labels**: no teacher at all. The layers are those of the *pretrained* model, where one would start without a teacher;
# - **labels, teacher's layers**: begun from the fine-tuned teacher, but trained on labels;
# - **one stage**: the defaults of FastFormers' code, logits with a little of the embeddings and of the last hidden state.
#   (Its own narrow student had to leave the states out, as there is no projection in that code.)
# - **augmented** and **recombined**: the two stages on more text, labelled by the teacher alone, and so for more steps.
#   Augmented text has some words replaced by near neighbours in the encoder's word embeddings; recombined text pairs the
#   first text of one example with the second of another. TinyBERT replaces words by what a masked-language model
#   proposes, which takes a model with a head for that, so its gain cannot be read off here.
#
# Every route on the same test examples. The difference to the two stages is paired, so texts that are hard for both do not
# blur it. Its interval covers the choice of texts, not the seed: another training can move it further.

# %% tags=["hide-input"]
studied = to_study(chosen, tried)
display.source(routes.Routes.distil)

# %%
by_route = {"two stages": distilled.get(studied) or study.taught(studied)}
student = by_route["two stages"].model
other_routes = routes.Routes(study, studied, teacher, copies, distil_length)
difference = {"two stages": study.difference(student, student, "test")}
for route in other_routes.possible(routes_tried):
    by_route[route] = other_routes.distil(route)
    difference[route] = study.difference(by_route[route].model, student, "test")

# %% tags=["hide-input"]
rows = [
    {
        "route": route,
        "steps": each.steps,
        "minutes": each.minutes,
        "dev %": 100 * study.score(each.model, "dev"),
        "test %": 100 * study.score(each.model, "test"),
        "against two stages, points": 100 * difference[route].value,
        "95 % from": 100 * difference[route].low,
        "to": 100 * difference[route].high,
    }
    for route, each in by_route.items()
]
show(bench.table(rows, decimals=1, keep="routes"))
no_routes = other_routes.left_out(routes_tried)
if no_routes:
    reasons = "; ".join(f"*{route}*: {why}" for route, why in no_routes.items())
    show(Markdown(f"Not possible with these texts: {reasons}."))
n_train = bench.record("01_baseline")["parameters"]["n_train"]
Markdown(routes.verdict(difference.get("labels"), len(train), n_train))

# %% [markdown]
# ## 3.11 Which part of the recipe matters?
#
# TinyBERT's question: leave one thing out, or exchange it, and look at dev. These are trained on fewer examples
# (`n_compare`) and compared with the full recipe on those same few. The changes there are (`variants_tried`): *without* or
# *with* a part of the inside; without the inside as a whole; labels in place of the teacher's answers, or beside them;
# another temperature; *ReLU* in place of GELU, which FastFormers trains its students with for its speed (here is the
# accuracy side of it); other layers to start or to learn from.
#
# Below the figure stands what TinyBERT found, for a student of four layers, as the mean of four tasks' dev scores (its
# tables 2 and 3). It began from a general model and learnt from augmented text, so the order of the effects may be compared,
# their sizes may not.

# %%
unchanged = study.on_first(studied, n_compare)
changes, left_out = ablation.applicable(variants_tried, study, student)
changed = {}
effect = {}
for name, change in changes.items():
    start = init.make(studied, change.start, change.activation)
    changed[name] = study.distil(
        f"few, {name}", start, change.stages, outputs.first(n_compare), change.learn_from
    )
    effect[name] = study.difference(changed[name].model, unchanged.model, "dev")

# %% tags=["hide-input"]
unchanged_dev = study.score(unchanged.model, "dev")
n_few = len(outputs.first(n_compare).examples)
effects = [
    {"name": name, "difference": each.value, "low": each.low, "high": each.high}
    for name, each in effect.items()
]
bench.facts["ablation"] = {"base": unchanged_dev, "n_train": n_few, "rows": effects}
if effects:
    small_print = f"{studied}, {n_few} training and {len(dev)} dev examples; one seed"
    figure = figures.ablation(effects, unchanged_dev, caption=small_print)
    show(bench.figure(figure, "ablation"))
skipped = "; ".join(f"*{name}*: {why}" for name, why in left_out.items())
applied = ", ".join(changed) or "none"
show(Markdown(f"Not applicable here: {skipped}." if skipped else f"Tried: {applied}."))
bench.table(tinybert.rows(), decimals=1)

# %% [markdown]
# ## 3.12 How much text does the teacher have to answer?
#
# The full recipe on more and more examples, each run with as many epochs; few examples are therefore also few steps.

# %%
curve = {}
for count in sorted({n_few, len(train), *data_sizes}):
    if 1 <= count <= len(train):
        curve[count] = study.on_first(studied, count)

# %% tags=["hide-input"]
line = [(count, *study.scored(each.model, "dev")) for count, each in curve.items()]
bench.facts["data_curve"] = line
shown = Markdown("One number of texts makes no curve: name others in `data_sizes`.")
if len(line) > 1:
    columns = [list(column) for column in zip(*line, strict=True)]
    guessing = metrics.chance(bench.task, dev.gold)
    caption = f"{bench.caption}; dev, one seed"
    figure = figures.data_curve(
        {f"{studied}, two stages": columns}, teacher_dev, guessing, caption=caption
    )
    shown = bench.figure(figure, "data_curve")
shown

# %% [markdown]
# ## 3.13 What it cost
#
# Accuracy is in the tables above. The rest is training time, paid once. The teacher's pass over the texts, once for all
# students, comes on top and is not in these minutes. A student that comes with the book counts with the minutes it had been taught.

# %% tags=["hide-input"]
trained_before = {n_few, len(train)}
trained = {
    "the students of 3.6": distilled.values(),
    "the other routes of 3.10": [by_route[route] for route in other_routes.possible(routes_tried)],
    "the ablation of 3.11": [*changed.values(), *([unchanged] if n_few < len(train) else [])],
    "the curve of 3.12": [curve[count] for count in curve if count not in trained_before],
}
minutes = {what: training_minutes(students) for what, students in trained.items()}
bench.facts["training_minutes"] = minutes
bench.table([{"trained": what, "minutes": value} for what, value in minutes.items()])

# %% [markdown]
# ## 3.14 When it does not pay
#
# - **The teacher is poor.** A student learns its mistakes as faithfully as its answers. TinyBERT's users met this with
#   teachers that had never been fine-tuned.
# - **Labels are many and the task is easy.** Then a small model learns it from labels; the table of routes says how far
#   that goes here.
# - **Teacher and student read different tokens.** Their inner states belong to different pieces of text. FastFormers found
#   that distilling across such families does not work well; here such a pair is refused unless only logits are compared.
# - **The student is too narrow for its start.** A cut through the hidden width changes every layer at once, and the frozen
#   word embeddings cannot mend it. TinyBERT's answer is a narrow student distilled on general text.
#
# ## 3.15 Exercises
#
# 1. Start a student from the *last* layers (`2x384@last`), or from the first. Predict which is better, then look at dev.
# 2. Distil a second student from the first one instead of the teacher. Does it gain or lose?
# 3. Which of the teacher's layers should a student of two layers learn from? Try `learn_from` as "2,6" with
#    `students_tried=["2x384"]`.
#
# **Next:** [chapter 4](04_pruning.ipynb) takes parts out of the student.

# %% tags=["hide-input"]
bench.save()
