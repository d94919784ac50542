# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5 · Quantisation: eight bits that keep their accuracy
#
# **Claim.** We can round a model's weights, and the values that flow through it, to whole numbers of eight bits. The
# processor multiplies more of these in the same time than it multiplies floating-point numbers. Done with care, the
# predictions hardly change. Other ways look just as good on paper and can destroy the model. This chapter runs them
# side by side.
#
# **Cost.** Every product gets a small rounding error. With the simplest recipe, an answer may also depend on which
# other texts are in the same batch.
#
# **Needs** chapters [1](01_baseline.ipynb) to [4](04_pruning.ipynb). **Leaves** the model of chapter 4 in eight bits,
# if some recipe keeps [the rule](glossary.md#the-rule), and one [rung](glossary.md#rung) of the
# [ladder](glossary.md#ladder) for each recipe that may be served. The gain of the [engine](glossary.md#engine) itself
# is not counted again: every rung here stands on a model in [fp32](glossary.md#fp32), floating-point numbers of 32
# bits, that runs in the same engine.

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
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost column; set yours
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
from fflib.quantization import (
    elsewhere,
    figures,
    half_precision,
    prediction,
    qat,
    recipes,
    report,
    rounding,
    study,
)
from fflib.quantization.calibration import Calibration, clips, entropy_clip, range_of
from fflib.quantization.rounding import linear_weights, place, rounding_error
from fflib.runtime import engines, openvino, peer, served
from fflib.runtime.served import final_form

bench = Bench.open("05_quantization", globals())
fitness.check_rule(min_agreement)
study.check_choices(recipes_tried, recipes_served, quantized_training, seeds, n_check)
threads, final = bench.threads, bench.final  # the model that the story goes on with
recipe_names = list(dict.fromkeys(recipes_tried + recipes_served))
graph_files = {name: bench.graph_file(name) for name in MODELS}

# %% [markdown]
# ## 5.1 Idea: round to whole numbers, and keep the scale
#
# **Why.** Most of the time of an encoder goes into matrix products (section 5.4 measures how much). A weight in fp32
# takes 32 bits, and most of those bits describe digits that no prediction depends on. If eight bits are enough, a
# register of the processor holds four times as many numbers, and one instruction does more multiplications. Numbers of
# eight bits are called [int8](glossary.md#int8).
#
# **What eight bits keep.** Take one column of a weight matrix, with four weights. The largest has the size 0.62. We
# divide all of them by the *scale* $0.62/127$ and round. What is stored are the codes, and one scale for the column:
#
# ```text
# weights in fp32      -0.6200    -0.0400     0.1100     0.5300
# divided by scale   -127.00      -8.19      22.53     108.56      scale: 0.62 / 127 = 0.00488
# codes (int8)         -127         -8         23        109
# codes times scale    -0.6200    -0.0391     0.1123     0.5321
# error                 0.0000     0.0009     0.0023     0.0021     half a scale at most: 0.00244
# ```
#
# A value $x$ gets the code $q$, and the code stands for the value $\hat{x}$:
#
# $$q = \mathrm{round}(x / s) + z, \qquad \hat{x} = s \, (q - z), \qquad |x - \hat{x}| \le s / 2$$
#
# Here $s$ is the scale and the whole number $z$ is the [zero point](glossary.md#zero-point), the code of zero
# ([Jacob et al., section 2.1](https://arxiv.org/abs/1712.05877)). The bound on the error holds for every $x$ within the
# range that the codes cover. A value beyond it gets the last code and may be far off: it is *clipped*. There are two
# usual choices:
#
# - *Symmetric*, for weights: $z = 0$ and $s = \max|x| / 127$, with codes from -127 to 127. (Eight bits could also hold
#   -128; it is left out, so that both sides are alike.)
# - With a zero point, for [activations](glossary.md#activations), the values that flow into a product:
#   $s = (x_{\max} - x_{\min}) / 255$ and $z = \mathrm{round}(-x_{\min}/s)$, with codes from 0 to 255. No code is wasted
#   if the values lie mostly on one side of zero.
#
# **How the product is computed.** A column of outputs in fp32 is $y_j = \sum_i x_i w_{ij}$. With codes $a_i$ for the
# activations and $b_{ij}$ for the weights it becomes
#
# $$y_j \approx s_x \, s_j \sum_i (a_i - z_x) \, b_{ij}$$
#
# where $s_x$ and $z_x$ belong to the activations and $s_j$ to column $j$ of the weights
# ([Jacob et al., section 2.2](https://arxiv.org/abs/1712.05877)). The sum has only whole numbers in it, and that is
# what the fast instructions compute, exactly, in 32 bits. (They multiply $a_i$ as it is; the part with $z_x$ needs only
# the sum of each column of codes, which is known beforehand.) The two scales come in once, after the sum:
#
# ```text
# fp32:  values times weights -----------------------------------------> outputs in fp32
#
# int8:  values  -> codes, in each call --+
#                                         +--> exact sums --> times s_x s_j --> outputs in fp32
#        weights -> codes, made once    --+
# ```
#
# The bias is added after that, and everything between the products, such as softmax and LayerNorm, stays in fp32. So
# all the error comes from the two roundings, and everything depends on the scales. The rest of this chapter is about
# which numbers share a scale, and about how far its range should reach. The two functions that make the codes are
# short:

# %% tags=["hide-input"]
display.source(int8_graph.weight_codes, int8_graph.activation_codes)

# %% [markdown]
# ## 5.2 What can this processor do?
#
# Eight bits save time only where the processor has instructions for them. Newer x86 processors have *VNNI*, which
# multiplies bytes and adds the products in one instruction, and *AMX*, which does so for whole tiles of a matrix. Arm
# has the *dot product*.
#
# Older x86 processors reach the same result in three steps, and the first of them has a trap. It adds two products in
# sixteen bits, and a sum that does not fit is set to the largest number that does, without any warning. That can happen
# with weights of eight bits, since $2 \cdot 255 \cdot 127 = 64770$, and sixteen bits with a sign end at 32767. It
# cannot happen with weights of seven bits, since $2 \cdot 255 \cdot 64 = 32640$. ONNX Runtime calls this `reduce_range`
# ([its documentation](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html) explains when it
# is needed). We do not rely on the list of instruction sets alone: the engine itself is asked to multiply the largest
# codes.

# %%
support = int8_support.int8_support()
bits = recipes.safe_weight_bits()
warning = int8_support.int8_warning(support, weight_bits=8) or "Nothing to warn of."
bench.facts["int8"] = report.processor(support, bits)
show(bench.table(report.instruction_sets(support)))
Markdown(report.processor_words(bench.facts["int8"], warning))

# %% [markdown]
# The third column counts instructions: how many multiply-adds (a multiplication, and the addition of its result) a core
# can do in int8 for each one in fp32. It is an upper bound for a single large product, not a forecast for a model.
# Section 5.4 measures single products, and section 5.10 the model. If int8 disappoints you on your own machine, section
# 5.15 lists the reasons.
#
# ## 5.3 Three models, as graphs
#
# The recipes are compared on three models: the [teacher](glossary.md#teacher), the [student](glossary.md#student) of
# chapter 3, and what chapter 4 pruned from it. ONNX Runtime wants each as a [graph](glossary.md#graph), a file that
# lists the operators in the order in which they run; chapter 6 is about such graphs.
#
# PyTorch can make one: `torch.onnx.export` runs the model on stand-ins for tensors and translates what it sees.
# This takes seconds for each layer. The graph of our encoder is known beforehand, so this book writes the file
# itself, operator by operator (`fflib.engine.graph`). The cell does both for a model with one layer and checks that
# both agree with PyTorch. Each graph is used only if its [logits](glossary.md#logit), the scores from which the
# label is taken, are those of the PyTorch model. Each model also reads its own tokens, because a student may have
# another vocabulary than its teacher.

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
# Two things are compared: the same matrix product in fp32 and in int8, in the same engine. A product here is [tokens,
# inner] by [inner, outer], and the number of tokens grows from left to right. In the figure, the dashed line is the
# limit from the table above, counted from the best fp32 rate that was measured; a limit far above all rates is written
# and not drawn.

# %%
mean_length = round(float(requests[final].lengths.mean()))
config = models["student"].encoder.config
rates = prediction.layer_rates(config, product_tokens, threads, product_seconds)
bench.facts["product_rates"] = rates
lines = [tuple(row.values()) for row in rates]
figure = figures.product_rates(lines, support.speedup_limit, bench.caption)
bench.figure(figure, "product_rates")

# %% [markdown]
# Read the figure from left to right. With one or a few tokens both lines are low: the call itself and the waking of
# threads take longer than the product. With more tokens int8 should pull ahead, at most to its limit. If it stays far
# below the limit, the multipliers are waiting for something else, such as the rounding of the inputs or the memory.
#
# How much of that reaches a whole model? Only products with constant weights get faster. Let $s$ be their share of the
# time of a request in fp32, and $l$ the fraction of that time that they take in int8. The rest of the model does not
# change. By [Amdahl's law](https://doi.org/10.1145/1465482.1465560) the model then becomes
#
# $$\frac{1}{(1 - s) + s\,l}$$
#
# times as fast. For example, if products take 0.7 of the time and int8 halves them, the model becomes
# $1/(0.3 + 0.35) = 1.54$ times as fast, and not twice. The profiler of ONNX Runtime, which times each operator, tells
# $s$ for a request of mean length; timing the products alone tells $l$.

# %%
nearest = np.abs(requests[final].lengths - mean_length).argmin()
predicted = {}
for name, model in models.items():
    inputs = batching.collate(requests[name], [nearest]).inputs
    share = prediction.share_of_products(graphs[name, "fp32"].path, inputs, threads)
    left = prediction.time_left(model.encoder.config, mean_length, threads, product_seconds)
    predicted[name] = prediction.row(share, left)
bench.table([{"model": name} | row for name, row in predicted.items()])

# %% [markdown]
# The second column is $s$, the third is $1/l$, and the last is the prediction. Section 5.10 puts the measurement beside
# it.
#
# ## 5.5 Why attention stays in fp32
#
# Weights are rounded and *packed*, that is, laid out in memory as the processor wants them. Both happen once, when the
# model is loaded. Inside attention there are two more products: queries by keys, and attention weights by values. There
# both factors are new in each call, so both would have to be rounded and packed each time, and for a small product this
# can take longer than int8 saves. [FastFormers, section 4](https://arxiv.org/abs/2010.13382) therefore leaves these two
# in fp32, and so do all recipes here. Is that still right?
#
# The figure has three panels: the two products of one attention head, and for comparison a product with weights. Each
# is timed in fp32 and in int8, with one factor constant and with both new in each call.

# %%
products = prediction.attention_and_weights(config, mean_length)
measured = gemm.packing(list(products.values()), threads, product_seconds)
packing = [{"name": name} | row for name, row in zip(products, measured, strict=True)]
bench.facts["packing"] = packing
figure = figures.packing(packing, f"{bench.caption}; {mean_length} tokens")
show(bench.figure(figure, "packing"))
Markdown(prediction.verdict_on_attention(packing[:2]))

# %% [markdown]
# In each of the first two panels the lower pair of bars is what attention really has to compute. The upper pair shows
# what int8 would gain there if one factor were constant; where even that is little, the products of a single head are
# too small.
#
# ## 5.6 Scales of the weights: one for each column
#
# With one scale for a whole matrix, its largest weight sets the step for all columns. A column of small weights is then
# left with few codes: it is like measuring a coin with a ruler that has only metres on it. A scale for each column
# costs nothing at run time, because it joins the multiplication after the sum ($s_j$ in 5.1).
#
# The cell looks for the matrix of this run's model that loses most by a single scale, and for the one that loses least.
# The error is the mean square of what rounding changes, as a share of the variance of the weights.

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
caption = f"{final}, {place(worst)}; weights of {bits} bits; run {run}, size {size}"
shares = {"error_tensor": error[worst], "error_column": error_by_column}
bench.figure(figures.weight_codes(one_scale, scale_by_column, caption, **shares), "weight_codes")

# %% [markdown]
# In the first figure each column of the matrix is a thin bar, the largest first. What lies between the bars and the red
# line are steps that a single scale leaves unused. The second figure shows which codes the worst matrix gets: with one
# scale the weights crowd into fewer codes around zero (top) than with a scale for each column (bottom).
#
# This one choice can make or break a model. Microsoft's engineers reported that when they brought the code of
# FastFormers to ONNX Runtime: [on BoolQ](https://github.com/microsoft/onnxruntime/pull/5827) the default of that time
# scored 57.22, and a scale for each column, with seven bits, 73.39.
#
# ## 5.7 Scales of the activations: dynamic or static
#
# The weights are known when we convert the model, the activations are not. There are two ways to choose their range:
#
# | | dynamic | static |
# |:--|:--|:--|
# | when is the range chosen | in each call, from the tensor at hand | once, before serving, on a few training texts ([calibration](glossary.md#calibration)) |
# | cost at run time | a pass over the tensor to find its least and largest value | none |
# | a value larger than any seen before | the range grows to hold it | it is clipped |
# | does an answer depend on other texts in the batch | yes, they share the range | no |
#
# For static ranges there is a second choice: how much of what was seen should the range cover? [Wu et al., section
# 3](https://arxiv.org/abs/2004.09602) compare the usual ways. *Largest* covers all values. *Percentile* covers the
# middle 99.99 per cent and clips the rest. *Entropy* takes the range with the least relative entropy, which says how
# far the distribution of the rounded values is from the true one; it is popular for models of images.
#
# For transformers the question is sharper, because a few channels carry values far beyond all others
# ([Bondarenko et al.](https://arxiv.org/abs/2109.12948)). Do these outliers matter, or may we clip them? The cell
# collects what flows into each product on the calibration texts, and picks the tensor with the *loudest* channel: the
# one whose largest value is furthest above that of the median channel.

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
# The figure is a histogram of the sizes of all values in that tensor, on a log scale. Each line is the end of a range:
# values to the right of it are clipped. The sentence below it shows the dilemma: a range that covers the outliers
# leaves few codes for an ordinary channel, and a narrow range cuts the outliers off. Section 5.9 tells which of the two
# hurts more.
#
# ## 5.8 Smoothing: move the outliers into the weights
#
# There is a third way. Divide a loud channel by some factor, and multiply the weights that it meets by the same factor.
# In fp32 nothing changes, since $x_j w_{jk} = (x_j / f_j)(f_j w_{jk})$. But the loud channel no longer sets the range
# for all. The factors come from the calibration texts. For channel $j$ of the input $X$ and the row $W_j$ of weights
# that it meets,
#
# $$f_j = \frac{\max|X_j|^{\alpha}}{\max|W_j|^{1-\alpha}}$$
#
# ([SmoothQuant, equation 4](https://arxiv.org/abs/2211.10438)). The strength $\alpha$ says how much of the range moves
# from the activations into the weights; we take $\alpha = 0.5$, an even split.

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
# The cell stops with an error if smoothing changes the fp32 model: it must not.
#
# ## 5.9 Do it, and check
#
# Each recipe is applied to each model. A recipe is a set of answers to the questions above; the first table below lists
# these answers. What each recipe is for:
#
# - *dynamic* is this book's default, and *paper* has the settings of FastFormers' code.
# - *one scale a matrix* is *dynamic* with one scale for each matrix, and shows what that costs.
# - *library's default* is what ONNX Runtime does if no option is set; it also rounds the embeddings, with one scale.
# - *embeddings too* rounds the embeddings with a scale for each word, which makes the file small.
# - *always 8 bits* ignores the trap of older processors (5.2). On a processor without the trap it is the same as
#   *dynamic*.
# - *static, largest*, *static, entropy* and *static, smoothed* are the choices of 5.7 and 5.8.
# - *int4 weights* stores the weights in four bits and widens them in each call.
#
# What counts is [label agreement](glossary.md#label-agreement): how often the rounded model gives the label that the
# fp32 model gives. It shows damage earlier than accuracy does, since a label that changes from wrong to right counts as
# a change too. We count it on a few texts of [dev](glossary.md#dev-and-test), long ones among them, in the batches that
# are served and with each text alone. A few texts are enough to see a recipe that breaks a model. Section 5.12 decides
# on all of dev what may be served, and measures on test what it loses.
#
# Then all recipes are timed in turn, one request at a time. There are many of them, so only every third request is
# used. Recipes that break a model are timed too, to see whether the damage would at least have bought speed. None of
# them is served.

# %%
check_indices = batching.evenly_by_length(dev[final].lengths, n_check or len(dev[final]))
logits = {name: training.predict(model, requests[name]) for name, model in models.items()}
answers = {}
for name, model in models.items():
    answers[name] = study.answers_of(model, dev[name], check_indices, bench.best_plan)
    for recipe in recipe_names:
        source = graphs[name, "fp32"].path
        graphs[name, recipe] = study.convert(source, recipe, calibrations[name], answers[name])

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
kept_runs = {"A": bench.kept("docs-cpu"), "B": bench.kept("docs-cpu-three-seeds")}
kept_labels = {letter: run.label for letter, run in kept_runs.items() if run}
kept_facts = {letter: run.facts for letter, run in kept_runs.items() if run}
rows = elsewhere.recipes_beside(recipe_rows, kept_facts, final)
show(display.table(rows) if rows else Markdown("*No kept run has these recipes.*"))
Markdown(elsewhere.legend(kept_labels, kept_facts))


# %% [markdown]
# How to read this:
#
# - In the first figure a recipe further left is faster, and a higher one keeps more labels. The numbers are explained
#   beside it, a ring marks the default recipe, and the bars are intervals.
# - *Labels kept* comes with a wide interval, because the texts are few. *Logit change* is the largest change of a logit
#   on these texts, and *changed by batch* is how many of them get another label in a batch than alone. A recipe far
#   below the others is broken; a difference of one label means nothing. A file that keeps less than `min_agreement` of
#   the labels has "no" in the column *served* and is hollow in the figure.
# - The library's default and *one scale a matrix* would suffer from what 5.6 describes; compare them with *dynamic* in
#   each model. *static, entropy* clips the outliers of 5.7. If it changes many labels here, the model needs its
#   outliers.
# - Why does the file not shrink to a quarter? Most of it is the embeddings, a table with a row for each word of the
#   vocabulary. It stays in fp32 except under *embeddings too* and *library's default*.
# - *int4 weights* makes the weights of the layers smaller still. But they must be widened in each call, and that only
#   pays where the processor waits for memory.
# - The second figure shows whether an answer depends on its batch. With dynamic ranges it does: one text with large
#   values widens the range for all, which leaves fewer codes for the others, and so does
#   [padding](glossary.md#padding). With static ranges only the order of additions changes. A scale for each token would
#   end this too ([ZeroQuant](https://arxiv.org/abs/2206.01861) does so on GPUs); the int8 products of ONNX Runtime take
#   one scale for the whole tensor.
#
# How do the same recipes fare on another processor? The last table sets this run's model beside two [kept
# runs](glossary.md#kept-run), A and B. Speed-ups are over fp32 in the same run. Their models learned another task or
# were pruned to another shape, so compare the rough size of the factors and which recipes fail.
#
#
# ## 5.10 Measure: what int8 is worth, beside the prediction
#
# Same engine, same threads, same requests: only the products differ. The first table puts the measurement beside the
# prediction of 5.4. The second asks the question again, with [p50](glossary.md#p50-and-p95), the median time of a
# request, for two [instances](glossary.md#instance) at the same time, each with half of the threads and its own
# requests, for the first two of the served recipes. The reason for asking: the few small products of one request hardly
# keep several threads busy, and in int8 even less than in fp32. The third table sets the first one beside the same
# measurement on the processors of kept runs.


# %% tags=["hide-input"]
def at_once(ways, alone, name):
    every_second = requests[name].take(range(0, len(requests[name]), 2))
    plan = batching.in_order(every_second.lengths, 1)
    expected = {way: Variant(way, alone[way], plan).logits(every_second) for way in ways}
    # Another division of the threads adds up in another order, which may push a value across the border of its code.
    limit = served.tolerance("int8", logits[name])
    return bench.compare_at_once(ways, every_second, expected, plans=plan, tolerance=limit)


two_at_once = {}
for name in MODELS if threads > 1 else []:
    pairs, alone = {}, {}
    for recipe in ["fp32", *recipes_served[:2]]:
        graph = graphs[name, recipe]
        if graph.agreement >= min_agreement:
            pairs[recipe] = study.two_instances(graph.path, threads)
            alone[recipe] = graph.predict
    two_at_once[name] = at_once(pairs, alone, name)

for name, row in predicted.items():
    row["measured speed-up"] = recipe_race.speedup(f"{name}, {recipes_served[0]}", f"{name}, fp32")
    row["measured / predicted"] = row["measured speed-up"] / row["predicted speed-up"]
    row["answers"] = report.verdict_of(graphs[name, recipes_served[0]], min_agreement)
rows = [{"model": name} | row for name, row in predicted.items()]
show(bench.table(rows, keep="predicted"))
table = bench.table(report.at_once(two_at_once, recipe_race), keep="two_at_once")
show(table if two_at_once else Markdown("*Two instances are left out: there is one thread only.*"))
show(display.table(elsewhere.processors_beside(bench.facts, kept_facts)))
Markdown(elsewhere.legend(kept_labels, kept_facts))


# %% [markdown]
# Above one in the column *measured / predicted* means that the model gained more than its products explain. A common
# reason is that the profiler and the timing of single products see other conditions than the whole model, where the
# caches also hold the other layers. Below one means that something around the products became slower, usually the
# rounding of the inputs.
#
# In the second table compare the last two columns. If int8 gains more with two at once than one by one, the threads of
# a single request were idle part of the time. Chapter 7 makes use of that.
#
# ## 5.11 Train with the rounding, where it is needed
#
# The rule is that of chapters 3 and 4: what goes on must keep `min_retention` of the *teacher's* score on dev.
# Distillation and pruning have spent some of that already; rounding may spend what is left. As in chapter 4, the rule is
# asked of the form in which the model will be served: each recipe is applied to the graph of chapter 6, which computes
# the last layer for the first token only. It is the same function, rounded in the same way.
#
# Where no served recipe keeps the rule, the model can be trained to tolerate its rounding. In a short round of
# training, every forward pass rounds weights and activations just as *dynamic* will. Rounding is a staircase, and its
# slope is zero nearly everywhere, so no gradient would come through. The usual way out is to pretend that the slope is
# one: the gradient passes as if nothing had been rounded. This is the straight-through estimator ([Bengio et
# al.](https://arxiv.org/abs/1308.3432); for quantisation [Jacob et al., section 3](https://arxiv.org/abs/1712.05877)).
# The teacher in this round is the model itself, in fp32.


# %%
def in_batches(predict, texts):
    return Variant("served", predict, bench.best_plan(texts.lengths)).logits(texts)


def as_served(recipe, model):
    folder, texts = bench.folder / "models" / "onnx" / "served", calibrations[final].texts
    return in_batches(final_form(model, recipe, folder, threads, texts), dev[final])


fp32_dev, gold = cache.predict_cached(models[final], dev[final]), dev[final].gold
fp32_kept = bench.retention(fp32_dev, "dev")
on_dev = {name: as_served(name, models[final]) for name in recipes_served}
labels_kept = {name: metrics.kept(said, fp32_dev, gold) for name, said in on_dev.items()}
fit = [name for name in recipes_served if labels_kept[name] >= min_agreement]
kept = {name: bench.retention(on_dev[name], "dev") for name in fit}
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
    logits_dev = as_served(recipe, learned)
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
    words = "Score on dev, rounded in PyTorch: {before:.1f} % before this training, {after:.1f} % after it."
    show(Markdown(words.format(**in_pytorch)))
    show(display.table([{"trained, then": name} | row for name, row in learned_rows.items()]))
trained = bench.kept("boolq-after-docs")
rows = elsewhere.training_beside(trained.facts) if trained else []
if rows:
    show(display.table(rows))
    show(
        Markdown(
            f"*{trained.label}. Points are those of the score on dev, against the model in fp32.*"
        )
    )

# %% [markdown]
# If a recipe keeps the rule, no training is done, and the sentence above says so. The table under it is from a kept run
# on BoolQ, where it was needed: each recipe without training and with it. Its dev set is small, so the smallest step
# between two rows is one example; read the direction, not the digit. A recipe that keeps too few labels of the fp32
# model is not served even if its score is good: it is then a different model that happens to score as well.
#
# ## 5.12 Choose on dev, report on test: the rungs
#
# Four questions decide what the story goes on with, in this order. Does the file keep enough labels of the fp32 model?
# Does it keep the rule on dev? Is it faster than the rung below, in the batches that chapter 2 found best? Which of
# those left is the fastest? If the first of `recipes_served` cannot be told from the fastest, given the noise of the
# timing, the first is taken. If none is left, the model stays in fp32.
#
# A recipe that is fast but does not keep the rule also stands on the ladder, and is marked there. Test is looked at
# only now. Each file is scored in the batches in which it would be served, because with dynamic ranges the answers
# depend on them. A file is not served after all if it keeps so few of the fp32 model's labels on test that chance alone
# cannot explain the distance to `min_agreement`; the right answers play no part in that. Which of the files that keep the
# rule is the fastest is seen in the very race that also gives its step, so that step may be a little flattered.

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
# *Step* is the gain over the same model in fp32, in the same engine. *Of the teacher's on dev* decides whether the rule
# is kept; it is asked in the form that will be served (5.11), and its interval is that of paired examples. Near the
# rule it is luck which recipe keeps it: the intervals of the rows overlap, and a recipe that rounds more may come out
# ahead. *Test points lost* compares the file with the fp32 model on test. A small negative number means that rounding
# happened to turn a few more wrong answers into right ones than the other way round; that is chance and no improvement.
#
# ## 5.13 Neighbours: another engine, and sixteen bits
#
# **OpenVINO** is a widely used engine for the same files. Its companion NNCF makes a static int8 model, from the
# same calibration texts. It gets its own best settings: hints for [latency](glossary.md#latency) or
# [throughput](glossary.md#throughput), and either one graph for any length or one for every 32 tokens of length. It
# is an optional extra; without it the table of a kept run is shown.
#
# **Sixteen bits.** Some processors multiply *bf16*, a 32-bit number with its last sixteen bits cut off. The range stays
# and only digits are lost, so no scale has to be chosen. On a GPU one takes *fp16* in large batches, as [FastFormers,
# section 5](https://arxiv.org/abs/2010.13382) does.

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
    show(Markdown(f"*OpenVINO is left out here: {absent}.*"))
    other = bench.kept("docs-cpu-three-seeds")
    rows = elsewhere.peers(other.facts) if other else []
    if rows:
        show(display.table(rows))
        show(Markdown(f"*{other.label}.*"))
else:
    rows = peer.rows(peer_race, peers_at_once, f"ONNX Runtime int8 {served}", min_agreement)
    bench.facts["peer"] = rows
    show(display.table(elsewhere.peers(bench.facts)))
rows = []
for kind, device, batch in half_precision.TRIED:
    if kind in sixteen_bits:
        rows.append(half_precision.row(sixteen_bits[kind], kind, device, batch, min_agreement))
        show(Markdown(half_precision.words(rows[-1])))
    else:
        show(Markdown(f"*{half_precision.missing(kind, device)}*"))
bench.facts["sixteen_bits"] = rows

# %% [markdown]
# In the table, *times our int8* is the time of a request over that of this chapter's file: above one is slower. An
# engine is good on the instruction sets that its makers tuned it for: on a processor without VNNI, OpenVINO's int8 can
# be slower than its own fp32.
#
# Sixteen bits were timed in PyTorch, against PyTorch. They are the least work of all, one line of code, and the
# sentence says how many labels they keep. A factor below one means that the conversions cost more than the products
# save, for with one request at a time the products are small.
#
# ## 5.14 What it cost
#
# The accuracy that the table of the rungs shows, and one more file to keep beside the weights from which it was made.
# With dynamic ranges an answer no longer depends on its request alone. And the file belongs to one kind of processor:
# weights of eight bits that are right here can give wrong sums on an older one (5.2), so make the file where it will
# serve, or with seven bits. The rest is time, paid once; the last cell of this chapter adds it up.
#
# ## 5.15 Why is my int8 model slower than fp32?
#
# This is one of the most frequent questions about quantisation. The causes, most frequent first, and how to tell:
#
# | cause | how to tell | what to do |
# |:--|:--|:--|
# | No int8 instructions, or AVX2 only | table in 5.2; `lscpu` shows no `vnni`, `amx_int8` or `asimddp` | expect little; weights of seven bits |
# | The products are few or small | the share in 5.4 is low, or both lines of its figure are close | prune or fuse first; batch requests |
# | int8 weights, but fp32 products | profile (6.3): `MatMul` beside `DequantizeLinear` | convert with `quantize_dynamic` |
# | Rounding the inputs costs too much | profile: `DynamicQuantizeLinear` is large | static ranges; round once for Q, K and V |
# | Codes without a fast routine | signed activations with signed weights on x86 | unsigned activations, signed weights |
# | Only the weights are small | the file shrinks, the time does not | that is for language models |
# | A slow fusion around the products | section 6.3 | switch that fusion off |
# | fp32 had more threads or shorter texts | not compared like with like | same requests and threads, in turn |
#
# The first cause decides most cases ([ONNX Runtime's own
# answer](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html) agrees, and [users of AVX2
# machines report it](https://github.com/microsoft/onnxruntime/issues/6695)). The last table of 5.10 shows the same
# prediction and the same measurement on this machine and on those of the kept runs. Compare the rows of one model
# there. *Limit* follows from the instruction set. *Their speed-up* is what the products of this model reach of it;
# small products stay far below. The measured gain of the model is smaller again, because of the share that int8 does
# not touch. On AVX2 expect clearly less than two, which is the limit of a single product there; one badly chosen
# setting, or a small model, can use up the whole gain.
#
# ## 5.16 When it does not pay
#
# - **The processor has no instructions for it**: see 5.15.
# - **The products are small.** With a few tokens or narrow layers, what surrounds the products dominates, and it does
#   not shrink.
# - **The ranges come from other texts** than those that are served. Static ranges clip what they have not seen; dynamic
#   ones adapt.
# - **Answers must not depend on their neighbours**, for audits or caches. Take static ranges.
# - **Only the weights are made small** (*int4 weights*). A processor that computes, and does not wait for memory, gains
#   nothing and has to widen them again. It pays for language models that write one token at a time.
# - **Sixteen bits on a processor without them**: every operator converts there and back.
#
# **Summary.** Eight bits can keep what a classifier needs; the safe choices are a scale for each column of weights and
# a range that clips no outliers. The gain depends above all on the instruction set; the share of the products predicts
# it roughly.
#
# **Next:** [chapter 6](06_runtime.ipynb) asks which graph of this model the engine should be given.
#
# ## 5.17 Exercises
#
# **Exercise 1: what does a bit cost?** Predict by which factor the mean square of the rounding error grows if a weight
# loses one bit. Hint: the error is spread evenly between $-s/2$ and $s/2$, so its mean square is $s^2/12$. Then look at
# the labels with seven and with eight bits: `make book SET='recipes_tried=["always 8 bits","paper"]'`.

# %% tags=["answer"]
errors = {b: rounding_error(weights[worst], b) for b in (8, 7, 6, 5, 4)}
rows = [{"bits": b, "error over that of eight bits": errors[b] / errors[8]} for b in errors]
show(display.table(rows, 1))
Markdown(
    f"One bit less doubles the scale, so the mean square grows about fourfold. From eight bits to four, with codes from -7 "
    f"to 7, $(127/7)^2$ = {(127 / 7) ** 2:.0f} times were predicted, and {errors[4] / errors[8]:.0f} times found in *{place(worst)}*. "
    "With so few codes most weights are smaller than a step, and their error is no longer spread evenly."
)

# %% [markdown]
# **Exercise 2: how strong should smoothing be?** With $\alpha = 0$ the factors look at the weights only, with
# $\alpha = 1$ at the activations only. ($\alpha = 0$ is not the model without smoothing: its factors follow the
# weights.) Predict what happens to the loudest channel and to the rounding error of the weights as $\alpha$ grows.
# To see the labels of a smoothed file on your own machine:
# `make book SET='recipes_served=["static, largest","static, smoothed"]'`.

# %% tags=["answer"]
fitting = [weight for weight in weights.values() if len(weight) == len(channels)]
matrix = weights.get(
    reader.split(", ")[0].removeprefix("layers."), fitting[0]
)  # what the loud tensor meets
strengths = (0.0, 0.25, 0.5, 0.75, 1.0)
show(display.table(rounding.smoothing_balance(channels, matrix, bits, strengths), decimals=4))
Markdown(
    "The channels become alike as the strength goes to 1, and the weights pay for it with a larger error. The two "
    "errors meet in the product, so a balance is best."
)

# %% [markdown]
# **Exercise 3: how many texts does calibration need?** Predict which recipe suffers if you calibrate on a single text:
# *dynamic*, *static, largest*, or both? Then try it: `make book SET="n_calibrate=1"`, and compare the table of 5.9.

# %% tags=["answer"]
texts = calibrations[final].texts
one = Calibration(calibrations[final].model, texts.take([0]), threads).histograms
shares = np.array([np.ptp(one[name].edges) / np.ptp(histograms[name].edges) for name in one])
Markdown(
    f"*dynamic* does not calibrate, so nothing changes for it. On one text, the range of a tensor is on average "
    f"{shares.mean():.0%} as wide as on {len(texts)} texts, and {shares.min():.0%} in the worst of {len(shares)} "
    "tensors: whatever is larger will be clipped by *static, largest*."
)

# %% [markdown]
# **Exercise 4: predict for a processor that you do not have.** A server has AVX2 only. The products take 0.7 of the
# time of a request, and int8 makes them one and a half times as fast. How much faster is the model? Compare with the
# kept run on AVX2 in the last table of 5.10. If you have such a machine, run `make book` there, and `make compare` sets
# it beside the kept run.

# %% tags=["answer"]
asked = prediction.speedup(0.7, 1 / 1.5)
rows = kept_facts["B"]["predicted"] if "B" in kept_facts else []
found = ", ".join(f"{row['model']} {row['measured speed-up']:.2f}" for row in rows)
Markdown(
    f"$1 / (0.3 + 0.7/1.5)$ = {asked:.2f}. Measured in the kept run on AVX2, as a factor over fp32: {found or 'not kept'}. "
    "Nothing is wrong with such a model: its processor has no more to give."
)

# %% tags=["hide-input"]
bench.facts["seconds_spent"] = seconds_spent
spent = "; ".join(f"{what}: {value:.0f} s" for what, value in seconds_spent.items())
show(Markdown(f"*Time that this chapter spent once, before any request: {spent}.*"))
bench.save()
