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
# multiplies more of these in the same time. Done right, the answers hardly change; done in another way that looks as good,
# the model is destroyed.
#
# **Cost.** A rounding error in every product, and answers that may depend on who else is in the batch.
#
# **Needs** chapters [1](01_baseline.ipynb) to [4](04_pruning.ipynb). **Leaves** the model of chapter 4 in eight bits, chosen
# by a rule, and its rungs, apart from what the engine itself had brought.

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
recipes_tried: list[str] = ["dynamic", "static, entropy"]  # checked on every model
recipes_served: list[str] = ["dynamic", "static, smoothed"]  # a rung each; the story takes one
n_calibrate: int = 8  # training texts that show what values flow
n_check: int = 16  # dev texts on which every recipe is checked; 0 takes all of n_dev
min_agreement: float = 0.5  # a model that gives fewer of the original's labels is not timed
max_points_lost: float = 0.5  # the rule: a served recipe may lose this much on dev
quantized_training: str = "when needed"  # learn with the rounding: never, when needed or always
n_retrain: int = 64  # training examples of the retraining; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
quantized_rate: float = 1.0e-4  # peak learning rate of the training with rounding
seeds: list[int] = [0]  # one retraining per seed; the first one's models are served
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
product_tokens: list[int] = [8, 128]  # numbers of tokens at which single products are timed
product_seconds: float = 0.01  # time for each of them
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import numpy as np
import torch
from IPython.display import Markdown, display

from fflib import batching, checkpoints, data, files, hardware, measure, pages, results, rungs
from fflib import figures_quantization as figures

chapter = results.Chapter("05_quantization", globals())
threads = hardware.set_threads(threads)
chapter.show_summary()

# %% tags=["hide-input"]
from fflib import (
    calibration,
    export,
    fake_quantization,
    fidelity,
    half_precision,
    int8_graph,
    openvino_peer,
    processor,
    products,
    quantization,
    runtime,
    tasks,
    teacher,
    trained,
    training,
)
from fflib.objective import Objectives

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 5.1 Idea: round to whole numbers, and keep the scale
#
# A weight of a matrix becomes a code from -127 to 127: itself, divided by a *scale*, rounded. So does, at run time, what
# flows into the product. The processor multiplies and adds the codes as whole numbers, and one multiplication with both
# scales turns the sums back into fractions. All is in the choice of the scales.

# %%
pages.source(int8_graph.weight_codes, int8_graph.activation_codes)

# %% [markdown]
# ## 5.2 What can this processor do?
#
# Eight-bit products pay only where the processor has instructions for them. Older x86 processors also have a trap: they add
# *two* products in sixteen bits, and a sum that does not fit is cut off without a word. Weights of seven bits cannot
# overflow. The engine itself is asked, with the largest codes.

# %%
support = processor.int8_support()
bits = quantization.safe_weight_bits()
wrong = processor.saturates_here()
assert support.saturates or not wrong, "the engine errs where the instruction sets say it does not"
chapter.facts["int8"] = {
    "instructions": support.instructions,
    "the engine cuts off sums": wrong,
    "bits of a safe weight": bits,
    "most that int8 can gain in a product": support.speedup_limit,
}
display(pages.table([chapter.facts["int8"]]))
warning = processor.int8_warning(support, weight_bits=8)
Markdown(f"With weights of eight bits: {warning or 'nothing to warn of.'}")

# %% [markdown]
# ## 5.3 Three models, as graphs
#
# The teacher, the student of chapter 3, and what chapter 4 made of it. Export is the step of
# [chapter 4](04_pruning.ipynb): one file for any batch and length, kept only if its logits agree with PyTorch's.

# %%
files.check_known("recipe", [*recipes_tried, *recipes_served], quantization.RECIPES)
files.check_known("training", [quantized_training], ("never", "when needed", "always"))
if not (recipes_served and seeds and n_check != 1):
    raise files.InputError("give a recipe to serve, a seed, and n_check of 2 or more, or 0")
facts, the_task = results.read(run_dir, "01_baseline")["facts"], tasks.get_task(task)

# %%
student_facts = results.read(run_dir, "03_distillation")["facts"]["student"]
pruning_facts = results.read(run_dir, "04_pruning")["facts"]
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
for name, path in sources.items():
    export.check_belongs(path, models[name])

# %%
splits = {
    name: data.load_split(the_task.name, name, data_source, limit or None)
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
# The same products, [tokens x inner] by [inner x outer], in fp32 and in int8, on the engine that will serve. The dashed line
# is as far as the instructions go: so many times the best fp32 rate. Few tokens leave the processor waiting for weights;
# narrow matrices leave it busy with rounding.

# %%
config = models["student"].encoder.config
inside = max(layer.intermediate_size for layer in config.layers)
hidden = config.hidden_size
shapes = [(hidden, hidden), (hidden, inside), (inside, hidden)]
rates = {
    (inner, outer): products.product_rates(
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
chapter.save_figure(figure, "product_rates")
figure

# %% [markdown]
# What is left of that for a whole model? All around its products stays as it is. So take the time of one request of mean
# length, replace the share of the products by what they take in int8, and compare: a prediction for section 5.10.


# %%
def products_of(model):
    """The products with constant weights, as (inner, outer), of all layers."""
    hidden = model.encoder.config.hidden_size
    for layer in model.encoder.config.layers:
        width = layer.num_heads * layer.head_size
        yield from [(hidden, width)] * 3 + [(width, hidden)] * bool(width)
        yield from [(hidden, layer.intermediate_size), (layer.intermediate_size, hidden)]


def product_ms(model):
    """Predicted time of all products for one request of mean length, in fp32 and in int8."""
    found = [shape for shape in products_of(model) if min(shape)]
    rate_of = {
        shape: products.product_rates([(mean_length, *shape)], threads, product_seconds)[0]
        for shape in dict.fromkeys(found)
    }
    gop = {shape: 2e-9 * mean_length * shape[0] * shape[1] for shape in rate_of}
    fp32 = sum(1e3 * gop[shape] / rate_of[shape].fp32_gop_per_s for shape in found)
    return fp32, sum(1e3 * gop[shape] / rate_of[shape].int8_gop_per_s for shape in found)


# %%
sessions = {name: runtime.onnx_session(path, threads) for name, path in sources.items()}
original = {name: runtime.onnx_predictor(session) for name, session in sessions.items()}
nearest = int(np.abs(requests[final].lengths - mean_length).argmin())
predicted = []
for name, model in models.items():
    one = measure.Variant(name, original[name], [np.array([nearest])], examples=requests[name])
    one = measure.check(one, requests[name], training.predict(model, requests[name]))
    ms = measure.time_interleaved([one], requests[name], 5 * rounds)[name].latency_p50_ms
    fp32, int8 = product_ms(model)
    row = {"model": name, "request in fp32, ms": ms, "of this products, ms": min(fp32, ms)}
    row |= {"products in int8, ms": int8, "predicted speed-up": ms / (ms - min(fp32, ms) + int8)}
    predicted.append(row)
chapter.facts["predicted"] = predicted
pages.table(predicted)

# %% [markdown]
# ## 5.5 Why attention stays in fp32
#
# Weights are rounded and *packed*, laid out as the processor wants them, once. Inside attention, queries meet keys and
# shares meet values: both factors are new in each call, and rounding and packing both takes time that a small product does
# not win back. FastFormers leaves these two products in fp32, and so do all recipes here. Is that still right?

# %%
layer = config.layers[0]
tried = {
    f"queries by keys, {layer.head_size} wide": (mean_length, layer.head_size, mean_length),
    f"feed-forward, {hidden:,} to {inside:,}": (mean_length, hidden, inside),
}
packed = [
    {"name": name}
    | {key.removesuffix(", us"): value for key, value in row.items() if key.endswith(", us")}
    for name, row in zip(
        tried, products.packing(list(tried.values()), threads, product_seconds), strict=True
    )
]
chapter.facts["packing"] = packed
figure = figures.packing(packed, f"{caption}; {mean_length} tokens")
chapter.save_figure(figure, "packing")
figure

# %% [markdown]
# ## 5.6 Scales of the weights: one a column
#
# With one scale for a whole matrix, its largest weight sets the step for all columns, and a column of small weights is left
# with few codes. A scale for each column costs nothing: it joins the multiplication at the end. On the paper's student the
# difference was 16 points of accuracy. Here is the matrix of this run's model that loses most by one scale.


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
    shown, f"{final}; largest and smallest loss by one scale; run {run}, size {size}"
)
chapter.save_figure(figure, "weight_scales")
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
chapter.save_figure(figure, "weight_codes")
figure

# %% [markdown]
# ## 5.7 Scales of what flows in: dynamic or static
#
# *Dynamic*: at each call, look for the least and the largest value of the tensor. *Static*: fix the range beforehand, on a
# few training texts. That saves the search, and no answer depends on other requests. But which range? All values ever seen;
# the middle 99.99 per cent of them; or the one that keeps the most information, by relative entropy, a favourite for
# images. A transformer is not an image: a few channels carry values far beyond the rest, **and they matter**.

# %%
calibrations = {
    name: calibration.Calibration(
        quantization.load(sources[name]),
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
    np.repeat(centres, sizes.counts.astype(int)),
    clips,
    f"{final}, {len(calibrations[final].texts)} training texts; run {run}, size {size}",
    f"what goes into {read_by}",
)
channels = histograms[widest].channels
chapter.facts["activations"] = {
    "tensor": read_by,
    "clips": clips,
    "largest channel": float(channels.max()),
    "median channel": float(np.median(channels)),
}
chapter.save_figure(figure, "activations")
display(figure)
Markdown(
    f"The largest channel reaches {channels.max():.1f}, the median one {np.median(channels):.1f}: with one scale for all, the "
    f"median channel has {255 * np.median(channels) / channels.max():.0f} of 255 codes."
)

# %% [markdown]
# ## 5.8 Smoothing: move the outliers into the weights
#
# Divide a loud channel by some factor, and multiply the weights that it meets by the same: nothing changes in fractions, but
# the loud channel no longer sets the scale for all. The factors come from the calibration texts (SmoothQuant, 2211.10438).

# %%
pages.source(int8_graph.smoothed)

# %%
even = calibrations[final].smoothed
name = f"{widest}.smoothed"
loud, level = even.histograms[name].channels.max(), np.median(even.histograms[name].channels)
whole, same = (
    runtime.onnx_predictor(runtime.onnx_session(c.model, threads))
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
# Every recipe on every model. What counts is how often the label stays, in the batches that are served, and alone. The texts
# are of dev. *One scale a matrix* differs from *dynamic* in nothing else; *library's default* is what one gets from ONNX
# Runtime without an argument; *paper* is FastFormers' code; *always 8 bits* does not care about the processor's trap.

# %%
pages.table(
    [
        {"recipe": name} | vars(quantization.get_recipe(name))
        for name in dict.fromkeys(recipes_tried + recipes_served)
    ]
)

# %%
best_kind, best_size = results.read(run_dir, "02_batching")["facts"]["best"]
recipe_names = list(dict.fromkeys(recipes_tried + recipes_served))
some = range(min(n_check or len(splits["dev"]), len(splits["dev"])))
checked = {name: texts[name]["dev"].take(some) for name in models}
expected = {
    name: trained.predict_cached(model, texts[name]["dev"])[: len(checked[name])]
    for name, model in models.items()
}


def int8_file(name, recipe_name, source, texts):
    """Write and return the file of a model by a recipe."""
    path = source.with_name(f"{recipe_name}.onnx")
    with export.quiet():  # 5.2 has warned already
        return quantization.quantize(source, path, quantization.get_recipe(recipe_name), texts)


def compared(name, predict):
    plan = batching.PLANS[best_kind](checked[name].lengths, best_size)
    return fidelity.compare(predict, checked[name], plan, expected[name])


int8, true = {}, {}
for name in models:
    for recipe_name in recipe_names:
        path = int8_file(name, recipe_name, sources[name], calibrations[name])
        export.check_belongs(path, models[name])
        int8[name, recipe_name] = path, runtime.onnx_predictor(runtime.onnx_session(path, threads))
        true[name, recipe_name] = compared(name, int8[name, recipe_name][1])

# %% [markdown]
# Only what answers like its original is worth a timing. All of these in turn, one request at a time.


# %%
def one_by_one(name, label, predict, expected, **tolerance):
    variant = measure.Variant(
        label, predict, batching.in_order(requests[name].lengths, 1), examples=requests[name]
    )
    return measure.check(variant, requests[name], expected, **tolerance)


LOOSE = {"tolerance": 2.0, "agreement": min_agreement}  # logits; what rounding does is in the table
good = [
    key
    for key, found in true.items()
    if found.agreement >= min_agreement and found.max_change < LOOSE["tolerance"]
]
logits = {name: training.predict(model, requests[name]) for name, model in models.items()}
variants = [one_by_one(name, name, original[name], logits[name]) for name in models]
variants += [
    one_by_one(name, f"{name}, {recipe}", int8[name, recipe][1], logits[name], **LOOSE)
    for name, recipe in good
]
timings = measure.time_interleaved(variants, requests[final], rounds)
mean_ms = {label: 1e3 / timing.throughput_per_s for label, timing in timings.items()}


# %%
def table_row(name, recipe, path, found, found_logits):
    labels, ms = checked[name].labels, mean_ms.get(f"{name}, {recipe}" if found else name)
    scored = tasks.scored(the_task, found_logits, labels, n_resamples)
    row = {
        "model": name,
        "recipe": recipe,
        "MB": path.stat().st_size / 1e6,
        "dev %": 100 * scored.value,
    }
    row |= {"labels kept %": 100 * found.agreement if found else None}
    row |= {
        "largest change": found.max_change if found else None,
        "flips by batch": found.flips_by_batch if found else None,
    }
    return row | {
        "ms": ms,
        "speed-up": mean_ms[name] / ms if ms else None,
        "low": scored.low,
        "high": scored.high,
    }


# %%
table = []
for name in models:
    table.append(table_row(name, "fp32", sources[name], None, expected[name]))
    for recipe in recipe_names:
        found = true[name, recipe]
        table.append(table_row(name, recipe, int8[name, recipe][0], found, found.logits))
chapter.facts["recipes"] = table
pages.table([{k: v for k, v in row.items() if k not in ("low", "high")} for row in table])

# %%
drawn = [
    {
        "model": row["model"],
        "recipe": row["recipe"],
        "ms": row["ms"],
        "accuracy": row["dev %"] / 100,
    }
    | {"low": row["low"], "high": row["high"], "default": row["recipe"] == recipes_served[0]}
    for row in table
    if row["ms"]
]
figure = figures.recipes(
    drawn, f"{caption}; {len(checked[final])} dev texts; {n_requests} requests, one by one"
)
chapter.save_figure(figure, "recipes")
display(figure)
left_out = [
    f"*{recipe}* of the {name} ({true[name, recipe].agreement:.0%})"
    for name, recipe in true
    if (name, recipe) not in good
]
Markdown("Not timed, since too few labels stay: " + (", ".join(left_out) or "none") + ".")

# %% [markdown]
# Does an answer depend on who else is in the batch? With dynamic scales it does: one loud request takes codes from the others,
# and so does padding.

# %%
kept = {recipe: true[final, recipe] for recipe in recipe_names if (final, recipe) in good}
figure = figures.batch_mates(
    {recipe: found.changes_by_batch for recipe, found in kept.items()},
    {recipe: (found.flips_by_batch, found.n) for recipe, found in kept.items()},
    f"{final}; {len(checked[final])} dev texts, alone and in batches ({best_kind}, {best_size}); run {run}, size {size}",
)
chapter.save_figure(figure, "batch_mates")
figure

# %% [markdown]
# ## 5.10 Measure: what int8 is worth, beside the prediction
#
# The same engine, the same threads, the same requests; only the products differ.

# %%
for row in predicted:
    served = [f"{row['model']}, {recipe}" for recipe in recipes_served]
    ratios = [mean_ms[row["model"]] / mean_ms[label] for label in served if label in mean_ms]
    row["measured speed-up"] = max(ratios, default=None)
    row["measured / predicted"] = (
        row["measured speed-up"] / row["predicted speed-up"] if ratios else None
    )
chapter.facts["predicted"] = predicted
pages.table(predicted)

# %% [markdown]
# ## 5.11 Learn with the rounding, where it is needed
#
# A student that loses more than `max_points_lost` on dev can learn to live with its rounding: a short round in which every
# forward pass rounds as int8 will, while the gradients pass as if it did not (the straight-through estimator). Its teacher is
# itself, in fractions.


# %%
def dev_score(predict):
    plan = batching.PLANS[best_kind](dev.lengths, best_size)
    return tasks.score(the_task, measure.Variant("dev", predict, plan).logits(dev), dev.labels)


def score(logits, labels):
    return tasks.score(the_task, logits, labels)


float_dev = score(trained.predict_cached(models[final], dev), dev.labels)
int8_dev = {
    recipe: dev_score(int8[final, recipe][1])
    for recipe in recipes_served
    if (final, recipe) in good
}
lost = {recipe: 100 * (float_dev - value) for recipe, value in int8_dev.items()}
needed = not lost or min(lost.values()) > max_points_lost
learn = quantized_training == "always" or (quantized_training == "when needed" and needed)
chapter.facts["lost_points"] = lost
Markdown(
    f"In fractions the {final} has {float_dev:.1%} on dev; "
    + ", ".join(f"*{recipe}* loses {points:.2f} points" for recipe, points in lost.items())
    + f". So it {'learns' if learn else 'need not learn'} with the rounding."
)

# %%
serving, trained_with = dict.fromkeys(recipes_served, models[final]), {}
if learn:
    short = data.tokenize(splits["train"], tokenizers[final], distil_length)
    plan = training.Recipe(
        1, batch_size, quantized_rate, dropout=dropout, freeze_words=True, seed=seeds[0]
    )
    outputs = teacher.Outputs(models[final], short, teacher_cache_gb)
    objectives = Objectives(logits=1.0, hidden=1.0)
    folder = chapter.folder / "models" / "quantised-student"
    learned, history = fake_quantization.distil(
        models[final], plan, outputs, objectives, dev, score, folder, bits, learn_from="uniform"
    )
    simulated = {
        what: 100 * score(fake_quantization.predict(model, dev, bits), dev.labels)
        for what, model in (("before", models[final]), ("after", learned))
    }
    chapter.facts["quantized_training"] = simulated | {"seconds": history.seconds}
    display(pages.table([{"rounded in PyTorch": "dev %"} | simulated]))

# %%
if learn:
    source = export.save_onnx(
        learned, chapter.folder / "models" / "onnx" / "learned" / "model.onnx"
    )
    own = calibration.Calibration(quantization.load(source), calibrations[final].texts, threads)
    for recipe in recipes_served:
        path = int8_file(final, recipe, source, own)
        predict = runtime.onnx_predictor(runtime.onnx_session(path, threads))
        points = dev_score(predict)
        if recipe not in int8_dev or points > int8_dev[recipe]:
            int8[final, recipe], int8_dev[recipe], serving[recipe] = (
                (path, predict),
                points,
                learned,
            )
        trained_with[recipe] = 100 * points
    chapter.facts["quantized_training"]["dev %"] = trained_with
    display(
        pages.table(
            [
                {"learned, then converted": recipe, "dev %": points}
                for recipe, points in trained_with.items()
            ]
        )
    )

# %% [markdown]
# ## 5.12 Choose on dev, report on test: the rungs
#
# The story goes on with the fastest of the served recipes, in the batches that chapter 2 found best, that loses no more than
# `max_points_lost` on dev. On test each is scored in those batches: what is served is what is scored.

# %%
plan = batching.PLANS[best_kind](requests[final].lengths, best_size)
below, below_engine = runtime.serving(models[final], engine, threads, sources[final].parent)
pair = {"rung below": (below, {})} | {
    recipe: (int8[final, recipe][1], LOOSE) for recipe in int8_dev
}
in_batches = [
    measure.check(
        measure.Variant(label, predict, plan), requests[final], logits[final], **tolerance
    )
    for label, (predict, tolerance) in pair.items()
]
timed = measure.time_interleaved(in_batches, requests[final], rounds)
test_plan = batching.PLANS[best_kind](test.lengths, best_size)
tested = {
    recipe: tasks.scored(
        the_task,
        measure.Variant(recipe, int8[final, recipe][1], test_plan).logits(test),
        test.labels,
        n_resamples,
    )
    for recipe in int8_dev
}
float_logits = trained.predict_cached(models[final], test)
float_test = tasks.scored(the_task, float_logits, test.labels, n_resamples)

# %%
earlier = {r["rung"]: r for r in results.read(run_dir, "02_batching")["rungs"]}
baselines = {r["rung"]: r for r in results.read(run_dir, "01_baseline")["rungs"]}
evidence = {variant.name: variant.checked for variant in in_batches}
for recipe in recipes_served:
    rung = rungs.Rung(
        f"int8 {recipe}",
        stacks_on=pruning_facts["goes_on_from"],
        model=", ".join(
            [student_facts["shape"], pruned_facts["shape"]][: 1 + (final != "student")]
        ),
        engine=f"ONNX Runtime {machine['versions']['onnxruntime']}",
        precision=f"int8, {recipe}, weights of {quantization.get_recipe(recipe).weight_bits} bits",
        batching=earlier["best batching"]["batching"],
        batch_size=round(np.mean([len(group) for group in plan])),
        threads=threads,
        model_mb=int8[final, recipe][0].stat().st_size / 1e6,
    )
    if recipe in timed:
        rung.timed(timed[recipe], evidence[recipe], usd_per_hour)
        rung.anchor_per_s = timed["rung below"].throughput_per_s
        interval = tested[recipe].low, tested[recipe].high
        rung.scored(tested[recipe].value, interval, baselines["teacher unpadded"]["accuracy"])
    else:
        rung.status = f"failed: only {true[final, recipe].agreement:.0%} of the labels stay"
    chapter.add(rung)

# %%
below_per_s = timed["rung below"].throughput_per_s
holding = [
    recipe
    for recipe, value in int8_dev.items()
    if 100 * (float_dev - value) <= max_points_lost and timed[recipe].throughput_per_s > below_per_s
]
chosen = max(holding, key=lambda recipe: timed[recipe].throughput_per_s, default="")

# %%
chapter.facts["goes_on_from"] = f"int8 {chosen}" if chosen else pruning_facts["goes_on_from"]
chapter.facts["quantised"] = {
    "recipe": chosen,
    "onnx": files.shown(int8[final, chosen][0]) if chosen else "",
    "model": final,
    "accuracy": tested[chosen].value if chosen else None,
    "float_accuracy": float_test.value,
}
rows = [
    {
        "rung": f"int8 {recipe}",
        "requests/s": timed[recipe].throughput_per_s,
        "step": timed[recipe].throughput_per_s / below_per_s,
        "dev points lost": 100 * (float_dev - int8_dev[recipe]),
        "test %": 100 * found.value,
        "test points lost": 100 * (float_test.value - found.value),
    }
    for recipe, found in tested.items()
]
chapter.facts["rungs"] = rows
display(pages.table(rows))
Markdown(
    f"The story goes on from **{chapter.facts['goes_on_from']}**; in fp32 the test accuracy is {float_test.value:.1%}."
)

# %% [markdown]
# ## 5.13 The peer: OpenVINO
#
# OpenVINO with NNCF's static int8 is the strongest engine beside this one: the same file, the same texts to calibrate on,
# its own best settings, that is hints for latency or throughput, any length or one graph for each length. It is optional.

# %%
absent = openvino_peer.missing() or ("" if int8_dev else "no recipe to compare with")
if not absent:
    ours = max(int8_dev, key=lambda recipe: timed[recipe].throughput_per_s)
    seen = calibrations[final].texts
    peer = openvino_peer.quantize(sources[final], seen, len(seen))
    top = int(requests[final].lengths.max())
    buckets = sorted({*range(32, top, 32), top})
    graphs = {"fp32": sources[final], "int8": peer}
    ways = {
        "ONNX Runtime fp32": (original[final], {}),
        f"ONNX Runtime int8 {ours}": (int8[final, ours][1], LOOSE),
    }

# %%
if not absent:
    for kind, graph in graphs.items():
        tolerance = {} if kind == "fp32" else LOOSE
        ways[f"OpenVINO {kind}"] = openvino_peer.predictor(graph, threads), tolerance
        ways[f"OpenVINO {kind}, a graph a length"] = (
            openvino_peer.bucketed(graph, threads, buckets),
            tolerance,
        )
    alone = [
        one_by_one(final, way, predict, logits[final], **tolerance)
        for way, (predict, tolerance) in ways.items()
    ]
    by_way = measure.time_interleaved(alone, requests[final], rounds)
Markdown(
    f"*Left out: {absent}.*" if absent else f"{len(buckets)} lengths have a graph of their own."
)


# %%
def two_instances():
    """Requests per second with two at once, in turn: ours, then OpenVINO's streams."""
    batches = [batching.collate(requests[final], [i]).inputs for i in range(len(requests[final]))]
    path, streams = int8[final, ours][0], min(2, threads)
    pair = [
        runtime.onnx_predictor(runtime.onnx_session(path, max(1, threads // streams)))
        for _ in range(streams)
    ]
    seconds = {f"ONNX Runtime int8 {ours}": [], "OpenVINO fp32": [], "OpenVINO int8": []}
    for _ in range(rounds):
        seconds[f"ONNX Runtime int8 {ours}"].append(runtime.in_parallel(pair, batches)[1])
        for kind, graph in graphs.items():
            seconds[f"OpenVINO {kind}"].append(
                openvino_peer.in_flight(graph, threads, streams, batches)[1]
            )
    return {way: len(batches) / np.median(values) for way, values in seconds.items()}


# %%
if not absent:
    at_once = two_instances()
    chapter.facts["peer"] = [
        {
            "engine": way,
            "mean ms": 1e3 / t.throughput_per_s,
            "p50 ms": t.latency_p50_ms,
            "two at once, requests/s": at_once.get(way),
        }
        for way, t in by_way.items()
    ]
    display(pages.table(chapter.facts["peer"]))

# %% [markdown]
# ## 5.14 Sixteen bits
#
# Where a processor multiplies bf16 itself, all of a model can have sixteen bits with no scales to choose: the shorter fraction
# is all that is lost. On a GPU it is fp16, as in the paper, in large batches.

# %%
sixteen = []
for kind, device, rows in (("bf16", "cpu", 1), ("fp16", "cuda", 256)):
    why = half_precision.missing(kind, device)
    if why:
        display(Markdown(f"*{why}*"))
        continue
    of_batch = np.resize(np.arange(len(requests["teacher"])), max(rows, len(requests["teacher"])))
    batch_requests = requests["teacher"].take(of_batch)
    right, pair = training.predict(models["teacher"], batch_requests), []
    full = half_precision.on_device(models["teacher"], device)
    for label, model in (
        ("fp32", full),
        (kind, half_precision.converted(models["teacher"], kind, device)),
    ):
        tolerance = {} if label == "fp32" else LOOSE
        variant = measure.Variant(
            label, runtime.torch_predictor(model), batching.in_order(batch_requests.lengths, rows)
        )
        pair.append(measure.check(variant, batch_requests, right, **tolerance))
    took = measure.time_interleaved(pair, batch_requests, rounds)
    gain = took[kind].throughput_per_s / took["fp32"].throughput_per_s
    sixteen.append({"teacher in": kind, "on": device, "batch": rows, "speed-up over fp32": gain})
chapter.facts["sixteen_bits"] = sixteen
pages.table(sixteen) if sixteen else None

# %% [markdown]
# ## 5.15 What it cost
#
# No accuracy that this run could see, or what the table above says; some seconds of calibration and conversion, once; and one
# more file to keep beside the weights it came from. A dynamic scale also costs that an answer is no longer a function of its
# request alone.
#
# ## 5.16 When it does not pay
#
# - **The processor has no instructions for it**, or only the old ones: see 5.2 for the most that a product can gain.
# - **The products are small.** A few tokens, narrow layers: rounding and the work around the products do not shrink. Where is
#   int8 below fp32 in 5.4?
# - **The ranges come from other texts** than those that are served: static scales clip what they have not seen. Dynamic ones
#   adapt.
# - **Answers must not depend on neighbours**, for audits or caches: take static scales.
# - **The weights alone are small** (*int4 weights*): on a processor that computes, and does not wait for memory, they must be
#   widened again at each call. That pays for one token at a time, in language models; not here.
# - **Sixteen bits on a processor without them**: every operator converts there and back.
#
# ## 5.17 Exercises
#
# 1. Draw `figures.activations` for every tensor in `histograms`. Which layer has the loudest channel, and does chapter 4's
#    pruning keep it?
# 2. Give `int8_graph.smoothed` a strength of 0 and of 1. Which matrix pays for it, by `rounding_error`?
# 3. Calibrate on texts of one package only. How many labels change on the others, with static and with dynamic scales?
#
# **Next:** [chapter 7](07_story.ipynb) puts the rungs together.

# %%
chapter.save()
