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
# model, and which of them to take out is best decided by what each *costs in time on this machine*, not by how many
# operations it makes up.
#
# **Cost.** Minutes of search, a little accuracy, and a model of a shape that no stock class can hold.
#
# **Needs** chapters [1](01_baseline.ipynb) to [3](03_distillation.ipynb). **Leaves** a pruned student, chosen by a rule, and
# the rungs of all pruned shapes, as alternatives to each other.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs or BoolQ
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
stage_rates: list[float] = [1.0e-3, 2.0e-4]  # their peak learning rates
retrain_rounds: int = 1  # 1: in one step; more: gradually, all of the training after each
n_buckets: int = 2  # lengths at which the latency table is measured
n_levels: int = 3  # numbers of neurons in it
latency_rounds: int = 2  # its timing rounds
n_candidates: int = 2  # shapes whose loss is measured, for each target
min_kept: float = 0.99  # the rule: the fastest that keeps this share of the unpruned dev accuracy
elastic_widths: list[float] = [1.0, 0.5]  # one set of weights for many; empty leaves it out
elastic_depths: list[float] = [1.0, 0.5]  # its shares of the layers
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown, display

from fflib import batching, checkpoints, data, files, hardware, measure, pages, results, rungs
from fflib import figures_pruning as figures

chapter = results.Chapter("04_pruning", globals())
threads = hardware.set_threads(threads)
chapter.show_summary()

# %% tags=["hide-input"]
from fflib import (
    elastic,
    importance,
    latency,
    masks,
    pruning,
    retraining,
    runtime,
    sensitivity,
    shape_search,
    tasks,
    trained,
    training,
    vocabulary,
)
from fflib.objective import Objectives
from fflib.students import Stage
from fflib.teacher import Outputs

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads, {engine} fp32; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 4.1 Idea: take out what the answer does not need
#
# Attention has heads, the feed-forward part has neurons, a model has layers, a vocabulary has words. Each can be taken out
# as a block: rows of one matrix, columns of the next. What is left is a smaller *dense* model, which every engine runs as
# fast as its size allows. (Single weights set to zero save nothing on most engines: they multiply the zeros.)
#
# FastFormers removes the same share of heads and of neurons from every layer and trains again. This chapter asks three
# things more. *Which* parts, judged on training texts only? Is the training needed at all? And *how many* of each, in which
# layer, if what counts is time on this machine?

# %%
pages.source(pruning.slice_model)

# %% [markdown]
# ## 4.2 The model to prune
#
# The student of chapter 3, and the very dev and test examples it was chosen and scored on.

# %%
unpruned = results.read(run_dir, "03_distillation")["facts"]["student"]
student_folder = files.resolve(unpruned["folder"])
whole, tokenizer = (
    checkpoints.load(student_folder),
    checkpoints.load_tokenizer(str(student_folder)),
)
facts, the_task = results.read(run_dir, "01_baseline")["facts"], tasks.get_task(task)
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
def score(logits, labels):
    return tasks.score(the_task, logits, labels)


def on_dev(model):
    return tasks.scored(the_task, training.predict(model, dev), dev.labels, n_resamples)


full = [(shape.num_heads, shape.intermediate_size) for shape in whole.encoder.config.layers]
whole_dev = score(trained.predict_cached(whole, dev), dev.labels)
Markdown(
    f"**{unpruned['shape']}**: {len(full)} layers of {full[0][0]} heads and {full[0][1]:,} neurons; {whole_dev:.1%} on dev."
)

# %% [markdown]
# ## 4.3 How much does each part matter?
#
# Put a gate of 1 on every head and every neuron. The slope of the loss by a gate tells, to first order, how the loss would
# change if the gate closed. One forward and one backward pass over a few hundred *training* texts give the slopes of all
# gates, of each text on its own; their absolute values are averaged. The code of both papers leaves out the zeroing of
# gradients between batches and so averages the absolute value of running sums, which is another thing.

# %%
pages.source(importance.first_order)

# %%
texts = train.take(range(min(n_importance, len(train))))
checked = train.take(range(len(texts), min(len(texts) + n_importance // 2, len(train))))
assert len(checked), "n_retrain must be more than n_importance, so that texts are left to check on"
slopes = importance.gradients(whole, texts)
scores = importance.first_order(slopes)
figure = figures.importance_map(
    [layer.tolist() for layer in scores.heads],
    [layer.tolist() for layer in scores.neurons],
    f"{unpruned['shape']}; {len(texts)} training texts; run {run}, size {size}",
)
chapter.save_figure(figure, "importance")
figure

# %% [markdown]
# ## 4.4 Is that better than chance?
#
# The same number of heads and neurons in each layer, chosen by importance, by the size of their weights, or at random, with
# no training after. Magnitude is the obvious idea, and a trap: a head with small weights may be the one that matters.


# %%
def best_of(scores, counts):
    return pruning.keep_top(scores.heads, scores.neurons, counts)


def share_of(share):
    return [(round(share * heads), round(share * neurons)) for heads, neurons in full]


# %%
ways = {
    "importance": scores,
    "magnitude": importance.magnitude(whole),
    "random": importance.random(whole, seeds[0]),
}
lines = {
    way: [
        (share, *on_dev(pruning.slice_model(whole, *best_of(values, share_of(share)))))
        for share in shares_tried
    ]
    for way, values in ways.items()
}
chapter.facts["controls"] = lines
figure = figures.controls(
    lines,
    whole_dev,
    np.bincount(dev.labels).max() / len(dev),
    "share of heads and neurons kept in each layer",
    f"{unpruned['shape']}, no retraining, {len(dev)} dev examples; run {run}, size {size}",
)
chapter.save_figure(figure, "controls")
figure

# %% [markdown]
# ## 4.5 Predict: what would a smaller layer save?
#
# Operations fall in a straight line with every head and neuron. Time need not: a width that does not fill the processor's
# vectors costs as much as the next one that does, and what surrounds the products, from copies to the LayerNorm, stays. So
# both halves of a layer are timed on the engine that will serve, with any number of heads and many numbers of neurons, at
# lengths the task has; once on a machine, then kept. The sum of a model's halves, and of what it has around them, *predicts*
# its latency.

# %%
heads_tried = latency.head_levels(max(heads for heads, _ in full))
neurons_tried = latency.neuron_levels(max(neurons for _, neurons in full), n_levels)
buckets = latency.buckets(dev.lengths, n_buckets)
table = latency.measure_table(
    whole, engine, threads, heads_tried, neurons_tried, buckets, latency_rounds
)
whole_ms = table.model_ms(whole.encoder.config.layers, dev.lengths)


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
chapter.save_figure(figure, "flop_and_time")
figure

# %% [markdown]
# How far is the number of heads from telling the time?

# %%
(_, operations), (_, times) = (np.array(curves["heads"][name]).T for name in ("operations", "time"))
saved = (np.diff(times) / np.diff(operations))[::-1]  # from all heads down, one by one
idle = [int(n) for n, share in zip(heads_tried[:0:-1], saved, strict=True) if share < 0.5]
chapter.facts["latency_table"] = curves
Markdown(
    f"Taking one head out saves between {saved.min():.0%} and {saved.max():.0%} of the time that its share of the operations "
    f"would promise. Less than half of it: {', '.join(f'from {n} to {n - 1}' for n in idle) or 'nowhere'}. With no head at "
    f"all, half a layer still takes {times[0]:.0%} of its time; with no neuron, {curves['neurons']['time'][0][1]:.0%}."
)

# %% [markdown]
# ## 4.6 Which shape for a given time?
#
# For every layer the search may keep any number of heads with any number of neurons, or drop the layer. It knows two things
# of each choice: its time, from the table, and its loss, measured by cutting just this half layer and comparing the answers
# on training texts (mean Kullback-Leibler divergence). Exactly one choice per layer, total time within the budget, least
# total loss: a knapsack, solved exactly by dynamic programming.
#
# That losses add up is only an estimate, so the search is repeated with losses scaled at random, and of all candidates the
# one wins whose loss, measured *as a whole* on other training texts, is least (after ZipLM, which adds such a search to its
# measured latencies).

# %%
pages.source(shape_search.solve)

# %%
losses = sensitivity.measure(whole, scores, checked, heads_tried, neurons_tried)
choices = shape_search.options(table, dev.lengths, *losses)
expected = training.predict(whole, checked)


def cut(counts, tuning="weights"):
    return masks.tune(whole, best_of(scores, counts), texts, tuning)


def loss_of(shape):
    answers = training.predict(cut([option.counts for option in shape]), checked)
    return sensitivity.divergence(answers, expected)


around = table.model_ms([], dev.lengths)  # the time of a model without layers
searched = {
    speedup: shape_search.search(
        choices, whole_ms / speedup, loss_of, n_candidates, seeds[0], around
    )
    for speedup in speedups_wanted
}

# %% [markdown]
# Beside the searched shapes stand the paper's uniform ones, the uniform shape that is predicted to be as fast as each
# searched one, and models of fewer layers. Predicted speed-ups are for one request at a time.

# %%
counts, kinds = {}, {}
for text in uniform_tried:
    counts[f"uniform {text}"] = pruning.uniform(text, whole.encoder.config.layers)
    kinds[f"uniform {text}"] = "uniform"
for speedup, (shape, _) in searched.items():
    counts[f"for {speedup:g} times"] = [option.counts for option in shape]
    kinds[f"for {speedup:g} times"] = "latency-aware"
    counts[f"uniform at {speedup:g} times"] = shape_search.uniform_at(
        table, dev.lengths, whole.encoder.config.layers, whole_ms / speedup
    )
    kinds[f"uniform at {speedup:g} times"] = "uniform"
for left in depths_tried:
    best = sorted(np.argsort(losses.removed)[::-1][:left])
    counts[f"{left} of {len(full)} layers"] = [
        pair if i in best else None for i, pair in enumerate(full)
    ]
    kinds[f"{left} of {len(full)} layers"] = "depth"


# %%
untrained = {name: cut(wanted) for name, wanted in counts.items()}
predicted = {
    name: table.model_ms(model.encoder.config.layers, dev.lengths)
    for name, model in untrained.items()
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
chapter.save_figure(figure, "shapes")
figure

# %% [markdown]
# ## 4.7 Do it, without training
#
# Kwon et al. (2204.09656) prune without any training, in three steps: choose by the Fisher information of the gates (the
# mean *square* of their slopes); exchange parts while that lowers the interaction among the removed ones (*rearranged*);
# then let the rest make up for the loss, by least squares, layer after layer. Their *masks* scale each head and neuron by
# one number. Why stop there? The same equations, solved for the whole output matrix of each half layer, give *weights*.

# %%
pages.source(masks.mask_values)

# %%
example = list(counts)[min(len(uniform_tried), len(counts) - 1)]
if None in counts[example]:
    example = f"uniform {uniform_tried[-1]}"
selections = {
    "importance": best_of(scores, counts[example]),
    "Fisher, rearranged": masks.keep(slopes, counts[example]),
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
    for model in [masks.tune(whole, kept, texts, tuning)]
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
# The paper's way: distil once more, the unpruned model being the teacher, with the two stages of chapter 3. It starts from
# the tuned cut. With more `retrain_rounds` the parts go gradually, each round choosing anew among what is left.


# %%
outputs = Outputs(whole, train, teacher_cache_gb)
OBJECTIVES = Objectives(hidden=1.0), Objectives(logits=1.0)


def stages_of(seed):
    plans = zip(("inside", "answers"), OBJECTIVES, retrain_epochs, stage_rates, (0, 1), strict=True)
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
models = {(name, False): model for name, model in untrained.items()}
models |= {(name, True): runs[0][0] for name, runs in retrained.items()}
dev_scores = {
    key: score(trained.predict_cached(model, dev), dev.labels) for key, model in models.items()
}


def minutes(name):
    return sum(h.seconds for _, histories in retrained.get(name, []) for h in histories) / 60


pages.table(
    [
        {
            "shape": name,
            "predicted speed-up": whole_ms / predicted[name],
            "dev %, tuned only": 100 * dev_scores[name, False],
            "dev %, retrained": 100 * dev_scores.get((name, True), np.nan),
            "minutes of retraining": minutes(name),
        }
        for name in counts
    ]
)

# %% [markdown]
# ## 4.9 Check
#
# Of each shape the better one on dev is served, tuned or retrained. On the engine it must give the logits that PyTorch
# gives, in every batch it is timed in. The exported graph itself was compared with the model when it was written.

# %%
served = {
    name: max((key for key in models if key[0] == name), key=dev_scores.get) for name in counts
}
serving = {"unpruned": whole} | {name: models[key] for name, key in served.items()}
picked = batching.evenly_by_length(test.lengths, n_requests)
requests = test.take(picked)
best_kind, best_size = results.read(run_dir, "02_batching")["facts"]["best"]
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
variants, engines = {}, {}
for name, model in serving.items():
    predict, engines[name] = runtime.serving(model, engine, threads, onnx_folder(name))
    variants |= {v.name: v for v in variants_of(name, model, predict, plans)}
below = runtime.torch_predictor(runtime.eager(whole)[0])
below = variants_of("rung below", whole, below, {"best batching": plans["best batching"]})
variants |= {v.name: v for v in below}
worst = max(variant.checked.max_abs_difference for variant in variants.values())
Markdown(f"Largest difference of a logit: {worst:.1e}; every label is the same.")

# %% [markdown]
# ## 4.10 Measure
#
# All in the same rounds, the rung below (the unpruned student in PyTorch) among them.

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
chapter.save_figure(figure, "predicted")
figure

# %% [markdown]
# The same with two instances: each has one thread and half the cores, and answers requests of its own. What an instance
# gains by not waiting for another thread, the single request pays: it has one thread only.


# %%
def two_at_once():
    """Requests per second of each model with two instances, the median of interleaved rounds."""
    batches = [batching.collate(requests, group).inputs for group in plans["one by one"]]
    pairs = {
        name: [runtime.serving(model, engine, 1, onnx_folder(name))[0] for _ in range(2)]
        for name, model in serving.items()
    }
    right = {name: training.predict(model, requests) for name, model in serving.items()}
    seconds = {name: [] for name in pairs}
    for _ in range(rounds + 1):  # the first warms up
        for name, pair in pairs.items():
            answers, wall, _ = runtime.in_parallel(pair, batches)
            seconds[name].append(wall)
            assert np.allclose(np.concatenate(answers), right[name], atol=1e-3)
    return {name: len(batches) / np.median(walls[1:]) for name, walls in seconds.items()}


instances = two_at_once() if engine == "onnxruntime" else {}

# %%
chapter.facts["speed"] = speed = [
    {
        "shape": name,
        "predicted ms": guess[name],
        "measured ms": mean_ms[name],
        "measured / predicted": mean_ms[name] / guess[name],
        "speed-up": mean_ms["unpruned"] / mean_ms[name],
        "requests/s": alone[name].throughput_per_s,
        "two instances, requests/s": instances.get(name),
        "their speed-up": instances[name] / instances["unpruned"] if instances else None,
        "in the best batches, requests/s": timings[f"{name}, best batching"].throughput_per_s,
    }
    for name in serving
]
pages.table(speed)

# %% [markdown]
# ## 4.11 Choose on dev, report on test
#
# The rule is a parameter: the fastest model, one request at a time, that keeps `min_kept` of the unpruned accuracy **on
# dev**. Test takes no part in it.

# %%
floor = min_kept * whole_dev
holding = [name for name in counts if dev_scores[served[name]] >= floor]
chosen = (
    min(holding, key=mean_ms.get) if holding else max(counts, key=lambda n: dev_scores[served[n]])
)
pruned = serving[chosen]
outcome = "is the fastest that keeps" if holding else "is the most accurate, but none keeps"
Markdown(
    f"Of {len(counts)} shapes, **{chosen}** ({'retrained' if served[chosen][1] else 'tuned only'}) {outcome} {min_kept:.0%} "
    f"of the unpruned accuracy on dev: {mean_ms['unpruned'] / mean_ms[chosen]:.2f} times as fast, "
    f"{dev_scores[served[chosen]]:.1%} against {whole_dev:.1%}."
)


# %%
def on_test(model):
    return tasks.scored(the_task, trained.predict_cached(model, test), test.labels, n_resamples)


whole_test, tested = on_test(whole), {key: on_test(model) for key, model in models.items()}


def point(name, scored, **more):
    where = {"x": mean_ms[name], "accuracy": scored.value, "low": scored.low, "high": scored.high}
    return {"name": name, **where, **more}


points = [
    point(
        name,
        tested[name, again],
        kind=kinds[name],
        retrained=again,
        chosen=served[chosen] == (name, again),
    )
    for name, again in models
]
figure = figures.pareto(
    points,
    point("unpruned", whole_test),
    min_kept * whole_test.value,
    f"{caption}; {n_requests} requests, one by one; {len(test)} test examples",
    floor_label=f"{min_kept:.0%} of the unpruned",
)
chapter.save_figure(figure, "pareto")
figure

# %% [markdown]
# At equal predicted time, is the searched shape the more accurate one? The difference is paired, so texts that are hard for
# both do not blur it; a row for each seed of the retraining.

# %%
DIFFERENCE = ("searched less uniform, points", "95 % from", "to")


def against_uniform(speedup, how, searched_model, uniform_model):
    ours, theirs = (trained.predict_cached(m, test) for m in (searched_model, uniform_model))
    paired = tasks.difference_interval(the_task, ours, theirs, test.labels, resamples=n_resamples)
    values = dict(zip(DIFFERENCE, 100 * np.array(paired), strict=True))
    return {"target": f"{speedup:g} times", "how": how, **values}


rows = []
for speedup in speedups_wanted:
    pair = f"for {speedup:g} times", f"uniform at {speedup:g} times"
    rows += [against_uniform(speedup, "tuned only", *(untrained[name] for name in pair))]
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
    rung = rungs.Rung(
        label,
        stacks_on=stacks_on,
        model=unpruned["shape"] if name == "unpruned" else f"{unpruned['shape']}, {name}",
        engine=engines[name],
        precision="fp32",
        batching=earlier["best batching"]["batching"],
        batch_size=round(np.mean([len(group) for group in variant.plan])),
        threads=threads,
        model_mb=checkpoints.size_mb(model),
    )
    rung.timed(timing, variant.checked, usd_per_hour)
    return rung.scored(scored.value, (scored.low, scored.high), teacher_test)


earlier = {r["rung"]: r for r in results.read(run_dir, "02_batching")["rungs"]}
baselines = {r["rung"]: r for r in results.read(run_dir, "01_baseline")["rungs"]}
teacher_test = baselines["teacher unpadded"]["accuracy"]
whole_label = "ONNX Runtime" if engine == "onnxruntime" else "student again"
first = rung_of("unpruned", whole, "distilled student", whole_test, whole_label)
first.anchor_per_s = timings["rung below, best batching"].throughput_per_s
chapter.add(first)

# %%
labels = {n: f"pruned {n.split()[-1]}" for n in counts if n.split()[-1] in uniform_tried}
labels |= {name: f"pruned to {name}" for name in counts if kinds[name] == "depth"}
latency_aware = [name for name in counts if kinds[name] == "latency-aware"]
fast_enough = [name for name in latency_aware if name in holding] or latency_aware
if fast_enough:
    best_search = chosen if chosen in fast_enough else min(fast_enough, key=mean_ms.get)
    labels[best_search] = "pruned for latency"
labels.setdefault(chosen, f"pruned, {chosen}")
for name, label in labels.items():
    chapter.add(rung_of(name, serving[name], whole_label, tested[served[name]], label))

# %%
folder = chapter.folder / "models" / "pruned-student"
checkpoints.save(pruned, folder, tokenizer)
chapter.facts["goes_on_from"] = labels[chosen]
chapter.facts["pruned"] = {
    "name": chosen,
    "folder": files.shown(folder),
    "met_the_rule": bool(holding),
    "counts": counts[chosen],
    "retrained": served[chosen][1],
    "accuracy": tested[served[chosen]].value,
    "kept_of_unpruned": tested[served[chosen]].value / whole_test.value,
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
peeked = importance.first_order(
    importance.gradients(whole, dev.take(range(min(len(texts), len(dev)))))
)
hard = share_of(min(shares_tried))
flatter = [
    {
        "importance from": source,
        "dev %": 100 * score(training.predict(model, dev), dev.labels),
        "test %": 100 * score(training.predict(model, test), test.labels),
    }
    for source, values in (("train", scores), ("dev", peeked))
    for model in [pruning.slice_model(whole, *best_of(values, hard))]
]
chapter.facts["flatter"] = flatter
gap = [row["dev %"] - row["test %"] for row in flatter]
display(pages.table(flatter))
Markdown(
    f"Choosing on dev moves dev by {gap[1] - gap[0]:+.1f} points against test, at {min(shares_tried):.0%} of all heads and "
    "neurons, untrained."
)

# %% [markdown]
# ## 4.14 One set of weights for many sizes
#
# DynaBERT goes another way: heads and neurons are sorted by importance once, then *one* model is trained such that its first
# half, its first quarter, every second of its layers, each alone, answer well. At deployment the size is cut to the machine,
# without training anew. It pays where one model goes to many machines.

# %%
if elastic_widths:
    sizes = elastic.sub_networks(elastic_widths, elastic_depths)
    recipe = training.Recipe(
        retrain_epochs[0],
        batch_size,
        stage_rates[1],
        dropout=dropout,
        freeze_words=True,
        evaluations_per_epoch=0,
        seed=seeds[0],
    )
    supernet, history = trained.train_or_load(
        lambda: elastic.rewired(whole, scores),
        chapter.folder / "models" / "elastic",
        train,
        dev,
        lambda model: elastic.ElasticDistillation(model, outputs, sizes, weight_hidden=1.0),
        score,
        recipe,
        files.content_hash(trained.weights_hash(whole), outputs.key, [str(s) for s in sizes]),
    )

# %%
if elastic_widths:
    by_depth = {}
    for net in sizes:
        found = on_dev(elastic.cut(supernet, net))
        layers = len(elastic.kept_layers(len(full), net.depth))
        by_depth.setdefault(f"{layers} of {len(full)} layers", []).append((net.width, *found))
    chapter.facts["elastic"] = {"minutes": history.seconds / 60, "dev": by_depth}
    figure = figures.elastic(
        by_depth, whole_dev, caption=f"{len(train)} training, {len(dev)} dev examples; one seed"
    )
    chapter.save_figure(figure, "elastic")
    display(figure)
else:
    display(Markdown("*Left out in this size: `elastic_widths` is empty.*"))

# %% [markdown]
# ## 4.15 The words nobody uses
#
# In a small model most weights are word embeddings. They cost no time, but memory and a download. The task's training texts
# use a part of the vocabulary; the rows of all other words can go. A request with an unseen word is answered by the whole
# model, loaded when that first happens, so every answer stays exactly what it was.

# %%
everything = data.tokenize(
    data.load_split(task, "train", data_source, None), tokenizer, the_task.max_length
)
words = vocabulary.Vocabulary.of(
    everything, pruned.encoder.config.vocab_size, tokenizer.all_special_ids
)
small = vocabulary.prune(pruned, words)
fallback = vocabulary.WithFallback(
    runtime.torch_predictor(small), lambda: runtime.torch_predictor(pruned), words
)
one_by_one = measure.Variant("small vocabulary", fallback, plans["one by one"])
measure.check(one_by_one, requests, training.predict(pruned, requests))
of_words, of_requests = words.coverage(dev)
chapter.facts["vocabulary"] = vocabulary_row = {
    "words kept": f"{len(words.kept):,} of {words.size:,}",
    "MB, pruned": checkpoints.size_mb(pruned),
    "MB, small vocabulary": checkpoints.size_mb(small),
    "share of dev tokens kept": of_words,
    "share of dev requests without an unseen word": of_requests,
}
pages.table([vocabulary_row])

# %% [markdown]
# ## 4.16 What it cost
#
# Accuracy is in the figures above. The rest is computing time, paid once; the latency table once per machine.

# %%
spent = {f"retraining, {name}": minutes(name) for name in retrained}
if elastic_widths:
    spent["one set of weights"] = history.seconds / 60
chapter.facts["training_minutes"] = spent
pages.table([{"trained": what, "minutes": value} for what, value in spent.items()])

# %% [markdown]
# ## 4.17 When it does not pay
#
# - **Little is left to take.** A student that is just large enough loses with the first head. Look at the controls first.
# - **The time is elsewhere.** Embeddings, LayerNorms, copies and the call itself do not shrink with heads and neurons. The
#   latency table tells when the rest has become the larger part.
# - **The engine wants a stock shape.** Fused attention kernels that take the number of heads from a config compute nonsense
#   on a pruned model, silently. Chapter 6 shows it.
# - **The text is of another kind than the training texts.** Parts that seemed useless may be what that text needs, and more
#   of its words will be unseen.
#
# ## 4.18 Exercises
#
# 1. Ask for the unreachable: `speedups_wanted=[1000]`. What does the message offer, and what limits it?
# 2. Build the latency table at one short and one long length (`n_buckets`). For which is attention the larger half?
# 3. Prune the pruned student once more. Does the second cut cost more than the first, at the same share?
#
# **Next:** [chapter 7](07_story.ipynb) puts the rungs together.

# %%
chapter.save()
