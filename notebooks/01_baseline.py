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
# **Cost.** None in accuracy. The teacher is trained here, the one expensive step of the book.
#
# **Needs** nothing before it. **Leaves** the trained teacher and the first four rungs of the ladder.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the speed reference
teacher: str = "sentence-transformers/all-MiniLM-L6-v2"  # the model that is fine-tuned
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_train: int = 96  # training examples; 0 takes all
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
train_length: int = 48  # training texts are cut to this many tokens
epochs: int = 1  # passes over the training set; 0: the teacher is fine-tuned already
batch_size: int = 16  # of training
learning_rate: float = 7.0e-5  # peak, after the warm-up
dropout: float = 0.0  # of training; costs random numbers on a CPU
seeds: list[int] = [0]  # one training run each; the best on dev goes on
n_requests: int = 8  # requests that are timed
n_padded_requests: int = 2  # of these, how many are timed padded
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown, display

from fflib import (
    batching,
    checkpoints,
    data,
    figures,
    files,
    fine_tuned,
    hardware,
    measure,
    metrics,
    pages,
    results,
    rungs,
    runtime,
    tasks,
    trained,
    training,
    weights,
)
from fflib.encoder import Attention

chapter = results.Chapter("01_baseline", globals())
threads = hardware.set_threads(threads)
chapter.show_summary()

# %%
machine = hardware.card()
pages.card(machine, threads)

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
# Every number of the run is about this task. *Dev*, for every choice on the way, shares no source file, passage or word with
# *train*; *test* is what is reported, and nothing is chosen by it.

# %%
the_task = tasks.get_task(task)
splits = {
    name: data.load_split(task, name, data_source, limit or None)
    for name, limit in (("train", n_train), ("dev", n_dev), ("test", n_test))
}
chapter.facts["data_fingerprint"] = {name: split.fingerprint for name, split in splits.items()}
chapter.facts["n_examples"] = {name: len(split) for name, split in splits.items()}
scored_by = " and ".join(the_task.metrics)
told = f"**{the_task.name}.** {the_task.description} *Accuracy* stands for {scored_by}"
display(Markdown(told + (", the mean of them." if len(the_task.metrics) > 1 else ".")))
same = {name: metrics.chance(the_task, split.gold) for name, split in splits.items()}
pages.table(
    [
        {
            "split": name,
            "examples": len(split),
            "always the same answer scores": f"{same[name]:.1%}",
            "fingerprint": split.fingerprint,
        }
        for name, split in splits.items()
    ]
)

# %% [markdown]
# The tokenizer cuts words into pieces of its vocabulary; a model sees their numbers. What a model has to compute depends
# on how many there are, and requests differ a lot:

# %%
tokenizer = checkpoints.load_tokenizer(teacher)
encoded = {
    name: data.tokenize(split, tokenizer, the_task.max_length) for name, split in splits.items()
}
lengths = encoded["test"].lengths
shape = {
    "mean": lengths.mean(),
    "median": np.median(lengths),
    "95th percentile": np.percentile(lengths, 95),
    "longest": lengths.max(),
    "padded to": the_task.max_length,
}
pages.table(
    [{"tokens of a test request": name, "": f"{value:.0f}"} for name, value in shape.items()]
)

# %% [markdown]
# ## 1.3 The model
#
# The book has its own encoder, small enough to read, because the stock one cannot hold the pruned shapes of later
# chapters. Its heart is attention:

# %%
pages.source(Attention.forward)

# %% [markdown]
# We train in our encoder and serve the baseline in the stock class: the same weights, which the check below asserts.
#
# ## 1.4 The teacher
#
# One loop trains everything in this book. Batches hold texts of like length, so that little of the work is padding; the
# learning rate warms up and decays; the best weights on *dev* are kept. *Test* is not looked at until the end.

# %%
short = data.tokenize(splits["train"], tokenizer, train_length)


def score(logits, gold):
    return metrics.score(the_task, logits, gold)


def fine_tune(seed):
    folder = chapter.folder / "models" / f"teacher-{seed}"
    if not epochs:
        return fine_tuned.take(teacher, the_task, folder, tokenizer, encoded["dev"], score)
    recipe = training.Recipe(
        epochs, batch_size, learning_rate, dropout=dropout, freeze_words=True, seed=seed
    )
    return trained.train_or_load(
        lambda: checkpoints.load_classifier(teacher, the_task.num_labels, seed, the_task.spans),
        folder,
        short,
        encoded["dev"],
        lambda model: training.label_loss(short),
        score,
        recipe,
        origin="fine-tuned",
        tokenizer=tokenizer,
    )


tuned = {seed: fine_tune(seed) for seed in seeds}

# %%
best_seed = max(seeds, key=lambda seed: tuned[seed][1].best_score)
teacher_model, history = tuned[best_seed]
chance = metrics.chance(the_task, splits["dev"].gold)
figures.training(history, chance)

# %% [markdown]
# What the teacher scores on texts it was neither trained nor selected on, with a 95 % bootstrap interval:


# %%
def test_score(model):
    logits = trained.predict_cached(model, encoded["test"])
    interval = metrics.score_interval(the_task, logits, splits["test"].gold, resamples=n_resamples)
    return logits, score(logits, splits["test"].gold), interval


scores = {seed: test_score(model) for seed, (model, _) in tuned.items()}
teacher_logits, accuracy, interval = scores[best_seed]

# %%
seed_rows = [
    {
        "seed": seed,
        "dev": tuned[seed][1].best_score,
        "test": scores[seed][1],
        "minutes": tuned[seed][1].seconds / 60,
    }
    for seed in seeds
]
chapter.facts["teacher"] = {
    "name": teacher,
    "accuracy": accuracy,
    "accuracy_interval": interval,
    "metrics": metrics.parts(the_task, teacher_logits, splits["test"].gold),
    "folder": files.shown(chapter.folder / "models" / f"teacher-{best_seed}"),
    "best_seed": best_seed,
    "seeds": seed_rows,
}

# %%
told = f"Test accuracy **{accuracy:.1%}**, 95 % interval {interval[0]:.1%} to {interval[1]:.1%}."
display(Markdown(told))
if len(the_task.metrics) > 1:
    display(pages.table([chapter.facts["teacher"]["metrics"]], decimals=3))
pages.table(seed_rows, decimals=3)

# %% [markdown]
# ## 1.5 Predict: how long should a request take?
#
# A forward pass is mostly matrix products, so its operations can be counted from the shapes alone, and the processor's
# rate can be measured in a second with one large product. Operations over rate is a lower bound for the time:

# %%
pages.source(hardware.forward_flop)

# %%
reference_model = checkpoints.untrained_classifier(
    reference, the_task.num_labels, spans=the_task.spans
)
reference_is_teacher = reference.partition("@")[0] == teacher.partition("@")[0]
ceiling = hardware.measure_ceiling()
typical = int(np.median(lengths))
configs = {
    "reference": weights.our_config(reference_model.config.to_dict()),
    "teacher": teacher_model.encoder.config,
}
predicted = {
    f"{name} {kind}": hardware.forward_flop(config, length) / ceiling.fp32_gflop_per_s / 1e6
    for name, config in configs.items()
    for kind, length in (("padded", the_task.max_length), ("unpadded", typical))
}
Markdown(
    f"This machine reaches **{ceiling.fp32_gflop_per_s:.0f} GFLOP/s** in fp32 on {ceiling.threads} threads "
    f"and moves {ceiling.memory_gb_per_s:.0f} GB/s. The unpadded prediction is for {typical} tokens, the median."
)

# %% [markdown]
# ## 1.6 Do it: the stock models
#
# Where the reference is the very model that was fine-tuned above, it is the teacher itself. Else it is timed with untrained
# weights, for a matrix product takes as long whatever its numbers are: it has a speed then, and no accuracy, and its accuracy
# cells stay empty.

# %%
stock = {"reference": reference_model, "teacher": checkpoints.to_transformers(teacher_model)}
if reference_is_teacher:
    stock["reference"] = stock["teacher"]
requests = encoded["test"].take(batching.evenly_by_length(lengths, n_requests))
one_by_one = batching.in_order(requests.lengths, 1)
padded_few = [one_by_one[i] for i in batching.evenly_by_length(requests.lengths, n_padded_requests)]

# %% [markdown]
# The timed requests are spread over the lengths as the whole test set is. Padded, every request costs the same whatever
# it holds, so fewer of them tell as much.

# %%
variants = []
for name, model in stock.items():
    predict = runtime.torch_predictor(model)
    variants.append(
        measure.Variant(f"{name} padded", predict, padded_few, pad_to=the_task.max_length)
    )
    variants.append(measure.Variant(f"{name} unpadded", predict, one_by_one))

# %% [markdown]
# ## 1.7 Check
#
# Nothing is timed before its logits were compared with those of the model it stands for. Here: the stock classes, one by
# one and padded, against the same weights in sorted batches; the teacher's in our own encoder, so this also shows that the
# stock class and ours compute the same.

# %%
expected = {
    "reference": training.predict(stock["reference"], requests),
    "teacher": training.predict(teacher_model, requests),
}
variants = [
    measure.check(variant, requests, expected[variant.name.split()[0]]) for variant in variants
]
pages.table(
    [
        {
            "variant": v.name,
            "requests": v.checked.n,
            "largest logit difference": f"{v.checked.max_abs_difference:.1e}",
        }
        for v in variants
    ]
)

# %% [markdown]
# ## 1.8 Measure
#
# Every variant is timed in every round, in a new random order, so that a machine that slows down for a while slows them
# all. From token ids to logits, padding included.

# %%
timings = measure.time_interleaved(variants, requests, rounds)

# %% [markdown]
# Prediction and measurement, side by side. *Share of ceiling* is how much of the processor's rate the model reaches; what
# is missing went into everything that is not a matrix product, and into products too small to fill the cores.

# %%
rows = [
    {
        "variant": name,
        "predicted ms": predicted[name],
        "p50 ms": timing.latency_p50_ms,
        "share of ceiling": predicted[name] / timing.latency_p50_ms,
        "p95 ms": timing.latency_p95_ms,
        "timed": timing.n_requests,
        "requests/s": timing.throughput_per_s,
    }
    for name, timing in timings.items()
]
chapter.facts["ceiling"], chapter.facts["predictions"] = vars(ceiling), rows
pages.table(rows)

# %%
for variant in variants:
    name, kind = variant.name.split()
    below = {"reference padded": "", "teacher padded": rungs.PADDED}.get(
        variant.name, f"{name} padded"
    )
    rung = rungs.Rung(
        variant.name,
        stacks_on=below,
        model={"reference": reference, "teacher": teacher}[name],
        engine="transformers, PyTorch eager",
        precision="fp32",
        batching=f"padded to {the_task.max_length}" if kind == "padded" else "none",
        batch_size=1,
        threads=threads,
        model_mb=checkpoints.size_mb(stock[name]),
    )
    rung.timed(timings[variant.name], variant.checked, usd_per_hour)
    has_learned = name == "teacher" or reference_is_teacher
    chapter.add(rung.scored(accuracy, interval, accuracy) if has_learned else rung)

# %% [markdown]
# ## 1.9 Anatomy: where does the time go?
#
# PyTorch's profiler adds up the time inside each operator, for one request. What later chapters attack can be seen here:
# smaller matrices (distillation, pruning), cheaper numbers in them (quantisation), and everything else (the runtime).


# %%
def one_request(name, pad_to=None):
    predict = runtime.torch_predictor(stock[name])
    median = np.argsort(requests.lengths)[len(requests) // 2]
    inputs = batching.collate(requests, [median], pad_to).inputs
    return lambda: predict(inputs)


calls = {
    "reference, padded": one_request("reference", the_task.max_length),
    "reference, unpadded": one_request("reference"),
    "teacher, unpadded": one_request("teacher"),
}
profiles = {name: measure.operator_profile(call) for name, call in calls.items()}

# %%
figure = figures.anatomy(
    profiles,
    caption=f"{machine['cpu']}, {threads} threads; self time of operators, PyTorch profiler",
)
chapter.save_figure(figure, "anatomy")
chapter.facts["anatomy_ms"] = {
    name: figures.group_operators(profile) for name, profile in profiles.items()
}
figure

# %% [markdown]
# ## 1.10 What it cost, and what it did not buy
#
# Leaving the padding out costs nothing: the check asserts the same logits. It also teaches the first lesson about
# speed-ups, printed from this run:

# %%
speedup = (
    timings["reference unpadded"].throughput_per_s / timings["reference padded"].throughput_per_s
)
paper = 734.35 / 209.29  # FastFormers, Table 3, first two rows
assert speedup > 1, "leaving the padding out made the reference slower"
Markdown(
    f"Not padding made the reference **{speedup:.2f} times** as fast here (the paper: {paper:.2f} times). "
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
# 1. Predict the padded time for a limit of 256 tokens, then measure it (`the_task.max_length`).
# 2. At which length do the products between pairs of tokens overtake the others? Ask `hardware.forward_flop`.
# 3. Train with `train_length` twice as long. What does it cost, and what does it buy on dev?
#
# **Next:** [chapter 2](02_batching.ipynb) serves several requests at once.

# %%
chapter.save()
