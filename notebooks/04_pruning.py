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
# # 4 · Pruning: a shape chosen by the clock
#
# **Claim.** A trained model has attention heads and neurons that its answers hardly need. Taken out for good, they leave a
# smaller but otherwise ordinary model. How many of them to take out of which layer can be searched for, and the search can
# weigh each part by the *time* that it costs on this machine.
#
# **Cost.** Some minutes of search, a little accuracy, and often a [shape](glossary.md#shape) that no stock model class can
# hold.
#
# **Needs** chapters [1](01_baseline.ipynb) to [3](03_distillation.ipynb). **Leaves** a pruned
# [student](glossary.md#student), if one keeps [the rule](glossary.md#the-rule); otherwise the student goes on whole. It also
# leaves [rungs](glossary.md#rung) of several shapes. They are alternatives: each stands on the same rung, not on the one before it.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
engine: str = "onnxruntime"  # what serves and is timed: onnxruntime or pytorch
threads: int = 0  # threads of every engine; 0 takes all cores
n_importance: int = 32  # training examples to choose and tune on; half as many more check
uniform_tried: list[str] = ["25/25", "33/50"]  # per cent of heads/neurons removed in every layer
speedups_wanted: list[float] = [1.5, 1.25]  # targets of the search; the fastest is tried first
tokens_tried: list[float] = [0.5]  # shares of the tokens that go on after the first layer
retrained_too: bool = True  # retrain the pruned models as well
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
elastic_widths: list[float] = [1.0, 0.5]  # cut from one set of weights; empty leaves it out
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
device: str = "cpu"  # cpu or cuda; the file of params/hardware says which
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost column; set yours
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
depths_tried: list[int] = [1]  # how many whole layers to keep
n_retrain: int = 64  # training examples of the retraining; 0 takes all
n_vocabulary: int = 1000  # training texts whose words are kept in 4.15; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; drawing random numbers takes time on a CPU
seeds: list[int] = [0]  # one retraining per seed; the first one's models are served
shares_tried: list[float] = [0.5]  # of heads and neurons kept, in 4.4
tunings_tried: list[str] = ["none", "masks", "weights"]  # repairs without training; see 4.7
retrain_epochs: list[int] = [1, 1]  # of the inside and of the answers; 0 leaves one out
retrain_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
judged_in: str = "dynamic"  # the eight bits in which the rule is asked; "": in fp32
retrain_rounds: int = 1  # 1: in one step; more: gradually, all of the training after each
n_buckets: int = 2  # lengths at which the latency table is measured
n_levels: int = 3  # how many numbers of neurons it has
latency_rounds: int = 2  # its timing rounds
n_candidates: int = 2  # shapes whose loss is measured, for each target
as_fast: float = 1.1  # times within this factor count as equal: the best on dev is taken
elastic_depths: list[float] = [1.0, 0.5]  # shares of the layers cut from it
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display
from fflib.book.bench import Bench
from fflib.data import batching, metrics, retention
from fflib.distillation import kept_runs
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.teacher import TeacherOutputs
from fflib.engine import predictors
from fflib.files import InputError, check_known, shown
from fflib.measure import timing
from fflib.model import cache, checkpoints, encoder, importance, slicing, training
from fflib.pruning import (
    controls,
    dynabert,
    fewer_tokens,
    figures,
    latency_table,
    mask_search,
    reports,
    retraining,
    sensitivity,
    shape_search,
    study,
    supernet,
    tables,
    vocabulary,
)
from fflib.runs import ladder
from fflib.runtime import engines, served
from fflib.runtime.first_token import FirstTokenClassifier

bench = Bench.open("04_pruning", globals())
threads, caption = bench.threads, f"{bench.caption}; {engine} fp32"
check_known("tuning", tunings_tried, mask_search.TUNINGS)
if not all((seeds, shares_tried, tunings_tried, uniform_tried + speedups_wanted, n_importance > 1)):
    raise InputError("give seeds, shares_tried, tunings_tried, a shape, and n_importance above 1")
if not len(retrain_epochs) == len(retrain_rates) == 2 or not any(retrain_epochs):
    raise InputError("retrain_epochs (not both 0) and retrain_rates take two numbers each")

# %% [markdown]
# ## 4.1 Idea: take out what the answer does not need
#
# An encoder layer has two halves. In the *attention* half several heads look at the text side by side. In the
# *feed-forward* half each token passes a row of neurons. Each half ends in an output matrix, which adds up what its heads, or
# its neurons, have found. A head or a neuron that hardly changes this sum can go:
#
# ```text
#   attention half                                     feed-forward half
#
#   d numbers ─┬─ head 1 ──────┬─ sum: d numbers       d numbers ─┬─ neuron 1 ──────┬─ sum: d numbers
#   of a token ├─ head 2   ✕   │                       of a token ├─ neuron 2   ✕   │
#              ├─ head 3 ──────┤                                  ├─ neuron 3 ──────┤
#              └─ head 4 ──────┘                                  └─ ...      ──────┘
#
#   whole layers                                       ✕ is removed; the rest stays as it is
#
#   embeddings ── layer 1 ── layer 2 ✕ ── layer 3 ── classifier
# ```
#
# The number d, the width of the model, does not change, so what is left still fits together. (Cutting the width would change
# every matrix at once; the narrower students of chapter 3 are made that way.) With each part go its weights:
#
# | removed | its weights | in this chapter |
# |:--|:--|:--|
# | a head | its rows of the query, key and value matrices, its columns of the output matrix | from 4.3 on |
# | a neuron | one row of the first matrix, one column of the second | from 4.3 on |
# | a layer | all that is in it; the next layer reads what the layer before it wrote | from 4.6 on |
# | a token | none: but the layers above compute nothing for it | from 4.6 on |
# | an entry of the vocabulary | its row of the embeddings | 4.15 |
#
# Whole rows and columns leave smaller matrices without any holes, which every [engine](glossary.md#engine) can multiply.
# Setting single weights to zero would leave the matrices as large as they are, and most engines multiply by the zeros too.
#
# How many heads and neurons each layer keeps is the **shape** of the pruned model. Tables write *10/768* for a layer that
# keeps ten heads and 768 neurons. In a [uniform](glossary.md#uniform) shape every layer loses the same share. FastFormers
# names such a shape by what is removed, and so do we: *uniform 33/50* lost 33 % of its heads and 50 % of its neurons. In a
# [searched](glossary.md#searched) shape one layer may lose much and another nothing. A stock model class cannot hold that:
# it has one number of heads and one of neurons for all layers.
#
# [FastFormers, section 3](https://arxiv.org/abs/2010.13382) prunes uniformly and trains the model again. This chapter asks
# three more questions. *Which* heads and neurons should go, if we may look at training texts only? Is the training needed at
# all? And *how many* should go from which layer, if what counts is the time on this machine?
#
# ## 4.2 The model to prune
#
# We prune the student of chapter 3, and judge it on the very [dev and test](glossary.md#dev-and-test) examples that chapter 3
# used. That chapter measured the student's [retention](glossary.md#retention): the share of the
# [teacher's](glossary.md#teacher) score that it keeps. The rule for what goes on is still about the teacher. So whatever the
# student has left above the rule is all that pruning, and the rounding of chapter 5 after it, may spend.
#
# Pruning must therefore not spend everything. From here on the rule is asked of a model *in the form in which it will be
# served*: in the eight bits of chapter 5, as the graph of chapter 6, in the batches of chapter 2. Rounding turns some answers
# that hang in the balance. A model that just keeps the rule in 32 bits may lose it in eight, and then the fastest way to
# serve it would be lost by chance, two chapters later.

# %%
unpruned, train = bench.load("student"), bench.texts("train", "student", n_retrain, distil_length)
dev, test = bench.texts("dev", "student"), bench.texts("test", "student")


def dev_score(model):
    return bench.score(cache.predict_cached(model, dev), dev.gold)


def kept_on_dev(model):
    in_batches = bench.best_plan(dev.lengths)
    return bench.retention(served.final_answers(model, judged_in, dev, in_batches, threads), "dev")


unpruned_dev, unpruned_kept = dev_score(unpruned), kept_on_dev(unpruned)

# %% [markdown]
# ## 4.3 How much does each part matter?
#
# We could remove each head and each neuron in turn and measure the loss every time. With thousands of neurons that takes
# long. A slope is cheaper. Imagine a [gate](glossary.md#gate) on each head: a number $g$ that multiplies what the head
# hands on. It stands at 1; closing it to 0 would remove the head. Let $L$ be the loss of the task, on the labels of some
# training texts. If it changed along a straight line, removing the head would change it by the slope at $g = 1$:
#
# $$L(g = 0) - L(g = 1) \approx -\frac{\partial L}{\partial g}, \qquad
# \frac{\partial L}{\partial g} = \sum_{t} o_{t} \cdot \frac{\partial L}{\partial o_{t}} \qquad (4.1)$$
#
# Here $o_t$ is what the head hands on for token $t$. The second half is the chain rule; it says that no gate has to be built,
# because one forward and one backward pass yield all the slopes at once. The [importance](glossary.md#importance) $I_h$ of a
# head $h$ is the mean size of its slope over $n$ texts, each text $i$ with its own loss $L_i$
# ([Michel et al., eq. 2](https://arxiv.org/abs/1905.10650)):
#
# $$I_h = \frac{1}{n} \sum_{i=1}^{n} \left| \frac{\partial L_i}{\partial g_h} \right| \qquad (4.2)$$
#
# A neuron $j$ has two gates: $u_j$ in front of its activation function and $v_j$ behind it. Its importance adds up both
# ([DynaBERT, section 2.1](https://arxiv.org/abs/2004.04037); the code of FastFormers has the first one only):
#
# $$I_j = \frac{1}{n} \sum_{i=1}^{n} \left( \left| \frac{\partial L_i}{\partial u_j} \right|
# + \left| \frac{\partial L_i}{\partial v_j} \right| \right) \qquad (4.3)$$
#
# Two details matter. The absolute value is taken text by text, before averaging; otherwise a head that helps one text and
# hurts another would look useless. (The code of FastFormers and of DynaBERT does not set the gradients to zero between
# batches, so it averages the size of a running sum, which is something else.) And the texts come from *train*, as many as
# `n_importance` says. They are cut to `distil_length` tokens, shorter than what is served, so a head that only long texts
# need is undervalued.

# %%
shapes = unpruned.encoder.config.layers
texts, held_back = sensitivity.texts_to_choose_on(train, n_importance)
slopes = importance.gradients(unpruned, texts)
scores = importance.first_order(slopes)


def kept_of(counts):
    return slicing.keep_top(scores.heads, scores.neurons, counts)


# %% tags=["hide-input"]
student_name = bench.facts_of("03_distillation")["student"]["shape"]
student_rung = bench.facts_of("03_distillation")["goes_on_from"]
teacher_dev = bench.score(bench.teacher_logits("dev"), dev.gold)
show(
    Markdown(
        retention.budget(
            "student, as it would be served,", unpruned_kept, teacher_dev, min_retention
        )
    )
)
if len(texts) < n_importance:
    few = f"Only {len(train)} training texts are at hand (`n_retrain` says how many at most)"
    show(
        Markdown(
            f"{few}: {len(texts)} of them, not {n_importance:,}, serve to choose and tune, {len(held_back)} to check."
        )
    )
show(display.source(importance.first_order))
show(
    Markdown(
        f"The model to prune, **{student_name}** (section 3.4 explains the name), has {len(shapes)} layers of {shapes[0].num_heads} heads and "
        f"{shapes[0].intermediate_size:,} neurons each. It scores {unpruned_dev:.1%} on dev."
    )
)
by_head = [layer.tolist() for layer in scores.heads]
by_neuron = [layer.tolist() for layer in scores.neurons]
small_print = f"{student_name}; {len(texts)} training texts; run {run}, size {size}"
some_of_dev = dev.take(range(min(len(dev), 600)))  # for what comes next, where nothing is chosen
bench.figure(figures.importance_map(by_head, by_neuron, small_print), "importance")

# %% [markdown]
# *Reading the figure.* On the left each square is a head, and a dark one matters much. On the right the neurons of each
# layer are sorted from the most important to the least; the scale is logarithmic, so a line that falls steeply has many
# neurons that hardly matter. The line above each panel says how few parts make up half of the total importance. Where those
# are a small part of all, pruning has a chance.
#
# ## 4.4 Is that better than chance?
#
# Importance is an estimate, and an estimate needs a control. We keep the same number of heads and neurons in each layer and
# choose them in three ways: by importance, by the size of their weights (*magnitude*), or *at random*. Nothing is trained
# afterwards, so the choice alone makes the difference. Magnitude is the obvious idea: small weights do little. But a head
# with small weights may still be the one that the answer hangs on. For *random* the figure shows the mean of three draws, with
# a bar from the worst draw to the best.


# %%
def on_dev(model):
    return bench.scored(training.predict(model, some_of_dev), some_of_dev.gold)


magnitude = importance.magnitude(unpruned)
accuracy_by_ranking = {
    "importance": controls.accuracies(unpruned, scores, shares_tried, on_dev),
    "magnitude": controls.accuracies(unpruned, magnitude, shares_tried, on_dev),
    "random": controls.random_accuracies(unpruned, shares_tried, on_dev),
}

# %% tags=["hide-input"]
bench.facts["controls"] = accuracy_by_ranking
show(display.source(controls.keep_share))
figure = figures.controls(
    accuracy_by_ranking,
    on_dev(unpruned).value,
    metrics.chance(bench.task, some_of_dev.gold),
    "share of heads and neurons kept in each layer",
    f"{student_name}, not retrained; {len(some_of_dev)} dev examples; run {run}, size {size}",
)
bench.figure(figure, "controls")

# %% [markdown]
# *Reading the figure.* All lines meet at the right, where nothing is removed. Going left, the line that stays up longest is
# the best way to choose. The dotted line is what guessing scores; a model that has come down to it has lost the task. The
# function above the figure shows the cut: `slice_model` copies the rows and columns that stay into a smaller model.
#
# ## 4.5 Predict: what would a smaller layer save?
#
# The number of operations falls in a straight line with every head and every neuron. Time need not follow. What surrounds
# the matrix products, such as copies and the LayerNorm, stays, and products of other sizes run at other rates. So we measure
# it. Each **half layer** (attention or feed-forward, each with its addition and its LayerNorm) is timed alone, on the engine
# that will serve, with every number of heads and several numbers of neurons, at text lengths that the task has. The
# resulting [latency table](glossary.md#latency-table) is measured once on a machine and then kept. From it the
# [latency](glossary.md#latency) $T$ of any shape can be predicted as a sum:
#
# $$T(h, n) = t_0 + \sum_{l=1}^{N-1} \left( t_{\mathrm{attention}}(h_l) + t_{\mathrm{feed}}(n_l) \right) + t_{\mathrm{last}}
# \qquad (4.4)$$
#
# Layer $l$ of the $N$ layers keeps $h_l$ heads and $n_l$ neurons; $t_0$ is the time of everything that is not in a
# layer, such as the embeddings. Why does the last layer have a price of its own? The classifier at the top reads
# nothing but the first token. So in the last layer only that token needs a query, a feed-forward half and an output;
# the other tokens only have to be there for it to look at. [Chapter 6](06_runtime.ipynb) writes a graph that computes
# no more than this, and that graph is what will be served. In it the last layer takes next to no time, *however many
# heads and neurons it keeps*. Cutting it would save nothing and cost accuracy. **Price the model that will be served,
# not the one that was trained.** (Where PyTorch serves, or where the classifier reads marked words, as in the task WiC,
# the last layer is priced like the others.)
#
# All times are means over the lengths of the dev texts. The idea of such a table is
# [ZipLM's](https://arxiv.org/abs/2302.04089). Whether half layers timed alone add up to the whole model is an assumption.
# Section 4.10 puts it to the test.

# %%
heads = latency_table.head_levels(max(shape.num_heads for shape in shapes))
neurons = latency_table.neuron_levels(max(shape.intermediate_size for shape in shapes), n_levels)
lengths = latency_table.buckets(dev.lengths, n_buckets)
with bench.clocked("the latency table, unless it was kept"):
    table = latency_table.measure_table(
        unpruned, engine, threads, heads, neurons, lengths, latency_rounds
    )
unpruned_ms = table.model_ms(shapes, dev.lengths)

# %% tags=["hide-input"]
bench.facts["latency_table"] = {
    name: np.asarray(part).tolist() for name, part in vars(table).items()
}
curves = reports.cost_curves(table, dev.lengths)
small_print = f"{caption}\nmean over the lengths of dev, measured at {lengths} tokens"
show(bench.figure(figures.flop_and_time(curves, small_print), "flop_and_time"))
Markdown(reports.cost_words(curves))

# %% [markdown]
# *Reading the figure.* Where the measured points lie on the grey line, half of the heads takes half of the time. Where they
# lie above it, a cut saves less time than it saves operations. What is left at zero heads or zero neurons is the price of
# having this half layer at all; only taking the whole layer out saves that too.
#
# ## 4.6 Which shape for a given time?
#
# Say that we want a model that is one and a half times as fast. Very many shapes are fast enough. Which of them loses
# least? To answer that, every choice in every layer gets two numbers: a **price**, its time from the table, and a **loss**,
# what the answers suffer. With made-up numbers for a model of two layers:
#
# ```text
#             keep all        keep 8/768      keep 4/256      take the layer out
#  layer 1    price 8         price 5         price 3         price 0
#             loss  0         loss  2         loss  6         loss  50
#  layer 2    price 8         price 5         price 3         price 0
#             loss  0         loss  1         loss  2         loss  30
#
#  budget 11:  all of layer 1 and 4/256 of layer 2   price 11, loss 2     the best
#              8/768 of both layers                  price 10, loss 3
# ```
#
# The loss of a choice is measured, too. We cut just this half layer and see how far the probabilities of the answers move
# on training texts. Their [divergence](glossary.md#divergence) (Kullback and Leibler's) is
#
# $$D = \frac{1}{n} \sum_{i=1}^{n} \sum_{y} p_i(y) \log \frac{p_i(y)}{q_i(y)} \qquad (4.5)$$
#
# where $p_i(y)$ is the probability that the unpruned model gives to answer $y$ for text $i$, and $q_i(y)$ that of the cut
# model. It is 0 where nothing moved, and needs no labels. Its unit, with natural logarithms, is the nat. We then look for
# the choices $c_1, \ldots, c_N$, one for each layer, that solve
#
# $$\min_{c_1, \ldots, c_N} \sum_{l=1}^{N} D(c_l) \quad \mathrm{so\ that} \quad
# t_0 + \sum_{l=1}^{N} t(c_l) \le T_{\mathrm{wanted}} \qquad (4.6)$$
#
# Computer science knows this as the *knapsack problem*: pack the most worth into a bag that holds only so much weight. Trying
# all combinations would take too long. *Dynamic programming* takes one layer after the other and remembers, for every part of
# the budget, the least loss so far. For that it rounds the times to small steps of the budget:
#
# ```text
# least[b] = 0, for every budget b
# for each layer, and every budget b:
#     new[b] = the smallest of  least[b - price of c] + loss of c,  over the choices c that b can pay
#     then new takes the place of least
# ```
#
# The loss of each single cut is measured. That the losses *add up* is only an estimate. So the search is repeated with the
# losses multiplied by random factors ([SPDY's](https://arxiv.org/abs/2201.13096) idea). Each solution is built and repaired
# as section 4.7 explains, its divergence *as a whole* is measured on other training texts, and the least one wins.

# %%
answers = training.predict(unpruned, held_back)


def divergence(model):
    return sensitivity.divergence(training.predict(model, held_back), answers)


@sensitivity.remembered
def repair(counts):  # the best one, and the divergence that it leaves
    return mask_search.best_tuning(unpruned, kept_of(counts), texts, tunings_tried, divergence)


def cut(counts):
    return mask_search.tune(unpruned, kept_of(counts), texts, repair(counts)[0])


# %%
def loss_of(counts):
    return repair(counts)[1]


trial_texts = texts.take(range((len(texts) + 1) // 2))  # few, for there are many trials
with bench.clocked("the search"):
    priced = table.priced(len(shapes))  # all layers, or all but the last
    losses = sensitivity.measure(unpruned, scores, trial_texts, heads, neurons, priced)
choices = shape_search.options(table, dev.lengths, *losses)
fixed_ms = table.fixed_ms(dev.lengths)  # the time that no cut saves


def search(budget_ms):
    best, _ = shape_search.search(
        choices,
        budget_ms,
        lambda shape: loss_of(shape_search.counts(shape)),
        n_candidates,
        seeds[0],
        fixed_ms,
    )
    return shape_search.counts(best)


# %% [markdown]
# A searched shape needs something to be compared with. For each target there are four shapes whose predicted time is
# about the same. None exceeds the target; a uniform one may stay further below it, since it can only lose heads in all
# layers at once.
#
# | how the shape was found | what it tells |
# |:--|:--|
# | searched | of several candidates, each built and measured, the one that diverges least |
# | least estimated loss by time | what one gets by trusting the sum of (4.6), with nothing built and measured |
# | least estimated loss by operations | the same, but the prices are operations instead of times: does the clock matter? |
# | uniform | the same share of every layer, the last one too: does the search matter? |
#
# Is it better to have fewer layers, or narrower ones? To find out, each layer is taken out in turn and the others are
# repaired. Beside each of these models stands one that keeps all its layers but is narrow enough to be as fast.
#
# After the two tables the chapter goes on with the searched shapes, the uniform ones of the same time, the uniform ones
# that the paper uses (`uniform_tried`), and, if `depths_tried` names any, models of fewer layers. The names *searched
# for ...* and *uniform for ...* end in the speed-up that the shape was made for.
#
# ### Fewer tokens
#
# All of these make the model thinner or shorter and leave the *text* as it is. The last kind of candidate does the opposite:
#
# ```text
# layer 1, attention       every token looks at every other one
#         │                a share of the tokens goes on, those that were looked at most; the rest are dropped
# layer 1, feed-forward    for the tokens that went on
# layer 2 ...              for these alone, among themselves
# ```
#
# So every word is read, but only some go through the rest of the model. The tokens that are dropped were keys and
# values in the first layer, so what they said is in the states of those that go on. How much attention a token
# receives, summed over all heads and over all tokens that look at it, is its *significance* in
# [PoWER-BERT](https://arxiv.org/abs/2001.08950). There the number of tokens falls from layer to layer. A student has
# few layers, so here it falls once, and `tokens_tried` says to which shares.
#
# The classifier reads the first token, so that one always goes on. (Where it reads marked words, there is no such
# candidate, for they might be dropped.) The saving is predicted from the table of 4.5, by (4.4) with shorter texts from
# the first feed-forward half on. The time for choosing the tokens is not in that prediction.


# %%
def shapes_for(budget_ms):
    by_time = shape_search.solve(choices, budget_ms, fixed_ms)
    return {
        "searched": search(budget_ms),
        "least estimated loss by time": shape_search.counts(by_time),
        "least estimated loss by operations": shape_search.by_operations(
            choices, unpruned.encoder.config, dev.lengths, budget_ms, fixed_ms
        ),
        "uniform": shape_search.uniform_at(table, dev.lengths, shapes, budget_ms),
    }


with bench.clocked("the search"):
    shapes_by_target = {target: shapes_for(unpruned_ms / target) for target in speedups_wanted}

by_tokens = [] if bench.task.spans else tokens_tried  # a head that reads marked words needs them
others = depths_tried, losses.removed, by_tokens
candidates = study.collect(shapes, uniform_tried, shapes_by_target, *others)
for candidate in candidates:
    with bench.clocked("the tuning"):
        candidate.tuning, tuned = repair(candidate.counts)[0], cut(candidate.counts)
    candidate.tuned = fewer_tokens.let_go_on(tuned, candidate.goes_on)
    candidate.predicted_ms = table.model_ms(candidate.tuned.encoder.config.layers, dev.lengths)

# %% tags=["hide-input"]
bench.facts["ways"] = reports.way_rows(shapes_by_target, loss_of)
bench.facts["depth"] = reports.depth_rows(table, dev.lengths, shapes, loss_of)
show(bench.table(tables.plain(bench.facts["ways"])))
show(bench.table(tables.plain(bench.facts["depth"])))
bench.facts["shapes"] = {candidate.name: candidate.counts for candidate in candidates}
thinned = [candidate for candidate in candidates if candidate.kind != study.TOKENS]
panels = {
    f"{candidate.name}\n(predicted {unpruned_ms / candidate.predicted_ms:.1f}x)": candidate.counts
    for candidate in thinned
}
full = [(shape.num_heads, shape.intermediate_size) for shape in shapes]
show(display.source(encoder.go_on))
bench.figure(figures.shapes(panels, full, caption), "shapes")

# %% [markdown]
# *Reading the first table.* Compare rows of the same target: they take about the same predicted time, and the one with
# the least divergence answers most like the unpruned model. Where the two estimates are the same shape, clock and
# operations agree on this machine. Where *searched* diverges less than both, it paid to build and measure whole
# candidates.
#
# *Reading the second table.* The third column is the divergence of the model without that layer, the last one that of
# the narrow model that is as fast. (Layers of one size take the same time, so the narrow model is the same for all of
# them. Where no narrow model is as fast, as with two layers of which the last costs next to nothing, that column is
# missing.) If the narrow model diverges less, then at equal time narrower layers are better than fewer layers. *The
# figure* shows the shapes themselves. Look at which layers a searched shape spares: the last one stays whole wherever
# cutting it saves no time. The function above the figure chooses the tokens that go on.
#
# ## 4.7 Do it, without training
#
# After a cut the output matrix of a half layer adds up fewer terms, so its sum is off. Training would mend that. But much can
# be mended by solving equations. [Kwon et al., section 4](https://arxiv.org/abs/2204.09656) prune in three steps:
#
# 1. **Choose.** They weigh the gates by the *Fisher information* $F$. With $m$ a vector of gates, 1 for what stays and 0 for
#    what goes, and $s_i$ the slopes of text $i$ by all gates, the loss of a trained model rises by about
#
#    $$\Delta L \approx \frac{1}{2} (1 - m)^{\top} F (1 - m), \qquad F = \frac{1}{n} \sum_{i=1}^{n} s_i s_i^{\top} \qquad (4.7)$$
#
#    The diagonal of $F$ is the mean *square* of the slopes, where (4.2) has the mean absolute value.
# 2. **Rearrange.** The other entries of $F$ say which parts work together: removing both of two heads that do the same job
#    costs more than the two numbers promise. So a removed part changes places with a kept one as long as that lowers (4.7).
# 3. **Tune.** The [mask](glossary.md#mask) of a half layer is one factor $m_u$ for each unit $u$ (a head or a neuron) that is
#    left. The factors are chosen such that the sum comes as near as possible to what it was, by least squares:
#
#    $$\min_{m} \left\Vert y - \sum_{u} m_u Z_u W_u \right\Vert^2 + \lambda \left\Vert m - 1 \right\Vert^2 \qquad (4.8)$$
#
#    Here $Z_u$ is what unit $u$ computes for all tokens of some training texts, $W_u$ the part of the output matrix that reads
#    it, and $y$ the sum that the unpruned model has there. The second term keeps the factors near 1; $\lambda$ is small. A
#    model repaired like this, one half layer after the other from the bottom up, is called [tuned](glossary.md#tuned).
#
# Their first step also decides how many units each layer keeps. Here the shape is given, so only the choice of units differs.
#
# Why stop at one factor for each unit? The same equations can be solved for the whole output matrix. The table below calls
# the first repair *masks* and the second *weights*. It combines both, and no repair, with the two ways to choose the units: by
# importance, and by the Fisher information, rearranged. The shape is a uniform one. The function above the table solves (4.8).
#
# No repair is best for every model. What is fitted to a few hundred texts may fit these texts alone, and a student that was
# [taught to be cut](03_distillation.ipynb) may need none. So in this chapter each shape, those of the search included, gets
# the repair after which the answers to *other* training texts move least.

# %%
example = [candidate for candidate in candidates if candidate.kind == "uniform"][-1]
by_importance = slicing.keep_top(scores.heads, scores.neurons, example.counts)
by_fisher = mask_search.keep(slopes, example.counts)
kept_by = {"importance": by_importance, "Fisher, rearranged": by_fisher}
untrained = {}
for way, kept in kept_by.items():
    for tuning in tunings_tried:
        untrained[way, tuning] = mask_search.tune(unpruned, kept, texts, tuning)

# %% tags=["hide-input"]
show(display.source(mask_search.mask_values))
rows = [
    {
        "kept by": way,
        "tuned": tuning,
        "divergence": divergence(model),
        "dev %": 100 * on_dev(model).value,
    }
    for (way, tuning), model in untrained.items()
]
bench.facts["tuning"] = {"shape": example.name, "rows": rows}
show(
    Markdown(
        f"The shape **{example.name}**, chosen and tuned on {len(texts)} training texts. The unpruned model scores "
        f"{100 * on_dev(unpruned).value:.1f}% on the same {len(some_of_dev)} dev texts."
    )
)
bench.table(tables.plain(rows))

# %% [markdown]
# *Reading the table.* The divergence is measured on training texts that took no part in choosing or tuning. It sees every
# small move of a probability, so it is the finer scale. The score on dev only changes where an answer flips, and on a few
# hundred texts two scores that are a point apart cannot be told from each other. Read down a block to see what the repair does,
# and across the two blocks to see what the choice does. Where *weights* is worse than *masks*, it had too many unknowns for so few
# texts and fitted those texts alone; a larger `n_importance` helps.
#
# ## 4.8 Do it, with training
#
# Least squares mends each half layer by itself. Training can also let the layers help each other out, at the price of
# minutes. As in FastFormers, the unpruned model is the teacher of the pruned one. Unlike there, the pruned model starts
# from the tuned cut, and may learn in two stages, [hidden states](glossary.md#hidden-state) first and answers second, as
# the student did in chapter 3. The parameter `retrain_epochs` says how long each lasts; 0 leaves a stage out, as the
# default run does with the first. (The student that comes with the book learned for long, and matching its hidden states
# anew on fewer texts undoes some of that. It was also [taught to be cut](03_distillation.ipynb): in every step a part of
# its least important heads and neurons was left out, so that a cut need not hurt it much.) With `retrain_rounds` above 1
# the parts go gradually: each round removes a share, chooses anew among what is left, and trains.
#
# (FastFormers' code also replaces the activation function GELU by the cheaper ReLU when it saves a pruned model. Here the
# activation stays, so that only the shape changes; [chapter 3](03_distillation.ipynb) tries ReLU on a student.)
#
# The uniform shapes of the paper, and the models of fewer layers or tokens, are always trained, for comparison. Of the speed-ups that are
# wanted **the fastest is tried first**, then the next one, until a shape keeps the rule. The slower targets are then neither
# trained nor timed, which saves minutes; so the tables from here on may have fewer shapes than the figure above.

# %%
outputs = TeacherOutputs(unpruned, train, teacher_cache_gb)


def recipe(epochs, rate, evaluations, seed):
    looks = evaluations if epochs > 1 else 0  # at dev: one alone, at the end, chooses nothing
    options = {"dropout": dropout, "freeze_words": True, "seed": seed}
    return training.Recipe(epochs, batch_size, rate, evaluations_per_epoch=looks, **options)


def stages(seed):
    inside = recipe(retrain_epochs[0], retrain_rates[0], 0, seed)
    answers = recipe(retrain_epochs[1], retrain_rates[1], 1, seed)
    both = [
        DistillationStage("inside", Objectives(hidden=1.0), inside),
        DistillationStage("answers", Objectives(logits=1.0), answers),
    ]
    return [stage for stage in both if stage.recipe.epochs]


# %%
def retrain(candidate, seed):
    folder = bench.folder / "models" / "pruned" / f"{candidate.file_name}, seed {seed}"
    learnt_from = texts, stages(seed), outputs, dev, bench.score, folder, retrain_rounds
    how = {"tuning": candidate.tuning, "goes_on": candidate.goes_on}
    return retraining.retrain(unpruned, candidate.counts, *learnt_from, **how)


def keep_the_rule(group):
    for candidate in group:
        candidate.retrained = [retrain(candidate, seed) for seed in seeds if retrained_too]
        candidate.judge(dev_score, kept_on_dev)
    return any(candidate.kept.holds(min_retention) for candidate in group)


compared, *targets = study.by_target(candidates)
keep_the_rule(compared)
tried = [compared, *retention.until_one_holds(targets, keep_the_rule)]
candidates = [candidate for group in tried for candidate in group]
bench.table(tables.plain([candidate.row(unpruned_ms) for candidate in candidates]))

# %% [markdown]
# *Reading the table.* The third column names the repair that was taken (4.7). The two columns after it are scores on dev;
# the next one says what share of the teacher's score the better version keeps. It is measured in the form that will be served (4.2). The share decides; its interval
# counts only where it is very wide (3.6). The intervals of two shapes usually overlap, so by luck a shape that lost
# more parts may keep the larger share. Training does not always win: compare the two scores. It sees `n_retrain` texts
# for a few epochs, which is little beside what the student itself learned from. Where training makes a shape worse, the
# tuned version is served. `make book SET="n_retrain=0 retrain_epochs=[0,4]"` trains longer, on all texts.
#
# ## 4.9 Check
#
# Of each shape the better version on dev is served: tuned only, or retrained with the first [seed](glossary.md#seed).
# Before it is timed, the engine has to give the [logits](glossary.md#logit) that PyTorch gives, in every batch that will be
# timed. The exported graph was already compared with the model when it was written.
#
# ## 4.10 Measure
#
# All shapes run in the same rounds, one after the other, so that a slow moment of the machine hits all of them. They run in the
# graph that will be served, the one for the first token. They answer requests in three ways:
#
# - **one request at a time**, where latency counts (the table has the median, the [p50](glossary.md#p50-and-p95));
# - **in the best batches** that chapter 2 found, where [throughput](glossary.md#throughput) counts;
# - **on two [instances](glossary.md#instance)**: two copies of the model, each with half of the threads, answer two requests at
#   once. More are answered in a second, but each one waits longer. (No thread is pinned to a core here; chapter 7 does that.)
#
# The first way also tests the prediction of (4.4). A machine that is slower or faster today than when the table was
# measured moves all points alike. So the *speed-up*, the ratio to the unpruned model, is a fairer test of the table
# than the milliseconds.

# %%
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
models = {"unpruned": unpruned} | {candidate.name: candidate.model for candidate in candidates}
expected = {name: training.predict(model, requests) for name, model in models.items()}


def serve(name, threads, form=FirstTokenClassifier):
    if engine == "pytorch":  # one class for all, so that its own cost is not taken for the shape's
        return predictors.torch_predictor(models[name]), "fflib, PyTorch eager"
    folder = bench.folder / "models" / "onnx" / name.replace("/", "-") / form.__name__
    return engines.serve(form(models[name]), engine, threads, folder)


def all_tokens(model):
    return model


one_by_one = batching.in_order(requests.lengths, 1)
best_batches = bench.best_plan(requests.lengths)
ways = {name: serve(name, threads)[0] for name in models}
alone = bench.compare(ways, requests, expected, plan=one_by_one)
batched = bench.compare(ways, requests, expected, plan=best_batches)

# %% tags=["hide-input"]
on_two_instances = None
if engine == "onnxruntime" and threads > 1:
    pairs = {}
    for name in models:
        instances = [serve(name, threads // 2)[0] for _ in range(2)]
        pairs[name] = predictors.together(instances)
    on_two_instances = bench.compare_at_once(pairs, requests, expected, plans=one_by_one)
worst = max(alone.largest_difference, batched.largest_difference)
show(
    Markdown(f"The largest difference of a logit from PyTorch is {worst:.1e}; {alone.labels_kept}.")
)
measured_ms = {name: reports.mean_ms(taken) for name, taken in alone.items()}
predicted_ms = {
    name: table.model_ms(model.encoder.config.layers, requests.lengths)
    for name, model in models.items()
}
points = [(name, predicted_ms[name], measured_ms[name]) for name in models]
small_print = (
    f"{caption}\n{n_requests} requests, one at a time; mean over requests of each one's median"
)
show(bench.figure(figures.predicted(points, small_print), "predicted"))
bench.facts["speed"] = reports.speed_rows(predicted_ms, alone, batched, on_two_instances)
show(bench.table(tables.plain(bench.facts["speed"], tables.PREDICTION)))
bench.table(tables.plain(bench.facts["speed"], tables.SERVING))

# %% [markdown]
# *Reading the figure and the first table.* A point in the grey band was predicted to within a tenth. The column *ratio* gives the
# measured time over the predicted one. If it is off in the same direction in every row, the machine was slower or faster than
# when the table was made; then compare the two columns of speed-ups. If a single row is off, that may be noise. Or its matrices
# have a size that the engine handles better or worse than the sizes in the table, between which the prediction interpolates.
#
# *Reading the second table.* The columns *1 instance* and *2 instances* are for requests one at a time; the speed-up on two
# instances is over the unpruned model on two instances. A pruned model may gain more, or less, on two instances than on
# one, because smaller products leave less for several threads to share.
#
# ## 4.11 Choose on dev, report on test
#
# The rule is that of chapter 3: the fastest model, one request at a time, that keeps `min_retention` of the teacher's score
# **on dev** goes on. If none keeps it, the student goes on unpruned. Models whose times are within a factor `as_fast` of the
# fastest count as equally fast, and the most accurate of these on dev is taken; the noise of a clock is no reason to give
# accuracy away. The labels of test take no part in the choice. Its texts do: they are the requests that are timed.
#
# The fastest of several noisy times is partly a lucky one. So the chosen model is timed once more, beside the unpruned one,
# and these are the factors that the sentence below reports.
#
# Then test answers the question of 4.6: at equal predicted time, is the searched shape more accurate than the uniform one?
# Both models answer the same texts, and the difference is *paired*: texts that both get right, or both get wrong, drop out
# and do not blur it. Where the 95 % interval of a difference includes 0, this run cannot tell which of the two is better.

# %%
chosen = study.choose(candidates, measured_ms, min_retention, as_fast)
finalists = {name: ways[name] for name in ("unpruned", chosen.name)}
alone_again = bench.compare(finalists, requests, expected, plan=one_by_one, seed=1)
batched_again = bench.compare(finalists, requests, expected, plan=best_batches, seed=1)


# %% tags=["hide-input"]
def on_test(model):
    return bench.scored(cache.predict_cached(model, test), test.gold)


def difference(first, second, examples):
    return reports.difference(bench.task, first, second, examples, n_resamples)


unpruned_test = on_test(unpruned)
rows = reports.against_uniform(candidates, seeds, lambda a, b: difference(a, b, test))
bench.facts["against_uniform"] = rows
bench.facts["fewer_tokens"] = reports.token_rows(candidates, alone, min_retention)
is_faster = measured_ms[chosen.name] < measured_ms["unpruned"]
met_the_rule = chosen.kept.holds(min_retention) and is_faster
bench.facts["chosen_again"] = gain = {
    "one by one": alone_again.speedup(chosen.name, "unpruned"),
    "best batching": batched_again.speedup(chosen.name, "unpruned"),
}
outcome = (
    "the most accurate of the fastest that keep the rule. It goes on"
    if met_the_rule
    else "the most accurate, but no shape keeps the rule and saves time. **The student goes on unpruned**"
)
show(display.source(study.choose))
sentence = (
    f"Of {len(candidates)} shapes **{chosen.name}** ({'retrained' if chosen.is_retrained else 'tuned only'}) is {outcome}. "
    f"The rule asks for {min_retention:.1%} of the teacher's score on dev. This shape keeps {chosen.kept.words or 'no share'}, "
    f"the unpruned student {unpruned_kept.words or 'no share'}. Timed again it is {gain['one by one']:.2f} times as fast as "
    f"the unpruned student one request at a time, and {gain['best batching']:.2f} times in the best batches."
)
show(Markdown(sentence))
figure = figures.pareto(
    reports.pareto_points(candidates, measured_ms, on_test, chosen),
    reports.pareto_point("unpruned", measured_ms["unpruned"], unpruned_test),
    min_retention * bench.teacher_accuracy,
    f"{caption}\n{n_requests} requests, one at a time, timed with the served weights; {len(test):,} test examples; "
    f"seed {seeds[0]}",
    floor_label=f"{min_retention:.1%} of the teacher, on test",
)
show(bench.figure(figure, "pareto"))
show(bench.table(tables.plain(rows)))
Markdown(tables.kept_against_uniform(map(bench.kept, kept_runs.RUNS)))

# %% [markdown]
# *Reading the figure.* Left is fast, up is accurate. The grey steps are the *Pareto front*: for a model on it no other one is
# both faster and more accurate. The dashed line is the rule's share of the teacher's score *on test*. The chosen model may
# lie below it: the rule was asked on dev, and both splits are samples. Look at the bar of the chosen model: if it reaches the line,
# the test texts cannot tell whether the model keeps that share.
#
# *Reading the tables.* The difference is the score of the searched shape minus that of the uniform one, so a positive one
# speaks for the search. There is a row for the tuned model and one for each seed of the retraining. A single seed decides
# little: training again with other random numbers can move the difference as far as the search does. That is why kept runs
# stand below, one of them with three seeds and one on another task. (A [kept run](glossary.md#kept-run) may come from an
# earlier edition of the book, with another student and earlier names; its line says when it was made.) A searched shape that
# diverges less and yet scores no better is no contradiction. The divergence says how near a model stays to the *student's*
# answers on a few training texts, right or wrong. The score counts right answers on texts that are new.
#
# ## 4.12 The rungs
#
# The first rung changes only the engine, from PyTorch to ONNX Runtime, so that its gain is not taken for one of
# pruning. The pruned shapes stand on it side by side. All are timed in the batches that chapter 2 found best; the
# latencies there are those of a request that waits for its whole batch. On these rungs the graphs still compute all
# tokens of the last layer, for the graph of the first token is a rung of its own, in chapter 6. A shape whose last
# layer is whole therefore shows a part of its gain only in chapter 6. On the ladder *pruned 33/50* is the shape
# *uniform 33/50* of the tables above, and *pruned for latency* is the fastest searched shape that keeps the rule, or,
# where none does, the fastest searched shape of all.


# %% tags=["hide-input"]
rung_ways = {"rung below": predictors.torch_predictor(predictors.eager(unpruned)[0])}
for name in models:
    rung_ways[name], engine_name = serve(name, threads, all_tokens)
right = expected | {"rung below": expected["unpruned"]}
rung_times = bench.compare(rung_ways, requests, right, plan=best_batches)
# The rule is asked of a cut as it will be served, but of this rung as it stands on the ladder, in 32 bits.
in_32_bits = bench.retention(cache.predict_cached(unpruned, dev), "dev")
kept_by_name = {"unpruned": in_32_bits} | {each.name: each.kept for each in candidates}


def add_rung(rung, name, on, below=None):
    bench.add_rung(
        rung,
        rung_times[name],
        on=on,
        below=below,
        like="best batching",
        model=student_name if name == "unpruned" else f"{student_name}, {name}",
        engine=engine_name,
        plan=best_batches,
        model_mb=checkpoints.size_mb(models[name]),
        scored=on_test(models[name]),
        kept=kept_by_name[name],
    )


base = "ONNX Runtime" if engine == "onnxruntime" else "student again"
add_rung(base, "unpruned", on=student_rung, below=rung_times["rung below"])
rungs = study.rungs(candidates, measured_ms, min_retention, chosen)
for rung, candidate in rungs.items():
    add_rung(rung, candidate.name, on=base)
bench.rungs_table()

# %% [markdown]
# The rungs of pruning are alternatives, so their factors must not be multiplied with each other. Only the rung that was
# chosen, if one was, carries the later chapters.
#
# ## 4.13 How much does a look at dev flatter?
#
# FastFormers and DynaBERT judge importance on the very split whose score they report. Such a score has seen the answers.
# How much does that help it? We cut the same shape twice: once by importance from training texts (*honest*), once by
# importance from as many *dev* texts with their labels (*peeking*). If peeking looks better on those dev texts but no better
# on test, then the look has flattered the score and made no better model.

# %%
seen = bench.texts("dev", "student", length=distil_length).take(range(min(len(texts), len(dev))))
scores_of_dev = importance.first_order(importance.gradients(unpruned, seen))
peeking = controls.keep_share(unpruned, scores_of_dev, min(shares_tried))
honest = controls.keep_share(unpruned, scores, min(shares_tried))
examples = {"the dev texts it saw": dev.take(range(len(seen))), "test": test}
gains = {name: difference(peeking, honest, split) for name, split in examples.items()}
bench.facts["flatter"] = reports.flatter_rows(gains)
bench.table(tables.plain(bench.facts["flatter"]))

# %% [markdown]
# *Reading the table.* A row is the peeking model's score minus the honest one's. The first row is what a paper that peeks
# would report, the second what a user would get. If both intervals include 0, the effect is too small for this many texts.
#
# ## 4.14 One set of weights for many sizes
#
# So far each shape has weights of its own. [DynaBERT, section 2](https://arxiv.org/abs/2004.04037) goes another way. It sorts
# the heads and neurons of every layer once, the most important first. Then it trains *one* model such that its first half,
# its first quarter, or every second of its layers, each taken alone, answer well. Anyone who deploys the model cuts out
# the size that fits the machine, without training anew. We call such weights [elastic](glossary.md#elastic).
#
# Two questions decide whether that is worth it. How much does the full width lose by sharing its weights with the smaller
# sizes? And how much better is the half width than a model that is simply cut in half, as in section 4.4?
#
# Every step of the training runs all sizes, so it costs several times as much as training one of them. The default run
# therefore leaves it out. Where the parameters `elastic_widths` and `elastic_depths` name sizes, it is measured here.
# (The student that comes with the book was taught in this spirit, but for widths drawn at random: the shape that a search
# will want is not known beforehand.)

# %%
is_elastic = bool(elastic_widths and elastic_depths)
if is_elastic:
    sizes = dynabert.sub_networks(elastic_widths, elastic_depths)
    joint_recipe = recipe(max(retrain_epochs), retrain_rates[1], 0, seeds[0])
    all_sizes, history = supernet.train(
        unpruned, scores, sizes, outputs, dev, bench.score, joint_recipe, bench.folder / "models"
    )
    accuracies = supernet.accuracy_by_size(all_sizes, sizes, on_dev)
    show(bench.table(tables.elastic_rows(accuracies)))
if is_elastic and len(set(elastic_widths)) > 1:  # a line needs two points
    show(bench.figure(figures.elastic(accuracies, unpruned_dev, caption=caption), "elastic"))
elastic_command = 'make book SET="elastic_widths=[1.0,0.75,0.5,0.25] elastic_depths=[1.0,0.67]"'
Markdown(tables.kept_elastic(is_elastic, map(bench.kept, kept_runs.RUNS), elastic_command))

# %% [markdown]
# ## 4.15 Dropping words that never occur
#
# In a small model most weights are word embeddings: a table with one row for every entry of the vocabulary, of which a
# request looks up a few. The training texts of a task use only a part of the vocabulary, and the rows of all other entries
# can go. What if a request has a word whose row is gone? Then the [fallback](glossary.md#fallback) answers it: the model
# with all words, loaded when that first happens. So no answer ever changes. What is saved is the download and the time to
# start. The layers compute as much as before, so no time is saved on a request, and once one has fallen back, both models
# are in memory.

# %%
seen = bench.texts("train", "student", n_vocabulary)
special_ids = bench.tokenizer("student").all_special_ids
words = vocabulary.Vocabulary.of(seen, chosen.model.encoder.config.vocab_size, special_ids)
small = vocabulary.prune(chosen.model, words)
fallback = vocabulary.WithFallback(
    predictors.torch_predictor(small), lambda: predictors.torch_predictor(chosen.model), words
)
variant = timing.Variant("small vocabulary", fallback, one_by_one)
timing.check(variant, requests, expected[chosen.name], tolerance=1e-5)
bench.facts["vocabulary"] = reports.vocabulary_row(chosen.model, small, words, fallback, dev)
bench.table(tables.upright(bench.facts["vocabulary"]))

# %% [markdown]
# *Reading the table.* Compare the share of *tokens* whose word is kept with the share of *texts* that have no unseen word. A
# single unseen word sends the whole text to the fallback, so many texts may need it although nearly all tokens are known.
#
# ## 4.16 What it cost
#
# The figure and the tables of 4.11 show what pruning cost in accuracy. It also cost computing time, which is paid once. The
# latency table is measured once on a machine, and later runs take it from there.

# %% tags=["hide-input"]
for candidate in candidates:
    if candidate.retrained:
        bench.seconds_spent[f"retraining, {candidate.name}"] = 60 * candidate.minutes
if is_elastic:
    bench.facts["elastic"] = {"minutes": history.seconds / 60, "dev": accuracies}
    bench.seconds_spent["one set of weights"] = history.seconds
bench.facts["seconds_spent"] = bench.seconds_spent
chosen_rung = next(name for name, candidate in rungs.items() if candidate is chosen)
bench.facts["goes_on_from"] = chosen_rung if met_the_rule else base
folder, accuracy = bench.folder / "models" / "pruned-student", on_test(chosen.model).value
checkpoints.save(chosen.model, folder, bench.tokenizer("student"))
bench.facts["pruned"] = {
    "shape": chosen.name,
    "folder": shown(folder),
    "met_the_rule": met_the_rule,
    "counts": chosen.counts,
    "goes_on": chosen.goes_on,
    "retrained": chosen.is_retrained,
    "accuracy": accuracy,
    "kept_of_unpruned": ladder.kept(accuracy, unpruned_test.value) if unpruned_test.value else None,
}
show(bench.table(tables.seconds(bench.seconds_spent), decimals=0))
bench.save()

# %% [markdown]
# ## 4.17 When it does not pay
#
# - **There is little left to take.** A student that is only just large enough loses with the first head. Look at the figure of
#   4.4 first: if the line of importance falls at once, stop there.
# - **The time is elsewhere.** Embeddings, LayerNorms, copies and the call of the engine do not shrink with heads and
#   neurons. The latency table shows when they have become the larger part.
# - **The engine wants a stock shape.** Fused attention kernels that take the number of heads from a configuration file
#   compute nonsense on a pruned model, without any error message. [Chapter 6](06_runtime.ipynb) shows such a case.
# - **The texts will be of another kind than the training texts.** Parts that seemed useless may be what the new texts need,
#   and more of their words will be unseen.
#
# ## 4.18 Summary
#
# Importance costs one backward pass and is far cheaper than trying every part; the controls of 4.4 say whether it is
# worth anything. A latency table turns "how many milliseconds does this head cost?" into a look-up, and 4.10 checks it.
# The search is then a knapsack problem; a layer that takes no time stays whole without any search. Solving least
# squares can repair a part of what a moderate cut breaks, in seconds and without labels, and the table of 4.7 says how
# much. Whether the searched shape beats a uniform one that is as fast is often a close question: do not settle it with
# one run and one seed.
#
# **Next:** [chapter 5](05_quantization.ipynb) rounds what is left to eight bits.
#
# ## 4.19 Exercises
#
# **1. Ask for more than there is to get.** What is the largest speed-up that any shape can be predicted to have, and what
# limits it? Think of (4.4) with every layer removed, and then with every layer kept but empty. Then run
# `make book SIZE=smoke SET="speedups_wanted=[1000.0]"` and read the message with which the run stops.

# %% tags=["answer"]
rest_ms = table.model_ms([], dev.lengths)
emptied_ms = fixed_ms
for choice in choices:
    emptied_ms += min(option.cost for option in choice if option.counts is not None)
answer = (
    f"Without any layer a request still takes {rest_ms:.2f} of {unpruned_ms:.2f} ms, for the embeddings, the classifier "
    f"and the call. So no shape can be predicted to be more than **{unpruned_ms / rest_ms:.0f} times** as fast. If all "
    f"layers stay, without a head or a neuron, the bound is **{unpruned_ms / emptied_ms:.1f} times**. "
    "The message names the time of the fastest shape and asks for less speed-up."
)
show(Markdown(answer))

# %% [markdown]
# **2. Which half of a layer is larger?** For $n$ tokens and width $d$, attention does about $8 n d^2 + 4 n^2 d$ operations
# and feed-forward, with $4 d$ neurons, $16 n d^2$. At which number of tokens are the two equal? Where does the clock put it:
# earlier or later, and why? `make book SET="n_buckets=6"` measures the table at more lengths.

# %% tags=["answer"]
half_rows = []
for length in table.lengths:
    one = np.array([length])
    attention = table.half_ms("attention", heads[-1], one)
    ratio = attention / table.half_ms("feed_forward", neurons[-1], one)
    half_rows.append({"tokens": length, "attention / feed-forward, by time": f"{ratio:.2f}"})
show(bench.table(half_rows))
answer = (
    f"By the count they are equal at $n = 2d$, which is {2 * unpruned.encoder.config.hidden_size:,} tokens. The clock "
    "puts it earlier where attention is dearer than its products: the softmax and the copies between them are not counted."
)
show(Markdown(answer))

# %% [markdown]
# **3. How far can one seed be trusted?** If searched and uniform shapes were equally good, in what share of the
# comparisons of 4.11 would the interval still leave 0 out? `make book SET="seeds=[0,1,2]"` retrains every shape three
# times.

# %% tags=["answer"]
compared_by = {"this run": bench.facts["against_uniform"]}
for kept in filter(None, map(bench.kept, kept_runs.RUNS)):
    compared_by[kept.label] = kept.facts["against_uniform"]
answer = "About one in twenty, by chance alone: so often a 95 % interval misses the true value. It left 0 out in:\n"
for name, rows_of_run in compared_by.items():
    clear = [row for row in rows_of_run if row["the searched one is"] != "not clearly apart"]
    answer += f"\n- {name}: {len(clear)} of {len(rows_of_run)}"
show(Markdown(answer))
