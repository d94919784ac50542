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
# # 6 · Runtime: which graph the engine is given
#
# **Claim.** The same small model runs much faster or slower on the same [engine](glossary.md#engine). What decides is
# the [graph](glossary.md#graph) that the engine is given: the list of operators it works through. Some rewritings of
# that list help, some hurt, and one can change the answers without a word.
#
# **Cost.** No accuracy beyond the rounding of chapter 5, as long as every graph is checked before it is timed.
#
# **Needs** chapters [1](01_baseline.ipynb) to [5](05_quantization.ipynb). **Leaves** the file that is served, and the
# [rung](glossary.md#rung) of its graph.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
graphs_tried: list[str] = ["+ skip-LayerNorm"]  # ways to optimise, beside the paper's and ours
engines_tried: list[str] = ["pytorch", "onnxruntime", "onnxruntime int8"]  # beside each other
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
packed_tokens: int = 128  # tokens in a row of packed requests
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
n_calibrate: int = 8  # training texts that show what values flow
rounds: int = 2  # interleaved timing rounds
threads: int = 0  # threads of every engine; 0 takes all cores
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost columns; set yours
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.book.inputs import MODELS
from fflib.data import batching
from fflib.engine import export, predictors
from fflib.engine.graph import attention_of_first
from fflib.measure import fitness
from fflib.measure.timing import Variant
from fflib.model import cache, encoder, flops, slicing, training
from fflib.pruning import fewer_tokens
from fflib.quantization import recipes
from fflib.runtime import (
    built_graphs,
    ceiling,
    engines,
    figures,
    first_token,
    fusions,
    openvino,
    packing,
    peers_table,
    served,
)

bench = Bench.open("06_runtime", globals())

# %% [markdown]
# ## 6.1 Idea: many graphs compute the same answer
#
# **Why.** Chapters 3 to 5 made the model small. What is left of a request is a few milliseconds, and in so short a time
# it matters how the work is arranged: each operator reads its input from memory, writes its output back, and costs a
# call.
#
# A *graph* lists the operators and says which output goes into which input. The same model can be written as many
# graphs. Two ways to write a better graph are compared here with the plain one.
#
# **Fuse.** A [fusion](glossary.md#fusion) replaces a group of operators by one that does the same in a single pass over
# memory. Here is the feed-forward half of a layer, with the states $h$ going in at the top:
#
# ```text
# plain graph                          fused graph
#
# MatMul   (to the inner width)        MatMul
# Add      (bias)               \
# Div, Erf, Add, Mul, Mul  GELU /      BiasGelu                  six operators became one
# MatMul   (back)                      MatMul
# Add      (bias)               \
# Add      (h, the residual)     |     SkipLayerNormalization    three operators became one
# LayerNormalization            /
# ```
#
# **Drop.** A classifier reads only the *first* token of the last layer. The other rows of that layer are computed for
# nobody. The first token must see all the others there, but nothing has to be computed *for* them:
#
# ```text
# one layer, n tokens                    other layers   last layer, for the first token
# --------------------------------------------------------------------------------------
# queries of the input                   n rows         1 row, since only the first asks
# keys of the input                      n rows         none (see 6.2)
# queries by keys, softmax               n by n         1 by n
# values of the input                    n rows         none (see 6.2)
# attention weights by values            n rows         1 row
# output product, residual, LayerNorm    n rows         1 row
# feed-forward, residual, LayerNorm      n rows         1 row
# classifier                             -              reads this one row
# ```
#
# Only a measurement on this processor tells whether a fusion pays, and only a check tells whether the graph is still
# the same model. The model of this chapter is the one that chapter 5 left, in eight bits if a recipe kept
# [the rule](glossary.md#the-rule).

# %% tags=["hide-input"]
# A slip in the parameters stops here, before anything takes time.
files.check_known("engine", engines_tried, engines.ENGINES)
files.check_known("graph", graphs_tried, fusions.VARIANTS)
quantised = bench.facts_of("05_quantization")["quantised"]
recipe, final = quantised["recipe"], quantised["model"]
model = bench.load(final)
test = bench.texts("test", final)
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
mean_length = round(float(test.lengths.mean()))
nearest = test.take([int(np.abs(test.lengths - mean_length).argmin())])
one_request = batching.collate(nearest, [0]).inputs  # of mean length
expected = training.predict(model, requests)
one_by_one = batching.in_order(requests.lengths, 1)

# %% [markdown]
# ## 6.2 Predict: the last layer for one token
#
# Queries, output product and feed-forward half clearly need only one row. But the first token looks at the keys and
# values of *all* tokens. Why do we not need to compute these either? Because products can be regrouped. Let $q$ be the
# query of the first token in one head, and $x_j$ the [hidden state](glossary.md#hidden-state) of token $j$, which goes
# into the layer. Its score and, with the attention weights $p_j$, the mean of the values are
#
# $$q \cdot (W_K x_j + b_K) = (W_K^T q) \cdot x_j + q \cdot b_K, \qquad \sum_j p_j \, (W_V x_j + b_V) = W_V \sum_j p_j x_j + b_V$$
#
# On the left, the matrices $W_K$ and $W_V$ are multiplied with the state of every token. On the right each is
# multiplied with one vector only: $W_K$ with the query, before it is compared with the states, and $W_V$ with the mean
# of the states. The term $q \cdot b_K$ is the same for every token, so the softmax does not see it, and the $p_j$ add
# up to one. So the answer is exactly the same; only the order of the additions is another.
#
# What does that save? Count the multiply-adds of one layer. Let $n$ be the number of tokens, $d$ the width of the
# states, $H$ the number of heads, $a$ the width of all heads together, and $f$ the inner width of the feed-forward
# half. For all tokens, and for the first alone,
#
# $$C_{\mathrm{all}} = n\,(4da + 2df) + 2n^2a, \qquad C_{\mathrm{first}} = 4da + 2df + 2ndH$$
#
# In the first formula $4da$ is for queries, keys, values and the output product, $2df$ for the two feed-forward
# products, and $2n^2a$ for the two products inside attention. In the second these matrices meet one row, and only
# $2ndH$ still grows with $n$: each head looks once at the state of every token, and takes one mean of them. For a
# model of $L$ equal layers the gain is
#
# $$\frac{L \, C_{\mathrm{all}}}{(L - 1)\,C_{\mathrm{all}} + C_{\mathrm{first}}}$$
#
# As $C_{\mathrm{first}}$ is small beside $C_{\mathrm{all}}$, this is a little less than $L/(L-1)$: much for a
# [student](glossary.md#student) of two or three layers, little for a model of twelve. Embeddings, softmax and the
# overhead of calls are left out of the count. This is how the attention of the last layer is written into the graph:

# %% tags=["hide-input"]
display.source(attention_of_first)


# %%
def predicted_work(config):
    all_tokens = flops.forward_flop(config, mean_length) / 1e9
    one_token = flops.first_token_flop(config, mean_length) / 1e9
    return {
        "layers": len(config.layers),
        "GFLOP": all_tokens,
        "for the first token": one_token,
        "predicted speed-up": all_tokens / one_token,
    }


work = {name: predicted_work(bench.load(name).encoder.config) for name in MODELS}
bench.facts["first_token_work"] = work
bench.table([{"model": name} | row for name, row in work.items()])

# %% [markdown]
# The columns *GFLOP* and *for the first token* are billions of operations for a request of mean length (a multiply-add
# counts as two). The last column is their ratio. With equal layers, the fewer a model has, the more it gains. A pruned
# model gains even more where chapter 4 left its last layer whole and cut only the others: the last layer is then a
# larger part of the work.
#
# ## 6.3 Measure: the graph, taken apart
#
# ONNX Runtime rewrites a graph when it loads it, at one of three
# [levels](https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html): *basic* computes
# beforehand what is constant, *extended* also fuses operators, and *all* adds what depends on the processor. Its
# [library for transformers](https://onnxruntime.ai/docs/performance/transformers-optimization.html) fuses more, in the
# file, beforehand. Four fusions matter for an encoder:
#
# - **skip-LayerNorm**: a residual addition and the LayerNorm after it become one operator.
# - **embedding**: the three look-ups of the embeddings, their sum and their LayerNorm become one.
# - **GELU**: the operators of this activation, and the bias before it, become one.
# - **attention**: the products, the softmax and the transpositions of all heads become one. Only the library fuses
#   these.
#
# [FastFormers, section 4](https://arxiv.org/abs/2010.13382) used all of it at once, together with
# [int8](glossary.md#int8). Here each is measured alone. The row *all but these four* is level *all* without them, and
# each row with a plus adds one of them to it. The paper's recipe is tried twice: as it works with today's versions,
# which no longer find the number of heads by themselves, and with that number given. Both, and *+ attention*, begin
# with the graph that PyTorch's older exporter writes. The library knows the patterns of that graph, which has many more
# and smaller operators. *This book's* graph fuses GELU alone and computes the last layer for one token; *this book's,
# all tokens* also fuses GELU alone, but computes the whole last layer. (It also adds the tables of positions and of
# token types beforehand, which saves a look-up.)
#
# A remark for your own service: since version 1.29 ONNX Runtime sends facts about the models and graphs that it runs to
# its makers. This book prevents that by setting `ORT_DISABLE_TELEMETRY=1` before it is loaded, and so should you.

# %%
first_token_model = first_token.FirstTokenClassifier(model)
folder = bench.folder / "models" / "onnx" / "served"
chapter_5_folder = files.resolve(quantised["onnx"]).parent if recipe else folder.with_name("whole")
whole = export.save_onnx(model, chapter_5_folder / "model.onnx")
first = export.save_onnx(first_token_model, folder / "model.onnx")
graphs = fusions.Graphs(model, whole, first)
variants = built_graphs.in_every_run(graphs_tried)
built, impossible = built_graphs.build(graphs, variants, bench.threads)

# %% [markdown]
# Each graph is timed in [fp32](glossary.md#fp32), where its [logits](glossary.md#logit) must be those of the model,
# and in eight bits, rounded as FastFormers did. Rounding changes logits, so there we count labels instead, on more
# requests than are timed. A graph that keeps fewer than `min_agreement` of them is *timed, not served*.

# %%
every_third = one_by_one[::3]
busy_says = training.predict(model, busy)


def to_compare(graph):
    variant = Variant(graph.name, graph.predict, every_third)
    return variant if graph.precision == "fp32" else served.judged(variant, busy, busy_says)


race = bench.compare({name: to_compare(graph) for name, graph in built.items()}, requests, expected)
papers = built_graphs.papers_best(race)
over_papers = built_graphs.gain(race, fusions.BOOK, over=papers)
over_all_tokens = built_graphs.gain(race, fusions.BOOK, over=fusions.WHOLE)

# %% tags=["hide-input"]
rows = built_graphs.rows(race, built, final, min_agreement)
bench.facts["graph_variants"] = rows
bench.facts["against_the_papers_graph"] = over_papers
bench.facts["first_token_gain"] = over_all_tokens
caption = f"{bench.caption}; {len(every_third)} requests, one by one"
show(bench.figure(figures.graph_variants(rows, caption), "graph_variants"))
show(display.table(built_graphs.shown(rows, race, min_agreement)))
show(
    Markdown(
        f"This book's graph is **{over_papers['int8']:.2f} times** as fast as the best graph that the library makes of this model "
        f"(*{papers}*: {fitness.verdict(race[f'{papers}, int8'].checked, min_agreement)}) in int8, {over_papers['fp32']:.2f} times in fp32. Against the same graph for all tokens it is "
        f"{over_all_tokens['int8']:.2f} and {over_all_tokens['fp32']:.2f} times as fast; "
        f"{work[final]['predicted speed-up']:.2f} were predicted from operations."
        + "".join(f"\n\n*{name}: {why}*" for name, why in impossible.items())
    )
)
kept_runs = {"A": bench.kept("docs-cpu"), "B": bench.kept("docs-cpu-three-seeds")}
kept_runs = {letter: found for letter, found in kept_runs.items() if found}
labels = [f"**{letter}**: {found.label}" for letter, found in kept_runs.items()]
beside = built_graphs.beside(rows, {letter: found.facts for letter, found in kept_runs.items()})
if beside:
    show(display.table(beside))
    show(
        Markdown(
            "*Times as fast as level* all *of the same run. Kept, not measured today: "
            + ". ".join(labels)
            + ".*"
        )
    )

# %% [markdown]
# How to read this:
#
# - In the figure a bar is the mean time of a request, the line at its end is the interval, and this book's graph is
#   blue.
# - **What the columns count.** *Operators* are those that are left when the engine has loaded the graph, and
#   *fused* how many of them stand for several others. *Answers* says *checked* where the graph may be served. The
#   last two columns compare its labels and its logits with those of the model.
# - **A fusion that is not there.** Where a row with a plus has no more fused operators than *all but these four*, the
#   engine found no place for it. The one for embeddings looks for three look-ups, and this book's graph has two. In
#   eight bits the product adds the bias itself, so that nothing is left to fuse with GELU.
# - **Noise first.** Two rows with the same number of operators and of fused ones, such as *no optimisation* and *basic*
#   in fp32, may be one and the same graph. Their difference is the noise of this machine; smaller differences between
#   other rows mean nothing.
# - **Fewer operators are not always faster.** Look at *+ skip-LayerNorm*: it has fewer operators than *all but these
#   four*. Where it is slower, the fused operator is badly written for this processor. Level *all*, which most people
#   use, contains it, because it pays elsewhere, on GPUs for example.
# - **The first token is what pays.** Compare *this book's* with *this book's, all tokens*: the same fusions, less
#   work. The gain can exceed the prediction, because the operators between the products also have fewer rows. It
#   can fall short of it, because what is not counted, such as the embeddings and the calls, stays.
# - **Why does this book's graph not fuse attention**, even where *+ attention* is ahead of *all but these four* here or
#   in a kept run? The library fuses it only where all layers have the same heads, which pruned layers need not have,
#   and its operator always computes all tokens.
# - All fp32 rows keep every label, as they must. In eight bits all rows share the same rounding, so they lose about the
#   same.
#
# The last table repeats the experiment on the processors of [kept runs](glossary.md#kept-run), as a factor over level
# *all* of the same run. A fusion that helps on one of them need not help on the other: measure on the processor that
# will serve. (The rows *this book's* of a kept run are the graphs of its day.)
#
# So fusing is no gain in itself: what counts is how well the fused operator is written for this processor. Where does
# the time go in each graph? The profiler of the engine tells, operator by operator. It lengthens each one by some
# microseconds; how many is measured on operators that do nothing, and taken off.

# %%
profiles = {
    label: built[f"{variant}, int8"].operators_ms(one_request, bench.threads)
    for label, variant in (("the paper's graph", papers), ("this book's", fusions.BOOK))
}
bench.facts["operators_ms"] = profiles
caption = f"{bench.caption}; int8, one request of {mean_length} tokens"
drawn = dict(zip(("the paper's graph", "this book's graph"), profiles.values(), strict=True))
bench.figure(figures.operators(drawn, caption), "operators")

# %% [markdown]
# Each pair of bars is one kind of operator, in the two graphs. The kinds near the top take most of the time. What the
# first token saves is seen in *int8 products*. What a fusion changes is seen in *LayerNorm* and *activation*: where the
# fused LayerNorm is the longer bar, it is the badly written operator of above. A fused attention multiplies in eight
# bits and counts there too. This book's graph does not fuse it, so it has bars of its own for *attention*, *moving
# data* and *fp32 products*; the last also hold the keys and values of the last layer, which stay in fp32. So the saving
# in the title may be larger than the difference of the whole graphs: it is partly lost again in other kinds of
# operators.
#
# ## 6.4 Check: a trap, the heads a model had before pruning
#
# The library that fuses attention must know the number of heads. If it is told a wrong number, it obeys without an
# error. How can that happen? Take the student, cut every second head, and fuse with the numbers in its old
# configuration, as one does who forgets to change them. The columns of the matrices are then cut into too many heads,
# each of them half as wide. All shapes still fit, so nothing fails:

# %%
student = bench.load("student")
every_second = [range(0, layer.num_heads, 2) for layer in student.encoder.config.layers]
halved = slicing.slice_model(student, heads=every_second)
heads = {
    "those it has": fusions.heads_of(halved),
    "those it had": fusions.heads_of(student),
    "to look for itself": fusions.HEADS_BY_ITSELF,
}
exported = fusions.legacy_onnx(halved)
right = training.predict(halved, nearest)
trap = {
    told: fusions.told(exported, numbers, one_request, right, bench.threads)
    for told, numbers in heads.items()
}
bench.facts["heads_trap"] = [{"told": told} | row for told, row in trap.items()]
display.table([{"the library was told": told} | row for told, row in trap.items()], decimals=6)

# %% [markdown]
# The second row has the wrong number of heads: its logits are simply wrong, and nothing says so. In the third row
# the 0 told the library to look for the number itself, and it gave up without a word: the answers are right, and no
# attention is fused.
#
# The guard is the check that every graph of this book passes before anything else: its logits on random tokens are
# compared with those of the model. It refuses that graph:

# %%
refused = ""
try:
    wrong_graph = fusions.fused(exported, ("attention",), *heads["those it had"])
    export.assert_parity(halved, wrong_graph)
except (AssertionError, RuntimeError, files.InputError) as error:
    refused = str(error).splitlines()[0]
change = trap["those it had"].get("largest change of a logit", np.inf)
assert refused or change < 10 * export.TOLERANCE, "the wrong graph passed the check"
Markdown(f"*{refused or 'nothing'}*")

# %% [markdown]
# ## 6.5 Do it: the file that is served
#
# What is served is the graph for the first token, rounded by the recipe that chapter 5 chose. One file serves any batch
# and any length.

# %%
train = bench.texts("train", final, limit=n_train)
calibration_texts = train.take(range(min(n_calibrate, len(train))))
whole_served = files.resolve(quantised["onnx"]) if recipe else whole
export.check_belongs(whole_served, model)
first_served = served.in_integers(first, recipe, calibration_texts, bench.threads)
sizes_mb = {"chapter 5's file": whole_served, "first token": first_served}
bench.table([{"file": name, "MB": path.stat().st_size / 1e6} for name, path in sizes_mb.items()])

# %% [markdown]
# The two files hold the same model, so they are about equally large: the first token saves time and hardly any memory.
# In the second file the matrices of keys and values of the last layer stay in fp32: they are multiplied with one row
# only, and rounding that row would cost more than it saves.
#
# How near are its products to what the engine can do? A processor is limited in two ways: by how fast it computes, and
# by how fast memory brings the numbers. The [roofline](glossary.md#roofline) puts both into one line
# ([Williams et al.](https://doi.org/10.1145/1498765.1498785)):
#
# $$P \le \min(P_{\mathrm{peak}},\; I \cdot B)$$
#
# $P$ is the rate in operations a second, $P_{\mathrm{peak}}$ the peak of the processor, $B$ the bandwidth of the memory
# in bytes a second, and $I$ the *intensity*: how many operations are done for each byte that is moved. For an int8
# product of $n$ tokens, with the inner width $k$, the outer width $m$ and outputs in fp32,
#
# $$I = \frac{2\,n\,k\,m}{n\,k + k\,m + 4\,n\,m}$$
#
# With one token $I$ is about two, because each weight is read for a single multiply-add: memory is the limit. With a
# hundred tokens each weight is used a hundred times, and the processor is the limit. A classifier is mostly on that
# second side, a language model that writes one token at a time on the first. (A small model can also stay in the
# caches, which are faster than memory.)
#
# As the peak we take the best rate of any int8 product measured here, large ones among them. The table sets the
# products of a request of mean length beside it.

# %%
config = model.encoder.config
rows = [
    ceiling.against_the_ceiling(first_served, config, one_request, mean_length, count)
    for count in sorted({1, bench.threads})
]
bench.facts["int8_products"] = rows
display.table(ceiling.shown(rows))

# %% [markdown]
# *G* stands for billions of operations, and *best rate* is that of the fastest product with so many threads. *Share of
# the best* is the rate of this request over that: where it is low, better products could help. *Share of the request*
# is how much of the request's time that concerns. Compare the two rows. Where *best rate* hardly grows with the second
# thread, even larger products gain little from it here. Where *G a second* hardly grows, the products of one request
# are so small that waking a second thread costs about as much as it brings. Chapter 7 therefore tries what happens if
# each request gets one thread.
#
# ## 6.6 A classifier with a loop: WiC
#
# Some classifiers do not read the first token. The task [WiC](https://arxiv.org/abs/1808.09121) asks whether a word
# means the same in two sentences; its classifier reads these words, wherever they stand. FastFormers could not export
# that model, because the words were taken out in a Python loop, and a graph has no Python in it. Written with tensor
# operations, a mask for each word and the largest value under it, the same classifier exports without trouble. This
# book serves its model of WiC in this way.

# %% tags=["hide-input"]
display.source(encoder.read_words)

# %% [markdown]
# ## 6.7 Measure: engines, by one call
#
# The engines of `engines_tried` get the same model, with the last layer for the first token, through one function and
# with the same threads. In the default run these are PyTorch, ONNX Runtime in fp32, and ONNX Runtime in int8. *This
# book's file* is the file of 6.5. It is rounded by the recipe that chapter 5 chose, while *onnxruntime int8* always
# takes the recipe *dynamic*. Where chapter 5 chose that one, the two are the same, and the difference of their times is
# noise. Where OpenVINO is installed it gets the whole graph too, and makes its own int8 of the graph for the first
# token. In fp32 the logits have to be those of the model. In eight bits the labels are counted, and the column
# *answers* says which of them may be served.
#
# **And all the others?** There are more engines for a processor. A fair comparison gives all of them the same model,
# requests and threads, in the same interleaved rounds, and each of them its own best settings. That takes some minutes,
# and packages that the book does not need otherwise. So it is a command of its own, which reads a finished run. The
# last tables below show what it found in a kept run, if one is kept:
#
# - **CTranslate2** brings its own int8. It only holds models whose heads share the whole hidden width. Pruned heads do
#   not, so it gets the student as it was before pruning; a row of ONNX Runtime with that same student stands beside it.
# - **ExecuTorch**, with the products of XNNPACK, compiles a PyTorch model beforehand, in dynamic int8.
# - **torch.compile** translates the model into a program, with the weights as constants and products tuned for this
#   machine.
# - **OpenVINO** gets this book's graph, in fp32 and in its own int8, and both in bf16 too where the processor
#   multiplies that.
# - **All by default** is what a user gets who exports the teacher, calls the library's int8 with nothing set, and
#   serves the result.
#
# Each is timed twice, in the run's batches and one request after another, and the faster of the two counts. Before
# that, its labels are compared with those of its model.

# %%
loaded, absent = engines.load_all(first_token_model, engines_tried, bench.threads, folder)
peers = {}
if not openvino.missing():
    peers = engines.openvino_graphs(whole, first, calibration_texts, folder)
for name, graph in peers.items():
    loaded[name] = engines.Loaded(openvino.predictor(graph, bench.threads))
session = predictors.onnx_session(first_served, bench.threads)
loaded["this book's file"] = engines.Loaded(predictors.onnx_predictor(session))

# %%
in_bits = {name for name in loaded if "int8" in name} | ({"this book's file"} if recipe else set())
ways = {name: Variant(name, engine.predict, one_by_one) for name, engine in loaded.items()}
ways |= {name: served.judged(ways[name], busy, busy_says) for name in in_bits}
by_engine = bench.compare(ways, requests, expected)

# %% tags=["hide-input"]
bench.facts["engines"] = engines.rows(by_engine, loaded)
for engine, why in absent.items():
    show(Markdown(f"*{engine}: {why}*"))
verdicts = {name: fitness.verdict(way.checked, min_agreement) for name, way in by_engine.items()}
show(display.table(engines.shown(bench.facts["engines"], verdicts)))
if not peers and "B" in kept_runs:
    show(Markdown(f"*OpenVINO is not installed here. With it, {kept_runs['B'].label}:*"))
    show(display.table(engines.shown(kept_runs["B"].facts["engines"])))
show(Markdown(peers_table.markdown(peers_table.kept("docs-cpu"), f"{run} --size {size}")))

# %% [markdown]
# Compare [p50 and p95](glossary.md#p50-and-p95) of each engine: where the p95 is several times the p50, some requests
# wait much longer than most, and users notice these. *Load, s*, the seconds to load or compile, is paid once for each
# process; it matters where a service starts often. Where the table of a kept run stands below the first one, it comes
# from another processor: compare its rows with each other and not with the first table.
#
# If a race of all engines is kept, its table comes next, the fastest first; otherwise there is only the command that
# runs one. *Times this book's* compares the requests per second of a way with those of this book's file, on the same
# cores and in the same rounds. Rows of one model can be compared as engines. A row of another model says what that
# choice costs: the unpruned student has more work to do, and the teacher more still. A way whose *answers* are not
# *checked* may be fast, but it changes too many labels to be served. The list below that table says how each way was
# set up. The second table names who is not in the race, and gives the reason in a sentence.
#
# ## 6.8 Length again: batches, packed rows, graphs of one shape
#
# Chapter 2 found the best batches for the [teacher](glossary.md#teacher). Is that still right for this graph? A
# batch saves the overhead of calls and costs [padding](glossary.md#padding), of which batches sorted by length have
# little. Two further ways are compared with it:
#
# - *Pack* several short requests into one row, with a mask that keeps them apart ([Krell et
#   al.](https://arxiv.org/abs/2107.02027)). There is hardly any padding, but attention computes pairs of tokens of
#   different requests, and the mask then throws them away. A packed row has a first token for each of its requests, but
#   the graph for the first token computes only one for each row. So packing is compared with the whole graph.
# - Give the engine *a graph for each length*, so that it knows every shape beforehand and can plan its memory.

# %% tags=["hide-input"]
display.source(packing.first_fit, packing.PackedClassifier.forward)

# %%
is_short = test.lengths <= np.median(test.lengths)
short = test.take(np.flatnonzero(is_short)[:n_busy_requests])
short_logits = training.predict(model, short)
all_go_on = fewer_tokens.let_go_on(model, 1.0)  # a packed row cannot choose for each request
to_be_packed = training.predict(all_go_on, short)
packed_rows = packing.first_fit(short.lengths, packed_tokens)
packed_path = folder.with_name("packed") / "model.onnx"
packed_float = export.save_onnx(packing.PackedClassifier(all_go_on), packed_path)
# In fp32 packing must not change a logit. A recipe that is calibrated knows no packed rows: there they stay in fp32.
packed = packing.pack(short, packed_rows)
in_rows = predictors.onnx_predictor(predictors.onnx_session(packed_float, bench.threads))
packed_logits = in_rows(packed.inputs)[np.argsort(packed.order)]
change = float(np.abs(packed_logits - to_be_packed).max())
assert change < export.TOLERANCE, f"packing changed a logit by {change:.1e}"
packed_recipe = "" if recipes.RECIPES[recipe or "dynamic"].calibrated else recipe
packed_served = served.in_integers(packed_float, packed_recipe, calibration_texts, bench.threads)

# %%
serve_first = loaded["this book's file"].predict
serve_whole = predictors.onnx_predictor(predictors.onnx_session(whole_served, bench.threads))
serve_packed = predictors.onnx_predictor(predictors.onnx_session(packed_served, bench.threads))
serve_by_length = predictors.sessions_by_length(first_served, bench.threads, short.lengths)
whole_graph, first_graph = predictors.together([serve_whole]), predictors.together([serve_first])
single = batching.in_order(short.lengths, 1)
in_batches = batching.sorted_by_length(short.lengths, 16)

# %%
ways_and_batches = {
    "whole graph, one by one": (whole_graph, single),
    "whole graph, sorted batches": (whole_graph, in_batches),
    "whole graph, packed rows": (packing.row_by_row(serve_packed), [*map(np.array, packed_rows)]),
    "first token, one by one": (first_graph, single),
    "first token, a graph for each length": (predictors.together([serve_by_length]), single),
    "first token, sorted batches": (first_graph, in_batches),
}
right = dict.fromkeys(ways_and_batches, short_logits) | {"whole graph, packed rows": to_be_packed}
by_way = bench.compare_at_once(
    {name: way for name, (way, _) in ways_and_batches.items()},
    short,
    right,
    plans={name: plan for name, (_, plan) in ways_and_batches.items()},
    tolerance=np.inf if recipe else 1e-3,  # what is not served is only noted: the last column
)

# %% tags=["hide-input"]
rows = [
    row | {"labels kept %": 100 * by_way[row["way"]].checked.label_agreement}
    for row in by_way.rows()
]
show(bench.table(rows, keep="by_length"))
attended = packing.attended_share(short.lengths, packed_rows)
by_packing = by_way.speedup("whole graph, packed rows", "whole graph, sorted batches")
by_shape = by_way.speedup("first token, a graph for each length", "first token, one by one")
Markdown(
    f"{len(short)} requests in {len(packed_rows)} packed rows; in fp32 no logit differs by more than {change:.0e}. Of all pairs "
    f"of tokens that attention computes in these rows, {attended:.0%} are of use. Of what sorted batches compute, "
    f"{batching.padding_share(short.lengths, in_batches):.0%} is padding. Packed rows answer {by_packing:.2f} times as much as "
    f"they do; a graph for each length answers {by_shape:.2f} times as much as one for all."
    + " (Packed rows are in fp32 here, the others in eight bits.)"
    * (packed_recipe != recipe)
)

# %% [markdown]
# One request at a time has the lower [latency](glossary.md#latency), and a batch usually the higher
# [throughput](glossary.md#throughput): the *p50* of a batch is the time until all of it is answered. The sentence says
# what packing can save and what it costs: the padding that is left in sorted batches, and the pairs of unrelated
# tokens. With dynamic ranges a packed row has one range for all of its texts; what that does to the labels is in the
# last column. A graph for each length helps an engine that plans its work by shape. Where it is no faster here, ONNX Runtime
# has no use for the known length, and the many loaded graphs compete for the caches.
#
# ## 6.9 The rung
#
# Chapter 5's file and this chapter's file answer the same requests, in the same rounds and in the batches that chapter
# 2 found best, in the default run by a [token budget](glossary.md#token-budget). Only the graph differs, so this step
# on the ladder is what computing the last layer for one token brings.

# %%
plan = bench.best_plan(busy.lengths)
final_race = bench.compare_at_once(
    {"chapter 5's file": whole_graph, "first token": first_graph},
    busy,
    busy_says,
    plans=plan,
    tolerance=served.tolerance(recipe, busy_says),
)


# %% [markdown]
# Accuracy is measured on all of test, in the very batches that are served, because with dynamic ranges (5.7) an answer
# may depend on them. The rule is asked on [dev](glossary.md#dev-and-test) as ever. This file is the form in which
# chapters 4 and 5 asked it already, so the share should be the one that you saw there. If it does not keep
# `min_retention` of the teacher's score after all, chapter 5's file goes on.


# %%
def answers_to(texts):
    logits = cache.predict_cached(model, texts)
    at_least = served.labels_to_keep(recipe, min_agreement, len(texts))
    return served.answers(serve_first, texts, logits, bench.best_batching, at_least)


answers = answers_to(test)
kept = bench.retention(answers_to(bench.texts("dev", final)).logits, "dev")

# %%
below = bench.facts_of("05_quantization")["goes_on_from"]
rung = bench.add_rung(
    "first token",
    replace(final_race["first token"], checked=answers.check),
    on=below,
    like=below,
    below=final_race["chapter 5's file"],
    batching=batching.words(*bench.best_batching),
    plan=plan,
    model_mb=first_served.stat().st_size / 1e6,
    scored=bench.scored(answers.logits, test.gold),
    kept=kept,
)
bench.facts["goes_on_from"] = "first token" if kept.holds(min_retention) else below

# %% tags=["hide-input"]
gain = final_race.speedup("first token", "chapter 5's file")
words = kept.words or "an unknown share"
show(
    Markdown(
        f"In these batches the file for the first token is **{gain:.2f} times** as fast as chapter 5's. It keeps {words} of "
        f"the teacher's score on dev, and answers {rung.throughput_per_s:,.0f} requests/s. The story goes on from "
        f"**{bench.facts['goes_on_from']}**."
    )
)
show(bench.rungs_table())

# %% [markdown]
# The table has one row, because this chapter adds one rung; its own step is in the sentence above. It need not be the
# gain that 6.3 measured one request at a time. In batches the layers before the last one take another share of the
# time, and in them nothing is saved.
#
# ## 6.10 What it cost
#
# In fp32 nothing: the last layer for one token is exact. In eight bits two graphs round at different places, so a few
# labels come out differently, some for the better and some for the worse. A model that only just keeps the rule could
# then miss it by chance. That is why the rule has been asked of this very form since chapter 4. The cost is care: a
# wrongly fused graph answers without an error. And this file can only classify: whoever wants the states of all tokens
# has to export the whole graph.
#
# ## 6.11 When it does not pay
#
# - **Deep models** gain little from computing the last layer for one token; 6.2 says how little.
# - **A classifier that reads every token** (tagging, mean pooling, the words of 6.6) needs the last layer whole.
# - **Fusions** whose operator is slower than those it replaces; 6.3 shows which ones on this processor.
# - **Packing** saves padding that sorted batches have mostly saved already, and lets attention compute pairs that
#   nobody needs.
#
# **Summary.** Choose the graph by measuring it on the processor that serves, and check its answers before you time it.
# Look for work whose result nobody reads before you look for fusions.
#
# **Next:** [chapter 7](07_serving.ipynb) divides the cores among several copies of this file, and lets requests arrive
# when they like.
#
# ## 6.12 Exercises
#
# **Exercise 1: how deep may the model be?** Predict what computing the last layer for one token brings, if the model
# had one, two, three, six or twelve layers, each like the first layer of this run's model. Then try a student of four
# layers (it trains for some minutes): `make book SET='students_tried=["4x384@1,3,4,6","teacher"]'`, and read the tables
# of 6.2 and 6.3.

# %% tags=["answer"]
rows = []
for count in (1, 2, 3, 6, 12):
    deep = predicted_work(replace(config, layers=config.layers[:1] * count))
    simple = count / (count - 1) if count > 1 else None
    rows.append({"layers": count, "predicted": deep["predicted speed-up"], "L / (L - 1)": simple})
show(display.table(rows))
found = f"{work[final]['predicted speed-up']:.2f} predicted, {over_all_tokens['int8']:.2f} measured"
Markdown(
    f"With one layer nearly all the work is dropped; with many layers the gain vanishes. "
    f"This run's model, whose layers need not be alike: {found} in int8."
)

# %% [markdown]
# **Exercise 2: memory or processor?** Use the roofline to predict how many tokens it takes until an int8 product of 384
# by 1,536 is limited by the processor and not by memory. Compare with the rates that chapter 5 measured; for more
# points: `make book SET="product_tokens=[1,2,4,8,16,32,64,128,256]"`.

# %% tags=["answer"]
bandwidth = bench.facts_of("01_baseline")["ceiling"]["memory_gb_per_s"]
peak = max(row["best rate measured, GOP/s"] for row in bench.facts["int8_products"])
measured_rates = bench.facts_of("05_quantization")["product_rates"]
wide = next((row for row in measured_rates if row["product"] == "384 to 1,536"), measured_rates[-1])
show(display.table(ceiling.under_the_roofline(wide, peak, bandwidth), decimals=1))
Markdown(
    f"*{wide['product']}*: the two limits meet at {peak / bandwidth:.0f} operations a byte. Far below the roof, calls and "
    "the rounding of inputs take the time; above the slanted part of it, the weights come from a cache and not from memory."
)

# %% [markdown]
# **Exercise 3: longer rows.** Predict what happens to the useful share of attention, and to the throughput, if a packed
# row holds twice as many tokens. Then run `make book SET="packed_tokens=512"` and compare the table of 6.8.

# %% tags=["answer"]
rows = []
for tokens in (packed_tokens, 2 * packed_tokens, 4 * packed_tokens):
    filled = packing.first_fit(short.lengths, tokens)
    useful = 100 * packing.attended_share(short.lengths, filled)
    rows.append({"tokens of a row": tokens, "rows": len(filled), "useful attention, %": useful})
show(display.table(rows, 0))
Markdown(
    "A row of twice the length holds about twice the requests, and attention computes four times the pairs for it: half of the "
    "useful share is lost. Throughput falls where attention is a large part of the time, that is, for long rows and narrow layers."
)

# %% tags=["hide-input"]
# What the next chapter serves, and what it compares that with: where the files are.
in_same_bits = built[built_graphs.name_of(papers, "int8" if recipe else "fp32")]
papers_file = fusions.save(in_same_bits.proto, folder.with_name("paper") / "model.onnx", model)
goes_on = first_served if kept.holds(min_retention) else whole_served
left = {"served": goes_on, "first token": first_served, "the paper's graph": papers_file} | peers
bench.facts["files"] = {name: files.shown(path) for name, path in left.items()}
bench.save()
