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
# # 1 · The baseline: what are we faster than?
#
# **Claim.** Half of the famous speed-ups are decided before any trick is used: by what they are compared with. This
# chapter fixes two baselines and a teacher, and shows where the time of a request goes.
#
# **Cost.** None in accuracy. A teacher is trained for a task, the one expensive step of the book; that of the default task comes with it.
#
# **Needs** nothing before it. **Leaves** the trained teacher, the first four rungs of the ladder, and the floors below all
# of them.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
reference: str = "google-bert/bert-base-uncased"  # the speed reference
teacher: str = "sentence-transformers/all-MiniLM-L6-v2"  # the model that is fine-tuned
shipped_teacher: bool = True  # take the book's own teacher, where it has one for the task
n_train: int = 96  # training examples; 0 takes all
epochs: int = 1  # passes over the training set at most; 0: the teacher is fine-tuned already
minutes: float = 5.0  # for the training; what does not fit in is left out, and said
learning_rate: float = 7.0e-5  # peak, after the warm-up
threads: int = 0  # threads of every engine; 0 takes all cores
n_requests: int = 8  # requests that are timed
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_floor: int = 500  # training examples of the floors; 0 takes all
train_length: int = 48  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
seeds: list[int] = [0]  # one training run each; the best on dev goes on
rounds: int = 2  # interleaved timing rounds
n_padded_requests: int = 2  # of these, how many are timed padded
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display
from fflib.book.bench import Bench
from fflib.data import batching, metrics, splits
from fflib.data.metrics import Scored
from fflib.engine import predictors
from fflib.files import shown
from fflib.measure import figures, operators
from fflib.measure.ceiling import measure_ceiling
from fflib.measure.timing import Variant
from fflib.model import (
    cache,
    checkpoints,
    finetuning,
    floor_report,
    floors,
    flops,
    hf_names,
    reading,
    shipped,
    training,
)
from fflib.model import figures as training_figures
from fflib.model.encoder import Attention
from fflib.runs import ladder

bench = Bench.open("01_baseline", globals())

# %% [markdown]
# ## 1.1 Idea: four ways to answer the same request
#
# A request is a short text, or a pair of texts; the answer is a class. The paper that this book follows, FastFormers,
# starts from a model that **pads every request to the longest length it can take**. Transformers compute on padding as
# they compute on words, and then mask it out. Whoever stops doing that is several times faster, and has compressed
# nothing. So every ladder in this book shows its speed-up twice:
#
# - against the **padded** reference, the paper's baseline, and
# - against the **unpadded** reference, the same model served one request at a time without padding.
#
# Both are the stock `transformers` class, in fp32, as a user would call it. Below them stands the *teacher*: the model
# whose accuracy everything later has to keep.

# %% [markdown]
# ## 1.2 The task
#
# Every number of the run is about this task. *Dev*, for every choice on the way, shares no source file, passage or description
# with *train*; *test* is what is reported, and nothing is chosen by it.
#
# The default task is made here, from the documentation of the installed packages: a parameter's name with a description, a
# function, and the question whether they belong together. Where they do not, the description is that of *another parameter of
# the same function*. So both texts are always about the same thing, and shared words tell little; a model that answers
# finds documentation that has drifted from its code.

# %%
examples = {
    "train": bench.split("train", n_train),
    "dev": bench.split("dev"),
    "test": bench.split("test"),
}

# %% tags=["hide-input"]
bench.facts["data_fingerprint"] = {name: split.fingerprint for name, split in examples.items()}
bench.facts["n_examples"] = {name: len(split) for name, split in examples.items()}
scored_by = " and ".join(bench.task.metrics) + (
    ", the mean of them" if len(bench.task.metrics) > 1 else ""
)
show(
    Markdown(f"**{bench.task.name}.** {bench.task.description} *Accuracy* stands for {scored_by}.")
)
bench.table(
    [
        {
            "split": name,
            "examples": len(split),
            "always the same answer scores": f"{metrics.chance(bench.task, split.gold):.1%}",
            "fingerprint": split.fingerprint,
        }
        for name, split in examples.items()
    ]
)

# %% [markdown]
# The tokenizer cuts words into pieces of its vocabulary; a model sees their numbers. What a model has to compute depends
# on how many there are, and requests differ a lot:

# %%
tokenizer = checkpoints.load_tokenizer(teacher)
max_length = bench.task.max_length
train = splits.tokenize(examples["train"], tokenizer, train_length)
dev = splits.tokenize(examples["dev"], tokenizer, max_length)
test = splits.tokenize(examples["test"], tokenizer, max_length)

# %% tags=["hide-input"]
statistics = {
    "mean": test.lengths.mean(),
    "median": np.median(test.lengths),
    "95th percentile": np.percentile(test.lengths, 95),
    "longest": test.lengths.max(),
    "padded to": max_length,
}
rows = [
    {"tokens of a test request": name, "": f"{value:.0f}"} for name, value in statistics.items()
]
show(bench.table(rows))
as_read = {"train": train, "dev": dev, "test": test}
Markdown(reading.words(as_read, tokenizer, max_length, teacher))

# %% [markdown]
# ## 1.3 The model
#
# The book has its own encoder, small enough to read, because the stock one cannot hold the pruned shapes of later
# chapters. Its heart is attention:

# %% tags=["hide-input"]
display.source(Attention.forward)

# %% [markdown]
# We train in our encoder and serve the baseline in the stock class: the same weights, which the check below asserts.
#
# ## 1.4 The teacher
#
# One loop trains everything in this book. Batches hold texts of like length, so that little of the work is padding; the
# learning rate warms up and decays; the best weights on *dev* are kept. *Test* is not looked at until the end.

# %%
recipe = training.Recipe(
    epochs, batch_size, learning_rate, dropout=dropout, freeze_words=True, patience=3
)
kept_file = shipped.file_for(bench.task, teacher) if shipped_teacher else None
models_folder = bench.folder / "models"
# Where the teacher comes with the book, this training chooses nothing: a part of dev is enough to watch it.
watched = dev.take(range(min(len(dev), 400))) if kept_file else dev
if epochs:
    trained = models_folder / "trained"
    plan = finetuning.fit_into(minutes, train, watched, recipe, teacher, bench.task, trained)
    train, recipe = train.take(range(plan.rows)), replace(recipe, epochs=plan.epochs)
    show(Markdown(f"Training on {plan}, fewer if *dev* stops gaining."))


# %%
def fine_tune(seed):
    folder = models_folder / f"{'begun' if kept_file else 'teacher'}-{seed}"
    data = bench.task, train, watched
    return finetuning.fine_tune(teacher, *data, recipe, bench.score, folder, tokenizer, seed)


tuned = {seed: fine_tune(seed) for seed in seeds}
best_seed = max(seeds, key=lambda seed: tuned[seed][1].best_score)
teacher_model, history = tuned[best_seed]

# %% [markdown]
# The default task is hard: a model that has seen a thousand pairs still guesses, and the one that this book goes on with saw all
# of train. That takes longer than a reader should wait, so its training was done once, by this very loop, and **what it
# changed comes with the book**: for each matrix of the layers a product of two thin ones, the best there is of that size, added to
# the public weights as [LoRA](https://arxiv.org/abs/2106.09685) does, in under a megabyte. It costs a little accuracy, which the
# record beside the file tells. `python -m fflib.model.shipped` makes it anew; with `shipped_teacher=False`, and for every other task, the
# teacher is the model that was trained above. The figure shows both trainings: yours, and the long one from its record.

# %%
begun = None
if kept_file:
    begun, folder = history, models_folder / f"teacher-{best_seed}"
    teacher_model, history = shipped.take(kept_file, teacher, bench.task, folder, tokenizer)
training_figures.training(history, metrics.chance(bench.task, dev.gold), begun)

# %% [markdown]
# What the teacher scores on texts it was neither trained nor selected on, with a 95 % bootstrap interval:

# %%
teachers = {best_seed: teacher_model}
if not kept_file:
    teachers = {seed: model for seed, (model, _) in tuned.items()}
test_logits = {seed: cache.predict_cached(model, test) for seed, model in teachers.items()}
teacher_scored = bench.scored(test_logits[best_seed], test.gold)

# %% tags=["hide-input"]
seed_rows = [
    {
        "seed": seed,
        "dev": history.best_score if seed == best_seed else tuned[seed][1].best_score,
        "test": bench.score(logits, test.gold),
        "minutes": (history if seed == best_seed else tuned[seed][1]).seconds / 60,
    }
    for seed, logits in test_logits.items()
]
bench.facts["teacher"] = {
    "name": teacher,
    "accuracy": teacher_scored.value,
    "accuracy_interval": (teacher_scored.low, teacher_scored.high),
    "metrics": metrics.parts(bench.task, test_logits[best_seed], test.gold),
    "folder": shown(models_folder / f"teacher-{best_seed}"),
    "best_seed": best_seed,
    "seeds": seed_rows,
    "shipped": shipped.record_of(kept_file) if kept_file else None,
}
by_metric = bench.facts["teacher"]["metrics"]
each_metric = "".join(f" {name} {value:.3f}." for name, value in by_metric.items())
words = f"Test accuracy **{teacher_scored.value:.1%}**, 95 % interval {teacher_scored.low:.1%} to {teacher_scored.high:.1%}."
show(Markdown(words + (each_metric if len(by_metric) > 1 else "")))
bench.table(seed_rows, decimals=3)

# %% [markdown]
# ## 1.5 The floors: what needs no fine-tuned transformer
#
# "It keeps nearly all of its teacher" is no praise where counting words keeps as much. So here is what stays below the ladder, each
# made in seconds from the same training examples and by nobody's cleverness:
#
# - **one answer for all**, the best there is;
# - **words**: which words the texts hold and, of a pair, which they share, in a linear model and in boosted trees;
# - **untrained encoder**: the public model before anything was tuned, one mean vector a text; of a pair their cosine;
# - **static embeddings**: the mean of the encoder's word embeddings, without any layer, in a small classifier.
#
# Where a floor comes in variants, dev chooses, as it chooses the best floor. They see at most as many examples as leave them
# seconds (`floors.ROWS`), and texts are encoded to their first tokens only. **A teacher is worth compressing if it is
# clearly above the best of them**: on dev, asked the same examples, the whole interval of the difference lies above zero.
# Else no page of this run shows a share of its accuracy as kept.

# %%
public = teacher if epochs else ""  # an encoder that is fine-tuned already is no floor
floor_train = bench.split("train", n_floor)
fitted = floors.fit(bench.task, floor_train, examples["dev"], public, tokenizer)
best_floor = floors.best(fitted)
answers = {
    "test": {name: floor.logits(examples["test"]) for name, floor in fitted.items()},
    "dev": {best_floor: fitted[best_floor].logits(examples["dev"])},
}
answers["test"]["teacher"] = test_logits[best_seed]
answers["dev"]["teacher"] = cache.predict_cached(teacher_model, dev)

# %% tags=["hide-input"]
golds = {"dev": dev.gold, "test": test.gold}
found = floor_report.fact(bench.task, fitted, answers, golds, n_resamples)
bench.facts["floors"] = found
bench.facts["teacher_is_clear"] = found["teacher_is_clear"]
own_data = floor_report.description_of(task)
show(bench.table(floor_report.table(found, teacher_scored, teacher)))
Markdown(floor_report.verdict(found, bench.task, own_data))

# %% [markdown]
# ## 1.6 Predict: how long should a request take?
#
# A forward pass is mostly matrix products, so its operations can be counted from the shapes alone, and the processor's
# rate can be measured in a second with one large product. Operations over rate is a lower bound for the time:

# %% tags=["hide-input"]
display.source(flops.forward_flop)

# %%
reference_model = checkpoints.untrained_classifier(
    reference, bench.task.num_labels, spans=bench.task.spans
)
configs = {
    "reference": hf_names.our_config(reference_model.config.to_dict()),
    "teacher": teacher_model.encoder.config,
}
ceiling = measure_ceiling()
tokens = {"padded": max_length, "unpadded": int(np.median(test.lengths))}
predicted_ms = {
    f"{name} {kind}": flops.forward_flop(config, length) / ceiling.fp32_gflop_per_s / 1e6
    for name, config in configs.items()
    for kind, length in tokens.items()
}

# %% tags=["hide-input"]
bench.facts["ceiling"] = vars(ceiling)
Markdown(
    f"This machine reaches **{ceiling.fp32_gflop_per_s:.0f} GFLOP/s** in fp32 on {ceiling.threads} threads "
    f"and moves {ceiling.memory_gb_per_s:.0f} GB/s. The unpadded prediction is for {tokens['unpadded']} tokens, the median."
)

# %% [markdown]
# ## 1.7 Do it: the stock models
#
# Where the reference is the very model that was fine-tuned above, it is the teacher itself. Else it is timed with untrained
# weights, for a matrix product takes as long whatever its numbers are: it has a speed then, and no accuracy, and its accuracy
# cells stay empty.

# %%
stock = {"reference": reference_model, "teacher": checkpoints.to_transformers(teacher_model)}
reference_is_teacher = reference.partition("@")[0] == teacher.partition("@")[0]
if reference_is_teacher:
    stock["reference"] = stock["teacher"]

# %% [markdown]
# The timed requests are spread over the lengths as the whole test set is. Padded, every request costs the same whatever
# it holds, so fewer of them tell as much.

# %%
timed_at = batching.evenly_by_length(test.lengths, n_requests)
requests = test.take(timed_at)
one_by_one = batching.in_order(requests.lengths, 1)
few = [one_by_one[i] for i in batching.evenly_by_length(requests.lengths, n_padded_requests)]

ways = {}
for name, model in stock.items():
    predict = predictors.torch_predictor(model)
    ways[f"{name} padded"] = Variant(f"{name} padded", predict, few, pad_to=max_length)
    ways[f"{name} unpadded"] = Variant(f"{name} unpadded", predict, one_by_one)

# %% [markdown]
# ## 1.8 Check; then Measure
#
# Nothing is timed before its logits were compared with those of the model it stands for. Here: the stock classes, one by
# one and padded, against the same weights in sorted batches; the teacher's in our own encoder, so this also shows that the
# stock class and ours compute the same. Then every variant is timed in every round, in a new random order, so that a machine
# that slows down for a while slows them all. From token ids to logits, padding included.

# %%
expected = {
    "reference": training.predict(stock["reference"], requests),
    "teacher": training.predict(teacher_model, requests),
}
race = bench.compare(ways, requests, {name: expected[name.split()[0]] for name in ways})
Markdown(f"Largest difference of a logit: {race.largest_difference:.1e}; {race.labels_kept}.")

# %% [markdown]
# Prediction and measurement, side by side. *Share of ceiling* is how much of the processor's rate the model reaches; what
# is missing went into everything that is not a matrix product, and into products too small to fill the cores.

# %% tags=["hide-input"]
rows = [
    {
        "variant": name,
        "predicted ms": predicted_ms[name],
        "p50 ms": timing.latency_p50_ms,
        "share of ceiling": predicted_ms[name] / timing.latency_p50_ms,
        "p95 ms": timing.latency_p95_ms,
        "timed": timing.n_requests,
        "requests/s": timing.throughput_per_s,
    }
    for name, timing in race.items()
]
bench.table(rows, keep="predictions")

# %%
stands_on = {"reference padded": "", "teacher padded": ladder.PADDED}
for name, timing in race.items():
    model, kind = name.split()
    has_learned = model == "teacher" or reference_is_teacher
    bench.add_rung(
        name,
        timing,
        on=stands_on.get(name, f"{model} padded"),
        model={"reference": reference, "teacher": teacher}[model],
        engine="transformers, PyTorch eager",
        precision="fp32",
        batching=f"padded to {max_length}" if kind == "padded" else "none",
        model_mb=checkpoints.size_mb(stock[model]),
        scored=teacher_scored if has_learned else None,
    )

# %% [markdown]
# The floors answer the same requests, one by one and **from text**: a word is counted and no token id is looked up before
# the clock starts. One answer for all takes no time worth a clock.

# %%
timed_texts = examples["test"].take(timed_at)
served = {name: floor for name, floor in fitted.items() if floor.served}
floor_race = bench.compare_at_once(
    {name: floor.from_text(timed_texts) for name, floor in served.items()},
    requests,
    {name: floor.served(timed_texts) for name, floor in served.items()},
    plans=one_by_one,
)
for row in found["rows"]:
    name, timing = row["floor"], floor_race.get(row["floor"])
    scored = Scored(row["test"], row["low"], row["high"])
    fields = floors.SERVED_BY[name] | {"model": row["by"], "batching": "none"}
    bench.add_rung(ladder.FLOOR + name, timing, on="", scored=scored, **fields)
    row["throughput_per_s"] = timing and timing.throughput_per_s

# %% [markdown]
# ## 1.9 Anatomy: where does the time go?
#
# PyTorch's profiler adds up the time inside each operator, for one request. What later chapters attack can be seen here:
# smaller matrices (distillation, pruning), cheaper numbers in them (quantisation), and everything else (the runtime).


# %%
def one_request(model, pad_to=None):
    median = np.argsort(requests.lengths)[len(requests) // 2]
    inputs = batching.collate(requests, [median], pad_to).inputs
    predict = predictors.torch_predictor(model)
    return lambda: predict(inputs)


profiles = {
    "reference, padded": operators.operator_profile(one_request(stock["reference"], max_length)),
    "reference, unpadded": operators.operator_profile(one_request(stock["reference"])),
    "teacher, unpadded": operators.operator_profile(one_request(stock["teacher"])),
}

# %% tags=["hide-input"]
bench.facts["anatomy_ms"] = {
    name: operators.group_operators(profile) for name, profile in profiles.items()
}
caption = f"{bench.caption}; self time of operators, PyTorch profiler"
bench.figure(figures.anatomy(profiles, caption), "anatomy")

# %% [markdown]
# ## 1.10 What it cost, and what it did not buy
#
# Leaving the padding out costs nothing: the check asserts the same logits. It also teaches the first lesson about
# speed-ups, printed from this run:

# %% tags=["hide-input"]
speedup = race.speedup("reference unpadded", "reference padded")
paper = 734.35 / 209.29  # FastFormers, Table 3, first two rows
nothing = "That is no gain: all texts are nearly as long as the limit, or this machine was busy. "
Markdown(
    f"Not padding made the reference **{speedup:.2f} times** as fast here (the paper: {paper:.2f} times). "
    f"{'' if speedup > 1 else nothing}"
    f"Any ladder that starts from the padded model owes that factor to its choice of a baseline."
)

# %% [markdown]
# ## 1.11 When it does not pay
#
# - When all requests are nearly as long as the limit, there is no padding to leave out.
# - Some engines compile for one fixed shape and are faster for it; chapter 6 weighs that.
# - PyTorch's fp32 matrix product is slower than it could be on some AMD processors, which flatters everything that is
#   compared with it; the *share of ceiling* above is relative to PyTorch's own product. The runtime chapter adds the
#   comparison with the best fp32 engine.
#
# ## 1.12 Exercises
#
# 1. Predict the padded time for a limit of 256 tokens, then measure it (`bench.task.max_length`).
# 2. At which length do the products between pairs of tokens overtake the others? Ask `flops.forward_flop`.
# 3. Which words does the best floor go by? Look at the weights of its linear variant in `floor_features.of_words`.
# 4. Train with `train_length` twice as long. What does it cost, and what does it buy on dev?
#
# **Next:** [chapter 2](02_batching.ipynb) serves several requests at once.

# %% tags=["hide-input"]
bench.save()
