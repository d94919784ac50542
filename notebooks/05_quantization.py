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
# **Needs** chapters [1](01_baseline.ipynb) to [4](04_pruning.ipynb). **Leaves** the model of chapter 4 in eight bits if a
# recipe keeps the book's rule, and its rungs, apart from what the engine itself had brought.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
threads: int = 0  # threads of every engine; 0 takes all cores
recipes_tried: list[str] = ["dynamic", "static, entropy"]  # checked on every model
recipes_served: list[str] = ["dynamic", "static, smoothed"]  # a rung each; the story takes one
n_calibrate: int = 8  # training texts that show what values flow
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
quantized_training: str = "when needed"  # learn with the rounding: never, when needed or always
n_requests: int = 8  # requests that are timed
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
engine: str = "onnxruntime"  # what serves and is timed: onnxruntime or pytorch
usd_per_hour: float = 0.677  # price of this machine, for the cost column
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_check: int = 16  # dev texts on which every recipe is checked; 0 takes all of n_dev
n_retrain: int = 64  # training examples of the retraining; 0 takes all
distil_length: int = 32  # training texts are cut to this many tokens
batch_size: int = 16  # of training
dropout: float = 0.0  # of training; costs random numbers on a CPU
quantized_rate: float = 1.0e-4  # peak learning rate of the training with rounding
seeds: list[int] = [0]  # the first is that of the training with rounding
teacher_cache_gb: float = 4.0  # disk for the teacher's inner states; beyond it they are recomputed
product_tokens: list[int] = [8, 128]  # numbers of tokens at which single products are timed
product_seconds: float = 0.01  # time for each of them
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display
from fflib.book.bench import Bench
from fflib.book.inputs import MODELS
from fflib.data import batching, metrics
from fflib.distillation import teacher
from fflib.distillation.objective import Objectives
from fflib.engine import export, gemm, int8_graph, int8_support
from fflib.files import shown
from fflib.measure import fitness, timing
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, slicing, training
from fflib.quantization import figures, half_precision, prediction, qat, recipes, report, study
from fflib.quantization.calibration import Calibration, clips, entropy_clip, range_of
from fflib.quantization.rounding import linear_weights, place, rounding_error
from fflib.runtime import engines, openvino, peer

bench = Bench.open("05_quantization", globals())
fitness.check_rule(min_agreement)
study.check_choices(recipes_tried, recipes_served, quantized_training, seeds, n_check)
threads, final = bench.threads, bench.final  # the model that the story goes on with
recipe_names = list(dict.fromkeys(recipes_tried + recipes_served))
graph_files = {name: bench.graph_file(name) for name in MODELS}

# %% [markdown]
# ## 5.1 Idea: round to whole numbers, and keep the scale
#
# A weight of a matrix becomes a code from -127 to 127: itself, divided by a *scale*, and rounded. *Symmetric* means that zero
# has the code 0; otherwise zero has a code of its own, the *zero point*, and all 255 codes cover what lies between the least
# and the largest value. What flows into the product, the *activations*, is rounded in that second way, at run time. The
# processor multiplies and adds the codes as whole numbers, and one multiplication with both scales turns the sums back into
# fp32. Everything depends on the choice of the scales.

# %% tags=["hide-input"]
display.source(int8_graph.weight_codes, int8_graph.activation_codes)

# %% [markdown]
# ## 5.2 What can this processor do?
#
# Eight-bit products pay only where the processor has instructions for them: *VNNI* and *AMX* on newer x86 processors, the dot
# product on Arm. Older x86 processors also have a trap: they add *two* products in sixteen bits, and a sum that does not fit
# is cut off without a word. Weights of seven bits (`reduce_range` in ONNX Runtime) cannot overflow. What the instruction sets
# say is checked by asking the engine itself, with the largest codes.

# %%
support = int8_support.int8_support()
bits = recipes.safe_weight_bits()
warning = int8_support.int8_warning(support, weight_bits=8) or "nothing to warn of"
bench.facts["int8"] = report.processor(support, bits)
bench.table([bench.facts["int8"] | {"with weights of eight bits": warning}])

# %% [markdown]
# ## 5.3 Three models, as graphs
#
# The teacher, the student of chapter 3, and what chapter 4 made of it. `torch.onnx.export` makes a graph of any model by
# running it on stand-ins for tensors and translating what it saw, here of a model with one layer of the student's. That takes
# seconds for every layer. The graph of our encoder is known beforehand, so this book writes it, operator by operator
# (`fflib.engine.graph`): one file for any batch and length, kept only if its logits agree with PyTorch's. Each model reads
# its own tokens, for a student may have another vocabulary than its teacher.

# %%
models = {name: bench.load(name) for name in MODELS}
one_layer = slicing.slice_model(models["student"], [0])
export.assert_parity(one_layer, export.by_pytorch(one_layer))
graphs = study.originals(models, graph_files, threads)
dev = {name: bench.texts("dev", name) for name in MODELS}
test = {name: bench.texts("test", name) for name in MODELS}
timed_indices = batching.evenly_by_length(test[final].lengths, n_requests)
requests = {name: texts.take(timed_indices) for name, texts in test.items()}

# %% [markdown]
# ## 5.4 Predict: what can the products gain?
#
# The same products, [tokens x inner] by [inner x outer], in fp32 and in int8, in ONNX Runtime. The dashed line is as far as the
# instructions go, counted against fp32 at its best in this figure; a product whose fp32 rate is poor may gain more. With few
# tokens, the call and the waking of its threads cost more than the product itself.
#
# What is left of that for a whole model? Only its products with constant weights get faster. ONNX Runtime's own profiler
# tells their share $s$ of the time of a request of mean length; timing just these products tells what share $l$ of their time
# is left in int8. By Amdahl's law the whole model then becomes
#
# $$\frac{1}{1 - s + s\,l}$$
#
# times as fast. Section 5.10 puts the measurement beside it.

# %%
config = models["student"].encoder.config
rates = prediction.layer_rates(config, product_tokens, threads, product_seconds)
bench.facts["product_rates"] = rates
lines = [tuple(row.values()) for row in rates]
figure = figures.product_rates(lines, support.speedup_limit, bench.caption)
bench.figure(figure, "product_rates")

# %%
mean_length = round(float(requests[final].lengths.mean()))
nearest = np.abs(requests[final].lengths - mean_length).argmin()
predicted = {}
for name, model in models.items():
    inputs = batching.collate(requests[name], [nearest]).inputs
    share = prediction.share_of_products(graphs[name, "fp32"].path, inputs, threads)
    left = prediction.time_left(model.encoder.config, mean_length, threads, product_seconds)
    predicted[name] = prediction.row(share, left)
bench.table([{"model": name} | row for name, row in predicted.items()])

# %% [markdown]
# ## 5.5 Why attention stays in fp32
#
# Weights are rounded and *packed*, laid out as the processor wants them, once. Inside attention, queries meet keys and
# attention weights meet values: both factors are new in each call, and rounding and packing both takes time that a small
# product may not win back. [FastFormers](https://arxiv.org/abs/2010.13382) leaves these two products in fp32 (section 4), and so
# do all recipes here. Is that still right? The first two are those of one head, the third is a product with weights; each also as
# if one factor were constant.

# %%
products = prediction.attention_and_weights(config, mean_length)
measured = gemm.packing(list(products.values()), threads, product_seconds)
packing = [{"name": name} | row for name, row in zip(products, measured, strict=True)]
bench.facts["packing"] = packing
figure = figures.packing(packing, f"{bench.caption}; {mean_length} tokens")
show(bench.figure(figure, "packing"))
Markdown(prediction.verdict_on_attention(packing[:2]))

# %% [markdown]
# ## 5.6 Scales of the weights: one a column
#
# With one scale for a whole matrix, its largest weight sets the step for all columns, and a column of small weights is left
# with few codes. A scale for each column costs nothing: it joins the multiplication at the end. Here are the matrices of this
# run's model that lose most and least by one scale.

# %%
weights = linear_weights(models[final])
error = {name: rounding_error(weight, bits, per_column=False) for name, weight in weights.items()}
worst = max(error, key=error.get)
best = min(error, key=error.get)
one_scale, *_ = int8_graph.weight_codes(weights[worst], bits, per_column=False)
scale_by_column, *_ = int8_graph.weight_codes(weights[worst], bits, per_column=True)
error_by_column = rounding_error(weights[worst], bits, per_column=True)

# %% tags=["hide-input"]
bench.facts["rounding"] = {
    "matrix": worst,
    "one scale": error[worst],
    "a scale per column": error_by_column,
}
matrices = {place(name): weights[name] for name in (worst, best)}
caption = f"{final}; weights of {bits} bits; run {run}, size {size}"
figure = figures.weight_scales(matrices, caption, steps=int8_graph.largest_code(bits))
show(bench.figure(figure, "weight_scales"))
caption = f"{final}, {worst}; weights of {bits} bits; run {run}, size {size}"
shares = {"error_tensor": error[worst], "error_column": error_by_column}
bench.figure(figures.weight_codes(one_scale, scale_by_column, caption, **shares), "weight_codes")

# %% [markdown]
# ## 5.7 Scales of what flows in: dynamic or static
#
# *Dynamic*: at each call, look for the least and the largest value of the tensor. *Static*: fix the range beforehand, on a
# few training texts; that is *calibration*. It saves the search, and no answer depends on other requests. But which range?
# All values ever seen (*largest*); the middle 99.99 per cent of them (*percentile*); or the one that keeps the most
# information, by relative entropy (*entropy*), a favourite for images. In a transformer a few channels carry values far
# beyond the rest. Do they matter? Section 5.9 tells.

# %%
calibrations = {}
for name in MODELS:
    train = bench.texts("train", name, n_retrain)
    texts = train.take(range(min(n_calibrate, len(train))))
    calibrations[name] = Calibration(graphs[name, "fp32"].model, texts, threads)

histograms = calibrations[final].histograms  # of what flows into each product
loudest = max(histograms, key=lambda tensor: histograms[tensor].loudness)
clip_by_method = clips(histograms[loudest])

# %% tags=["hide-input"]
show(display.source(entropy_clip))
channels = histograms[loudest].channels
low, high = range_of(histograms[loudest], "largest")
reader = int8_graph.readers(calibrations[final].model.graph)[loudest]
bench.facts["activations"] = {
    "tensor": reader,
    "clips": clip_by_method,
    "largest channel": float(channels.max()),
    "median channel": float(np.median(channels)),
}
caption = f"{final}, {len(calibrations[final].texts)} training texts; run {run}, size {size}"
values = histograms[loudest].absolute().values
figure = figures.activations(values, clip_by_method, caption, f"what goes into {reader}")
show(bench.figure(figure, "activations"))
Markdown(
    f"The largest channel reaches {channels.max():.1f}, the median one {np.median(channels):.1f}: with one scale for all values "
    f"the median channel is left with {255 * 2 * np.median(channels) / (high - low):.0f} of 255 codes at most."
)

# %% [markdown]
# ## 5.8 Smoothing: move the outliers into the weights
#
# Divide a loud channel by some factor, and multiply the weights that it meets by the same: nothing changes in fp32, but
# the loud channel no longer sets the scale for all. The factors come from the calibration texts: for channel $j$ of the input
# $X$ and the weights $W_j$ that it meets it is $\max|X_j|^{1/2} / \max|W_j|^{1/2}$
# ([SmoothQuant](https://arxiv.org/abs/2211.10438), equation 4).

# %%
smoothed = calibrations[final].smoothed
inputs = batching.collate(dev[final], range(min(8, len(dev[final])))).inputs
before = study.served(calibrations[final].model, threads)(inputs)
after = study.served(smoothed.model, threads)(inputs)
change = np.abs(after - before).max()
assert change < export.TOLERANCE, f"smoothing changed a logit by {change:.1e}"
even_histogram = smoothed.histograms[f"{loudest}.smoothed"]
Markdown(report.smoothing(histograms[loudest].loudness, even_histogram.loudness, change))

# %% [markdown]
# ## 5.9 Do it, and check
#
# Every recipe on every model. What counts is how often the label stays, in the batches that are served and alone. A few texts
# of dev, long ones among them, are enough to see a recipe that breaks a model; whether a file is fit to serve, and what it loses, is
# decided below on all of dev, and then measured on test.
#
# *One scale a matrix* differs from *dynamic* in nothing else. *Library's default* is what ONNX Runtime does where it is told
# nothing, *paper* is FastFormers' code, *always 8 bits* ignores the processor's trap, *int4 weights* rounds the weights alone.
#
# Then all are timed in turn, one request at a time; they are many, so only every third request counts. Recipes that break a
# model are timed too, to see what the damage would have bought; none of them is served.
#
# Does an answer depend on who else is in the batch? With dynamic scales it does: one loud request takes codes from the others,
# and so does padding. (A text that is alone in its batch does not change.) The last figure shows how much.

# %%
check_indices = batching.evenly_by_length(dev[final].lengths, n_check or len(dev[final]))
logits = {name: training.predict(model, requests[name]) for name, model in models.items()}
answers = {}
for name, model in models.items():
    answers[name] = study.answers_of(model, dev[name], check_indices, bench.best_plan)
    for recipe in recipe_names:
        source = graphs[name, "fp32"].path
        graphs[name, recipe] = study.convert(source, recipe, calibrations[name], answers[name])

# %%
# A broken model is timed too, so the answers of all that is rounded are only noted.
NOTED = {"tolerance": np.inf, "agreement": 0.0}


def one_by_one(name, recipe):
    plan = batching.in_order(requests[name].lengths, 1)[::3]
    predict = graphs[name, recipe].predict
    variant = Variant(f"{name}, {recipe}", predict, plan, examples=requests[name])
    limits = {} if recipe == "fp32" else NOTED
    return timing.check(variant, requests[name], logits[name], **limits)


ways = {f"{name}, {recipe}": one_by_one(name, recipe) for name, recipe in graphs}
recipe_race = bench.compare(ways, requests[final], logits)

# %% tags=["hide-input"]
recipe_rows = []
for name in MODELS:
    for recipe in ["fp32", *recipe_names]:
        row = {"model": name, "recipe": recipe}
        row |= report.kept(graphs[name, recipe], answers[name], bench.score)
        row["ms"] = 1e3 / recipe_race[f"{name}, {recipe}"].throughput_per_s
        row["speed-up"] = recipe_race.speedup(f"{name}, {recipe}", f"{name}, fp32")
        recipe_rows.append(row)
bench.facts["recipes"] = recipe_rows
seconds = sum(graph.seconds for graph in graphs.values())
seconds_spent = {"calibrating, converting and checking": seconds}
show(display.table([report.settings(name) for name in recipe_names]))
show(display.table(report.shown(recipe_rows, min_agreement)))
n_timed = recipe_race[f"{final}, fp32"].seconds.shape[1]
caption = f"{bench.caption}; {len(check_indices)} dev texts; {n_timed} requests, one by one"
points = report.points(recipe_rows, recipes_served[0], min_agreement)
show(bench.figure(figures.recipes(points, caption), "recipes"))
show(Markdown(report.verdict(graphs, min_agreement)))
mates = report.batch_mates(graphs, final, recipe_names, min_agreement)
if mates.changes:
    where = "alone and in batches ({}, {})".format(*bench.best_batching)
    caption = f"{final}; {len(check_indices)} dev texts, {where}; run {run}, size {size}"
    show(bench.figure(figures.batch_mates(mates.changes, mates.flips, caption), "batch_mates"))

# %% [markdown]
# ## 5.10 Measure: what int8 is worth, beside the prediction
#
# The same engine, the same threads, the same requests; only the products differ. And once more with two instances, each with
# half the threads and requests of its own, for the first two of the served recipes: a request of a few products hardly keeps
# several threads busy, and in int8 less than in fp32.


# %%
def at_once(ways, alone, name):
    every_second = requests[name].take(range(0, len(requests[name]), 2))
    plan = batching.in_order(every_second.lengths, 1)
    expected = {way: Variant(way, alone[way], plan).logits(every_second) for way in ways}
    # Another division of the threads adds up in another order, which may push a value across the border of its code.
    return bench.compare_at_once(ways, every_second, expected, plans=plan, tolerance=0.1)


two_at_once = {}
for name in MODELS if threads > 1 else []:
    pairs, alone = {}, {}
    for recipe in ["fp32", *recipes_served[:2]]:
        graph = graphs[name, recipe]
        if graph.agreement >= min_agreement:
            pairs[recipe] = study.two_instances(graph.path, threads)
            alone[recipe] = graph.predict
    two_at_once[name] = at_once(pairs, alone, name)

# %% tags=["hide-input"]
for name, row in predicted.items():
    row["measured speed-up"] = recipe_race.speedup(f"{name}, {recipes_served[0]}", f"{name}, fp32")
    row["measured / predicted"] = row["measured speed-up"] / row["predicted speed-up"]
    row["answers"] = report.verdict_of(graphs[name, recipes_served[0]], min_agreement)
rows = [{"model": name} | row for name, row in predicted.items()]
show(bench.table(rows, keep="predicted"))
table = bench.table(report.at_once(two_at_once, recipe_race), keep="two_at_once")
table if two_at_once else Markdown("*Two instances are left out: there is one thread only.*")

# %% [markdown]
# ## 5.11 Learn with the rounding, where it is needed
#
# The rule is that of chapters 3 and 4: `min_retention` of the *teacher's* score on dev; rounding may spend what is left of it.
# Where no served recipe keeps it, the model can learn to live with its rounding: a short round in which every forward pass
# rounds as *dynamic* will, while the gradients pass as if it did not (the straight-through estimator,
# [Bengio et al.](https://arxiv.org/abs/1308.3432), section 4). Its own teacher there is itself, in fp32.


# %%
def in_batches(predict, texts):
    return Variant("served", predict, bench.best_plan(texts.lengths)).logits(texts)


fp32_dev, gold = cache.predict_cached(models[final], dev[final]), dev[final].gold
fp32_kept = bench.retention(fp32_dev, "dev")
on_dev = {name: in_batches(graphs[final, name].predict, dev[final]) for name in recipes_served}
labels_kept = {name: metrics.kept(said, fp32_dev, gold) for name, said in on_dev.items()}
fit = [name for name in recipes_served if labels_kept[name] >= min_agreement]
kept = {name: bench.retention(on_dev[name], "dev") for name in fit}

# %%
needed = not any(each.holds(min_retention) for each in kept.values())
learns = {"never": False, "when needed": needed, "always": True}[quantized_training]
Markdown(report.learning(final, fp32_kept, kept, learns, quantized_training))

# %%
if learns:
    short_texts = bench.texts("train", final, n_retrain, distil_length)
    outputs = teacher.TeacherOutputs(models[final], short_texts, teacher_cache_gb)
    objectives = Objectives(logits=1.0, hidden=1.0)
    plan = training.Recipe(
        1, batch_size, quantized_rate, dropout=dropout, freeze_words=True, seed=seeds[0]
    )
    folder = bench.folder / "models" / "quantised-student"
    learned, history = qat.distil(
        models[final], plan, outputs, objectives, dev[final], bench.score, folder, bits
    )

# %% tags=["hide-input"]
learned_rows = {}
if learns:
    seconds_spent["learning with the rounding"] = history.seconds
    path = export.save_onnx(learned, graph_files[final].parents[1] / "learned" / "model.onnx")
    calibrated = Calibration(recipes.load(path), calibrations[final].texts, threads)
for recipe in recipes_served if learns else []:
    graph = study.convert(path, recipe, calibrated, answers[final], learned=True)
    logits_dev = in_batches(graph.predict, dev[final])
    now, share = bench.retention(logits_dev, "dev"), metrics.kept(logits_dev, fp32_dev, gold)
    learned_rows[recipe] = {"labels kept %": 100 * share, "of the teacher's": now.words}
    is_better = recipe not in kept or now.value > kept[recipe].value
    if share >= min_agreement and is_better:
        learned_rows[recipe]["served"] = "yes"
        graphs[final, recipe] = graph
        kept[recipe], labels_kept[recipe] = now, share
if learns:
    in_pytorch = {}
    for when, model in {"before": models[final], "after": learned}.items():
        rounded = qat.predict(model, dev[final], bits)
        in_pytorch[when] = 100 * bench.score(rounded, dev[final].gold)
    bench.facts["quantized_training"] = in_pytorch | learned_rows
    words = "Rounded in PyTorch: {before:.1f} % on dev before, {after:.1f} % after."
    show(Markdown(words.format(**in_pytorch)))
    show(display.table([{"learned, then": name} | row for name, row in learned_rows.items()]))

# %% [markdown]
# ## 5.12 Choose on dev, report on test: the rungs
#
# The story goes on with the fastest of the served recipes, in the batches that chapter 2 found best, that is faster than the
# rung below and keeps the rule on dev; where none does, the model stays in fp32. What is faster and does not keep it stands on
# the ladder, marked. Where the first of `recipes_served` is as fast as the noise of the timing can tell, it is taken. On test each is
# scored in those batches: what is served is what is scored. A file that keeps fewer labels there than chance allows of one that
# keeps `min_agreement` is not served after all.

# %%
fp32_test, test_gold = cache.predict_cached(models[final], test[final]), test[final].gold
on_test = {name: in_batches(graphs[final, name].predict, test[final]) for name in kept}
checked = {name: timing.compared(said, fp32_test, test_gold) for name, said in on_test.items()}
least = fitness.least(min_agreement, len(test[final]))
for name, check in checked.items():
    if check.label_agreement < least:
        labels_kept[name] = check.label_agreement
        del kept[name]
scored = {"fp32": bench.scored(fp32_test, test_gold)}
scored |= {name: bench.scored(on_test[name], test_gold) for name in kept}
plan = bench.best_plan(requests[final].lengths)
ways = {"fp32": graphs[final, "fp32"].predict}
for name in kept:
    ways[name] = Variant(name, graphs[final, name].predict, plan, checked=checked[name])
if engine != "onnxruntime":
    ways["below"], _ = engines.serve(models[final], engine, threads, graph_files[final].parent)
race = bench.compare(ways, requests[final], logits[final], plan=plan)
chosen = study.choose(race, kept, min_retention, first=recipes_served[0])

# %% tags=["hide-input"]
stands_on = bench.facts_of("04_pruning")["goes_on_from"]
model_words = bench.rung(stands_on)["model"]
if engine != "onnxruntime":  # so that the engine's gain is not taken for one of int8
    bench.add_rung(
        "ONNX Runtime, fp32",
        race["fp32"],
        on=stands_on,
        like=stands_on,
        below=race["below"],
        scored=scored["fp32"],
        kept=fp32_kept,
        plan=plan,
        engine=f"ONNX Runtime {bench.machine['versions']['onnxruntime']}",
        model_mb=checkpoints.size_mb(models[final]),
    )
    stands_on = "ONNX Runtime, fp32"

# %%
for recipe in recipes_served:
    graph = graphs[final, recipe]
    own_fields = report.rung_fields(recipe, graph, model_words, recipe in race, labels_kept[recipe])
    bench.add_rung(
        f"int8 {recipe}",
        race.get(recipe),
        on=stands_on,
        like=stands_on,
        below=race["fp32"],
        scored=scored.get(recipe),
        kept=kept.get(recipe),
        plan=plan,
        **own_fields,
    )

# %% tags=["hide-input"]
bench.facts["goes_on_from"] = f"int8 {chosen}" if chosen else stands_on
bench.facts["quantised"] = {
    "recipe": chosen,
    "onnx": shown(graphs[final, chosen].path) if chosen else "",
    "model": final,
    "learned": bool(chosen) and graphs[final, chosen].learned,
    "accuracy": scored[chosen].value if chosen else None,
    "float_accuracy": scored["fp32"].value,
}
rows = report.rungs(race, kept, scored, min_retention)
table = bench.table(rows, keep="rungs")
show(table if rows else Markdown("*No recipe keeps enough of the labels.*"))
Markdown(
    f"The story goes on from **{bench.facts['goes_on_from']}**; in fp32 the same model has "
    f"{scored['fp32'].value:.1%} on test."
)

# %% [markdown]
# ## 5.13 Neighbours: another engine, and sixteen bits
#
# **OpenVINO**, with the static int8 of its companion NNCF, is a widely used engine for the same file. It gets the same texts to
# calibrate on and its own best settings: hints for latency or throughput, any length, or one graph for every 32 tokens of
# length. It is an optional extra.
#
# **Sixteen bits.** Where a processor multiplies bf16 itself, all of a model can have sixteen bits with no scales to choose: a
# shorter fraction is all that is lost. On a GPU it is fp16, as in the paper, in large batches.

# %%
absent = openvino.missing() or ("" if kept else "no recipe to compare with")
if not absent:
    served = chosen or max(kept, key=lambda recipe: race[recipe].throughput_per_s)
    alone, pairs = {}, {}
    for recipe, name in {"fp32": "fp32", served: f"int8 {served}"}.items():
        alone[f"ONNX Runtime {name}"] = graphs[final, recipe].predict
        pairs[f"ONNX Runtime {name}"] = study.two_instances(graphs[final, recipe].path, threads)
    texts = calibrations[final].texts
    peer.add_openvino(alone, pairs, graph_files[final], texts, requests[final].lengths, threads)
    peer_race = bench.compare(alone, requests[final], logits[final], **NOTED)
    peers_at_once = at_once(pairs, alone, final) if threads > 1 else {}

# %%
sixteen_bits = {}
for kind, device, rows in half_precision.TRIED:
    if not half_precision.missing(kind, device):
        many = half_precision.at_least(requests["teacher"], rows)
        ways = half_precision.beside_fp32(models["teacher"], kind, device)
        expected = training.predict(models["teacher"], many)
        plan = batching.in_order(many.lengths, rows)
        ways = {"fp32": ways["fp32"], kind: Variant(kind, ways[kind], plan)}
        ways[kind] = timing.check(ways[kind], many, expected, **NOTED)
        sixteen_bits[kind] = bench.compare(ways, many, expected, plan=plan)

# %% tags=["hide-input"]
if absent:
    show(Markdown(f"*OpenVINO is left out: {absent}.*"))
else:
    rows = peer.rows(peer_race, peers_at_once, f"ONNX Runtime int8 {served}", min_agreement)
    show(bench.table(rows, keep="peer"))
rows = []
for kind, device, batch in half_precision.TRIED:
    if kind in sixteen_bits:
        rows.append(half_precision.row(sixteen_bits[kind], kind, device, batch, min_agreement))
    else:
        show(Markdown(f"*{half_precision.missing(kind, device)}*"))
table = bench.table(rows, keep="sixteen_bits")
table if rows else None

# %% [markdown]
# ## 5.14 What it cost
#
# The accuracy that the rungs' table shows, and one more file to keep beside the weights it came from. With dynamic scales an
# answer is no longer a function of its request alone. The rest is time, paid once; this chapter's last cell adds it up.
#
# ## 5.15 When it does not pay
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
# ## 5.16 Exercises
#
# 1. Draw `figures.activations` for every tensor in `histograms`. Which layer has the loudest channel, and does chapter 4's
#    pruning keep it?
# 2. Give `int8_graph.smoothed` a strength of 0 and of 1. Which matrix pays for it, by `rounding_error`?
# 3. Calibrate on texts of one package only. How many labels change on the others, with static and with dynamic scales?
#
# **Next:** [chapter 6](06_runtime.ipynb) asks which graph of it the engine should be given.

# %% tags=["hide-input"]
bench.facts["seconds_spent"] = seconds_spent
rows = [{"step": what, "seconds": value} for what, value in seconds_spent.items()]
show(bench.table(rows, decimals=0))
bench.save()
