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
# **Claim.** A large part of a published speed-up is decided before any optimisation begins: by the model, and by the way of
# serving it, that the result is compared with. This chapter fixes two [baselines](glossary.md#baseline), prepares the model that all later chapters
# start from, and shows where the time of one request goes.
#
# **Cost.** None in accuracy. Training that model is slow, and for the default task a trained one comes with the book,
# so you need not wait for it.
#
# **Needs** nothing before it. **Leaves** the trained model, the first four [rungs](glossary.md#rung) of the
# [ladder](glossary.md#ladder), and the [floors](glossary.md#floor): what can be reached without fine-tuning a transformer.

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
device: str = "cpu"  # cpu or cuda; the file of params/hardware says which
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost column; set yours
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
from fflib.runs import ladder

bench = Bench.open("01_baseline", globals())

# %% [markdown]
# ## 1.1 Idea: four ways to answer the same request
#
# A *request* is a short text, or a pair of texts. The answer is one of a few classes. The model reads a text as a list of *tokens*,
# which are words or pieces of words. Two special ones, `[CLS]` and `[SEP]`, mark its beginning and its end. Some requests have many more
# tokens than others, and there are two ways to hand such lists to a model:
#
# ```text
#            a request of 6 tokens                              positions computed
# padded     [CLS] is it late ? [SEP] ░ ░ ░ ░ ░ ░ ... ░ ░       512, whatever the text
# unpadded   [CLS] is it late ? [SEP]                             6, those of the text
# ```
#
# [Padding](glossary.md#padding) fills every request up to one fixed length with blank tokens. The model computes on the blanks just as it
# computes on words, and a mask then keeps them out of the result. Both ways therefore give the same answer, but the first one does more
# work. Suppose $B$ requests with $n_1, \ldots, n_B$ tokens are each filled up to $n_{\max}$ positions. Then the share of all
# computed positions that is wasted on blanks is
#
# $$\mathrm{waste} = 1 - \frac{\sum_{i=1}^{B} n_i}{B \, n_{\max}}$$
#
# Why does this matter for a speed-up? FastFormers, the paper that this book follows, starts its table from a model that pads, and the
# first step of that table is to stop padding
# ([Kim and Hassan Awadalla, Table 3](https://arxiv.org/abs/2010.13382)). That step makes the model several times as fast, and
# nothing was made smaller. A comparison that starts from the unpadded model does not contain this factor. So this book always gives two
# speed-ups, one against each baseline, and it times two models in both ways:
#
# | | padded to the longest length | unpadded, one request at a time |
# |:--|:--|:--|
# | **reference**: the larger standard model | the [padded reference](glossary.md#padded-reference), where the paper starts | the [unpadded reference](glossary.md#unpadded-reference), what a careful user would run |
# | **teacher**: the model that is fine-tuned for the task | the same step with a smaller model | what all later chapters have to beat, and whose accuracy they have to keep |
#
# In the default run the reference is BERT-base, with 12 layers of width 768 ([Devlin et al.](https://arxiv.org/abs/1810.04805)). The
# [teacher](glossary.md#teacher) is a MiniLM with 6 layers of width 384 ([Wang et al.](https://arxiv.org/abs/2002.10957)), which was trained
# further to compare sentences ([Reimers and Gurevych](https://arxiv.org/abs/1908.10084)). All four are the standard class of the
# `transformers` library, with 32-bit floating-point numbers (*[fp32](glossary.md#fp32)*), as a user would call it.
#
# ## 1.2 The task
#
# Every number of a run belongs to one task. Its examples come in three parts: the model learns from *train*, every choice on the way
# looks at *dev*, and what is reported is measured on *test* ([dev and test](glossary.md#dev-and-test)). The parts share no source
# file and no passage, and no choice is ever made by the right answers of *test*. Its texts
# also serve as the requests that are timed.
#
# The default task is made on your machine, from the documentation of the Python packages that are installed with the
# book. An example is a pair: the name of a parameter with a description, and a function that has this parameter. The
# question is whether the description belongs to this parameter. If the answer is no, the description was taken from
# *another parameter of the same function*. For example, `axis: the number of rows to return`, beside a function that
# has both an `axis` and an `n`, is a no. Both texts are always about the same thing, so counting the words they share
# tells little. In *dev* and *test* it tells almost nothing: they are *balanced*, which means that wherever such a
# count comes out the same, as many answers are yes as no. So a model has to read. One that can do this finds
# documentation that no longer fits its code. The book also runs on the tasks of SuperGLUE
# ([Wang et al.](https://arxiv.org/abs/1905.00537)) and on your own data.

# %%
examples = {
    "train": bench.split("train", n_train),
    "dev": bench.split("dev"),
    "test": bench.split("test"),
}

# %% tags=["hide-input"]
bench.facts["data_fingerprint"] = {name: split.fingerprint for name, split in examples.items()}
bench.facts["n_examples"] = {name: len(split) for name, split in examples.items()}
scored_by = " and ".join(bench.task.metrics)
if len(bench.task.metrics) > 1:
    scored_by = f"the mean of {scored_by}"
about = (
    ""
    if scored_by == "accuracy"
    else f" Where this book says *accuracy*, this task has {scored_by}."
)
show(Markdown(f"The task **{bench.task.name}**: {bench.task.description}{about}"))
bench.table(
    [
        {
            "part": name,
            "examples": f"{len(split):,}",
            "score of always the same answer": f"{metrics.chance(bench.task, split.gold):.1%}",
            "fingerprint of the data": split.fingerprint,
        }
        for name, split in examples.items()
    ]
)

# %% [markdown]
# The third column is what a model scores that ignores the texts. The fingerprint changes when a single character of the
# data changes, and later chapters refuse to go on with other data.
#
# Next the texts become tokens. How much a model has to compute depends on how many tokens there are. The texts of
# *train* are cut to `train_length` tokens, which saves time; those of *dev* and *test* keep all that the task allows:

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
    "95 % have at most": np.percentile(test.lengths, 95),
    "longest": test.lengths.max(),
    "what padding fills up to": max_length,
}
rows = [
    {"length of a test request": name, "tokens": f"{value:.0f}"}
    for name, value in statistics.items()
]
show(bench.table(rows))
as_read = {"train": train, "dev": dev, "test": test}
Markdown(reading.words(as_read, tokenizer, max_length, teacher))

# %% [markdown]
# Compare the first row with the last: their ratio tells roughly how much work padding adds.
#
# ## 1.3 The model
#
# A BERT-like encoder is a stack of layers. Each layer first lets every token look at all others, and then passes
# every token through two matrices with a non-linear function between them (the *feed-forward* part; the numbers
# between the two are its *neurons*). This looking is called *attention*. A layer does it several times side by side,
# in its *heads*. For every head it is
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\left( \frac{Q K^{T}}{\sqrt{d_k}} \right) V$$
#
# where $Q$, $K$ and $V$ (query, key and value) are three matrices with one row a token, each a product of the tokens' vectors
# with a matrix of weights, and $d_k$ is the width of a head ([Vaswani et al., eq. 1](https://arxiv.org/abs/1706.03762)). The mask adds a
# very large negative number to $Q K^{T}$ at the blanks, so their share after the softmax is zero.
#
# The book has its own encoder, in `fflib/model/encoder.py`. It is short enough to read, and each of its layers can have its own number of heads and
# neurons, which the standard class does not allow and which later chapters need. We train in our encoder and serve the baselines in the
# standard class. Both hold the same weights, and section 1.8 checks that they give the same answers.
#
# ## 1.4 The teacher
#
# One training loop serves the whole book. It puts texts of similar length into the same batch, so that little is padding. The learning rate rises for
# a short while and then falls. The loop keeps the weights that score best on *dev*, and it stops when three scores in a row bring no gain
# (`patience`). The vectors of the words stay as they are (`freeze_words`): in a MiniLM they are about half of all weights, and the layers above can learn
# the task without them.

# %%
recipe = training.Recipe(
    epochs, batch_size, learning_rate, dropout=dropout, freeze_words=True, patience=3
)
kept_file = shipped.file_for(bench.task, teacher) if shipped_teacher else None
# If the teacher comes with the book, a part of dev is enough to watch this training.
watched = dev.take(range(min(len(dev), 400))) if kept_file else dev

# %% tags=["hide-input"]
models_folder = bench.folder / "models"
if epochs:
    trained = models_folder / "trained"
    plan = finetuning.fit_into(minutes, train, watched, recipe, teacher, bench.task, trained)
    train, recipe = train.take(range(plan.rows)), replace(recipe, epochs=plan.epochs)
    show(Markdown(f"Training on {plan}. It stops earlier if the score on *dev* no longer rises."))


def fine_tune(seed):
    folder = models_folder / f"{'begun' if kept_file else 'teacher'}-{seed}"
    data = bench.task, train, watched
    return finetuning.fine_tune(teacher, *data, recipe, bench.score, folder, tokenizer, seed)


# %%
tuned = {seed: fine_tune(seed) for seed in seeds}
best_seed = max(seeds, key=lambda seed: tuned[seed][1].best_score)
teacher_model, history = tuned[best_seed]

# %% [markdown]
# The default task is hard: a model that has seen a thousand pairs still guesses. The teacher of this book saw all of
# *train*, which takes longer than a reader should wait. So it was trained once, by this very loop, and **what the
# training changed comes with the book**. The change of each of the layers' matrices is kept as a product of two thin
# matrices, as [Hu et al.](https://arxiv.org/abs/2106.09685) do in LoRA, so the file is smaller than a megabyte. The
# record beside it states what the teacher scored before and after it was made that small.
# `.venv/bin/python -m fflib.model.shipped` makes it again.
#
# With `shipped_teacher=False`, and for every other task, the teacher is the model that was trained above. Where there are two trainings, the figure
# shows both: the short one of this run, and the long one as its record tells it.

# %% tags=["hide-input"]
begun = None
if kept_file:
    begun, folder = history, models_folder / f"teacher-{best_seed}"
    teacher_model, history = shipped.take(kept_file, teacher, bench.task, folder, tokenizer)
figure = training_figures.training(
    history, metrics.chance(bench.task, dev.gold), begun, bench.caption
)
bench.figure(figure, "teacher_training")

# %% [markdown]
# On the left is the loss on *train*, which the training lowers. On the right is the score on *dev*: it counts only as
# far as it rises above the dashed line, which is what guessing scores. The loss of the teacher that comes with the
# book jumps, because its training had three parts: all of *train* once; then three times those pairs of it that are
# balanced as *dev* and *test* are, which are harder; at last, after the change of the matrices had been made small,
# a training of the other weights alone. Within the second part the loss falls each time the same pairs come again.
#
# The teacher's score on *test*, texts that it was neither trained nor selected on, comes with a 95 % *bootstrap
# interval* ([Efron](https://doi.org/10.1214/aos/1176344552)). To get it, we draw as many test examples as there are,
# at random and with repetition, score this draw, and do so many times over. The
# [interval](glossary.md#bootstrap-interval) holds the middle 95 % of these scores. It says how much the score would
# move with other test examples of the same kind. It does not say how much it would move with another training. In the
# table each row is one training, named by its [seed](glossary.md#seed); for a teacher that comes with the book, the
# minutes are those that its making took.

# %% tags=["hide-input"]
teachers = {best_seed: teacher_model}
if not kept_file:
    teachers = {seed: model for seed, (model, _) in tuned.items()}
test_logits = {seed: cache.predict_cached(model, test) for seed, model in teachers.items()}
teacher_scored = bench.scored(test_logits[best_seed], test.gold)
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

# %% tags=["hide-input"]
interval = f"95 % interval {teacher_scored.low:.1%} to {teacher_scored.high:.1%}"
by_metric = bench.facts["teacher"]["metrics"]
parts = "".join(f" {name}: {value:.3f}." for name, value in by_metric.items())
show(
    Markdown(
        f"Accuracy on test **{teacher_scored.value:.1%}**, {interval}.{parts if len(by_metric) > 1 else ''}"
    )
)
display.table(
    [
        {
            "training seed": row["seed"],
            "score on dev": f"{row['dev']:.1%}",
            "score on test": f"{row['test']:.1%}",
            "minutes of training": f"{row['minutes']:.1f}",
        }
        for row in seed_rows
    ]
)

# %% [markdown]
# ## 1.5 The floors: what needs no fine-tuned transformer
#
# Later chapters will say that a small model keeps nearly all of its teacher's accuracy. That is no achievement where
# counting words reaches the same. So here are simple competitors, each made in seconds from some examples of the same
# *train* (`n_floor` at most; the teacher that comes with the book saw more). We call them *floors*, since they lie
# below the ladder:
#
# - **one answer for all**: the one class that scores best as the answer to everything;
# - **words**: which words the texts hold, rare words weighing more (TF-IDF, after [Spärck Jones](https://doi.org/10.1108/eb026526)), and which words two
#   texts share; a linear model or boosted trees decide;
# - **untrained encoder**: the public model before any fine-tuning. Each text becomes the mean of its token vectors; for a pair, the cosine
#   between the two decides;
# - **static embeddings**: the mean of the model's word vectors, with no layer applied, in a small classifier.
#
# Where a floor has several variants, *dev* chooses one, and *dev* also says which floor is the best. A teacher is worth compressing only if
# it is clearly above that floor: both answer the same *dev* examples, and the whole interval of the difference must lie
# above zero. If it does not, no page of this run claims that a share of the accuracy was kept ([retention](glossary.md#retention)).

# %%
public = teacher if epochs else ""  # an encoder that is fine-tuned already is no floor
floor_train = bench.split("train", n_floor)
fitted = floors.fit(bench.task, floor_train, examples["dev"], public, tokenizer)

# %% tags=["hide-input"]
best_floor = floors.best(fitted)
answers = {
    "test": {name: floor.logits(examples["test"]) for name, floor in fitted.items()},
    "dev": {best_floor: fitted[best_floor].logits(examples["dev"])},
}
answers["test"]["teacher"] = test_logits[best_seed]
answers["dev"]["teacher"] = cache.predict_cached(teacher_model, dev)
golds = {"dev": dev.gold, "test": test.gold}
found = floor_report.fact(bench.task, fitted, answers, golds, n_resamples)
bench.facts["floors"] = found
bench.facts["teacher_is_clear"] = found["teacher_is_clear"]
show(bench.table(floor_report.table(found, teacher_scored, teacher)))
Markdown(floor_report.verdict(found, bench.task, floor_report.description_of(task)))

# %% [markdown]
# In the last row is the teacher, above it the floors. *How* names the variant that *dev* chose, and for the teacher
# its model. The sentence below the table gives the difference on *test*, in percentage points. The difference on
# *dev*, by which the teacher is judged, stands in section 3.2 of [chapter 3](03_distillation.ipynb).
#
# ## 1.6 Predict: how long should a request take?
#
# Before we measure, we predict. A forward pass consists mostly of matrix products, so its arithmetic operations can be counted
# from the shapes alone. For $n$ tokens and $L$ layers they are
#
# $$F(n) = \sum_{\ell=1}^{L} \left( 2 n \, (4 d w_\ell + 2 d f_\ell) + 4 n^2 w_\ell \right)$$
#
# Here $d$ is the width of a token's vector, $w_\ell$ the number of heads times the width of a head, and $f_\ell$ the width of the feed-forward part of
# layer $\ell$. The bracket $4 d w_\ell + 2 d f_\ell$ counts the weights of a layer: four matrices for attention (query, key, value, output) and two for the
# feed-forward part. Every weight costs each token one multiplication and one addition, so this part is twice the weights times the tokens, a rule
# of thumb worth remembering ([Kaplan et al., section 2.1](https://arxiv.org/abs/2001.08361)). The last term is attention itself: every token meets
# every other, so it grows with $n^2$.
#
# A processor can do only so many operations a second, $P$, and can fetch only so many bytes a second from memory, $B$. If the pass
# needs $M$ bytes, above all its weights, then it takes at least
#
# $$t \ge \max\left( \frac{F(n)}{P}, \frac{M}{B} \right)$$
#
# This is the [roofline](glossary.md#roofline) model ([Williams et al.](https://doi.org/10.1145/1498765.1498785)). We measure $P$ with one large matrix product and $B$ with one large copy. For
# requests as long as ours the first term is the larger one, so we take it as the prediction. Exercise 3 asks when the second one wins.

# %%
reference_model = bench.placed(
    checkpoints.untrained_classifier(reference, bench.task.num_labels, spans=bench.task.spans)
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
gflop = {name: flops.forward_flop(config, max_length) / 1e9 for name, config in configs.items()}
Markdown(
    f"With {ceiling.threads} thread{'s' * (ceiling.threads != 1)} this machine reaches **{ceiling.fp32_gflop_per_s:.0f} billion operations a second** (GFLOP/s) in "
    f"fp32, and moves {ceiling.memory_gb_per_s:.0f} GB a second. A padded request of {max_length} tokens costs the reference "
    f"{gflop['reference']:.1f} billion operations and the teacher {gflop['teacher']:.1f} billion. The unpadded prediction is "
    f"for {tokens['unpadded']} tokens, the median of the test set."
)

# %% [markdown]
# ## 1.7 Do it: the standard models
#
# In the default run the reference is not trained for the task. For its speed this does not matter, since a product takes as long whatever
# numbers it multiplies. It has no accuracy, though, and its accuracy cells stay empty. If you name the same model as reference and as teacher,
# it has both.
#
# We time a few requests whose lengths are spread as those of the whole test set. A padded request costs the
# same whatever it holds, so we need fewer of those. A `Variant` is one way to serve: a model, the batches that it is given, and how far they
# are padded.

# %%
stock = {"reference": reference_model, "teacher": checkpoints.to_transformers(teacher_model)}
reference_is_teacher = reference.partition("@")[0] == teacher.partition("@")[0]
if reference_is_teacher:
    stock["reference"] = stock["teacher"]

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
# ## 1.8 Check, then Measure
#
# Nothing in this book is timed before its answers were checked. Here each of the four ways must give, up to rounding,
# the same *[logits](glossary.md#logit)* (the raw scores of the classes) as the same weights computed in a second way:
# the reference in batches, the teacher in our own encoder. So this also shows that our encoder computes what the
# standard one does.
#
# Then the four are timed in several rounds. Each round times all of them, in a new random order, so that a machine that
# slows down for a while slows down all four. The clock runs from token ids to logits. Padding is included, turning text into
# tokens is not.

# %%
expected = {
    "reference": training.predict(stock["reference"], requests),
    "teacher": training.predict(teacher_model, requests),
}
race = bench.compare(ways, requests, {name: expected[name.split()[0]] for name in ways})
Markdown(f"Largest difference of a logit: {race.largest_difference:.1e}; {race.labels_kept}.")

# %% tags=["hide-input"]
bench.facts["predictions"] = rows = [
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
heads = {
    "variant": "model and way",
    "predicted ms": "predicted (ms)",
    "p50 ms": "median latency, p50 (ms)",
    "share of ceiling": "share of the processor's rate",
    "p95 ms": "p95 (ms)",
    "timed": "times measured",
    "requests/s": "throughput (requests/s)",
}
display.table(rows, heads=heads)

# %% [markdown]
# [Latency](glossary.md#latency) is how long one request takes. Half of the requests take at most
# [p50](glossary.md#p50-and-p95), the median, and 95 % take at most p95. [Throughput](glossary.md#throughput) is how
# many requests a second the machine answers. *Times measured* is the number of requests times the rounds. Compare the
# first two columns of numbers: their ratio, predicted over measured, is the *share of the processor's rate* that the
# model reaches. What is missing went into everything that is not a matrix product, and into products that are too
# small to keep all cores busy. That is why the share is lower for the small model and for short requests.
#
# These four are the first rungs of the ladder. The floors are added to it as well. They answer the same requests, one
# by one. Their clock starts at the text and not at the token ids, because not all of them read tokens.

# %% tags=["hide-input"]
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

# %% tags=["hide-input"]
timed_texts = examples["test"].take(timed_at)
served = {name: floor for name, floor in fitted.items() if floor.served}
floor_race = bench.compare_at_once(
    {name: floor.from_text(timed_texts) for name, floor in served.items()},
    requests,
    {name: floor.served(timed_texts) for name, floor in served.items()},
    plans=one_by_one,
)
for row in found["rows"]:  # one answer for all takes no time worth a clock
    name, timing = row["floor"], floor_race.get(row["floor"])
    scored = Scored(row["test"], row["low"], row["high"])
    fields = floors.SERVED_BY[name] | {"model": row["by"], "batching": "none"}
    bench.add_rung(ladder.FLOOR + name, timing, on="", scored=scored, **fields)
    row["throughput_per_s"] = timing and timing.throughput_per_s

# %% [markdown]
# The table at the top of the chapter now has all of these rungs. Look at its last rows, the floors: some of them answer far more requests
# a second than any model here, and they are of no use where their accuracy is that of guessing. Speed means something only together with
# accuracy.
#
# ## 1.9 Anatomy: where does the time go?
#
# PyTorch's profiler adds up the time inside each operator, for one request of median length:


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
caption = f"{bench.caption}; time inside each operator, by PyTorch's profiler"
bench.figure(figures.anatomy(profiles, caption), "anatomy")

# %% [markdown]
# Each bar is one request, and its length stands for all of the request's time; the milliseconds are on the left, and
# the profiler itself takes a part of them. *Matrix products* are those with weights, *attention* is the formula of
# section 1.3. There are two things to see. Padding raises the share of attention, because its cost grows with the
# square of the length. And in the small model more of the time goes into *other*: copying, reshaping, and calling
# many small operations. The next chapters attack these parts one by one. Distillation and pruning make the matrices
# smaller, quantisation makes the numbers in them cheaper, and the runtime removes much of the rest.
#
# ## 1.10 What it cost, and what it did not buy
#
# Leaving the padding out costs nothing: the check above found the same answers. And here is the first lesson about
# speed-ups, from this run:

# %% tags=["hide-input"]
speedup = race.speedup("reference unpadded", "reference padded")
paper = 734.35 / 209.29  # FastFormers, Table 3, first two rows
nothing = "That is no gain: all texts are nearly as long as the limit, or the machine was busy. "
Markdown(
    f"Without padding the reference answers **{speedup:.2f} times** as many requests a second here; in the paper it was {paper:.2f} times. "
    f"{'' if speedup > 1 else nothing}"
    f"Every speed-up that is measured from the padded model contains this factor, whatever was done to the model."
)

# %% [markdown]
# ## 1.11 When it does not pay
#
# - When all requests are nearly as long as the limit, there is little padding to leave out.
# - Some [engines](glossary.md#engine) compile a model for one fixed shape and are faster for it. [Chapter 6](06_runtime.ipynb) weighs that
#   against the padding.
# - On some AMD processors PyTorch's own matrix product in fp32 is slower than it could be. That flatters everything that is
#   compared with it, and the share of the processor's rate does not show it, since that rate was measured with the same product. Chapter 6 therefore adds a
#   comparison with the best fp32 engine that was tried.
#
# **Next:** [chapter 2](02_batching.ipynb) answers several requests at once.
#
# ## 1.12 Exercises
#
# Predict first, then open the answer; its numbers are those of the run that you are reading. A command such as `make book SET=...` measures again with other
# parameters, this chapter and those that build on it, and `make plan SET=...` says beforehand how long that takes. With `SIZE=smoke` it takes minutes, and
# the numbers mean little.
#
# **Exercise 1.** Section 1.10 shows the factor that padding costs. Predict it without a clock, from the lengths of the test requests and
# the formula of section 1.6. Is your prediction above or below what was measured, and why? To measure again with more requests:
#
# ```text
# make book SET="n_requests=64 n_padded_requests=16"
# ```

# %% tags=["answer"]
flop = [flops.forward_flop(configs["reference"], n) for n in (*requests.lengths, max_length)]
by_count = flop[-1] / np.mean(flop[:-1])
why = "what is no product, the softmax of attention for one, grows with the padding as well"
if by_count > speedup:
    why = "short requests reach a smaller share of the processor's rate, so leaving the padding out saves less time than work"
Markdown(
    f"By the operations alone, leaving the padding out is worth **{by_count:.2f} times** the throughput. Measured: {speedup:.2f} times. "
    f"The likely reason for the difference: {why}."
)

# %% [markdown]
# **Exercise 2.** In the formula of section 1.6 the last term grows with $n^2$. From which length on do the products
# between pairs of tokens cost more than all products with weights? Solve it on paper for both models, then check your
# $n$ in `make lab`: open this chapter, run it, and type
# `flops.forward_flop(configs["teacher"], 2 * n) / flops.forward_flop(configs["teacher"], n)`. It is 3 where both
# parts are equal, since at twice the length one of them doubles and the other becomes four times as large.

# %% tags=["answer"]
crossing = {}
for name, config in configs.items():
    layer = config.layers[0]
    width = layer.num_heads * layer.head_size
    weights = 4 * config.hidden_size * width + 2 * config.hidden_size * layer.intermediate_size
    crossing[name] = weights / (2 * width)  # 2 n weights = 4 n n width
words = " and ".join(f"{n:,.0f} tokens for the {name}" for name, n in crossing.items())
Markdown(
    f"Setting both terms equal gives $n = 2d + d f / w$, that is {words}. The longest test request has {test.lengths.max()}: "
    "at such lengths the weights decide, so this book makes the weights fewer and does not touch how attention works."
)

# %% [markdown]
# **Exercise 3.** The roofline has two terms. How short would a request have to be for fetching the weights to take
# longer than computing with them? Take the two rates printed in section 1.6 and four bytes a weight. Then see how
# both rates change with one core: `make book SIZE=smoke SET=threads=1`.

# %% tags=["answer"]
# 2 n weights / P = 4 weights / B, so the number of weights cancels out
balance = 2 * ceiling.fp32_gflop_per_s / ceiling.memory_gb_per_s
Markdown(
    f"From $2 n N / P = 4 N / B$ follows $n = 2 P / B$, here about **{balance:.0f} tokens**, whatever the number of weights $N$. "
    f"The median request has {np.median(test.lengths):.0f}. Below that length a model that does not fit in the cache waits for its weights; "
    "language models that write one token at a time live there, classifiers hardly ever."
)

# %% [markdown]
# **Exercise 4.** Train a teacher yourself instead of taking the one that comes with the book. Predict what it scores on *dev* after the examples
# and minutes of the default run, then look. How much longer would it have to learn?
#
# ```text
# make book SET="shipped_teacher=false n_train=8000 epochs=2 minutes=30"
# ```

# %% tags=["answer"]
own = tuned[best_seed][1].best_score
guess = metrics.chance(bench.task, watched.gold)
beside = (
    f" The one that comes with the book scores {history.best_score:.1%}, after {history.seconds / 60:.0f} minutes. In the figure of section "
    "1.4, on the left, look for the step at which the loss begins to fall: up to there, more time seems to buy nothing."
)
Markdown(
    f"The training of this run used {len(train):,} examples and scored **{own:.1%}** on {len(watched):,} "
    f"examples of dev, where guessing scores {guess:.1%}; the best floor has {fitted[best_floor].dev_score:.1%} on all of dev.{beside if kept_file else ''}"
)

# %% tags=["hide-input"]
bench.save()
