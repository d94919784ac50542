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
# **Needs** chapters [1](01_baseline.ipynb) and [2](02_batching.ipynb). **Leaves** the distilled student, chosen by a rule,
# and its rung.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
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
match: list[str] = ["hidden"]  # parts of stage one: embedding, hidden, attention, relations, ...
stage_epochs: list[int] = [1, 1]  # of the inside and of the answers
stage_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
temperature: float = 1.0  # of the soft labels
min_retention: float = 0.98  # the rule: the smallest student that keeps this share of dev accuracy
weak_teacher: str = "warn"  # what to do with a teacher that only guesses: warn or refuse
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
routes_tried: list[str] = ["labels", "one stage", "augmented"]  # beside the two stages; see 3.10
copies: int = 1  # new texts made from each example, in the routes that make some
n_compare: int = 32  # training examples of the ablation; 0 takes all
variants_tried: list[str] = ["without the inside", "ReLU"]  # of the ablation; see 3.11
data_sizes: list[int] = [16]  # further numbers of examples, for the curve
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]

import numpy as np
from IPython.display import Markdown, display

from fflib import display as pages
from fflib import files
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.data import splits as data
from fflib.distillation import figures
from fflib.measure import hardware, timing
from fflib.model import checkpoints, flops
from fflib.runs import ladder, records

chapter = Bench.open("03_distillation", globals())
threads = chapter.threads

# %% tags=["hide-input"]
from fflib.data import metrics, registry
from fflib.distillation import ablation, augmentation, losses, objective, students
from fflib.distillation.objective import Objectives
from fflib.distillation.students import Shape, Source, Stage
from fflib.distillation.teacher import Outputs, check_fine_tuned
from fflib.engine import predictors
from fflib.model import cache, training
from fflib.model.importance import first_order, gradients

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads, PyTorch fp32; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 3.1 Idea: two routes to a small model
#
# Route A makes a small model *before* the task is known, by distilling a big one on general text; it is then fine-tuned on
# the task's labels. On route B the small model, the **student**, learns the task itself from a fine-tuned **teacher**.
# FastFormers tries both and reports the better; its headline student took route B. There a student starts from layers of
# its teacher, as in this run, or from a small general model (`student_from`), as FastFormers' did. Route A itself is that
# general model with the route *labels* of section 3.10.

# %% tags=["hide-input"]
figure = figures.routes()
chapter.figure(figure, "routes")
figure

# %% [markdown]
# Why should a teacher help when the labels are there already? A label says *yes*. The teacher says *yes, but barely*,
# which tells more about the text. And its inner states tell **how** it came to that: what each layer made of the tokens.
# TinyBERT learns the inside first and the answers second.
#
# ## 3.2 The teacher
#
# The teacher of chapter 1, and the very dev and test examples it was chosen and scored on.

# %%
baseline = records.current(run_dir, "01_baseline")
facts = baseline["facts"]
the_task = registry.get_task(task)
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


def score(logits, gold):
    return metrics.score(the_task, logits, gold)


dev_logits = cache.predict_cached(teacher_model, dev)
teacher_dev = score(dev_logits, dev.gold)
teacher_test = score(cache.predict_cached(teacher_model, test), test.gold)

# %% [markdown]
# A teacher that was never fine-tuned answers at random, and its students learn just that, without any error message. So we
# check it first:

# %%
files.check_known("way with a weak teacher", [weak_teacher], ("warn", "refuse"))
try:
    check_fine_tuned(the_task, dev_logits, dev.gold)
    verdict = f"The teacher scores **{teacher_dev:.1%}** on dev, well above guessing."
except files.InputError as error:
    if weak_teacher == "refuse":
        raise
    verdict = f"**Careful: {error}.** This run goes on, since `weak_teacher` is '{weak_teacher}'; its accuracies mean nothing."
Markdown(verdict)

# %% [markdown]
# ## 3.3 Four losses
#
# Each compares one thing a student computes with one thing its teacher computes, and leaves padding out.
#
# - **Logits**: cross-entropy with the teacher's probabilities. *What* it answers. A `temperature` above 1 flattens both
#   sides, so that small probabilities count more; TinyBERT uses 1.
# - **Hidden states** (and embeddings): mean squared difference, through a learned projection if the widths differ.
#   *What a layer made of each token*.

# %%
pages.source(losses.soft_cross_entropy, losses.state_loss)

# %% [markdown]
# - **Attention**: mean squared difference of the scores **before** the softmax. *Which token looks at which*.
#   FastFormers' code can compare the probabilities instead, by their cosine; by default it does not.
# - **Relations** (MiniLMv2): how the tokens' queries, keys and values relate among themselves. It needs neither the same
#   number of heads nor the same width, so it also serves pruned models.

# %%
pages.source(losses.attention_loss, losses.attention_cosine_loss, losses.relation_loss)

# %% [markdown]
# ## 3.4 Predict: what will a smaller student save?
#
# Students are named by their size and start: *3x384* has three layers of width 384, the teacher's first ones;
# *2x384@2,5* has its second and fifth. One of full width is made of the teacher's own layers. A narrower one keeps the
# heads, neurons and hidden units without which the loss would change most, estimated from its gradient on training texts
# (chapter 4 is about that). A student with a hub name comes as it is.
#
# The operations can be counted before anything is trained. What a student will know, nobody can count.

# %%
full_width = teacher_model.encoder.config.hidden_size
narrow = student_from == "teacher" and any(
    Shape.parse(text).hidden < full_width for text in students_tried
)
texts = train.take(range(min(len(train), 256)))
kept_first = first_order(gradients(teacher_model, texts)) if narrow else None
source = Source(student_from, teacher_model, tokenizer, logits_only, kept_first)
candidates = source.candidates(students_tried)
own_train = data.tokenize(splits["train"], source.tokenizer, distil_length)
own_dev, own_test = (
    data.tokenize(splits[name], source.tokenizer, the_task.max_length) for name in ("dev", "test")
)

# %%
typical, own_typical = (int(np.median(split.lengths)) for split in (test, own_test))
teacher_flop = flops.forward_flop(teacher_model.encoder.config, typical)
flop = {
    name: flops.forward_flop(source.make(name).encoder.config, own_typical) for name in candidates
}
predicted = {name: teacher_flop / value for name, value in flop.items()}
pages.table([{"student": name, "predicted speed-up": value} for name, value in predicted.items()])

# %% [markdown]
# A student has fewer layers than its teacher, so each of them is given one to learn from. *uniform* is TinyBERT's choice
# and the default (`learn_from`). Where a student **starts** (`@`) and what it **learns from** are two questions. The start
# in the sizes' parameters was itself chosen on dev, by trying several.

# %%
n_layers = len(teacher_model.encoder.layers)
depth = len(source.make(candidates[0]).encoder.layers)
maps = {kind: losses.layer_map(kind, depth, n_layers) for kind in ("uniform", "last", "first")}
figure = figures.layer_maps(maps, n_layers)
chapter.figure(figure, "layer_maps")
figure

# %% [markdown]
# ## 3.5 Do it: two stages
#
# Two stages after TinyBERT: first the *inside* (its intermediate distillation), which gives no answers to score yet, then
# the *answers* (its prediction distillation). TinyBERT's inside is embeddings, hidden states and attention; `match` names
# what this run compares. The word embeddings stay frozen, as in chapter 1. Both stages run through the training loop of
# chapter 1; only the loss and the learning rate differ.

# %%
files.check_known("part of the inside", match, ablation.INSIDE)
files.check_known("variant", variants_tried, ablation.names())


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


INSIDE, ANSWERS = (
    Objectives(**dict.fromkeys(match, 1.0)),
    Objectives(logits=1.0, temperature=temperature),
)
(inside_epochs, answer_epochs), (inside_rate, answer_rate) = stage_epochs, stage_rates
inside = Stage("inside", INSIDE, recipe(inside_epochs, inside_rate, evaluations=0))
answers = Stage("answers", ANSWERS, recipe(answer_epochs, answer_rate))
stages = [answers] if logits_only or not match else [inside, answers]

# %% [markdown]
# The teacher computes once, with its dropout off, what the losses ask for; it is kept on disk for every student after.

# %%
outputs = Outputs(teacher_model, train, teacher_cache_gb)


def distil(name, student, stages=stages, outputs=outputs, learn_from=learn_from):
    folder = chapter.folder / "models" / "students" / name.replace("/", "--")
    own = own_train.take(range(len(outputs.examples))) if logits_only else None
    return students.distil(student, stages, outputs, own_dev, score, folder, learn_from, own)


distilled = {name: distil(name, source.make(name)) for name in candidates}
agreement = score(outputs.logits.numpy(), train.gold)
Markdown(
    f"On {len(train)} training texts, cut to {distil_length} tokens, the teacher agrees with {agreement:.1%} of the labels. "
    f"It may have been fine-tuned on these very texts, so that flatters it."
)

# %% [markdown]
# Each stage has its own loss on its own scale. Look for a first stage that still falls at its end: more of it would help.

# %%
stage_losses = {
    stage.name: {name: histories[i].loss for name, (_, histories) in distilled.items()}
    for i, stage in enumerate(stages)
}
figure = figures.losses(stage_losses, caption)
chapter.figure(figure, "distillation_losses")
figure

# %% [markdown]
# ## 3.6 Choose on dev, report on test
#
# The rule is a parameter: the smallest student, by its operations, that keeps `min_retention` of the teacher's accuracy
# **on dev**. Test takes no part in it.

# %%
dev_scores = {
    name: score(cache.predict_cached(model, own_dev), dev.gold)
    for name, (model, _) in distilled.items()
}
holding = [name for name in candidates if dev_scores[name] >= min_retention * teacher_dev]
chosen = min(holding, key=flop.get) if holding else max(candidates, key=dev_scores.get)
student = distilled[chosen][0]
outcome = "is the smallest that keeps" if holding else "is the most accurate, but none keeps"
Markdown(
    f"Of {len(candidates)} tried, **{chosen}** {outcome} {min_retention:.1%} of the teacher's accuracy on dev."
)


# %%
def on_test(model):
    logits = cache.predict_cached(model, test if model is teacher_model else own_test)
    return metrics.scored(the_task, logits, test.gold, n_resamples)


tested = {name: on_test(model) for name, (model, _) in distilled.items()}
chapter.facts["grid"] = grid = [
    {
        "student": name,
        "MB": round(checkpoints.size_mb(model)),
        "minutes of training": round(sum(h.seconds for h in histories) / 60, 1),
        "dev": f"{dev_scores[name]:.1%}",
        "of the teacher's": f"{ladder.kept(dev_scores[name], teacher_dev):.1%}",
        "test": f"{tested[name].value:.1%}",
        "95 % from": f"{tested[name].low:.1%}",
        "to": f"{tested[name].high:.1%}",
        "of the teacher's on test": f"{ladder.kept(tested[name].value, teacher_test):.1%}",
    }
    for name, (model, histories) in distilled.items()
]
pages.table(grid, decimals=1)

# %% [markdown]
# The size in MB falls less than the number of layers: the word embeddings stay.
#
# ## 3.7 Check
#
# A student is another model, so it need not answer as its teacher does. But in the class that serves it, and in the
# batches it is served in, it must answer as it did when it was scored.

# %%
picked = batching.evenly_by_length(test.lengths, n_requests)
requests, own_requests = test.take(picked), own_test.take(picked)
best_kind, best_size = records.current(run_dir, "02_batching")["facts"]["best"]
models = {"teacher": teacher_model} | {name: model for name, (model, _) in distilled.items()}


def variants_of(name, model):
    predict = predictors.torch_predictor(predictors.eager(model)[0])
    asked = requests if name == "teacher" else own_requests
    plans = {"one by one": batching.in_order(asked.lengths, 1)}
    if name in ("teacher", chosen):
        plans["best batching"] = batching.PLANS[best_kind](asked.lengths, best_size)
    expected = training.predict(model, asked)
    timed = [
        timing.Variant(f"{name}, {kind}", predict, plan, examples=asked)
        for kind, plan in plans.items()
    ]
    return [timing.check(variant, asked, expected) for variant in timed]


variants = {v.name: v for name, model in models.items() for v in variants_of(name, model)}
worst = max(variant.checked.max_abs_difference for variant in variants.values())
Markdown(f"Largest difference of a logit: {worst:.1e}; every label is the same.")

# %% [markdown]
# ## 3.8 Measure
#
# Teacher and students in the same rounds, so each step is a ratio of neighbours in time. Where the measured speed-up stays
# below the predicted one, the overhead of a call shows, which does not shrink with the model.

# %%
timings = timing.time_interleaved(list(variants.values()), requests, rounds)
alone = {name: timings[f"{name}, one by one"] for name in models}
chapter.facts["speed"] = speed = [
    {
        "student": name,
        "p50 ms": alone[name].latency_p50_ms,
        "p95 ms": alone[name].latency_p95_ms,
        "requests/s": alone[name].throughput_per_s,
        "predicted speed-up": predicted[name],
        "measured speed-up": alone[name].throughput_per_s / alone["teacher"].throughput_per_s,
    }
    for name in candidates
]
pages.table(speed)


# %%
def point(name, scored, route="two stages"):
    x, is_chosen = alone[name].throughput_per_s, name == chosen
    where = {"x": x, "accuracy": scored.value, "low": scored.low, "high": scored.high}
    return {"name": name, "route": route, "chosen": is_chosen, **where}


figure = figures.students(
    [point(name, tested[name]) for name in candidates],
    point("teacher", on_test(teacher_model), "teacher"),
    min_retention * teacher_test,
    floor_label=f"{min_retention:.1%} of the teacher",
    caption=f"{caption}\none by one; accuracy on {len(test)} test examples; ringed: chosen on dev",
)
chapter.figure(figure, "students")
figure

# %% [markdown]
# ## 3.9 The rung
#
# The chosen student, in the batches that chapter 2 found best. Its anchor is the rung below, the teacher in these batches,
# timed again beside it.

# %%
earlier = {rung["rung"]: rung for rung in records.current(run_dir, "02_batching")["rungs"]}
served = variants[f"{chosen}, best batching"]
rung = ladder.Rung(
    "distilled student",
    stacks_on="best batching",
    model=f"{chosen} of {facts['teacher']['name']}",
    engine=predictors.eager(student)[1],
    precision="fp32",
    batching=earlier["best batching"]["batching"],
    batch_size=round(np.mean([len(group) for group in served.plan])),
    threads=threads,
    anchor_per_s=timings["teacher, best batching"].throughput_per_s,
    model_mb=checkpoints.size_mb(student),
)
rung.timed(timings[served.name], served.checked, usd_per_hour)
value, low, high = tested[chosen]
chapter.add(rung.scored(value, (low, high), teacher_test))
assert rung.throughput_per_s > rung.anchor_per_s, "the student is not faster than its teacher"

# %%
folder = chapter.folder / "models" / "student"
checkpoints.save(student, folder, source.tokenizer)
chapter.facts["student"] = {
    "shape": chosen,
    "folder": files.shown(folder),
    "met_the_rule": bool(holding),
    "accuracy": rung.accuracy,
    "retention": rung.retention,
}
Markdown(
    f"**{chosen}**: {rung.throughput_per_s / rung.anchor_per_s:.2f} times the teacher's throughput, at "
    f"{ladder.kept(rung.accuracy, teacher_test):.1%} of its accuracy on test."
)

# %% [markdown]
# ## 3.10 What does the teacher give that labels do not?
#
# The chosen architecture again, on the same examples and for as many epochs, by other routes (`routes_tried`):
#
# - **labels**: no teacher at all. The layers are those of the *pretrained* model, where one would start without a teacher;
# - **labels, teacher's layers**: begun from the fine-tuned teacher, but trained on labels;
# - **one stage**: the defaults of FastFormers' code, logits with a little of the embeddings and of the last hidden state.
#   (Its own narrow student had to leave the states out, as there is no projection in that code.)
# - **augmented** and **recombined**: the two stages on more text, labelled by the teacher alone, and so for more steps.
#   Augmented text has some words replaced by near neighbours in the encoder's word embeddings; recombined text pairs the
#   first text of one example with the second of another. TinyBERT replaces words by what a masked-language model
#   proposes, so its gain cannot be read off here (`fflib.distillation.masked_words` does that where such a model is at hand).


# %%
def untaught():
    if source.named:
        return source.make(chosen)
    whole = checkpoints.load_classifier(teacher, the_task.num_labels, seed, the_task.spans)
    return Source("teacher", whole, tokenizer).make(chosen)


def one_stage(name, objectives):
    return [Stage(name, objectives, recipe(sum(s.recipe.epochs for s in stages), answer_rate))]


def on_more_text(route):
    if route == "recombined":
        new = augmentation.recombined(train, tokenizer, copies, distil_length, seed)
    else:
        words = teacher_model.encoder.embeddings.word.weight
        near = augmentation.neighbour_candidates(train, tokenizer, words)
        new = augmentation.augment(train, tokenizer, near, copies, seed=seed)
    return Outputs(teacher_model, augmentation.joined(train, new), teacher_cache_gb)


# %%
on_labels = one_stage("labels", Objectives(labels=1.0))
routes = {
    "labels": lambda: distil("labels", untaught(), on_labels),
    "labels, teacher's layers": lambda: distil("own labels", source.make(chosen), on_labels),
}
if not logits_only:  # these look inside, or make text of the teacher's tokens
    single = one_stage("single", objective.FASTFORMERS)
    routes["one stage"] = lambda: distil("one stage", source.make(chosen), single)
    for name in ("augmented", "recombined"):
        routes[name] = lambda name=name: distil(
            name, source.make(chosen), outputs=on_more_text(name)
        )
files.check_known("route", routes_tried, routes)
travelled = {"two stages": distilled[chosen]} | {name: routes[name]() for name in routes_tried}

# %% [markdown]
# Every route on the same test examples. The difference to the two stages is paired, so texts that are hard for both do not
# blur it. Its interval covers the choice of texts, not the seed: another training can move it further.

# %%
best_logits = cache.predict_cached(student, own_test)
DIFFERENCE = ("against two stages, points", "95 % from", "to")


def row(route, model, histories):
    logits = cache.predict_cached(model, own_test)
    against = metrics.difference_interval(
        the_task, logits, best_logits, test.gold, resamples=n_resamples
    )
    return {
        "route": route,
        "steps": sum(history.loss[-1][0] for history in histories),
        "minutes": sum(history.seconds for history in histories) / 60,
        "dev %": 100 * score(cache.predict_cached(model, own_dev), dev.gold),
        "test %": 100 * score(logits, test.gold),
        **dict(zip(DIFFERENCE, 100 * np.array(against), strict=True)),
    }


chapter.facts["routes"] = rows = [row(route, *result) for route, result in travelled.items()]
pages.table(rows, decimals=1)

# %%
if "labels" in travelled:
    difference, low, high = (rows[1 + routes_tried.index("labels")][key] for key in DIFFERENCE)
    verdict = "clearly ahead" if high < 0 else "clearly behind" if low > 0 else "not clearly apart"
    display(
        Markdown(
            f"On these test texts the distilled student is **{verdict}** of the same architecture trained on labels alone "
            f"({-difference:+.1f} points, {-high:+.1f} to {-low:+.1f}). Both saw {len(train)} examples, while the teacher "
            f"had learnt from {baseline['parameters']['n_train'] or 'all'}; the label routes' learning rate was not tuned."
        )
    )

# %% [markdown]
# ## 3.11 Which part of the recipe matters?
#
# TinyBERT's question: leave one thing out, or exchange it, and look at dev. These are trained on fewer examples
# (`n_compare`) and compared with the full recipe on those same few. The changes there are (`variants_tried`): *without* or
# *with* a part of the inside; without the inside as a whole; labels in place of the teacher's answers, or beside them;
# another temperature; *ReLU* in place of GELU, which FastFormers trains its students with for its speed (here is the
# accuracy side of it); other layers to start or to learn from.

# %%
few = outputs.take(range(min(n_compare or len(train), len(train))))
changes = {
    name: ablation.change(name, stages, student, teacher_model, source.named)
    for name in variants_tried
}
left_out = {name: why for name, why in changes.items() if isinstance(why, str)}


def with_change(name, change):
    start = source.make(chosen, change.start, change.activation)
    return distil(f"few, {name}", start, change.stages, few, change.learn_from or learn_from)


whole = len(few.examples) == len(train)
base = distilled[chosen] if whole else distil("few", source.make(chosen), outputs=few)
varied = {name: with_change(name, changes[name]) for name in changes if name not in left_out}

# %%
base_logits = cache.predict_cached(base[0], own_dev)
base_dev = score(base_logits, dev.gold)
effects = []
for name, (model, _) in varied.items():
    logits = cache.predict_cached(model, own_dev)
    effect = metrics.difference_interval(
        the_task, logits, base_logits, dev.gold, resamples=n_resamples
    )
    effects.append({"name": name, **dict(zip(("difference", "low", "high"), effect, strict=True))})
chapter.facts["ablation"] = {"base": base_dev, "n_train": len(few.examples), "rows": effects}
small_print = f"{chosen}, {len(few.examples)} training and {len(dev)} dev examples; one seed"
if effects:
    figure = figures.ablation(effects, base_dev, caption=small_print)
    chapter.figure(figure, "ablation")
    display(figure)
skipped = "; ".join(f"*{name}*: {why}" for name, why in left_out.items())
Markdown(
    f"Not applicable here: {skipped}." if skipped else f"Tried: {', '.join(varied) or 'none'}."
)

# %% [markdown]
# What TinyBERT found, for a student of four layers, as the mean of four tasks' dev scores (its tables 2 to 4). It began from
# a general model and learnt from augmented text, so the order of the effects may be compared, their sizes may not.

# %%
full, tinybert = 75.6, {"inside": 56.3, "augmentation": 68.4, "attention": 71.0, "hidden": 72.9}
tinybert |= {"the teacher's answers": 73.5, "embedding": 74.1}
pages.table(
    [
        {"TinyBERT without": part, "mean score": mean, "points lost": full - mean}
        for part, mean in tinybert.items()
    ],
    decimals=1,
)

# %% [markdown]
# ## 3.12 How much text does the teacher have to answer?
#
# The full recipe on more and more examples, each run with as many epochs; few examples are therefore also few steps.

# %%
curve = {len(few.examples): base, len(train): distilled[chosen]}
for count in set(data_sizes) - curve.keys():
    if count < len(train):
        curve[count] = distil(
            f"{count} texts", source.make(chosen), outputs=outputs.take(range(count))
        )
logits = {count: cache.predict_cached(curve[count][0], own_dev) for count in sorted(curve)}
line = [
    (count, *metrics.scored(the_task, logits[count], dev.gold, n_resamples)) for count in logits
]
chapter.facts["data_curve"] = line
guessing = metrics.chance(the_task, dev.gold)
figure = Markdown("One number of texts makes no curve: name others in `data_sizes`.")
if len(line) > 1:
    figure = figures.data_curve(
        {f"{chosen}, two stages": [list(column) for column in zip(*line, strict=True)]},
        teacher_dev,
        guessing,
        caption=f"{caption}; dev, one seed",
    )
    chapter.figure(figure, "data_curve")
figure

# %% [markdown]
# ## 3.13 What it cost
#
# Accuracy is in the tables above. The rest is training time, paid once. The teacher's pass over the texts, once for all
# students, comes on top and is not in these minutes.

# %%
spent = {
    "the students of 3.6": distilled.values(),
    "the other routes of 3.10": [travelled[name] for name in routes_tried],
    "the ablation of 3.11": [base, *varied.values()] if not whole else list(varied.values()),
    "the curve of 3.12": [curve[count] for count in curve if count in data_sizes],
}
minutes = {
    what: sum(h.seconds for _, histories in runs for h in histories) / 60
    for what, runs in spent.items()
}
chapter.facts["training_minutes"] = minutes
pages.table([{"trained": what, "minutes": value} for what, value in minutes.items()])

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

# %%
chapter.save()
