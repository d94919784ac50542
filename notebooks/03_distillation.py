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
# **Claim.** A model with a fraction of the layers can score nearly as well as a large one, if it learns from what the
# large one computes and not from labels alone. In the [ladder](glossary.md#ladder) of FastFormers
# [(Kim and Hassan Awadalla, Table 3)](https://arxiv.org/abs/2010.13382) distillation brings the largest single
# factor, 9.3. The teacher of the default run is [MiniLM](https://arxiv.org/abs/2002.10957), which is itself small and
# distilled, so there is less left to gain here.
#
# **Cost.** Training time, paid once, and usually a little accuracy. Both are measured below.
#
# **Needs** chapters [1](01_baseline.ipynb) and [2](02_batching.ipynb). **Leaves** the smallest student that keeps
# [the rule](glossary.md#the-rule) of this book, or the teacher itself where no student keeps it, and a
# [rung](glossary.md#rung) for each student that was timed in batches.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
n_distil: int = 64  # training examples that the teacher answers; 0 takes all
student_from: str = "teacher"  # teacher: its own layers; else the hub name of a small general model
students_tried: list[str] = ["3x192@last", "teacher"]  # from small to large; names: see 3.4
learn_from: str = "uniform"  # the teacher's layers that teach: uniform, last, first or such as 3,6
match: list[str] = ["hidden"]  # what stage one compares: embedding, hidden, attention, relations
stage_epochs: list[int] = [1, 1]  # passes over the texts in stage one and in stage two
temperature: float = 1.0  # of the soft labels
min_retention: float = 0.98  # the rule: keep this share of the teacher's score on dev
routes_tried: list[str] = ["labels", "one stage", "augmented"]  # other ways to learn; see 3.10
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
teacher: str = "sentence-transformers/all-MiniLM-L6-v2"  # the model that is fine-tuned
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
device: str = "cpu"  # cpu or cuda; the file of params/hardware says which
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost column; set yours
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; drawing its random numbers takes time on a CPU
seed: int = 0  # of the training
try_every_student: bool = False  # do not stop at the first student that keeps the rule
logits_only: bool = False  # allow a named student of another vocabulary; compare answers alone
stage_rates: list[float] = [1.0e-3, 2.0e-4]  # peak learning rates of the two stages
weak_teacher: str = "warn"  # what to do with a teacher not clearly above the floors: warn or refuse
teacher_cache_gb: float = 4.0  # disk for the teacher's hidden states; above it they are recomputed
copies: int = 1  # new texts for each example, in the routes augmented and recombined
n_compare: int = 32  # training examples of the comparison in 3.11; 0 takes all
variants_tried: list[str] = ["without the inside", "ReLU"]  # changes to the recipe; section 3.11
data_sizes: list[int] = [16]  # more numbers of training examples, for the curve in 3.12
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.data import batching, metrics
from fflib.data.retention import certificate, until_one_holds
from fflib.distillation import ablation, figures, kept_runs, losses, routes
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
kept_tables = kept_runs.opened(bench.kept)

# %% [markdown]
# ## 3.1 Idea: who teaches whom, and what
#
# Why should a large model help when the labels are there already? A label says *yes*. The large model, the
# [teacher](glossary.md#teacher), says *yes, but barely*, which tells more about the text. Its layers also show
# **how** it came to that answer: what each of them made of every token. A small model, the
# [student](glossary.md#student), can imitate both. That is [distillation](glossary.md#distillation).
#
# This is what is compared with what, for a teacher of six layers and a student of three. The same text goes into
# both. An arrow means that training pulls the right side towards the left side; the teacher never changes.
#
# ```text
#   teacher                               student
#   answers (logits)  --- stage two --->  answers (logits)
#   layer 6           --- stage one --->  layer 3
#   layer 5
#   layer 4           --- stage one --->  layer 2
#   layer 3
#   layer 2           --- stage one --->  layer 1
#   layer 1
#   embeddings        --- optional  --->  embeddings
#        ^                                     ^
#        +----------- the same text -----------+
# ```
#
# [TinyBERT](https://arxiv.org/abs/1909.10351) works in these two stages: the student first learns what the layers
# compute, here called the *inside*, and then the *answers*. FastFormers learns answers and a little of the inside at
# once, in one stage.
#
# There are two routes to a small model for a task, as the figure below shows. On route A somebody distils a large
# model on *general* text, before the task is known; [DistilBERT](https://arxiv.org/abs/1910.01108) and MiniLM were
# made so. The small model is then fine-tuned on the task's labels. On route B the large model is fine-tuned on the
# task first and then teaches the small one *that task*. FastFormers tries both and reports the better; its headline
# student took route B. This chapter takes route B too. Its student starts either from some layers of the teacher, as
# in the default run, or from a small general model that `student_from` names, as in FastFormers. Route A is that
# general model with the route *labels* of section 3.10.

# %% tags=["hide-input"]
bench.figure(figures.routes(), "routes")

# %% [markdown]
# Read the figure from left to right, in the order of the numbers. Large models are blue and small ones orange; the
# box at the right end with a black rim is what is served. Route A is called task-agnostic, route B task-specific.
# Both routes end at the same kind of model; they differ in *when* the task comes in.
#
# ## 3.2 The teacher
#
# The teacher is the model of chapter 1, with the very [dev and test](glossary.md#dev-and-test) examples on which it
# was chosen and scored. (In the default run the question is whether a description belongs to a parameter of a
# function, and guessing is right half of the time.) A teacher that was never fine-tuned answers at random. Its
# students then learn to answer at random as well, without any error message. So the teacher must score clearly
# above the [floors](glossary.md#floor) of chapter 1. The parameter `weak_teacher` says whether the chapter warns or
# stops where it does not.

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
# The sentence above compares the teacher with the best floor on the same dev texts. Read the interval: only if both
# of its ends are above zero has the teacher learnt the task.
#
# ## 3.3 Four losses
#
# A loss measures how far the student is from its teacher; training makes it small. Each of the four below compares
# one thing. Padding is left out of all of them. In the formulas $S$ stands for the student, which has $M$ layers, and
# $T$ for the teacher, which has $N$. Layer $m$ of the student learns from layer $g(m)$ of the teacher; section 3.4
# says which that is.
#
# **1. Answers**: *what* does the teacher answer? A model gives each class $k$ a number $z_k$, its
# [logit](glossary.md#logit). A softmax with the [temperature](glossary.md#temperature) $\tau$ turns logits into
# probabilities [(Hinton et al., eq. 1)](https://arxiv.org/abs/1503.02531):
#
# $$p_k(\tau)=\frac{e^{z_k/\tau}}{\sum_j e^{z_j/\tau}}$$
#
# The loss is the cross-entropy of the student's probabilities $p^{S}$ with the teacher's probabilities $p^{T}$, its
# [soft labels](glossary.md#soft-labels) [(Jiao et al., eq. 10)](https://arxiv.org/abs/1909.10351):
#
# $$L_{\mathrm{answers}}=-\tau^2\sum_k p_k^{T}(\tau)\,\log p_k^{S}(\tau)$$
#
# It differs from the [KL divergence](glossary.md#divergence) only by the entropy of the teacher's probabilities,
# which no training of the student changes. An example: the logits 2 and 1 give probabilities 0.73 and 0.27 at
# $\tau=1$, and 0.62 and 0.38 at $\tau=2$. So a higher temperature makes the unlikely classes count more. It also
# shrinks the gradients, by about $\tau^2$, and the factor in front makes up for that
# [(Hinton et al., section 2)](https://arxiv.org/abs/1503.02531). TinyBERT and the default run use $\tau=1$.
#
# **2. Hidden states** (*hidden* and *embedding* in the parameter `match`): *what did a layer make of each token?*
# $H_m$ holds a [hidden state](glossary.md#hidden-state) for each token, as layer $m$ returns it, and $E$ the
# embeddings that go into the first layer. The loss is the mean squared difference
# [(Jiao et al., eq. 8 and 9)](https://arxiv.org/abs/1909.10351):
#
# $$L_{\mathrm{hidden}}=\sum_{m=1}^{M}\mathrm{MSE}\left(H_m^{S}W_h,\;H_{g(m)}^{T}\right)$$
#
# $$L_{\mathrm{embedding}}=\mathrm{MSE}\left(E^{S}W_e,\;E^{T}\right)$$
#
# $W_h$ and $W_e$ are matrices that are learnt along and thrown away after training. They are needed only where the
# student is narrower than its teacher; else they are left out. An earlier method,
# [PKD](https://arxiv.org/abs/1908.09355), compared the state of the first token alone, the one from which the class
# is read.
#
# **3. Attention**: *which token looks at which?* $A_i$ holds the scores of head $i$ for each pair of tokens,
# **before** the softmax, and $K$ is the number of heads [(Jiao et al., eq. 7)](https://arxiv.org/abs/1909.10351):
#
# $$L_{\mathrm{attention}}=\sum_{m=1}^{M}\frac{1}{K}\sum_{i=1}^{K}\mathrm{MSE}\left(A_{m,i}^{S},\;A_{g(m),i}^{T}\right)$$
#
# Both models need the same number of heads. FastFormers' code can compare the probabilities after the softmax
# instead, by their cosine (here *attention_cosine*); by default it compares no attention.
#
# **4. Relations**: *which tokens resemble each other?*
# [MiniLMv2 (Wang et al., section 3)](https://arxiv.org/abs/2012.15828) compares the tokens' queries with each other,
# their keys with each other and their values with each other. Let $B$ be one of these three, cut into $r$ parts $B_a$
# of $d$ numbers a token, and $n$ the number of tokens:
#
# $$R_a=\mathrm{softmax}\left(\frac{B_a B_a^{\top}}{\sqrt{d}}\right)$$
#
# $$L_{\mathrm{relations}}=\sum_{B}\frac{1}{r\,n}\sum_{a=1}^{r}\sum_{t=1}^{n}\mathrm{KL}\left(R_{a,t}^{T}\,\Vert\,R_{a,t}^{S}\right)$$
#
# $R_{a,t}$ is a row of $R_a$: how token $t$ spreads over all tokens. Each $R_a$ has one number for each pair of
# tokens, so neither the heads nor the width of the two models need be equal. The loss also serves the pruned models
# of chapter 4. Only the student's last layer is compared.
#
# The code below is these four formulas, in this order.

# %% tags=["hide-input"]
display.source(
    losses.soft_cross_entropy, losses.state_loss, losses.attention_loss, losses.relation_loss
)

# %% [markdown]
# `_mean_where` takes the mean over real tokens only, `F.kl_div` is the KL divergence.
#
# ## 3.4 Predict: what will a smaller student save?
#
# **How to read a student's name.** Every student is named by its size and its start:
#
# | part of *2x384@3,6* | meaning |
# |--|--|
# | *2* | two layers |
# | *384* | its width: how many numbers a hidden state has for each token; in the default run the teacher's own width |
# | *@3,6* | it starts as a copy of the teacher's layers 3 and 6, counted from 1 at the bottom |
#
# In place of numbers, *@first*, *@last* and *@uniform* name the teacher's bottom layers, its top layers, and layers
# at even distances. Without an *@* a student starts from the first. *@kept* is a student that comes with the book and
# is taught already (below). *teacher* is the teacher as it is. A student with the name of a hub model comes as it is
# published.
#
# A student that is narrower than its teacher keeps those heads, neurons and hidden units without which the loss would
# change most, estimated from its gradient on training texts. Chapter 4 explains this estimate.
#
# **Where a student starts and what it learns from are two questions.** The first is asked once, before training:
# whose weights does it copy? The second is asked at each step of stage one: which teacher layer $g(m)$ does its layer
# $m$ imitate? The parameter `learn_from` answers it. *uniform* is the default and TinyBERT's choice, $g(m)=mN/M$,
# rounded down. *last* takes the top $M$ layers and *first* the bottom $M$. The figure below shows all three. Of a
# teacher with six layers, a student *2x384@3,6* starts from the very layers that it then imitates under *uniform*.
# Even so it has much to learn: each of its layers must do the work of three.
#
# **Students that come with the book** end with *@kept*. *2x384@kept* is a *2x384@3,6* that was taught for longer than a
# reader should wait, inside first and answers second, as here. Three things were different:
#
# * It read more. A teacher answers any pair of a parameter and a description, labelled or not. So each parameter of the
#   training functions met up to two dozen other descriptions of its function, and the function's text was cut at
#   another place each time. Such texts are a [transfer set](glossary.md#transfer-set). None of them is in dev or test.
# * At last it saw labels. Usually a transfer set has none, but of these pairs we know which belong together, and most
#   of these texts, as they are cut here, the teacher never saw. So in the last two parts of its training half of the
#   loss was the teacher's and half the labels', as in [Hinton et al., section 2](https://arxiv.org/abs/1503.02531).
#   What is kept is the mean of the weights after these two parts, a [model soup](https://arxiv.org/abs/2203.05482).
# * It was taught to be cut. In the second stage each step asked it twice: once whole, and once with only some of the
#   heads and neurons of its first layer, those that matter most. How many was drawn anew each time. This is
#   [DynaBERT](https://arxiv.org/abs/2004.04037)'s idea, and chapter 4 will profit from it.
#
# Its teaching is a kept result like any other: it lies in `fflib/model/kept` with its record, and
# `python -m fflib.distillation.make_student 2x384@3,6` makes it anew. TinyBERT and FastFormers also begin with a small
# model that somebody had distilled for long.
#
# Operations can be counted before anything is trained, and the first guess is that time follows them. What a student
# will know cannot be counted.

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
# The table gives how many times fewer operations each student needs than the teacher, for a request of median
# length. Students of the same layers and width need the same operations, so their predictions are equal. Compare
# the prediction with the measured speed-up in section 3.8. In the figure, follow a line from a student layer to the
# teacher layer that it imitates; grey layers teach nobody directly. Under *uniform* and *last* the student's top
# layer imitates the teacher's top layer, which is the one that the answer is read from.
#
# ## 3.5 Do it: two stages
#
# The two stages are TinyBERT's. Stage one, *inside*, compares what `match` names; it does not train the answers, so
# there is nothing to score yet. Stage two, *answers*, compares the answers. TinyBERT's stage one compares
# embeddings, hidden states and attention together. The default run compares hidden states alone, for each further
# comparison takes time on two cores. The word embeddings stay frozen, as in chapter 1. Both stages run through the
# training loop of chapter 1; only the loss and the learning rate differ.

# %%
recipe = training.Recipe(batch_size=batch_size, dropout=dropout, freeze_words=True, seed=seed)
inside = DistillationStage(
    "inside",
    Objectives.inside(match),
    replace(recipe, epochs=stage_epochs[0], learning_rate=stage_rates[0], evaluations_per_epoch=0),
)
looks = int(stage_epochs[1] > 1)  # score dev after each epoch; a single epoch leaves no choice
answers = DistillationStage(
    "answers",
    Objectives(logits=1.0, temperature=temperature),
    replace(
        recipe, epochs=stage_epochs[1], learning_rate=stage_rates[1], evaluations_per_epoch=looks
    ),
)
stages = [answers] if logits_only or not match else [inside, answers]

# %% [markdown]
# The teacher computes once, with its dropout off, whatever the losses need. The result stays on disk and serves every
# student. A *study* holds what all students share: where they start, the stages, the teacher's outputs, and the texts
# that score them. The first cell below makes one student and scores it on dev before and after its two stages.
#
# The second cell teaches the others in the same way, **from small to large, until one keeps the rule** that section
# 3.6 explains. The teacher itself is the last in the list, so something always keeps it. With `try_every_student` all
# are tried.

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
    f"On dev **{shape}** scores {dev_before:.1%} before it is taught, {dev_after:.1%} after both stages, and its teacher "
    f"scores {teacher_dev:.1%}. On the {len(train):,} training texts, cut to {distil_length} tokens, the teacher agrees "
    f"with {agreement:.1%} of the labels. It may have been fine-tuned on these very texts, so this number flatters it."
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
# **What this shows.** Before it is taught, a student is only a copy of a few layers with those between cut out, and
# usually scores no better than guessing. What it gains in the two stages is the work of its teacher. In the figure,
# look at the left end and the right end of each line: a loss that still falls at its end would fall further with more
# passes (`stage_epochs`). The two panels have different scales, since they add up different things. A student that
# comes with the book was taught elsewhere and has no line.
#
# ## 3.6 Choose on dev, report on test
#
# **One rule holds for the whole ladder.** Whatever goes on to the next chapter keeps the share `min_retention` of
# the *teacher's* score on dev: this chapter's student, and all that later chapters make of it. What the student
# does not use up of this allowance is left for pruning and for eight bits. Why this share? The default, 0.98, is
# about what the last model of FastFormers keeps of its teacher, 72.81 of 74.01 points
# [(Table 3)](https://arxiv.org/abs/2010.13382). Test takes no part in the choice.
#
# The share that is kept is called [retention](glossary.md#retention): the student's score divided by the teacher's.
# Both answer the same examples, and only those that exactly one of them gets right tell them apart. The interval of
# the retention is therefore drawn from pairs, and is much narrower than the intervals of two separate scores. On dev
# the value itself decides, unless the interval reaches more than ten points below the rule: then dev has too few
# examples to tell luck from skill, and the model does not go on. On test the interval says whether the rule was held
# (all of it above the rule) or missed (all of it below). Where it has both sides of the rule, the value is above it or
# below it, but not beyond chance. Section 3.9 says which.
#
# The tables below show what was tried here. Two cores allow few students in the default run, so the last table sets
# [kept runs](glossary.md#kept-run) beside it, with other students and other tasks.

# %%
chosen = first_that_holds(kept, min_retention)
student = distilled[chosen].model
tested, kept_on_test = {}, {}
for name in tried:
    tested[name] = study.scored(distilled[name].model, "test")
    kept_on_test[name] = bench.retention(study.logits(distilled[name].model, "test"), "test")

# %% tags=["hide-input"]
outcome = f"**{chosen}** is the first of them that keeps {min_retention:.1%} of the teacher's score on dev."
if chosen == TEACHER:
    outcome = f"No student keeps {min_retention:.1%} of the teacher's score on dev: **the teacher itself goes on**."
best_on_test = max(tried, key=lambda name: tested[name].value)
above_teacher = study.difference_to(test_logits, distilled[best_on_test].model, "test")
show(
    Markdown(
        f"Tried, in this order: {', '.join(tried)}. {outcome} "
        + why_above(best_on_test, above_teacher)
        + "".join(f" *{name}* was left out: {why}." for name, why in init.left_out.items())
    )
)
bench.facts["grid"] = [
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
for split_table in kept_runs.by_split(bench.facts["grid"]):
    show(bench.table(split_table, decimals=1))
show(kept_runs.table(kept_tables, kept_runs.students, bench.facts, in_full=True))
by_layers = [
    figures.kept_by(name, distilled[name].model, kept[name], chosen=name == chosen)
    for name in tried
    if kept[name].is_known
]
bench.facts["retention_by_layers"] = by_layers
if len({point["x"] for point in by_layers}) > 1:
    caption = f"{bench.caption}; {len(dev):,} dev examples, one seed"
    by_depth = figures.depth_curve(by_layers, min_retention, caption)
    show(bench.figure(by_depth, "retention_by_layers"))

# %% [markdown]
# **How to read the tables.** In the first table the column *share of the teacher's score* decides: the first row from
# above that says *yes* goes on. Minutes of a student that comes with the book are those it had been taught before.
# The size in MB falls less than the number of layers, because the word embeddings stay whole.
#
# The second table is the one to quote, since test took no part in the choice. Dev did: here, and when the recipe of a
# student that comes with the book was chosen. So scores on dev tend to be too good. Where the interval of a share
# reaches above one hundred per cent, these texts cannot exclude that the student is as good as its teacher or better.
# In the third table shares may be compared between runs. Scores may be compared only within a run, for the runs have
# different tasks. A share without brackets comes from a record that kept no interval. On the same kind of processor
# the training gives the very same student, so the rows of this run and of the kept run *docs-cpu* may agree to the
# last digit. Where students of different depths were tried, a figure shows their shares by the number of layers.
#
# ## 3.7 Check
#
# A student is another model, so it need not answer as its teacher does. But it must answer *as it did when it was
# scored*, also in the class that serves it and in the batches in which it is served. Nothing is timed before that
# holds.

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
# Teacher and students are timed in the same rounds, one after the other, so each speed-up is a ratio of two times
# that were taken side by side. The table gives the time of one request ([p50 and p95](glossary.md#p50-and-p95)) and
# the [throughput](glossary.md#throughput) of requests that come one by one.

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
bench.facts["speed"] = speed
show(
    display.table(pd.DataFrame(speed).rename(columns={"p50 ms": "p50 (ms)", "p95 ms": "p95 (ms)"}))
)
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
    caption=f"{bench.caption}\none request at a time; {len(test):,} test examples; ringed: chosen on dev",
)
bench.figure(figure, "students")

# %% [markdown]
# **What this shows.** Compare the last two columns. A measured speed-up below the predicted one shows the fixed
# cost of a call (tokens in, answer out, the start of each operation), which does not shrink with the model. One
# above it shows that a smaller model also fits the processor's caches better, or noise of the clock. In the figure,
# right is faster and up is more accurate; a student pays where it is far to the right of the star (the teacher) and
# not below the dashed line (the rule's share of the teacher's test score). Students of the same layers and width
# compute the same operations, so they ought to stand at the same speed. Where they do not, their distance is the
# noise of this machine, and tells how exactly to read the other distances. What really tells such students apart is
# how they were taught, and that shows in the height.
#
# ## 3.9 The rungs
#
# The chosen student goes onto the ladder in the batches that chapter 2 found best. So do the students that were tried
# before it and missed the rule: the ladder shows what they would bring, and marks them. The rung below, the teacher
# in these batches, is timed again in the same rounds, so that the step is again a ratio of two times that were taken
# side by side. The ladder's *p50* and *p95* are longer than those of section 3.8, because a request in a batch has
# its answer only when the whole batch is done. Where the teacher itself goes on there is no step.


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
told = f"**{chosen}**: {gain:.2f} times the teacher's throughput, both in the best batching. "
told += "**It is no faster than its teacher here.** " if gain <= 1 else ""
told += certificate(bench.facts["student"]["kept"])
Markdown("The teacher itself goes on; it has its rung." if chosen == TEACHER else told)

# %% [markdown]
# ## 3.10 What does the teacher give that labels do not?
#
# To answer this, the same student is trained again in other ways, on the same examples and for as many passes over
# them. The parameter `routes_tried` names them:
#
# | route | starts from | learns from | stages |
# |--|--|--|--|
# | *two stages* | the teacher's layers | hidden states, then answers | two |
# | *labels* | layers of the *pretrained* model, as without a teacher | labels | one |
# | *labels, teacher's layers* | the teacher's layers | labels | one |
# | *one stage* | the teacher's layers | answers, and a little of the inside | one |
# | *augmented* | the teacher's layers | as two stages, on more texts: some words replaced by similar ones | two |
# | *recombined* | the teacher's layers | as two stages, on more texts: first and second texts paired anew | two |
#
# *One stage* has the weights that FastFormers' code uses by default: the embeddings and the last hidden state count a
# tenth of what the answers count. FastFormers' own narrow student had to leave the hidden states out, for that code
# has no projection $W_h$. The new texts of the last two routes have no label; the teacher answers them, and a pass
# over more texts takes more steps. TinyBERT replaces words by what a masked-language model proposes; here the
# neighbours in the encoder's word embeddings do it, so TinyBERT's gain from augmentation cannot be read off.
#
# The student in question is the chosen one. Where that is the teacher itself or the student that comes with the
# book, it is the last one that this run taught. The difference to the two stages is paired, so texts that are hard
# for both do not blur it. Its interval covers the choice of test texts, but not the [seed](glossary.md#seed):
# another training can move it further.

# %%
studied = to_study(chosen, tried)
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
bench.facts["routes"] = rows
heads = {
    "minutes": "training (min)",
    "dev %": "dev (%)",
    "test %": "test (%)",
    "against two stages, points": "difference (points)",
}
shown = pd.DataFrame(rows).rename(columns=heads | {"95 % from": "from"})
show(display.table(shown, decimals=1))
show(kept_runs.table(kept_tables, kept_runs.routes, bench.facts))
no_routes = other_routes.left_out(routes_tried)
if no_routes:
    reasons = "; ".join(f"*{route}*: {why}" for route, why in no_routes.items())
    show(Markdown(f"Not possible with these texts: {reasons}."))
shipped_teacher = bench.facts_of("01_baseline")["teacher"].get("shipped")
n_train = bench.record("01_baseline")["parameters"]["n_train"]
n_train = shipped_teacher["examples"]["train"] if shipped_teacher else n_train
Markdown(routes.verdict(difference.get("labels"), len(train), n_train))

# %% [markdown]
# **How to read the tables.** *Steps* are batches of training. *Difference* is the route's test score minus that of
# the two stages, with its paired interval (*from*, *to*); a negative one means that the two stages are better. The
# first row is the two stages themselves, so its difference is zero. A score close to guessing, a little above it or
# below, means that nothing was learnt. The second table shows the same comparison in kept runs. The sentence under
# the tables compares the two stages with *labels*. Where *labels* is far behind, the examples are too few for so
# small a model to learn the task from them, and the teacher's knowledge is what carries the student. With enough
# labels the gap should close.
#
# ## 3.11 Which part of the recipe matters?
#
# This is TinyBERT's question: change one thing in the recipe and look at dev. The students here are trained on fewer
# examples (`n_compare`), and each is compared with the unchanged recipe on those same few. The parameter
# `variants_tried` names the changes:
#
# - *without hidden*, *with attention* and so on: a part of stage one is left out or added; *without the inside*
#   leaves out stage one as a whole;
# - *labels for answers*, *answers and labels*: labels replace the teacher's answers in stage two, or join them;
# - *temperature 2*: softer answers;
# - *ReLU*: ReLU replaces GELU, which FastFormers does for speed (section 2 of the paper); the change shows its price
#   in accuracy;
# - *start from last*, *learn from first* and so on: other layers to start from or to learn from.
#
# Below it stands what TinyBERT found, for a student of four layers and as the mean of four tasks' dev scores
# [(Jiao et al., Tables 2, 3 and 4)](https://arxiv.org/abs/1909.10351). That student began from a general model and
# learnt from augmented texts. So the order of its effects may be compared with those here, their sizes may not.

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
if len(effects) > 1:  # one bar makes no picture; the table has it
    small_print = f"{studied}, {n_few:,} training and {len(dev):,} dev examples; one seed"
    figure = figures.ablation(effects, unchanged_dev, caption=small_print)
    show(bench.figure(figure, "ablation"))
show(kept_runs.table(kept_tables, kept_runs.changes, bench.facts))
skipped = "; ".join(f"*{name}*: {why}" for name, why in left_out.items())
if skipped:
    show(Markdown(f"Not applicable here: {skipped}."))
show(bench.table(tinybert.rows(), decimals=1))
bench.table(tinybert.maps(), decimals=1)

# %% [markdown]
# **How to read the tables.** *Recipe on dev* is the score of the unchanged recipe on so few texts, and *difference*
# is the changed recipe's score minus that. An interval that includes zero means that the change may do nothing.
# Compare the runs in the first table: the same change, *without the inside*, costs much in one and little in
# another. A zero with an interval of no width means that both students were right on the very same texts: where
# even the unchanged recipe hardly learns from so few texts, nothing is left to lose. TinyBERT's order is clear: the
# inside as a whole matters most, and within it attention more than hidden states. The default run leaves attention
# out to save minutes; the change *with attention* tells what it would bring. TinyBERT's last table says that a
# student that learns from layers at even distances (*uniform*) does better than one that learns from the top or
# bottom layers alone.
#
# ## 3.12 How much text does the teacher have to answer?
#
# The unchanged recipe is run on more and more examples. Each run makes the same number of passes, so fewer examples
# also mean fewer steps. A student that comes with the book adds a point at the right end: it was taught on many more
# texts, and is scored here on the same dev texts. It does not continue the line, since its recipe was another one
# (section 3.4) and it saw labels too.

# %%
curve = {}
for count in sorted({n_few, len(train), *data_sizes}):
    if 1 <= count <= len(train):
        curve[count] = study.on_first(studied, count)

# %% tags=["hide-input"]
line = [(count, *study.scored(each.model, "dev")) for count, each in curve.items()]
bench.facts["data_curve"] = line
lines = {f"{studied}, taught here": [list(column) for column in zip(*line, strict=True)]}
for name in tried:
    if count := init.texts_before(name):
        scored = study.scored(distilled[name].model, "dev")
        lines[f"{name}, comes with the book"] = [[each] for each in (count, *scored)]
if sum(len(counts) for counts, *_ in lines.values()) > 2:  # two points make no curve
    guessing = metrics.chance(bench.task, dev.gold)
    caption = f"{bench.caption}; dev, one seed"
    show(
        bench.figure(
            figures.data_curve(lines, teacher_dev, guessing, caption=caption), "data_curve"
        )
    )
kept_runs.table(kept_tables, kept_runs.curve, bench.facts)

# %% [markdown]
# **What this shows.** The texts of the line need no labels, since the teacher gives the answers; so a point further
# to the right costs only texts and training time. Look whether the line still rises at its right end: then more texts
# would help. The dashed line is the teacher, the dotted one is guessing. In the table, *from* and *to* are the ends
# of the interval of the dev score. Compare the numbers within one run, for the runs have other tasks: an easy task
# climbs high with few texts.
#
# ## 3.13 What it cost
#
# Accuracy stands in the tables above. The rest is training time, paid once. The teacher's pass over the texts, which
# serves all students, is not in these minutes. A student that comes with the book counts with the minutes it had been
# taught before.

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
# A zero means that nothing was trained for that section, or that the same student had been trained for an earlier
# one.
#
# ## 3.14 When it does not pay
#
# - **The teacher is poor.** A student learns its teacher's mistakes as faithfully as its answers. Users of TinyBERT
#   met this with teachers that had never been fine-tuned.
# - **Labels are many and the task is easy.** Then a small model learns the task from labels alone. The table of
#   routes says how far that goes here.
# - **Teacher and student read different tokens.** Their hidden states then belong to different pieces of text.
#   FastFormers found that distilling from RoBERTa into BERT does not work well
#   [(section 2)](https://arxiv.org/abs/2010.13382). Such a pair is refused here, unless only answers are compared
#   (`logits_only`).
# - **The student is too narrow for its start.** A cut through the width changes every layer at once, and the word
#   embeddings, which stay frozen, cannot make up for it. TinyBERT's remedy is a narrow student that was distilled on
#   general text first.
#
# [Chapter 4](04_pruning.ipynb) takes parts out of the student that this chapter leaves.
#
# ## 3.15 Exercises
#
# Predict before you open an answer. Each command runs this chapter anew with other parameters, and the later ones
# after it; stop it (Ctrl-C) when this chapter is done, and `make book` without `SET` goes back. `make lab` opens the
# notebooks if you would rather change a cell.
#
# **1. One layer.** How many times fewer operations does a student of *one* layer need than its teacher, if it is as
# wide? And how much of the teacher's file is left? Then see what it has learnt:
#
#     make book SET='students_tried=["1x384@6","3x384@2,4,6"] try_every_student=true'

# %% tags=["answer"]
model = init.make(f"1x{teacher_model.encoder.config.hidden_size}")
fewer = teacher_flop / flop_of(model, texts["test"])
size_mb, whole_mb = (checkpoints.size_mb(each) for each in (model, teacher_model))
counted = f"{fewer:.1f} times fewer operations, but {size_mb:.0f} of {whole_mb:.0f} MB are left"
why = "Operations fall with the layers. The word embeddings are only looked up, but all are stored"
show(Markdown(f"One layer: {counted}. {why}. What it has learnt, only the run can tell."))

# %% [markdown]
# **2. Which layers teach?** Write down for a student of two layers which teacher layers teach it under *uniform*,
# *last* and *first*, and which of the three you expect to be best. Then measure it:
#
#     make book SET='variants_tried=["learn from first","learn from last"]'

# %% tags=["answer"]
told = []
for kind, mean in tinybert.LEARN_FROM.items():
    taught_by = losses.layer_map(kind, min(2, n_layers), n_layers)
    told.append(f"*{kind}*: layers {' and '.join(map(str, taught_by))} ({mean})")
measured = [row for row in effects if row["name"].startswith("learn from")]
here = [f"*{row['name']}* {100 * row['difference']:+.1f} points" for row in measured]
printed = "in brackets, what TinyBERT's student of four layers scored"
show(Markdown(f"{'; '.join(told)}; {printed}. This run: {', '.join(here) or 'not measured'}."))

# %% [markdown]
# **3. How many test texts?** Take the smallest student that was tried. How wide is the interval of its retention on
# test, and how many test texts would it take to know the retention to half a point to each side? Hint: the width
# shrinks with the square root of their number. Check yourself with a quarter of the texts; the interval should be
# about twice as wide:
#
#     make book SET='n_test=800'

# %% tags=["answer"]
each = kept_on_test[tried[0]]
half = (each.high - each.low) / 2
needed = each.n * (half / 0.005) ** 2
keeps = f"*{tried[0]}* keeps {each.words or 'no known share'} on {each.n:,} texts"
width = f"{100 * half:.1f} points to each side; half a point takes {needed:,.0f} texts"
alone = f"the teacher alone was right on {each.lost}, the student alone on {each.won}"
show(Markdown(f"{keeps}: {width}. Only some texts tell the two apart: {alone}."))

# %% tags=["hide-input"]
bench.save()
