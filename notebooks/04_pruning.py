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
# **Claim.** A trained model has heads and neurons that it hardly needs. Taken out for good, they leave a smaller ordinary
# model, and how many to take from which layer can be searched against the *time* that each costs on this machine.
#
# **Cost.** Minutes of search, a little accuracy, and often a shape that no stock class can hold.
#
# **Needs** chapters [1](01_baseline.ipynb) to [3](03_distillation.ipynb). **Leaves** a pruned student where one keeps the
# book's rule (else the student stays whole), and rungs of several shapes, as alternatives to each other.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
engine: str = "onnxruntime"  # what serves and is timed: onnxruntime or pytorch
threads: int = 0  # threads of every engine; 0 takes all cores
n_importance: int = 32  # training examples to choose and tune on; half as many more check
uniform_tried: list[str] = ["25/25", "33/50"]  # per cent of heads/neurons removed everywhere
speedups_wanted: list[float] = [1.5, 1.25]  # targets of the search; the fastest is tried first
depths_tried: list[int] = [1]  # numbers of layers left
retrained_too: bool = True  # retrain the pruned models as well
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
elastic_widths: list[float] = [1.0, 0.5]  # one set of weights for many; empty leaves it out
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_retrain: int = 64  # training examples of the retraining; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
seeds: list[int] = [0]  # one retraining per seed; the first one's models are served
shares_tried: list[float] = [0.5]  # of heads and neurons kept, in the controls of 4.4
tunings_tried: list[str] = ["none", "masks", "weights"]  # without retraining; see 4.7
retrain_epochs: list[int] = [1, 1]  # of the inside and of the answers; 0 leaves one out
retrain_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
retrain_rounds: int = 1  # 1: in one step; more: gradually, all of the training after each
n_buckets: int = 2  # lengths at which the latency table is measured
n_levels: int = 3  # numbers of neurons in it
latency_rounds: int = 2  # its timing rounds
n_candidates: int = 2  # shapes whose loss is measured, for each target
as_fast: float = 1.1  # times within this factor count as equal: the best on dev is taken
elastic_depths: list[float] = [1.0, 0.5]  # its shares of the layers
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
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.teacher import TeacherOutputs
from fflib.engine import predictors
from fflib.files import InputError, check_known, shown
from fflib.measure import timing
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, importance, slicing, training
from fflib.pruning import (
    controls,
    dynabert,
    figures,
    latency_table,
    mask_search,
    reports,
    retraining,
    sensitivity,
    shape_search,
    study,
    supernet,
    vocabulary,
)
from fflib.runs import ladder
from fflib.runtime import engines

bench = Bench.open("04_pruning", globals())
threads, caption = bench.threads, f"{bench.caption}; {engine} fp32"
check_known("tuning", tunings_tried, mask_search.TUNINGS)
if not (seeds and shares_tried and n_importance > 1 and (uniform_tried or speedups_wanted)):
    raise InputError("give a seed, a share, n_importance of 2 or more, and a shape to try")
if not len(retrain_epochs) == len(retrain_rates) == 2 or not any(retrain_epochs):
    raise InputError(
        "retraining has two stages; give two numbers of epochs, not both 0, and two rates"
    )

# %% [markdown]
# ## 4.1 Idea: take out what the answer does not need
#
# Attention has heads, the feed-forward part has neurons, a model has layers, a vocabulary has words. Each can be taken out
# as a block: rows of one matrix, columns of the next. What is left is a smaller *dense* model, which any engine can run.
# (Single weights set to zero save nothing on most engines: they multiply the zeros.)
#
# FastFormers removes the same share of heads and of neurons from every layer and trains again. This chapter asks three
# things more. *Which* parts, judged on training texts only? Is the training needed at all? And *how many* of each, in which
# layer, if what counts is time on this machine?
#
# ## 4.2 The model to prune
#
# The student of chapter 3, and the very dev and test examples it was chosen and scored on. Chapter 3 measured what it keeps of
# the *teacher*. The rule is the same here, so what is left of the budget is all that pruning, and after it rounding, may spend.

# %%
unpruned = bench.load("student")
train = bench.texts("train", "student", n_retrain, distil_length)
dev, test = bench.texts("dev", "student"), bench.texts("test", "student")


def dev_score(model):
    return bench.score(cache.predict_cached(model, dev), dev.gold)


def kept_on_dev(model):
    return bench.retention(cache.predict_cached(model, dev), "dev")


unpruned_dev, unpruned_kept = dev_score(unpruned), kept_on_dev(unpruned)

# %% [markdown]
# ## 4.3 How much does each part matter?
#
# Put a gate of 1 on every head and every neuron. The slope of the loss by a gate tells, to first order, how the loss would
# change if the gate closed. One forward and one backward pass over some *training* texts (`n_importance`) give the slopes
# of all gates, of each text on its own; their absolute values are averaged. The code of FastFormers and of DynaBERT
# (section 4.14) leaves out the zeroing of gradients between batches, and so averages the absolute value of running sums,
# which is another thing.
#
# The texts are cut to `distil_length` tokens, shorter than what is served: a head that only long texts need is undervalued.

# %%
shapes = unpruned.encoder.config.layers
texts, held_back = sensitivity.texts_to_choose_on(train, n_importance)
slopes = importance.gradients(unpruned, texts)
scores = importance.first_order(slopes)

# %% tags=["hide-input"]
student_name = bench.facts_of("03_distillation")["student"]["shape"]
student_rung = bench.facts_of("03_distillation")["goes_on_from"]
teacher_dev = bench.score(bench.teacher_logits("dev"), dev.gold)
show(Markdown(retention.budget("student", unpruned_kept, teacher_dev, min_retention)))
if len(texts) < n_importance:
    few = f"Train has {len(train)} texts for this (`n_retrain`, at most)"
    show(
        Markdown(
            f"{few}: {len(texts)} to choose and tune on, {len(held_back)} to check, not {n_importance:,}."
        )
    )
show(display.source(importance.first_order))
show(
    Markdown(
        f"**{student_name}**: {len(shapes)} layers of {shapes[0].num_heads} heads and "
        f"{shapes[0].intermediate_size:,} neurons; {unpruned_dev:.1%} on dev."
    )
)
by_head = [layer.tolist() for layer in scores.heads]
by_neuron = [layer.tolist() for layer in scores.neurons]
small_print = f"{student_name}; {len(texts)} training texts; run {run}, size {size}"
some_of_dev = dev.take(range(min(len(dev), 600)))  # for what comes next, where nothing is chosen
bench.figure(figures.importance_map(by_head, by_neuron, small_print), "importance")

# %% [markdown]
# ## 4.4 Is that better than chance?
#
# The same number of heads and neurons in each layer, chosen by importance, by the size of their weights, or at random, with
# no training after. Magnitude is the obvious idea. But may a head with small weights be the one that matters? (Random: the
# mean of three draws, its bar from the worst to the best.)


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
show(display.source(controls.keep_share, slicing.slice_model))
figure = figures.controls(
    accuracy_by_ranking,
    on_dev(unpruned).value,
    metrics.chance(bench.task, some_of_dev.gold),
    "share of heads and neurons kept in each layer",
    f"{student_name}, no retraining, {len(some_of_dev)} dev examples; run {run}, size {size}",
)
bench.figure(figure, "controls")

# %% [markdown]
# ## 4.5 Predict: what would a smaller layer save?
#
# Operations fall in a straight line with every head and neuron. Time need not: what surrounds the products, from copies to
# the LayerNorm, stays, and products of other sizes run at other rates. So both halves of a layer are timed on the engine
# that will serve, with any number of heads and many numbers of neurons, at lengths the task has; once on a machine, then
# kept. Single points carry the machine's noise. The sum of a model's halves, and of what it has around them, *predicts* its
# latency.

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
# ## 4.6 Which shape for a given time?
#
# For every layer the search may keep any number of heads with any of the table's numbers of neurons, or drop the layer. It
# knows two things of each choice: its time, from the table, and its loss, measured by cutting just this half layer and
# seeing how far the answers' probabilities move on training texts (the mean Kullback-Leibler divergence). One choice for
# each layer, the total time within a budget, the least total loss: computer science calls it a knapsack, and dynamic
# programming solves it, here up to a small rounding of the times.
#
# That losses add up is only an estimate. So the search is repeated with losses scaled at random, each candidate is built,
# repaired as in 4.7, and of all candidates the one wins whose loss *as a whole*, on other training texts, is least (after
# ZipLM, which adds such a search to measured latencies).

# %%
answers = training.predict(unpruned, held_back)


def divergence(model):
    return sensitivity.divergence(training.predict(model, held_back), answers)


def cut(counts):
    kept = slicing.keep_top(scores.heads, scores.neurons, counts)
    return mask_search.tune(unpruned, kept, texts, "weights")


loss_of = sensitivity.remembered(lambda counts: divergence(cut(counts)))


# %%
trial_texts = texts.take(range((len(texts) + 1) // 2))  # few, for there are many trials
with bench.clocked("the search"):
    losses = sensitivity.measure(unpruned, scores, trial_texts, heads, neurons)
choices = shape_search.options(table, dev.lengths, *losses)
rest_ms = table.model_ms([], dev.lengths)  # the time of a model without layers


def search(budget_ms):
    best, _ = shape_search.search(
        choices,
        budget_ms,
        lambda shape: loss_of(shape_search.counts(shape)),
        n_candidates,
        seeds[0],
        rest_ms,
    )
    return shape_search.counts(best)


# %% [markdown]
# Is it the search or the clock that matters? For each target also the uniform shape that is predicted to be as fast, and the
# shape of least estimated loss for as many *operations* as give that time: the same knapsack with another price tag. And what
# does depth buy against width? Each layer is taken out, with the others repaired; beside it stands the model with all
# layers, narrow enough to be as fast.
#
# From here on the searched shapes are compared with uniform ones, the paper's and those of equal time, and with fewer layers.


# %%
def shapes_for(budget_ms):
    by_time = shape_search.solve(choices, budget_ms, rest_ms)
    return {
        "searched": search(budget_ms),
        "least estimated loss by time": shape_search.counts(by_time),
        "least estimated loss by operations": shape_search.by_operations(
            choices, unpruned.encoder.config, dev.lengths, budget_ms, rest_ms
        ),
        "uniform": shape_search.uniform_at(table, dev.lengths, shapes, budget_ms),
    }


with bench.clocked("the search"):
    shapes_by_target = {target: shapes_for(unpruned_ms / target) for target in speedups_wanted}

candidates = study.collect(shapes, uniform_tried, shapes_by_target, depths_tried, losses.removed)
for candidate in candidates:
    with bench.clocked("the tuning"):
        candidate.tuned = cut(candidate.counts)
    small_shapes = candidate.tuned.encoder.config.layers
    candidate.predicted_ms = table.model_ms(small_shapes, dev.lengths)

# %% tags=["hide-input"]
show(display.source(shape_search.solve))
show(bench.table(reports.way_rows(shapes_by_target, loss_of), decimals=4, keep="ways"))
depth_rows = reports.depth_rows(table, dev.lengths, shapes, loss_of)
show(bench.table(depth_rows, decimals=4, keep="depth"))
bench.facts["shapes"] = {candidate.name: candidate.counts for candidate in candidates}
panels = {
    f"{candidate.name}\n(predicted {unpruned_ms / candidate.predicted_ms:.1f}x)": candidate.counts
    for candidate in candidates
}
full = [(shape.num_heads, shape.intermediate_size) for shape in shapes]
bench.figure(figures.shapes(panels, full, caption), "shapes")

# %% [markdown]
# ## 4.7 Do it, without training
#
# Kwon et al. (2204.09656) prune without any training, in three steps: choose by the Fisher information of the gates (the
# mean *square* of their slopes); exchange parts while that lowers the interaction among the removed ones (*rearranged*);
# then let the rest make up for the loss, layer after layer: solve by least squares for the factors that bring the output of
# each half layer nearest to what it was, drawn slightly towards 1. These *masks* are one number for each head and neuron.
# Why stop there? The same equations, solved for the whole output matrix of each half layer, give *weights*.

# %%
example = [candidate for candidate in candidates if candidate.kind == "uniform"][-1]
kept_by = {
    "importance": slicing.keep_top(scores.heads, scores.neurons, example.counts),
    "Fisher, rearranged": mask_search.keep(slopes, example.counts),
}
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
        f"**{example.name}**, chosen and tuned on {len(texts)} training texts; unpruned {unpruned_dev:.1%}:"
    )
)
bench.table(rows, decimals=3)

# %% [markdown]
# ## 4.8 Do it, with training
#
# As in FastFormers, the unpruned model teaches the cut one. Unlike there, it learns in two stages, hidden states and then
# answers, and starts from the tuned cut. With more `retrain_rounds` the parts go gradually, each round choosing anew among
# what is left, with all of the training.
#
# The uniform shapes and those of fewer layers are there to compare, and always trained. Of the wanted speed-ups **the fastest
# is tried first**, then the next, until a shape of one keeps the rule against the teacher; the others are not trained.

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
    counts = candidate.counts
    return retraining.retrain(
        unpruned, counts, texts, stages(seed), outputs, dev, bench.score, folder, retrain_rounds
    )


def keep_the_rule(group):
    for candidate in group:
        candidate.retrained = [retrain(candidate, seed) for seed in seeds if retrained_too]
        candidate.judge(dev_score, kept_on_dev)
    return any(candidate.kept.holds(min_retention) for candidate in group)


compared, *targets = study.by_target(candidates)
keep_the_rule(compared)
tried = [compared, *retention.until_one_holds(targets, keep_the_rule)]
candidates = [candidate for group in tried for candidate in group]
bench.table([candidate.row(unpruned_ms) for candidate in candidates])

# %% [markdown]
# ## 4.9 Check
#
# Of each shape the better one on dev is served, tuned only or retrained (with the first seed). On the engine it must give
# the logits that PyTorch gives, in every batch it is timed in. The exported graph was compared with the model when written.
#
# ## 4.10 Measure
#
# All shapes in the same rounds, the rung below (the unpruned student in PyTorch) among them: first one request at a time,
# then in the batches that chapter 2 found best. A machine that is faster or slower now than when the table was made moves all
# points alike, so the predicted *speed-ups* are the fairer test of the table.
#
# Then the same with two instances: each has half the threads and answers requests of its own. How many more are answered in
# a second, and how much longer does each wait (*p50*) on half the threads? Nothing is pinned to a core here.

# %%
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
models = {"unpruned": unpruned} | {candidate.name: candidate.model for candidate in candidates}
expected = {name: training.predict(model, requests) for name, model in models.items()}


def serve(name, threads):
    if engine == "pytorch":  # one class for all, so that its own cost is not taken for the shape's
        return predictors.torch_predictor(models[name]), "fflib, PyTorch eager"
    folder = bench.folder / "models" / "onnx" / name.replace("/", "-")
    return engines.serve(models[name], engine, threads, folder)


# %%
one_by_one = batching.in_order(requests.lengths, 1)
best_batches = bench.best_plan(requests.lengths)
ways = {}
for name in models:
    ways[name], engine_name = serve(name, threads)
ways["rung below"] = predictors.torch_predictor(predictors.eager(unpruned)[0])
expected["rung below"] = expected["unpruned"]
alone = bench.compare(ways, requests, expected, plan=one_by_one)
batched = bench.compare(ways, requests, expected, plan=best_batches)

on_two_instances = None
if engine == "onnxruntime" and threads > 1:
    pairs = {}
    for name in models:
        instances = [serve(name, threads // 2)[0] for _ in range(2)]
        pairs[name] = predictors.together(instances)
    on_two_instances = bench.compare_at_once(pairs, requests, expected, plans=one_by_one)

# %% tags=["hide-input"]
worst = max(alone.largest_difference, batched.largest_difference)
show(Markdown(f"Largest difference of a logit: {worst:.1e}; {alone.labels_kept}."))
measured_ms = {name: reports.mean_ms(taken) for name, taken in alone.items()}
predicted_ms = {
    name: table.model_ms(model.encoder.config.layers, requests.lengths)
    for name, model in models.items()
}
points = [(name, predicted_ms[name], measured_ms[name]) for name in models]
small_print = f"{caption}\n{n_requests} requests, one by one, mean of the medians"
show(bench.figure(figures.predicted(points, small_print), "predicted"))
bench.table(reports.speed_rows(predicted_ms, alone, batched, on_two_instances), keep="speed")

# %% [markdown]
# ## 4.11 Choose on dev, report on test
#
# The rule is that of chapter 3: the fastest model, one request at a time, that keeps `min_retention` of the *teacher's* score
# **on dev**. Where none does, the student goes on unpruned. Models that are about as fast (`as_fast`) count as equally fast: of
# them the most accurate on dev is taken, for the clock's noise is no reason to give accuracy away. The labels of test take no
# part in it; its texts are what is timed. As the fastest of several noisy times flatters, the chosen one is timed once more
# beside the unpruned model.
#
# On test, at equal predicted time: is the searched shape the more accurate one? The difference is paired, so texts that are
# hard for both do not blur it; the last table has a row for each seed of the retraining. Where an interval includes 0, this
# run cannot tell.

# %%
chosen = study.choose(candidates, measured_ms, min_retention, as_fast)
finalists = {name: ways[name] for name in ("unpruned", chosen.name)}
alone_again = bench.compare(finalists, requests, expected, plan=one_by_one, seed=1)
batched_again = bench.compare(finalists, requests, expected, plan=best_batches, seed=1)


# %%
def on_test(model):
    return bench.scored(cache.predict_cached(model, test), test.gold)


def difference(first, second, examples):
    return reports.difference(bench.task, first, second, examples, n_resamples)


unpruned_test = on_test(unpruned)
rows = reports.against_uniform(candidates, seeds, lambda a, b: difference(a, b, test))

# %% tags=["hide-input"]
is_faster = measured_ms[chosen.name] < measured_ms["unpruned"]
met_the_rule = chosen.kept.holds(min_retention) and is_faster
gain = {
    "one by one": alone_again.speedup(chosen.name, "unpruned"),
    "best batching": batched_again.speedup(chosen.name, "unpruned"),
}
bench.facts["chosen_again"] = gain
outcome = (
    "is, of the fastest that keep the rule, the most accurate"
    if met_the_rule
    else "is the most accurate, but none keeps the rule and saves time: **the student goes on unpruned**"
)
show(display.source(study.choose))
sentence = (
    f"Of {len(candidates)} shapes, **{chosen.name}** ({'retrained' if chosen.is_retrained else 'tuned only'}) {outcome}. "
    f"The rule asks for {min_retention:.1%} of the teacher's score on dev; it keeps {chosen.kept.words or 'no share'}, the "
    f"unpruned student {unpruned_kept.words or 'no share'}. Timed again it is {gain['one by one']:.2f} times as fast one by "
    f"one, {gain['best batching']:.2f} times in the best batches."
)
show(Markdown(sentence))
figure = figures.pareto(
    reports.pareto_points(candidates, measured_ms, on_test, chosen),
    reports.pareto_point("unpruned", measured_ms["unpruned"], unpruned_test),
    min_retention * bench.teacher_accuracy,
    f"{caption}\n{n_requests} requests, one by one, timed with the served weights; {len(test)} test examples; "
    f"seed {seeds[0]}",
    floor_label=f"{min_retention:.1%} of the teacher, on test",
)
show(bench.figure(figure, "pareto"))
bench.table(rows, keep="against_uniform")

# %% [markdown]
# ## 4.12 The rungs
#
# First the engine alone, so that its gain is not taken for one of pruning; on it stand the pruned shapes, alternatives to
# each other. All in the batches that chapter 2 found best.


# %%
def add_rung(rung, name, on, below=None):
    bench.add_rung(
        rung,
        batched[name],
        on=on,
        below=below,
        like="best batching",
        model=student_name if name == "unpruned" else f"{student_name}, {name}",
        engine=engine_name,
        plan=best_batches,
        model_mb=checkpoints.size_mb(models[name]),
        scored=on_test(models[name]),
        kept=kept_on_dev(models[name]),
    )


base = "ONNX Runtime" if engine == "onnxruntime" else "student again"
add_rung(base, "unpruned", on=student_rung, below=batched["rung below"])
rungs = study.rungs(candidates, measured_ms, min_retention, chosen)
for rung, candidate in rungs.items():
    add_rung(rung, candidate.name, on=base)
bench.rungs_table()

# %% [markdown]
# ## 4.13 How much does a look at dev flatter?
#
# The paper and DynaBERT judge importance on the very split they report. Here is what that does: the same shape once with
# importance from training texts, once from as many *dev* texts with their answers. If the second looks better on dev but no
# better on test, the look has flattered.

# %%
seen = bench.texts("dev", "student", length=distil_length).take(range(min(len(texts), len(dev))))
scores_of_dev = importance.first_order(importance.gradients(unpruned, seen))
peeking = controls.keep_share(unpruned, scores_of_dev, min(shares_tried))
honest = controls.keep_share(unpruned, scores, min(shares_tried))
examples = {"the dev texts it saw": dev.take(range(len(seen))), "test": test}
gains = {name: difference(peeking, honest, split) for name, split in examples.items()}
bench.table(reports.flatter_rows(gains), keep="flatter")

# %% [markdown]
# ## 4.14 One set of weights for many sizes
#
# DynaBERT goes another way: heads and neurons are sorted by importance once, then *one* model is trained such that its first
# half, its first quarter, every second of its layers, each alone, answer well. At deployment the size is cut to the machine,
# without training anew. (Where the parameter `elastic_widths` is empty, this is left out.)

# %%
if elastic_widths and elastic_depths:
    sizes = dynabert.sub_networks(elastic_widths, elastic_depths)
    joint_recipe = recipe(max(retrain_epochs), retrain_rates[1], 0, seeds[0])
    all_sizes, history = supernet.train(
        unpruned, scores, sizes, outputs, dev, bench.score, joint_recipe, bench.folder / "models"
    )
    accuracies = supernet.accuracy_by_size(all_sizes, sizes, on_dev)
    show(bench.figure(figures.elastic(accuracies, unpruned_dev, caption=caption), "elastic"))

# %% [markdown]
# ## 4.15 Dropping words that never occur
#
# In a small model most weights are word embeddings, of which a request looks up a few. The task's training texts use a part
# of the vocabulary; the rows of all other words can go. A request with an unseen word is answered by the model with all
# words, loaded when that first happens, so no answer changes. That saves the download and the start; once a request has
# fallen back, both models are in memory.

# %%
all_train = bench.texts("train", "student")
special_ids = bench.tokenizer("student").all_special_ids
words = vocabulary.Vocabulary.of(all_train, chosen.model.encoder.config.vocab_size, special_ids)
small = vocabulary.prune(chosen.model, words)
fallback = vocabulary.WithFallback(
    predictors.torch_predictor(small), lambda: predictors.torch_predictor(chosen.model), words
)
variant = Variant("small vocabulary", fallback, one_by_one)
timing.check(variant, requests, expected[chosen.name], tolerance=1e-5)
bench.facts["vocabulary"] = reports.vocabulary_row(chosen.model, small, words, fallback, dev)
bench.table([bench.facts["vocabulary"]])

# %% [markdown]
# ## 4.16 What it cost
#
# Accuracy is in the figures above. What else was spent is computing time, paid once; the latency table is measured once on a
# machine.

# %% tags=["hide-input"]
for candidate in candidates:
    if candidate.retrained:
        bench.seconds_spent[f"retraining, {candidate.name}"] = 60 * candidate.minutes
if elastic_widths and elastic_depths:
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
    "retrained": chosen.is_retrained,
    "accuracy": accuracy,
    "kept_of_unpruned": ladder.kept(accuracy, unpruned_test.value) if unpruned_test.value else None,
}
bench.save()
rows = [{"step": step, "seconds": seconds} for step, seconds in bench.seconds_spent.items()]
bench.table(rows, decimals=0)

# %% [markdown]
# ## 4.17 When it does not pay
#
# - **Little is left to take.** A student that is just large enough loses with the first head. Look at the controls first.
# - **The time is elsewhere.** Embeddings, LayerNorms, copies and the call itself do not shrink with heads and neurons. The
#   latency table tells when the rest has become the larger part.
# - **The engine wants a stock shape.** Fused attention kernels that take the number of heads from a config compute nonsense
#   on a pruned model, silently. Chapter 6 will show it.
# - **The text is of another kind than the training texts.** Parts that seemed useless may be what that text needs, and more
#   of its words will be unseen.
#
# ## 4.18 Exercises
#
# 1. Ask for the unreachable: `speedups_wanted=[1000]`. What does the message offer, and what limits it?
# 2. Compare `table.attention_ms` with `table.feed_forward_ms` at the shortest and the longest length. Which half is larger?
# 3. Prune the pruned student once more: in 4.2 load the folder `models/pruned-student` of the run by `checkpoints.load`. Does
#    the second cut cost more than the first, at the same share?
#
# **Next:** [chapter 5](05_quantization.ipynb) rounds what is left to eight bits.
