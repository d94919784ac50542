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
# # 5 · Quantisation: eight bits that keep their accuracy
#
# **Claim.** A model's weights and what flows through it can be rounded to whole numbers of eight bits, and the processor
# multiplies more of these in the same time. Done right, the answers hardly change. Other ways look as good on paper and can
# destroy the model; this chapter runs them beside each other.
#
# **Cost.** A rounding error in every product, and answers that may depend on who else is in the batch.
#
# **Needs** chapters [1](01_baseline.ipynb) to [4](04_pruning.ipynb). **Leaves** the model of chapter 4 in eight bits, chosen
# by a rule, and its rungs, apart from what the engine itself had brought.

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
recipes_tried: list[str] = ["dynamic", "static, entropy"]  # checked on every model
recipes_served: list[str] = ["dynamic", "static, smoothed"]  # a rung each; the story takes one
n_calibrate: int = 8  # training texts that show what values flow
n_check: int = 16  # dev texts on which every recipe is checked; 0 takes all of n_dev
min_agreement: float = 0.5  # a file that keeps fewer of the original's labels is not served
max_points_lost: float = 0.5  # the rule: a served recipe may lose this much on dev
quantized_training: str = "when needed"  # learn with the rounding: never, when needed or always
n_retrain: int = 64  # training examples of the retraining; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
quantized_rate: float = 1.0e-4  # peak learning rate of the training with rounding
seeds: list[int] = [0]  # the first is that of the training with rounding
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
product_tokens: list[int] = [8, 128]  # numbers of tokens at which single products are timed
product_seconds: float = 0.01  # time for each of them
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import time

import numpy as np
import torch
from IPython.display import Markdown, display
from scipy.stats import binomtest

from fflib import display as pages
from fflib import files
from fflib.book.bench import Bench
from fflib.data import batching
from fflib.data import splits as data
from fflib.measure import hardware
from fflib.measure import timing as measure
from fflib.model import checkpoints
from fflib.quantization import figures
from fflib.runs import ladder, records

chapter = Bench.open("05_quantization", globals())
threads = chapter.threads

# %% tags=["hide-input"]
from fflib.data import metrics, registry
from fflib.distillation import teacher
from fflib.distillation.objective import Objectives
from fflib.engine import export, gemm, int8_graph, int8_support, predictors
from fflib.model import cache, training
from fflib.quantization import agreement, calibration, half_precision, qat, recipes
from fflib.runtime import engines, openvino

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 5.1 Idea: round to whole numbers, and keep the scale
#
# A weight of a matrix becomes a code from -127 to 127: itself, divided by a *scale*, rounded. *Symmetric* means that zero has
# the code 0; otherwise zero has a code of its own, the *zero point*, and all 255 codes cover what lies between the least and
# the largest value. So it is done, at run time, with what flows into the product, the *activations*. The processor multiplies
# and adds the codes as whole numbers, and one multiplication with both scales turns the sums back into fp32. All is in the
# choice of the scales.

# %%
pages.source(int8_graph.weight_codes, int8_graph.activation_codes)

# %% [markdown]
# ## 5.2 What can this processor do?
#
# Eight-bit products pay only where the processor has instructions for them: *VNNI* and *AMX* on newer x86 processors, the dot
# product on Arm. Older x86 processors also have a trap: they add *two* products in sixteen bits, and a sum that does not fit
# is cut off without a word. Weights of seven bits (`reduce_range` in ONNX Runtime) cannot overflow. What the instruction sets
# say is checked by asking the engine itself, with the largest codes.

# %%
# A slip in the parameters stops here, before anything takes time.
files.check_known("recipe", [*recipes_tried, *recipes_served], recipes.RECIPES)
files.check_known("training", [quantized_training], ("never", "when needed", "always"))
if not (recipes_served and seeds) or n_check == 1 or len({*recipes_served}) < len(recipes_served):
    raise files.InputError(
        "give recipes to serve, each once, a seed, and n_check of 2 or more, or 0"
    )
support = int8_support.int8_support()
bits = recipes.safe_weight_bits()
chapter.facts["int8"] = {
    "instructions": support.instructions,
    "the engine cuts off sums": int8_support.saturates_here(),
    "bits of a safe weight": bits,
    "most that int8 can gain in a product": support.speedup_limit,
}
display(pages.table([chapter.facts["int8"]]))
warning = int8_support.int8_warning(support, weight_bits=8)
Markdown(f"With weights of eight bits: {warning or 'nothing to warn of.'}")

# %% [markdown]
# ## 5.3 Three models, as graphs
#
# The teacher, the student of chapter 3, and what chapter 4 made of it. Export is the step of
# [chapter 4](04_pruning.ipynb): one file for any batch and length, kept only if its logits agree with PyTorch's.

# %%
facts, the_task = records.current(run_dir, "01_baseline")["facts"], registry.get_task(task)
student_facts = records.current(run_dir, "03_distillation")["facts"]["student"]
pruning_facts = records.current(run_dir, "04_pruning")["facts"]
pruned_facts = pruning_facts["pruned"]
folders = {
    "teacher": facts["teacher"]["folder"],
    "student": student_facts["folder"],
    "pruned student": pruned_facts["folder"],
}
models = {name: checkpoints.load(files.resolve(folder)) for name, folder in folders.items()}
onnx_names = {
    "teacher": "teacher",
    "student": "unpruned",
    "pruned student": pruned_facts["shape"].replace("/", "-"),
}
sources = {
    name: export.save_onnx(
        model, chapter.folder / "models" / "onnx" / onnx_names[name] / "model.onnx"
    )
    for name, model in models.items()
}

# %%
splits = {
    name: data.load_split(task, name, data_source, limit or None)
    for name, limit in (("train", n_retrain), ("dev", n_dev), ("test", n_test))
}
for name in ("dev", "test"):
    assert splits[name].fingerprint == facts["data_fingerprint"][name], "chapter 1 saw other data"
chapter.facts["data_fingerprint"] = facts["data_fingerprint"]
tokenizers = {
    name: checkpoints.load_tokenizer(str(files.resolve(folder))) for name, folder in folders.items()
}
texts = {  # each model in its own tokens: a student may have another vocabulary
    name: {
        split: data.tokenize(examples, tokenizer, the_task.max_length)
        for split, examples in splits.items()
    }
    for name, tokenizer in tokenizers.items()
}
final = (
    "pruned student" if pruned_facts["met_the_rule"] else "student"
)  # what the story goes on with
dev, test = texts[final]["dev"], texts[final]["test"]
picked = batching.evenly_by_length(test.lengths, n_requests)
requests = {name: parts["test"].take(picked) for name, parts in texts.items()}
mean_length = round(float(requests[final].lengths.mean()))

# %% [markdown]
# ## 5.4 Predict: what can the products gain?
#
# The same products, [tokens x inner] by [inner x outer], in fp32 and in int8, in ONNX Runtime. The dashed line is as far as the
# instructions go, counted against fp32 at its best in this figure; a product whose fp32 rate is poor may gain more. With few
# tokens a call, and the waking of its threads, cost more than the product itself.

# %%
config = models["student"].encoder.config
inside = max(layer.intermediate_size for layer in config.layers)
hidden = config.hidden_size
shapes = [(hidden, hidden), (hidden, inside), (inside, hidden)]
rates = {
    (inner, outer): gemm.product_rates(
        [(tokens, inner, outer) for tokens in product_tokens], threads, product_seconds
    )
    for inner, outer in shapes
}
rows = [
    (
        f"{inner:,} to {outer:,}",
        product_tokens,
        [r.fp32_gop_per_s for r in found],
        [r.int8_gop_per_s for r in found],
    )
    for (inner, outer), found in rates.items()
]
chapter.facts["product_rates"] = [
    dict(zip(("product", "tokens", "fp32", "int8"), row, strict=True)) for row in rows
]
figure = figures.product_rates(rows, support.speedup_limit, caption)
chapter.figure(figure, "product_rates")
figure

# %% [markdown]
# What is left of that for a whole model? Only its products with constant weights get faster. ONNX Runtime's own profiler
# tells their share of the time of a request of mean length; the timings of such products alone tell by how much they shrink.
# Together (Amdahl's law) that predicts what section 5.10 measures.


# %%
def products_of(model):
    """The products with constant weights, as (inner, outer), of all layers."""
    hidden = model.encoder.config.hidden_size
    for layer in model.encoder.config.layers:
        width = layer.num_heads * layer.head_size
        inside = layer.intermediate_size
        yield from [(hidden, width)] * 3 + [(width, hidden), (hidden, inside), (inside, hidden)]


def time_left(model):
    """The time of all these products in int8, as a share of that in fp32, at the mean length."""
    found = [shape for shape in products_of(model) if min(shape)]
    each = dict.fromkeys(found)
    rates = gemm.product_rates([(mean_length, *shape) for shape in each], threads, product_seconds)
    rate_of = dict(zip(each, rates, strict=True))
    ms = [
        sum(inner * outer / getattr(rate_of[inner, outer], kind) for inner, outer in found)
        for kind in ("int8_gop_per_s", "fp32_gop_per_s")
    ]
    return ms[0] / ms[1]


# %%
nearest = int(np.abs(requests[final].lengths - mean_length).argmin())
predicted = []
for name, model in models.items():
    node_ms = predictors.node_ms(
        sources[name],
        predictors.session_options(threads),
        batching.collate(requests[name], [nearest]).inputs,
    )
    inside_products = [
        node.name
        for nodes in int8_graph.products(recipes.load(sources[name]).graph).values()
        for node in nodes
    ]
    share = sum(node_ms.get(node, 0) for node in inside_products) / sum(node_ms.values())
    left = time_left(model)
    row = {"model": name, "share of the products": share, "their speed-up in int8": 1 / left}
    predicted.append(row | {"predicted speed-up": 1 / (1 - share + share * left)})
chapter.facts["predicted"] = predicted
pages.table(predicted)

# %% [markdown]
# ## 5.5 Why attention stays in fp32
#
# Weights are rounded and *packed*, laid out as the processor wants them, once. Inside attention, queries meet keys and
# shares meet values: both factors are new in each call, and rounding and packing both takes time that a small product may
# not win back. FastFormers leaves these two products in fp32, and so do all recipes here. Is that still right? The first two
# are those of one head, the third is a product with weights; each also as if one factor were constant.

# %%
layer = config.layers[0]
tried = {
    f"queries by keys, {layer.head_size} wide": (mean_length, layer.head_size, mean_length),
    f"shares by values, {layer.head_size} wide": (mean_length, mean_length, layer.head_size),
    f"feed-forward, {hidden:,} to {inside:,}": (mean_length, hidden, inside),
}
measured = gemm.packing(list(tried.values()), threads, product_seconds)
packed = [{"name": name} | row for name, row in zip(tried, measured, strict=True)]
chapter.facts["packing"] = packed
figure = figures.packing(packed, f"{caption}; {mean_length} tokens")
chapter.figure(figure, "packing")
display(figure)
gains = [row["fp32, both computed, us"] / row["int8, both computed, us"] for row in packed[:2]]
Markdown(
    f"Inside attention int8 would be {gains[0]:.2f} and {gains[1]:.2f} times as fast as fp32: "
    + (
        "not worth its rounding error."
        if max(gains) < 1.3
        else "here it would pay, if the answers bear it."
    )
)

# %% [markdown]
# ## 5.6 Scales of the weights: one a column
#
# With one scale for a whole matrix, its largest weight sets the step for all columns, and a column of small weights is left
# with few codes. A scale for each column costs nothing: it joins the multiplication at the end. Here are the matrices of this
# run's model that lose most and least by one scale.


# %%
def rounding_error(weight, per_column):
    """Mean square of the rounding error, as a share of the weights' variance, and the codes."""
    codes, scale, _ = int8_graph.weight_codes(weight, bits, per_column)
    return float(np.square(weight - codes * scale).mean() / weight.var()), codes


linears = {
    name: module.weight.detach().T.numpy()  # [inputs, outputs], as in the graph
    for name, module in models[final].encoder.layers.named_modules()
    if isinstance(module, torch.nn.Linear) and module.weight.numel()
}
errors = {name: rounding_error(weight, False)[0] for name, weight in linears.items()}
worst, best = max(errors, key=errors.get), min(errors, key=errors.get)
shown = {
    f"layer {n.split('.')[0]}: {' '.join(n.split('.')[1:])}": linears[n] for n in (worst, best)
}
figure = figures.weight_scales(
    shown,
    f"{final}; weights of {bits} bits; run {run}, size {size}",
    steps=int8_graph.largest_code(bits),
)
chapter.figure(figure, "weight_scales")
figure

# %%
(error_tensor, one_scale), (error_column, a_column) = (
    rounding_error(linears[worst], way) for way in (False, True)
)
figure = figures.weight_codes(
    one_scale,
    a_column,
    f"{final}, {worst}; weights of {bits} bits; run {run}, size {size}",
    error_tensor=error_tensor,
    error_column=error_column,
)
chapter.facts["rounding"] = {
    "matrix": worst,
    "one scale": error_tensor,
    "a scale per column": error_column,
}
chapter.figure(figure, "weight_codes")
figure

# %% [markdown]
# ## 5.7 Scales of what flows in: dynamic or static
#
# *Dynamic*: at each call, look for the least and the largest value of the tensor. *Static*: fix the range beforehand, on a
# few training texts; that is *calibration*. It saves the search, and no answer depends on other requests. But which range?
# All values ever seen (*largest*); the middle 99.99 per cent of them (*percentile*); or the one that keeps the most
# information, by relative entropy (*entropy*), a favourite for images. In a transformer a few channels carry values far
# beyond the rest. Do they matter? Section 5.9 tells.

# %%
calibrations = {
    name: calibration.Calibration(
        recipes.load(sources[name]),
        texts[name]["train"].take(range(min(n_calibrate, len(splits["train"])))),
        threads,
    )
    for name in models
}
histograms = calibrations[final].histograms
widest = max(
    histograms,
    key=lambda name: histograms[name].channels.max() / np.median(histograms[name].channels),
)
read_by = int8_graph.readers(calibrations[final].model.graph)[widest]
sizes = histograms[widest].absolute()
clips = {
    method: max(abs(end) for end in calibration.range_of(histograms[widest], method))
    for method in calibration.METHODS
}
pages.source(calibration.entropy_clip)

# %%
centres = (sizes.edges[:-1] + sizes.edges[1:]) / 2
figure = figures.activations(
    np.repeat(centres, np.ceil(sizes.counts).astype(int)),
    clips,
    f"{final}, {len(calibrations[final].texts)} training texts; run {run}, size {size}",
    f"what goes into {read_by}",
)
channels, (low, high) = (
    histograms[widest].channels,
    calibration.range_of(histograms[widest], "largest"),
)
chapter.facts["activations"] = {
    "tensor": read_by,
    "clips": clips,
    "largest channel": float(channels.max()),
    "median channel": float(np.median(channels)),
}
chapter.figure(figure, "activations")
display(figure)
Markdown(
    f"The largest channel reaches {channels.max():.1f}, the median one {np.median(channels):.1f}: with one scale for all values "
    f"the median channel is left with {255 * 2 * np.median(channels) / (high - low):.0f} of 255 codes at most."
)

# %% [markdown]
# ## 5.8 Smoothing: move the outliers into the weights
#
# Divide a loud channel by some factor, and multiply the weights that it meets by the same: nothing changes in fp32, but
# the loud channel no longer sets the scale for all. The factors come from the calibration texts (SmoothQuant, 2211.10438).

# %%
pages.source(int8_graph.smoothed)

# %%
even = calibrations[final].smoothed
name = f"{widest}.smoothed"
loud, level = even.histograms[name].channels.max(), np.median(even.histograms[name].channels)
whole, same = (
    predictors.onnx_predictor(predictors.onnx_session(c.model, threads))
    for c in (calibrations[final], even)
)
few = batching.collate(dev, range(min(8, len(dev)))).inputs
off = float(np.abs(whole(few) - same(few)).max())
assert off < export.TOLERANCE, f"smoothing changed a logit by {off:.1e}"
Markdown(
    f"Smoothed, the loudest channel of this tensor is {loud / level:.1f} times the median one, against "
    f"{channels.max() / np.median(channels):.1f} times before; in fp32 the logits change by {off:.0e}."
)

# %% [markdown]
# ## 5.9 Do it, and check
#
# Every recipe on every model. What counts is how often the label stays, in the batches that are served and alone. A few texts
# of dev, long ones among them, are enough to see a recipe that breaks a model; the small losses of those that are served are
# measured below on all of dev, and then on test.
#
# *One scale a matrix* differs from *dynamic* in nothing else. *Library's default* is what ONNX Runtime does where it is told
# nothing, *paper* is FastFormers' code, *always 8 bits* ignores the processor's trap, *int4 weights* rounds the weights alone.

# %%
recipe_names = list(dict.fromkeys(recipes_tried + recipes_served))
chosen_recipes = {name: recipes.get_recipe(name) for name in recipe_names}
pages.table(
    [
        {
            "recipe": name,
            "bits of a weight": recipe.weight_bits,
            "a scale for": "a column" if recipe.per_column else "a matrix",
            "symmetric": "yes" if recipe.symmetric else "",
            "range of activations": recipe.activations,
            "smoothed": "yes" if recipe.smooth else "",
            "embeddings": "int8" if recipe.embeddings or recipe.everything else "fp32",
        }
        for name, recipe in chosen_recipes.items()
    ]
)

# %%
best_kind, best_size = records.current(run_dir, "02_batching")["facts"]["best"]
some = batching.evenly_by_length(dev.lengths, n_check or len(dev))
checked = {name: texts[name]["dev"].take(some) for name in models}
expected = {
    name: cache.predict_cached(model, texts[name]["dev"])[some] for name, model in models.items()
}


def int8_file(name, recipe, source, texts):
    """Write and return the file of a model by a recipe."""
    with export.quiet():  # 5.2 has warned already
        path = source.with_name(f"{recipe}.onnx")
        return recipes.quantize(source, path, chosen_recipes[recipe], texts)


def compared(name, predict):
    plan = batching.PLANS[best_kind](checked[name].lengths, best_size)
    return agreement.compare(predict, checked[name], plan, expected[name])


start, int8, true = time.perf_counter(), {}, {}
for name in models:
    for recipe in recipe_names:
        path = int8_file(name, recipe, sources[name], calibrations[name])
        int8[name, recipe] = path, predictors.onnx_predictor(predictors.onnx_session(path, threads))
        true[name, recipe] = compared(name, int8[name, recipe][1])
spent = {"calibrating, converting and checking": time.perf_counter() - start}
good = [key for key, found in true.items() if found.agreement >= min_agreement]

# %% [markdown]
# All in turn, one request at a time; they are many, so every third of the timed requests does. Recipes that break a model
# are timed too, to see what the damage would have bought; none of them is served.


# %%
# A broken model is timed too, so its answers are only noted; a served one must keep nearly what it kept on dev.
NOTED = {"tolerance": np.inf, "agreement": 0.0}
SERVED = {"tolerance": np.inf, "agreement": min_agreement - 0.1}


def one_by_one(name, label, predict, every=1, **tolerance):
    plan = batching.in_order(requests[name].lengths, 1)[::every]
    variant = measure.Variant(label, predict, plan, examples=requests[name])
    return measure.check(variant, requests[name], logits[name], **tolerance)


for name, path in sources.items():
    export.check_belongs(path, models[name])
logits = {name: training.predict(model, requests[name]) for name, model in models.items()}
original = {
    name: predictors.onnx_predictor(predictors.onnx_session(path, threads))
    for name, path in sources.items()
}
variants = [one_by_one(name, f"{name}, fp32", original[name], 3) for name in models]
variants += [
    one_by_one(name, f"{name}, {recipe}", predict, 3, **NOTED)
    for (name, recipe), (_, predict) in int8.items()
]
timings = measure.time_interleaved(variants, requests[final], rounds)
mean_ms = {label: 1e3 / timing.throughput_per_s for label, timing in timings.items()}


# %%
def table_row(name, recipe):
    found, ms = true.get((name, recipe)), mean_ms[f"{name}, {recipe}"]
    path = int8[name, recipe][0] if found else sources[name]
    got = found.logits if found else expected[name]
    same = metrics.kept(got, expected[name], checked[name].gold)
    interval = binomtest(round(same * len(got)), len(got)).proportion_ci(method="wilson")
    return {
        "model": name,
        "recipe": recipe,
        "MB": path.stat().st_size / 1e6,
        "labels kept %": 100 * same,
        "95 % from": 100 * interval.low,
        "largest change": found.max_change if found else None,
        "flips by batch": str(found.flips_by_batch) if found else "",
        "accuracy %": 100 * score(got, checked[name].gold),
        "ms": ms,
        "speed-up": mean_ms[f"{name}, fp32"] / ms,
        "95 % to": 100 * interval.high,
    }


def score(logits, gold):
    return metrics.score(the_task, logits, gold)


table = [table_row(name, recipe) for name in models for recipe in ["fp32", *recipe_names]]
chapter.facts["recipes"] = table
pages.table([{k: v for k, v in row.items() if not k.startswith("95")} for row in table])

# %%
drawn = [
    {"model": row["model"], "recipe": row["recipe"], "ms": row["ms"]}
    | {"agreement": row["labels kept %"] / 100, "default": row["recipe"] == recipes_served[0]}
    | {"low": row["95 % from"] / 100, "high": row["95 % to"] / 100}
    for row in table
]
figure = figures.recipes(
    drawn, f"{caption}; {len(some)} dev texts; {len(variants[0].plan)} requests, one by one"
)
chapter.figure(figure, "recipes")
display(figure)
least = {
    name: min(recipe_names, key=lambda recipe: true[name, recipe].agreement) for name in models
}
Markdown(
    "The worst recipe of each model: "
    + ", ".join(
        f"*{r}* ({name}: {true[name, r].agreement:.0%} of the labels)" for name, r in least.items()
    )
    + f". {len(true) - len(good)} of {len(true)} files keep fewer than {min_agreement:.0%} and are not served."
)

# %% [markdown]
# Does an answer depend on who else is in the batch? With dynamic scales it does: one loud request takes codes from the others,
# and so does padding. (A text that is alone in its batch does not change.)

# %%
kept = {recipe: true[final, recipe] for name, recipe in good if name == final}
if kept:
    figure = figures.batch_mates(
        {recipe: found.changes_by_batch for recipe, found in kept.items()},
        {recipe: (found.flips_by_batch, found.n) for recipe, found in kept.items()},
        f"{final}; {len(some)} dev texts, alone and in batches ({best_kind}, {best_size}); run {run}, size {size}",
    )
    chapter.figure(figure, "batch_mates")
    display(figure)

# %% [markdown]
# ## 5.10 Measure: what int8 is worth, beside the prediction
#
# The same engine, the same threads, the same requests; only the products differ.

# %%
for row in predicted:
    fp32_ms = mean_ms[f"{row['model']}, fp32"]
    row["measured speed-up"] = fp32_ms / mean_ms[f"{row['model']}, {recipes_served[0]}"]
    row["measured / predicted"] = row["measured speed-up"] / row["predicted speed-up"]
chapter.facts["predicted"] = predicted
pages.table(predicted)

# %% [markdown]
# A request of a few products hardly keeps several threads busy, and in int8 less than in fp32. So the same with two instances,
# each with half the threads and requests of its own, for the first two of the served recipes.


# %%
def pair_of(path):
    """Two instances of a file, each with half the threads."""
    sessions = [predictors.onnx_session(path, threads // 2) for _ in range(2)]
    return predictors.together([predictors.onnx_predictor(session) for session in sessions])


def at_once(ways, name):
    """Time ways to answer every second request, {label: (way, one predictor of the same model)}."""
    some = requests[name].take(range(0, len(requests[name]), 2))
    plan = batching.in_order(some.lengths, 1)
    right = {
        label: measure.Variant(label, predict, plan).logits(some)
        for label, (_, predict) in ways.items()
    }
    ways = {label: way for label, (way, _) in ways.items()}
    # Another division of the threads adds up in another order, which may push a value across the border of its code.
    return measure.time_at_once(ways, some, dict.fromkeys(ways, plan), right, rounds, tolerance=0.1)


# %%
together = []
for name in models if threads > 1 else []:
    ways = {"fp32": (pair_of(sources[name]), original[name])}
    for recipe in recipes_served[:2]:
        path, predict = int8[name, recipe]
        ways |= {recipe: (pair_of(path), predict)} if (name, recipe) in good else {}
    for recipe, timing in (timings_of := at_once(ways, name)).items():
        row = {"model": name, "recipe": recipe, "two at once, requests/s": timing.throughput_per_s}
        gain = timing.throughput_per_s / timings_of["fp32"].throughput_per_s
        row |= {"p50 ms": timing.latency_p50_ms, "speed-up over fp32": gain}
        alone = mean_ms[f"{name}, fp32"] / mean_ms[f"{name}, {recipe}"]
        together.append(row | {"one by one, speed-up": alone})
chapter.facts["two_at_once"] = together
pages.table(together) if together else Markdown("*Left out: there is one thread only.*")

# %% [markdown]
# ## 5.11 Learn with the rounding, where it is needed
#
# Where every served recipe loses more than `max_points_lost` on dev, the model can learn to live with its rounding: a short
# round in which every forward pass rounds as *dynamic* will, while the gradients pass as if it did not (the straight-through
# estimator). Its teacher is itself, in fp32.


# %%
def dev_score(predict):
    plan = batching.PLANS[best_kind](dev.lengths, best_size)
    return score(measure.Variant("dev", predict, plan).logits(dev), dev.gold)


float_dev = score(cache.predict_cached(models[final], dev), dev.gold)
int8_dev = {
    recipe: dev_score(int8[final, recipe][1])
    for recipe in recipes_served
    if (final, recipe) in good
}
lost = {recipe: 100 * (float_dev - value) for recipe, value in int8_dev.items()}
needed = min(lost.values(), default=np.inf) > max_points_lost
learn = quantized_training == "always" or (quantized_training == "when needed" and needed)
chapter.facts["lost_points"] = lost
losses = ", ".join(f"*{recipe}* loses {points:.2f}" for recipe, points in lost.items())
Markdown(
    f"In fp32 the {final} has {float_dev:.1%} on dev; of its points {losses or 'every recipe loses too many'}. "
    f"It {'learns' if learn else 'does not learn'} with the rounding ({quantized_training})."
)

# %%
if learn:
    short = data.tokenize(splits["train"], tokenizers[final], distil_length)
    plan = training.Recipe(
        1, batch_size, quantized_rate, dropout=dropout, freeze_words=True, seed=seeds[0]
    )
    outputs = teacher.Outputs(models[final], short, teacher_cache_gb)
    objectives = Objectives(logits=1.0, hidden=1.0)
    folder = chapter.folder / "models" / "quantised-student"
    learned, history = qat.distil(
        models[final], plan, outputs, objectives, dev, score, folder, bits
    )
    spent["learning with the rounding"] = history.seconds
    source = folder.with_name("onnx") / "learned" / "model.onnx"
    export.save_onnx(learned, source)
    own = calibration.Calibration(recipes.load(source), calibrations[final].texts, threads)

# %%
learned_dev = {}
for recipe in recipes_served if learn else []:
    path = int8_file(final, recipe, source, own)
    predict = predictors.onnx_predictor(predictors.onnx_session(path, threads))
    found, points = compared(final, predict), dev_score(predict)
    learned_dev[recipe] = {"labels kept %": 100 * found.agreement, "dev %": 100 * points}
    if found.agreement >= min_agreement and points > int8_dev.get(recipe, 0):
        int8[final, recipe], int8_dev[recipe] = (path, predict), points
        learned_dev[recipe]["served"] = "yes"
if learn:
    before, after = (
        100 * score(qat.predict(model, dev, bits), dev.gold) for model in (models[final], learned)
    )
    rows = [{"rounded in PyTorch": f"{before:.1f} % before, {after:.1f} % after"}]
    chapter.facts["quantized_training"] = {"before": before, "after": after, **learned_dev}
    display(pages.table(rows))
    display(pages.table([{"learned, then": name} | row for name, row in learned_dev.items()]))

# %% [markdown]
# ## 5.12 Choose on dev, report on test: the rungs
#
# The story goes on with the fastest of the served recipes, in the batches that chapter 2 found best, that is faster than the
# rung below and loses no more than `max_points_lost` on dev. Where the first of `recipes_served` is as fast as the noise of the
# timing can tell, it is taken. On test each is scored in those batches: what is served is what is scored.

# %%
plan = batching.PLANS[best_kind](requests[final].lengths, best_size)
candidates = {"fp32": (original[final], {})}
candidates |= {recipe: (int8[final, recipe][1], SERVED) for recipe in int8_dev}
if engine != "onnxruntime":
    below, _ = engines.serve(models[final], engine, threads, sources[final].parent)
    candidates["below"] = below, {}
in_batches = {
    label: measure.check(
        measure.Variant(label, predict, plan), requests[final], logits[final], **tolerance
    )
    for label, (predict, tolerance) in candidates.items()
}
timed = measure.time_interleaved(list(in_batches.values()), requests[final], rounds)
test_plan = batching.PLANS[best_kind](test.lengths, best_size)
test_logits = {"fp32": cache.predict_cached(models[final], test)}
for recipe in int8_dev:
    served = measure.Variant(recipe, int8[final, recipe][1], test_plan)
    test_logits[recipe] = served.logits(test)
tested = {
    label: metrics.scored(the_task, found, test.gold, n_resamples)
    for label, found in test_logits.items()
}


# %%
def rung_of(label, stacks_on, anchor, key, precision, size_mb):
    batches = {r["rung"]: r for r in records.current(run_dir, "02_batching")["rungs"]}
    rung = ladder.Rung(
        label,
        stacks_on=stacks_on,
        model=", ".join([student_facts["shape"], pruned_facts["shape"]][: 1 + (final != "student")])
        + (", learned with the rounding" if "served" in learned_dev.get(key, {}) else ""),
        engine=f"ONNX Runtime {machine['versions']['onnxruntime']}",
        precision=precision,
        batching=batches["best batching"]["batching"],
        batch_size=round(np.mean([len(group) for group in plan])),
        threads=threads,
        model_mb=size_mb,
    )
    if key not in timed:
        rung.status = f"failed: only {true[final, key].agreement:.0%} of the labels stay"
        return rung
    rung.timed(timed[key], in_batches[key].checked, usd_per_hour)
    rung.anchor_per_s = timed[anchor].throughput_per_s
    interval = tested[key].low, tested[key].high
    return rung.scored(tested[key].value, interval, teacher_test)


# %%
baselines = {r["rung"]: r for r in records.current(run_dir, "01_baseline")["rungs"]}
teacher_test, stands_on = baselines["teacher unpadded"]["accuracy"], pruning_facts["goes_on_from"]
if engine != "onnxruntime":  # so that the engine's gain is not taken for one of int8
    weights_mb = checkpoints.size_mb(models[final])
    stands_on = "ONNX Runtime, fp32"
    rung = rung_of(stands_on, pruning_facts["goes_on_from"], "below", "fp32", "fp32", weights_mb)
    chapter.add(rung)
for recipe in recipes_served:
    precision = f"int8, {recipe}, weights of {chosen_recipes[recipe].weight_bits} bits"
    size_mb = int8[final, recipe][0].stat().st_size / 1e6
    chapter.add(rung_of(f"int8 {recipe}", stands_on, "fp32", recipe, precision, size_mb))
per_s = {label: timing.throughput_per_s for label, timing in timed.items()}

# %%
holding = [
    recipe
    for recipe, value in int8_dev.items()
    if 100 * (float_dev - value) <= max_points_lost and per_s[recipe] > per_s["fp32"]
]
chosen, first = max(holding, key=per_s.get, default=""), recipes_served[0]
if (
    first in holding
    and timed[first].throughput_interval()[1] > timed[chosen].throughput_interval()[0]
):
    chosen = first
rows = [
    {
        "rung": f"int8 {recipe}",
        "requests/s": per_s[recipe],
        "95 % interval": "{:.0f} to {:.0f}".format(*timed[recipe].throughput_interval()),
        "step": per_s[recipe] / per_s["fp32"],
        "dev points lost": 100 * (float_dev - int8_dev[recipe]),
        "test %": 100 * tested[recipe].value,
        "test points lost": 100 * (tested["fp32"].value - tested[recipe].value),
    }
    for recipe in int8_dev
]
chapter.facts["rungs"] = rows
pages.table(rows) if rows else Markdown("*No recipe keeps enough of the labels.*")

# %%
chapter.facts["goes_on_from"] = f"int8 {chosen}" if chosen else stands_on
chapter.facts["quantised"] = {
    "recipe": chosen,
    "onnx": files.shown(int8[final, chosen][0]) if chosen else "",
    "model": final,
    "learned": "served" in learned_dev.get(chosen, {}),
    "accuracy": tested[chosen].value if chosen else None,
    "float_accuracy": tested["fp32"].value,
}
Markdown(
    f"The story goes on from **{chapter.facts['goes_on_from']}**; in fp32 the same model has "
    f"{tested['fp32'].value:.1%} on test."
)

# %% [markdown]
# ## 5.13 A peer: OpenVINO
#
# OpenVINO, with the static int8 of its companion NNCF, is a widely used engine for the same file. It gets the same texts to
# calibrate on and its own best settings: hints for latency or throughput, any length, or one graph for every 32 tokens of
# length. It is an optional extra.

# %%
absent = openvino.missing() or ("" if int8_dev else "no recipe to compare with")
if not absent:
    ours, seen = chosen or max(int8_dev, key=per_s.get), calibrations[final].texts
    graphs = {
        "fp32": sources[final],
        "int8": openvino.quantize(sources[final], seen, len(seen)),
    }
    top = int(requests[final].lengths.max())
    buckets = sorted({*range(32, top, 32), top})
    by_engine = {
        "ONNX Runtime fp32": original[final],
        f"ONNX Runtime int8 {ours}": int8[final, ours][1],
    }
    for kind, graph in graphs.items():
        by_engine[f"OpenVINO {kind}"] = openvino.predictor(graph, threads)
        by_engine[f"OpenVINO {kind}, graphs by length"] = openvino.bucketed(graph, threads, buckets)
    alone = [one_by_one(final, way, predict, **NOTED) for way, predict in by_engine.items()]
    by_way = measure.time_interleaved(alone, requests[final], rounds)
Markdown(f"*Left out: {absent}.*" if absent else f"Graphs for {len(buckets)} lengths.")


# %%
if not absent:
    peers = {"ONNX Runtime fp32": pair_of(sources[final])}
    peers |= {f"ONNX Runtime int8 {ours}": pair_of(int8[final, ours][0])}
    peers |= {
        f"OpenVINO {kind}": openvino.in_flight(graph, threads, min(2, threads))
        for kind, graph in graphs.items()
    }
    ways = {way: (serve, by_engine[way]) for way, serve in peers.items()}
    peers_at_once = at_once(ways, final) if threads > 1 else {}
    ours_ms = 1e3 / by_way[f"ONNX Runtime int8 {ours}"].throughput_per_s
    chapter.facts["peer"] = [
        {
            "engine": variant.name,
            "mean ms": 1e3 / by_way[variant.name].throughput_per_s,
            "times our int8": 1e3 / by_way[variant.name].throughput_per_s / ours_ms,
            "p50 ms": by_way[variant.name].latency_p50_ms,
            "labels kept %": 100 * variant.checked.label_agreement,
            "two at once, requests/s": getattr(
                peers_at_once.get(variant.name), "throughput_per_s", None
            ),
        }
        for variant in alone
    ]
    display(pages.table(chapter.facts["peer"]))

# %% [markdown]
# ## 5.14 Sixteen bits
#
# Where a processor multiplies bf16 itself, all of a model can have sixteen bits with no scales to choose: a shorter fraction is
# all that is lost. On a GPU it is fp16, as in the paper, in large batches.

# %%
sixteen = []
for kind, device, rows in (("bf16", "cpu", 1), ("fp16", "cuda", 256)):
    if why := half_precision.missing(kind, device):
        display(Markdown(f"*{why}*"))
        continue
    count = max(rows, len(requests["teacher"]))
    many = requests["teacher"].take(np.resize(np.arange(len(requests["teacher"])), count))
    right, plan = training.predict(models["teacher"], many), batching.in_order(many.lengths, rows)
    versions = {"fp32": half_precision.on_device(models["teacher"], device)}
    versions[kind] = half_precision.converted(models["teacher"], kind, device)
    limits = 2.0, min(0.9, min_agreement)
    pair = [
        measure.check(
            measure.Variant(label, predictors.torch_predictor(model), plan), many, right, *limits
        )
        for label, model in versions.items()
    ]
    took = measure.time_interleaved(pair, many, rounds)
    row = {"teacher in": kind, "on": device, "batch": rows}
    row |= {"speed-up over fp32": took[kind].throughput_per_s / took["fp32"].throughput_per_s}
    sixteen.append(row | {"labels kept %": 100 * pair[1].checked.label_agreement})
chapter.facts["sixteen_bits"] = sixteen
pages.table(sixteen) if sixteen else None

# %% [markdown]
# ## 5.15 What it cost
#
# The accuracy that the rungs' table shows, and one more file to keep beside the weights it came from. With dynamic scales an
# answer is no longer a function of its request alone. The rest is time, paid once.

# %%
chapter.facts["seconds_spent"] = spent
pages.table([{"step": what, "seconds": value} for what, value in spent.items()], decimals=0)

# %% [markdown]
# ## 5.16 When it does not pay
#
# - **The processor has no instructions for it**, or only the old ones: 5.2 tells the most that a product can gain.
# - **The products are small.** A few tokens, narrow layers: what surrounds the products does not shrink. Where is int8 no faster
#   than fp32 in 5.4?
# - **The ranges come from other texts** than those that are served: static scales clip what they have not seen. Dynamic ones
#   adapt.
# - **Answers must not depend on neighbours**, for audits or caches: take static scales.
# - **Only the weights are small** (*int4 weights*): a processor that computes, and does not wait for memory, gains nothing and
#   has to widen them again. That pays for one token at a time, in language models.
# - **Sixteen bits on a processor without them**: every operator converts there and back.
#
# ## 5.17 Exercises
#
# 1. Draw `plotting.activations` for every tensor in `histograms`. Which layer has the loudest channel, and does chapter 4's
#    pruning keep it?
# 2. Give `int8_graph.smoothed` a strength of 0 and of 1. Which matrix pays for it, by `rounding_error`?
# 3. Calibrate on texts of one package only. How many labels change on the others, with static and with dynamic scales?
#
# **Next:** [chapter 6](06_runtime.ipynb) asks what engine, cores and queue make of the file.

# %%
chapter.save()
