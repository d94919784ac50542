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
# **Needs** chapters [1](01_baseline.ipynb) to [3](03_distillation.ipynb). **Leaves** a pruned student, chosen by a rule, and
# rungs of several shapes, as alternatives to each other.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
engine: str = "onnxruntime"  # what serves and is timed: onnxruntime or pytorch
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_importance: int = 32  # training examples to choose and tune on; half as many more check
n_retrain: int = 64  # training examples of the retraining; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
seeds: list[int] = [0]  # one retraining per seed; the first one's models are served
uniform_tried: list[str] = ["25/25", "33/50"]  # per cent of heads/neurons removed everywhere
speedups_wanted: list[float] = [1.5]  # targets of the search, against the unpruned model
depths_tried: list[int] = [1]  # numbers of layers left
shares_tried: list[float] = [0.5]  # of heads and neurons kept, in the controls of 4.4
tunings_tried: list[str] = ["none", "masks", "weights"]  # without retraining; see 4.7
retrained_too: bool = True  # retrain the pruned models as well
retrain_epochs: list[int] = [1, 1]  # of the inside and of the answers
retrain_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
retrain_rounds: int = 1  # 1: in one step; more: gradually, all of the training after each
n_buckets: int = 2  # lengths at which the latency table is measured
n_levels: int = 3  # numbers of neurons in it
latency_rounds: int = 2  # its timing rounds
n_candidates: int = 2  # shapes whose loss is measured, for each target
min_kept: float = 0.99  # the rule: the fastest that keeps this share of the unpruned dev accuracy
as_fast: float = 1.1  # times within this factor count as equal: the best on dev is taken
elastic_widths: list[float] = [1.0, 0.5]  # one set of weights for many; empty leaves it out
elastic_depths: list[float] = [1.0, 0.5]  # its shares of the layers
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import dataclasses
import time
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display

from fflib import display as pages
from fflib import files
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.data import splits as data
from fflib.measure import hardware
from fflib.measure import timing as measure
from fflib.model import checkpoints
from fflib.pruning import figures
from fflib.runs import ladder, records

chapter = Bench.open("04_pruning", globals())
threads = chapter.threads

# %% tags=["hide-input"]
from fflib.data import metrics, registry
from fflib.distillation import losses as distillation
from fflib.distillation import teacher
from fflib.distillation.objective import Objectives
from fflib.distillation.students import Stage
from fflib.distillation.teacher import Outputs
from fflib.engine import predictors
from fflib.model import cache, importance, slicing, training
from fflib.pruning import (
    dynabert,
    latency_table,
    mask_search,
    retraining,
    sensitivity,
    shape_search,
    vocabulary,
)
from fflib.runtime import engines

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads, {engine} fp32; run {run}, size {size}"
pages.card(machine, threads)

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

# %%
pages.source(slicing.slice_model)

# %% [markdown]
# ## 4.2 The model to prune
#
# The student of chapter 3, and the very dev and test examples it was chosen and scored on.

# %%
files.check_known("tuning", tunings_tried, mask_search.TUNINGS)
if not (seeds and shares_tried and n_importance > 1 and (uniform_tried or speedups_wanted)):
    raise files.InputError("give a seed, a share, n_importance of 2 or more, and a shape to try")
unpruned = records.current(run_dir, "03_distillation")["facts"]["student"]
student_folder = files.resolve(unpruned["folder"])
whole, tokenizer = (
    checkpoints.load(student_folder),
    checkpoints.load_tokenizer(str(student_folder)),
)
facts, the_task = records.current(run_dir, "01_baseline")["facts"], registry.get_task(task)
splits = {
    name: data.load_split(task, name, data_source, limit or None)
    for name, limit in (("train", n_retrain), ("dev", n_dev), ("test", n_test))
}
for name in ("dev", "test"):
    assert splits[name].fingerprint == facts["data_fingerprint"][name], "chapter 1 saw other data"
chapter.facts["data_fingerprint"] = facts["data_fingerprint"]
train = data.tokenize(splits["train"], tokenizer, distil_length)
dev, test = (
    data.tokenize(splits[name], tokenizer, the_task.max_length) for name in ("dev", "test")
)


# %%
def score(logits, gold):
    return metrics.score(the_task, logits, gold)


def on_dev(model):
    return metrics.scored(the_task, training.predict(model, dev), dev.gold, n_resamples)


shapes = whole.encoder.config.layers
full = [(shape.num_heads, shape.intermediate_size) for shape in shapes]
uniform = {text: slicing.uniform(text, shapes) for text in uniform_tried}
whole_dev = score(cache.predict_cached(whole, dev), dev.gold)
Markdown(
    f"**{unpruned['shape']}**: {len(full)} layers of {full[0][0]} heads and {full[0][1]:,} neurons; {whole_dev:.1%} on dev."
)

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
pages.source(importance.first_order)

# %%
texts = train.take(range(min(n_importance, len(train))))
checked = train.take(range(len(texts), min(len(texts) + n_importance // 2, len(train))))
if not len(checked):
    raise files.InputError(
        "no training text is left to check on; let n_retrain exceed n_importance"
    )
slopes = importance.gradients(whole, texts)
scores = importance.first_order(slopes)
figure = figures.importance_map(
    [layer.tolist() for layer in scores.heads],
    [layer.tolist() for layer in scores.neurons],
    f"{unpruned['shape']}; {len(texts)} training texts; run {run}, size {size}",
)
chapter.figure(figure, "importance")
figure

# %% [markdown]
# ## 4.4 Is that better than chance?
#
# The same number of heads and neurons in each layer, chosen by importance, by the size of their weights, or at random, with
# no training after. Magnitude is the obvious idea. But may a head with small weights be the one that matters? (Random: the
# mean of three draws, its bar from the worst to the best.)


# %%
def best_of(scores, counts):
    return slicing.keep_top(scores.heads, scores.neurons, counts)


def share_of(share):
    return [(round(share * heads), round(share * neurons)) for heads, neurons in full]


def untuned(scores, share):
    return on_dev(slicing.slice_model(whole, *best_of(scores, share_of(share))))


def drawn(share):
    values = [untuned(importance.random(whole, draw), share).value for draw in range(3)]
    return np.mean(values), min(values), max(values)


ways = {"importance": scores, "magnitude": importance.magnitude(whole)}
lines = {
    way: [(share, *untuned(values, share)) for share in shares_tried]
    for way, values in ways.items()
}
lines["random"] = [(share, *drawn(share)) for share in shares_tried]

# %%
chapter.facts["controls"] = lines
figure = figures.controls(
    lines,
    whole_dev,
    metrics.chance(the_task, dev.gold),
    "share of heads and neurons kept in each layer",
    f"{unpruned['shape']}, no retraining, {len(dev)} dev examples; run {run}, size {size}",
)
chapter.figure(figure, "controls")
figure

# %% [markdown]
# ## 4.5 Predict: what would a smaller layer save?
#
# Operations fall in a straight line with every head and neuron. Time need not: what surrounds the products, from copies to
# the LayerNorm, stays, and products of other sizes run at other rates. So both halves of a layer are timed on the engine
# that will serve, with any number of heads and many numbers of neurons, at lengths the task has; once on a machine, then
# kept. Single points carry the machine's noise. The sum of a model's halves, and of what it has around them, *predicts* its
# latency.

# %%
heads_tried = latency_table.head_levels(max(heads for heads, _ in full))
neurons_tried = latency_table.neuron_levels(max(neurons for _, neurons in full), n_levels)
buckets = latency_table.buckets(dev.lengths, n_buckets)
start = time.perf_counter()
table = latency_table.measure_table(
    whole, engine, threads, heads_tried, neurons_tried, buckets, latency_rounds
)
spent = {"the latency table, unless it was kept": time.perf_counter() - start}
whole_ms = table.model_ms(shapes, dev.lengths)


def curves_of(kind, levels):
    cost = [table.half_ms(kind, count, dev.lengths) for count in levels]
    operations = [(count, count / levels[-1]) for count in levels]
    return {
        "operations": operations,
        "time": [(c, ms / cost[-1]) for c, ms in zip(levels, cost, strict=True)],
    }


curves = {
    "heads": curves_of("attention", heads_tried),
    "neurons": curves_of("feed_forward", neurons_tried),
}
figure = figures.flop_and_time(
    curves, f"{caption}\nmean over the lengths of dev, measured at {buckets} tokens"
)
chapter.figure(figure, "flop_and_time")
figure

# %%
gaps = {
    what: max(((time_ - share, count) for (count, share), (_, time_) in zip(*both, strict=True)))
    for what, both in ((w, (c["operations"], c["time"])) for w, c in curves.items())
}
chapter.facts["latency_table"] = {
    name: np.asarray(value).tolist() for name, value in dataclasses.asdict(table).items()
}
Markdown(
    "; ".join(
        f"with {count:,} {what}, half a layer takes {gap:.0%} of its full time more than its operations say; with none "
        f"left it still takes {curves[what]['time'][0][1]:.0%}"
        for what, (gap, count) in gaps.items()
    ).capitalize()
    + "."
)

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
pages.source(shape_search.solve)

# %%
start = time.perf_counter()
few = texts.take(range((len(texts) + 1) // 2))  # many small trials
losses = sensitivity.measure(whole, scores, few, heads_tried, neurons_tried)
choices = shape_search.options(table, dev.lengths, *losses)
expected = training.predict(whole, checked)


def cut(counts, tuning="weights"):
    return mask_search.tune(whole, best_of(scores, counts), texts, tuning)


def loss_of(wanted):
    return sensitivity.divergence(training.predict(cut(wanted), checked), expected)


around = table.model_ms([], dev.lengths)  # the time of a model without layers
searched = {
    speedup: shape_search.search(
        choices,
        whole_ms / speedup,
        lambda shape: loss_of(shape_search.counts(shape)),
        n_candidates,
        seeds[0],
        around,
    )
    for speedup in speedups_wanted
}
spent["the search"] = time.perf_counter() - start

# %% [markdown]
# Is it the search or the clock that matters? For each target also the uniform shape that is predicted to be as fast, and the
# shape of least estimated loss for as many *operations* as give that time: the same knapsack with another price tag. From
# here on the searched shapes are compared with uniform ones, the paper's and those of equal time, and with fewer layers.

# %%
by_way = {
    speedup: {
        "searched": shape_search.counts(best),
        "least estimated loss by time": shape_search.counts(next(iter(tried))),
        "least estimated loss by operations": shape_search.by_operations(
            choices, whole.encoder.config, dev.lengths, whole_ms / speedup, around
        ),
        "uniform": shape_search.uniform_at(table, dev.lengths, shapes, whole_ms / speedup),
    }
    for speedup, (best, tried) in searched.items()
}
chapter.facts["ways"] = [
    {"target": f"{speedup:g} times", "way": way, "divergence": loss_of(wanted), "kept": str(wanted)}
    for speedup, found in by_way.items()
    for way, wanted in found.items()
]
pages.table(chapter.facts["ways"], decimals=4)

# %% [markdown]
# And what does depth buy against width? Each layer is taken out, with the others repaired; beside it stands the model with
# all layers, narrow enough to be as fast.

# %%
depth, least_ms = [], shape_search.least_uniform_ms(table, dev.lengths, shapes)
for i in range(len(full) if len(full) > 1 else 0):
    ms = table.model_ms([shape for j, shape in enumerate(shapes) if j != i], dev.lengths)
    narrow = shape_search.uniform_at(table, dev.lengths, shapes, ms) if ms >= least_ms else None
    depth.append(
        {
            "taken out": f"layer {i + 1}",
            "predicted speed-up": whole_ms / ms,
            "divergence": loss_of([None if j == i else pair for j, pair in enumerate(full)]),
            "divergence of the narrow model": loss_of(narrow) if narrow else None,
        }
    )
chapter.facts["depth"] = depth
display(pages.table(depth, decimals=4))
counts = {f"uniform {text}": wanted for text, wanted in uniform.items()}
for speedup, found in by_way.items():
    counts[f"for {speedup:g} times"] = found["searched"]
    counts[f"uniform at {speedup:g} times"] = found["uniform"]
for left in (n for n in depths_tried if 0 < n < len(full)):
    best = sorted(np.argsort(losses.removed)[::-1][:left])
    counts[f"{left} of {len(full)} layers"] = [
        pair if i in best else None for i, pair in enumerate(full)
    ]
kind_of = {"uniform": "uniform", "for": "latency-aware"}
kinds = {name: kind_of.get(name.split()[0], "depth") for name in counts}


# %%
start = time.perf_counter()
tuned_only = {name: cut(wanted) for name, wanted in counts.items()}
spent["the tuning"] = time.perf_counter() - start
predicted = {
    name: table.model_ms(model.encoder.config.layers, dev.lengths)
    for name, model in tuned_only.items()
}
chapter.facts["shapes"] = counts
figure = figures.shapes(
    {
        f"{name}\n(predicted {whole_ms / predicted[name]:.1f}x)": wanted
        for name, wanted in counts.items()
    },
    full,
    caption,
)
chapter.figure(figure, "shapes")
figure

# %% [markdown]
# ## 4.7 Do it, without training
#
# Kwon et al. (2204.09656) prune without any training, in three steps: choose by the Fisher information of the gates (the
# mean *square* of their slopes); exchange parts while that lowers the interaction among the removed ones (*rearranged*);
# then let the rest make up for the loss, layer after layer: solve by least squares for the factors that bring the output of
# each half layer nearest to what it was, drawn slightly towards 1. These *masks* are one number for each head and neuron.
# Why stop there? The same equations, solved for the whole output matrix of each half layer, give *weights*.

# %%
pages.source(mask_search.mask_values)

# %%
example = [name for name in counts if kinds[name] == "uniform"][-1]  # not one of the searched
selections = {
    "importance": best_of(scores, counts[example]),
    "Fisher, rearranged": mask_search.keep(slopes, counts[example]),
}
tuned = [
    {
        "kept by": way,
        "tuned": tuning,
        "divergence": sensitivity.divergence(training.predict(model, checked), expected),
        "dev %": 100 * on_dev(model).value,
    }
    for way, kept in selections.items()
    for tuning in tunings_tried
    for model in [mask_search.tune(whole, kept, texts, tuning)]
]
chapter.facts["tuning"] = {"shape": example, "rows": tuned}
display(
    Markdown(
        f"**{example}**, chosen and tuned on {len(texts)} training texts, unpruned {whole_dev:.1%}:"
    )
)
pages.table(tuned, decimals=3)

# %% [markdown]
# ## 4.8 Do it, with training
#
# As in FastFormers, the unpruned model teaches the cut one. Unlike there, it learns in two stages, hidden states and then
# answers, and starts from the tuned cut. With more `retrain_rounds` the parts go gradually, each round choosing anew among
# what is left, with all of the training.


# %%
outputs = Outputs(whole, train, teacher_cache_gb)
OBJECTIVES = Objectives(hidden=1.0), Objectives(logits=1.0)


def stages_of(seed):
    plans = zip(
        ("inside", "answers"), OBJECTIVES, retrain_epochs, retrain_rates, (0, 1), strict=True
    )
    options = {"dropout": dropout, "freeze_words": True, "seed": seed}
    return [
        Stage(
            name,
            objectives,
            training.Recipe(epochs, batch_size, rate, evaluations_per_epoch=evaluations, **options),
        )
        for name, objectives, epochs, rate, evaluations in plans
    ]


def retrain(name, seed):
    folder = chapter.folder / "models" / "pruned" / f"{name.replace('/', '-')}, seed {seed}"
    return retraining.retrain(
        whole, counts[name], texts, stages_of(seed), outputs, dev, score, folder, retrain_rounds
    )


retrained = {name: [retrain(name, seed) for seed in seeds] for name in counts if retrained_too}

# %%
models = {(name, False): model for name, model in tuned_only.items()}
models |= {(name, True): runs[0][0] for name, runs in retrained.items()}
dev_scores = {
    key: score(cache.predict_cached(model, dev), dev.gold) for key, model in models.items()
}


def seeds_of(name):
    found = [
        100 * score(cache.predict_cached(m, dev), dev.gold) for m, _ in retrained.get(name, [])
    ]
    return f"{min(found):.1f} to {max(found):.1f}" if len(found) > 1 else ""


def minutes(name):
    return sum(h.seconds for _, histories in retrained.get(name, []) for h in histories) / 60


pages.table(
    [
        {
            "shape": name,
            "predicted speed-up": whole_ms / predicted[name],
            "dev %, tuned only": 100 * dev_scores[name, False],
            "dev %, retrained": 100 * dev_scores.get((name, True), np.nan),
            "worst and best seed": seeds_of(name),
            "minutes of retraining": minutes(name),
        }
        for name in counts
    ]
)

# %% [markdown]
# ## 4.9 Check
#
# Of each shape the better one on dev is served, tuned only or retrained (with the first seed). On the engine it must give
# the logits that PyTorch gives, in every batch it is timed in. The exported graph was compared with the model when written.

# %%
served = {
    name: max((key for key in models if key[0] == name), key=dev_scores.get) for name in counts
}
serving = {"unpruned": whole} | {name: models[key] for name, key in served.items()}
picked = batching.evenly_by_length(test.lengths, n_requests)
requests = test.take(picked)
best_kind, best_size = records.current(run_dir, "02_batching")["facts"]["best"]
plans = {
    "one by one": batching.in_order(requests.lengths, 1),
    "best batching": batching.PLANS[best_kind](requests.lengths, best_size),
}


def onnx_folder(name):
    return chapter.folder / "models" / "onnx" / name.replace("/", "-")


def variants_of(name, model, predict, plans):
    expected = training.predict(model, requests)
    timed = [measure.Variant(f"{name}, {kind}", predict, plan) for kind, plan in plans.items()]
    return [measure.check(variant, requests, expected) for variant in timed]


# %%
def predictor_of(name, threads):
    if engine == "pytorch":  # one class for all, so that its own cost is not taken for the shape's
        return predictors.torch_predictor(serving[name]), "fflib, PyTorch eager"
    return engines.serve(serving[name], engine, threads, onnx_folder(name))


variants, engine_names = {}, {}
for name, model in serving.items():
    predict, engine_names[name] = predictor_of(name, threads)
    variants |= {v.name: v for v in variants_of(name, model, predict, plans)}
below = predictors.torch_predictor(predictors.eager(whole)[0])
below = variants_of("rung below", whole, below, {"best batching": plans["best batching"]})
variants |= {v.name: v for v in below}
worst = max(variant.checked.max_abs_difference for variant in variants.values())
Markdown(f"Largest difference of a logit: {worst:.1e}; every label is the same.")

# %% [markdown]
# ## 4.10 Measure
#
# All in the same rounds, the rung below (the unpruned student in PyTorch) among them. A machine that is faster or slower now
# than when the table was made moves all points alike, so the predicted *speed-ups* are the fairer test of the table.

# %%
timings = measure.time_interleaved(list(variants.values()), requests, rounds)
alone = {name: timings[f"{name}, one by one"] for name in serving}
mean_ms = {name: 1e3 / timing.throughput_per_s for name, timing in alone.items()}
guess = {
    name: table.model_ms(model.encoder.config.layers, requests.lengths)
    for name, model in serving.items()
}
figure = figures.predicted(
    [(name, guess[name], mean_ms[name]) for name in serving],
    f"{caption}\n{n_requests} requests, one by one, mean of the medians",
)
chapter.figure(figure, "predicted")
figure

# %% [markdown]
# The same with two instances: each has half the threads and answers requests of its own. How many more are answered in a
# second, and how much longer does each wait (*p50*) on half the threads? Nothing is pinned to a core here.


# %%
two = engine == "onnxruntime" and threads > 1
if two:
    pairs = {name: [predictor_of(name, threads // 2)[0] for _ in range(2)] for name in serving}
    ways = {name: predictors.together(pair) for name, pair in pairs.items()}
    right = {name: training.predict(model, requests) for name, model in serving.items()}
    alike = dict.fromkeys(serving, plans["one by one"])
    instances = measure.time_at_once(ways, requests, alike, right, rounds)

# %%
chapter.facts["speed"] = speed = [
    {
        "shape": name,
        "predicted ms": guess[name],
        "measured ms": mean_ms[name],
        "measured / predicted": mean_ms[name] / guess[name],
        "predicted speed-up": guess["unpruned"] / guess[name],
        "speed-up": mean_ms["unpruned"] / mean_ms[name],
        "p50 ms": alone[name].latency_p50_ms,
        "requests/s": alone[name].throughput_per_s,
        "two instances, requests/s": instances[name].throughput_per_s if two else None,
        "their speed-up": instances[name].throughput_per_s / instances["unpruned"].throughput_per_s
        if two
        else None,
        "their p50 ms": instances[name].latency_p50_ms if two else None,
        "in the best batches, requests/s": timings[f"{name}, best batching"].throughput_per_s,
    }
    for name in serving
]
pages.table(speed)

# %% [markdown]
# ## 4.11 Choose on dev, report on test
#
# The rule is a parameter: the fastest model, one request at a time, that keeps `min_kept` of the unpruned accuracy **on
# dev**. Models that are about as fast (`as_fast`) count as equally fast: of them the most accurate on dev is taken, for the
# clock's noise is no reason to give accuracy away. The labels of test take no part in it; its texts are what is timed. As the
# fastest of several noisy times flatters, the chosen one is timed once more beside the unpruned model.

# %%
floor = min_kept * whole_dev
accurate = [name for name in counts if dev_scores[served[name]] >= floor]
holding = [name for name in accurate if mean_ms[name] < mean_ms["unpruned"]]
limit_ms = as_fast * min((mean_ms[name] for name in holding), default=np.inf)
near = [name for name in holding or counts if mean_ms[name] <= limit_ms]
chosen = max(near, key=lambda name: (dev_scores[served[name]], -mean_ms[name]))
pruned = serving[chosen]
pair = [variants[f"{name}, {kind}"] for name in ("unpruned", chosen) for kind in plans]
again = measure.time_interleaved(pair, requests, rounds, seed=1)
gain = {
    kind: again[f"{chosen}, {kind}"].throughput_per_s / again[f"unpruned, {kind}"].throughput_per_s
    for kind in plans
}
chapter.facts["chosen_again"] = gain
outcome = (
    "is, of the fastest that keep their accuracy, the most accurate: it keeps"
    if holding
    else "is the most accurate, but none keeps"
)
Markdown(
    f"Of {len(counts)} shapes, **{chosen}** ({'retrained' if served[chosen][1] else 'tuned only'}) {outcome} {min_kept:.0%} "
    f"of the unpruned accuracy on dev: {dev_scores[served[chosen]]:.1%} against {whole_dev:.1%}. Timed again it is "
    f"{gain['one by one']:.2f} times as fast one by one, {gain['best batching']:.2f} times in the best batches."
)


# %%
def on_test(model):
    return metrics.scored(the_task, cache.predict_cached(model, test), test.gold, n_resamples)


shown = [key for key in models if key in served.values() or key[0].endswith(" times")]
whole_test, tested = on_test(whole), {key: on_test(models[key]) for key in shown}


def point(name, scored, **more):
    where = {"x": mean_ms[name], "accuracy": scored.value, "low": scored.low, "high": scored.high}
    return {"name": name, **where, **more}


points = [
    point(key[0], scored, kind=kinds[key[0]], retrained=key[1], chosen=served[chosen] == key)
    for key, scored in tested.items()
]
figure = figures.pareto(
    points,
    point("unpruned", whole_test),
    min_kept * whole_test.value,
    f"{caption}\n{n_requests} requests, one by one, timed with the served weights; {len(test)} test examples; seed {seeds[0]}",
    floor_label=f"{min_kept:.0%} of the unpruned, on test",
)
chapter.figure(figure, "pareto")
figure

# %% [markdown]
# At equal predicted time, is the searched shape the more accurate one? The difference is paired, so texts that are hard for
# both do not blur it; a row for each seed of the retraining. Where an interval includes 0, this run cannot tell.


# %%
def difference(what, first, second, examples):
    logits = (cache.predict_cached(model, examples) for model in (first, second))
    paired = metrics.difference_interval(the_task, *logits, examples.gold, resamples=n_resamples)
    return dict(zip((f"{what}, points", "95 % from", "to"), 100 * np.array(paired), strict=True))


def against_uniform(speedup, how, searched_model, uniform_model):
    values = difference("searched less uniform", searched_model, uniform_model, test)
    low, high = values["95 % from"], values["to"]
    verdict = "ahead" if low > 0 else "behind" if high < 0 else "not clearly apart"
    return {"target": f"{speedup:g} times", "how": how, **values, "the searched one is": verdict}


rows = []
for speedup in speedups_wanted:
    pair = f"for {speedup:g} times", f"uniform at {speedup:g} times"
    rows += [against_uniform(speedup, "tuned only", *(tuned_only[name] for name in pair))]
    for i, seed in enumerate(seeds if retrained_too else []):
        both = (retrained[name][i][0] for name in pair)
        rows += [against_uniform(speedup, f"retrained, seed {seed}", *both)]
chapter.facts["against_uniform"] = rows
pages.table(rows)

# %% [markdown]
# ## 4.12 The rungs
#
# First the engine alone, so that its gain is not taken for one of pruning; on it stand the pruned shapes, alternatives to
# each other. All in the batches that chapter 2 found best.


# %%
def rung_of(name, model, stacks_on, scored, label):
    timing, variant = timings[f"{name}, best batching"], variants[f"{name}, best batching"]
    rung = ladder.Rung(
        label,
        stacks_on=stacks_on,
        model=unpruned["shape"] if name == "unpruned" else f"{unpruned['shape']}, {name}",
        engine=engine_names[name],
        precision="fp32",
        batching=earlier["best batching"]["batching"],
        batch_size=round(np.mean([len(group) for group in variant.plan])),
        threads=threads,
        model_mb=checkpoints.size_mb(model),
    )
    rung.timed(timing, variant.checked, usd_per_hour)
    return rung.scored(scored.value, (scored.low, scored.high), teacher_test)


earlier = {r["rung"]: r for r in records.current(run_dir, "02_batching")["rungs"]}
baselines = {r["rung"]: r for r in records.current(run_dir, "01_baseline")["rungs"]}
teacher_test = baselines["teacher unpadded"]["accuracy"]
whole_label = "ONNX Runtime" if engine == "onnxruntime" else "student again"
first = rung_of("unpruned", whole, "distilled student", whole_test, whole_label)
first.anchor_per_s = timings["rung below, best batching"].throughput_per_s
chapter.add(first)

# %%
labels = {n: f"pruned {n.split()[-1]}" for n in counts if n.split()[-1] in uniform_tried}
labels |= {name: f"pruned to {name}" for name in counts if kinds[name] == "depth"}
latency_aware = [name for name in counts if kinds[name] == "latency-aware"]
best_first = [name for name in latency_aware if name in accurate] or latency_aware
if best_first:  # one that broke the rule if all of them did: the ladder shows its accuracy
    labels[min(best_first, key=mean_ms.get)] = "pruned for latency"
labels.setdefault(chosen, f"pruned, {chosen}")
for name, label in labels.items():
    chapter.add(rung_of(name, serving[name], whole_label, tested[served[name]], label))

# %%
folder = chapter.folder / "models" / "pruned-student"
checkpoints.save(pruned, folder, tokenizer)
chapter.facts["goes_on_from"] = labels[chosen] if holding else whole_label
chapter.facts["pruned"] = {
    "shape": chosen,
    "folder": files.shown(folder),
    "met_the_rule": bool(holding),
    "counts": counts[chosen],
    "retrained": served[chosen][1],
    "accuracy": tested[served[chosen]].value,
    "kept_of_unpruned": ladder.kept(tested[served[chosen]].value, whole_test.value)
    if whole_test.value
    else None,
}
pages.table(
    [
        {"rung": r.rung, "requests/s": r.throughput_per_s, "test %": 100 * r.accuracy}
        for r in chapter.rungs
    ]
)

# %% [markdown]
# ## 4.13 How much does a look at dev flatter?
#
# The paper and DynaBERT judge importance on the very split they report. Here is what that does: the same shape once with
# importance from training texts, once from as many *dev* texts with their answers. If the second looks better on dev but no
# better on test, the look has flattered.

# %%
peek = data.tokenize(splits["dev"], tokenizer, distil_length).take(range(min(len(texts), len(dev))))
peeked = importance.first_order(importance.gradients(whole, peek))
hard = share_of(min(shares_tried))
ours, theirs = (slicing.slice_model(whole, *best_of(v, hard)) for v in (peeked, scores))


looked_at = dev.take(range(len(peek)))
flatter = [
    {"on": what, **difference("peeking gains", ours, theirs, examples)}
    for what, examples in (("the dev texts it saw", looked_at), ("test", test))
]
chapter.facts["flatter"] = flatter
display(Markdown(f"{min(shares_tried):.0%} of all heads and neurons kept, untuned and untrained:"))
pages.table(flatter)

# %% [markdown]
# ## 4.14 One set of weights for many sizes
#
# DynaBERT goes another way: heads and neurons are sorted by importance once, then *one* model is trained such that its first
# half, its first quarter, every second of its layers, each alone, answer well. At deployment the size is cut to the machine,
# without training anew.

# %%
if elastic_widths and elastic_depths:
    sizes = dynabert.sub_networks(elastic_widths, elastic_depths)
    sorted_model = dynabert.rewired(whole, scores)
    code = [Path(module.__file__) for module in (dynabert, distillation, teacher)]
    recipe = training.Recipe(
        retrain_epochs[0],
        batch_size,
        retrain_rates[1],
        dropout=dropout,
        freeze_words=True,
        evaluations_per_epoch=0,
        seed=seeds[0],
    )
    supernet, history = cache.train_or_load(
        lambda: sorted_model,
        chapter.folder / "models" / "elastic",
        train,
        dev,
        lambda model: dynabert.ElasticDistillation(model, outputs, sizes, weight_hidden=1.0),
        score,
        recipe,
        files.content_hash(outputs.key, [str(net) for net in sizes], *code),
    )

# %%
if elastic_widths and elastic_depths:
    by_depth = {}
    for net in sizes:
        found = on_dev(dynabert.cut(supernet, net))
        layers = len(dynabert.kept_layers(len(full), net.depth))
        line = by_depth.setdefault(f"{layers} of {len(full)} layers", {})
        line.setdefault(net.width, (net.width, *found))
    by_depth = {depth: list(line.values()) for depth, line in by_depth.items()}
    chapter.facts["elastic"] = {"minutes": history.seconds / 60, "dev": by_depth}
    figure = figures.elastic(
        by_depth, whole_dev, caption=f"{len(train)} training, {len(dev)} dev examples; one seed"
    )
    chapter.figure(figure, "elastic")
    display(figure)
else:
    display(Markdown("*Left out in this size: `elastic_widths` is empty.*"))

# %% [markdown]
# ## 4.15 The words nobody uses
#
# In a small model most weights are word embeddings, of which a request looks up a few. The task's training texts use a part
# of the vocabulary; the rows of all other words can go. A request with an unseen word is answered by the model with all
# words, loaded when that first happens, so no answer changes. That saves the download and the start; once a request has
# fallen back, both models are in memory.

# %%
everything = data.tokenize(
    data.load_split(task, "train", data_source, None), tokenizer, the_task.max_length
)
words = vocabulary.Vocabulary.of(
    everything, pruned.encoder.config.vocab_size, tokenizer.all_special_ids
)
small = vocabulary.prune(pruned, words)
fallback = vocabulary.WithFallback(
    predictors.torch_predictor(small), lambda: predictors.torch_predictor(pruned), words
)
one_by_one = measure.Variant("small vocabulary", fallback, plans["one by one"])
measure.check(one_by_one, requests, training.predict(pruned, requests), tolerance=1e-5)
of_words, of_requests = words.coverage(dev)
chapter.facts["vocabulary"] = vocabulary_row = {
    "words kept": f"{len(words.kept):,} of {words.size:,}",
    "MB, pruned": checkpoints.size_mb(pruned),
    "MB, small vocabulary": checkpoints.size_mb(small),
    "share of dev tokens kept": of_words,
    "share of dev requests without an unseen word": of_requests,
    "requests checked": fallback.requests,
    "of these fell back": fallback.fell_back,
}
pages.table([vocabulary_row])

# %% [markdown]
# ## 4.16 What it cost
#
# Accuracy is in the figures above. The rest is computing time, paid once; the latency table once on a machine.

# %%
spent |= {f"retraining, {name}": 60 * minutes(name) for name in retrained}
if elastic_widths and elastic_depths:
    spent["one set of weights"] = history.seconds
chapter.facts["seconds_spent"] = spent
pages.table([{"step": what, "seconds": value} for what, value in spent.items()], decimals=0)

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
# 3. Prune the pruned student once more: in 4.2 read the folder of chapter 4's own fact *pruned*. Does the second cut cost
#    more than the first, at the same share?
#
# **Next:** [chapter 5](05_quantization.ipynb) rounds what is left to eight bits.

# %%
chapter.save()
