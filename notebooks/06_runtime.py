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
# # 6 · Runtime: which graph the engine is given
#
# **Claim.** The same small model runs much faster or slower on the same engine. What decides is the graph the engine is
# given: some rewritings help, some hurt, and one can change the answers without a word.
#
# **Cost.** No accuracy beyond the rounding of chapter 5, as long as every graph is checked before it is timed.
#
# **Needs** chapters [1](01_baseline.ipynb) to [5](05_quantization.ipynb). **Leaves** the file that is served, and the
# rung of its graph.

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
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
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
from fflib.measure import fitness
from fflib.measure.timing import Variant
from fflib.model import cache, encoder, flops, slicing, training
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
    served,
)

bench = Bench.open("06_runtime", globals())

# %% [markdown]
# ## 6.1 Idea: many graphs compute the same answer
#
# A *graph* is the list of operators that an engine works through, and the same model can be written as many graphs. Two
# ways to a better one are tried here. The first leaves out what nobody reads. The second *fuses*: it replaces a group of
# operators by one that does the same in a single pass. Whether a graph pays is for this processor to say, and whether it
# is still the same model is for a check to say.
#
# The model is the one that chapter 5 left, in eight bits if a recipe held.

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
# A classifier reads the *first* token of the last layer, nothing else. There all other tokens are needed as keys and
# values, so that the first can look at them, but not as queries, and not in the feed-forward half. Leaving them out
# changes no answer.

# %% tags=["hide-input"]
display.source(first_token.FirstTokenClassifier.forward, encoder.Layer.forward)

# %% [markdown]
# What it saves is nearly the work of one layer, so the gain depends on how many layers there are. The prediction counts
# operations; embeddings, softmax and the overhead of calls are left out.


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

# %% tags=["hide-input"]
bench.facts["first_token_work"] = work
bench.table([{"model": name} | row for name, row in work.items()])

# %% [markdown]
# ## 6.3 The graph, taken apart
#
# ONNX Runtime rewrites a graph when it loads it, in levels: *basic* folds constants, *extended* also fuses, *all* adds
# what depends on the processor. Its library for transformers fuses more, beforehand. Four fusions matter for an encoder:
#
# - **skip-LayerNorm**: a residual addition and the LayerNorm after it become one operator;
# - **embedding**: so do the three look-ups of the embeddings, their sum and their LayerNorm;
# - **GELU**: so do the operators of the activation, and the bias before it;
# - **attention**: so do the products, the softmax and the transpositions of all heads. Only the library fuses these.
#
# FastFormers used all of it at once. Here *all but these four* is level *all* without them, and each row with a plus
# adds one of them to it. The paper's recipe is tried twice: as it works with today's versions, which no longer find the
# number of heads by themselves, and with that number told. This book's graph fuses only what pays here, GELU, and has the
# last layer for one token.
#
# Since version 1.29 ONNX Runtime sends facts of models, graphs and sessions to its makers and keeps a device id in the
# cache folder; the book never lets it, by setting `ORT_DISABLE_TELEMETRY=1` before it is loaded, and so should your service.

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
# Each is timed in fp32, where its logits must be those of the model, and in eight bits rounded as FastFormers did. Rounding
# changes logits, so there the labels are counted, on more requests than are timed: a graph that keeps fewer than
# `min_agreement` of them is *timed, not served*. Two rows with the same operators are one and the same graph: their difference is this machine's noise, and smaller
# differences mean nothing.

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
columns = ("model", "variant", "ms", "operators", "fused", "labels kept")
shown = [
    {column: row[column] for column in columns}
    | {"largest change": f"{row['off']:.0e}"}
    | {"answers": fitness.verdict(race[name].checked, min_agreement)}
    for name, row in zip(built, rows, strict=True)
]
show(bench.table(shown))
Markdown(
    f"This book's graph is **{over_papers['int8']:.2f} times** as fast as the better form of the paper's recipe "
    f"(*{papers}*: {fitness.verdict(race[f'{papers}, int8'].checked, min_agreement)}) in int8, {over_papers['fp32']:.2f} times in fp32. Against the same graph for all tokens it is "
    f"{over_all_tokens['int8']:.2f} and {over_all_tokens['fp32']:.2f} times as fast; "
    f"{work[final]['predicted speed-up']:.2f} were predicted from operations."
    + "".join(f"\n\n*{name}: {why}*" for name, why in impossible.items())
)

# %% [markdown]
# Fusing is no gain in itself: a fused operator is as good as its kernel on this processor. Where does the time go in each
# graph? The engine's profiler adds a little to each operator, so compare shares.

# %%
profiles = {
    label: built[f"{variant}, int8"].operators_ms(one_request, bench.threads)
    for label, variant in (("the paper's graph", papers), ("this book's", fusions.BOOK))
}
bench.facts["operators_ms"] = profiles
caption = f"{bench.caption}; int8, one request of {mean_length} tokens"
bench.figure(figures.operators(profiles, caption), "operators")

# %% [markdown]
# ## 6.4 Check: a trap, the heads a model had before pruning
#
# The library that fuses attention must know the number of heads; told a wrong one, it obeys. Take the student, cut every
# second head, and fuse with the numbers of its old configuration, as one does who forgets to change them:

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
bench.table([{"told": told} | row for told, row in trap.items()], decimals=6, keep="heads_trap")

# %% [markdown]
# The logits are simply wrong, and nothing says so. The guard is the check that every graph of this book passes before
# anything else: its logits on random tokens are compared with the model's. It refuses that graph:

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
# The graph for the first token, in the integers that chapter 5 chose. One file for any batch and length.

# %%
train = bench.texts("train", final, limit=n_train)
calibration_texts = train.take(range(min(n_calibrate, len(train))))
whole_served = files.resolve(quantised["onnx"]) if recipe else whole
export.check_belongs(whole_served, model)
first_served = served.in_integers(first, recipe, calibration_texts, bench.threads)
sizes_mb = {files.shown(path): path.stat().st_size / 1e6 for path in (whole_served, first_served)}
bench.table([{"file": name, "MB": size_mb} for name, size_mb in sizes_mb.items()])

# %% [markdown]
# How near are its products to what the engine can do? The ceiling is the best rate of any int8 product measured here, one
# of several hundred tokens among them; the products of a request of mean length reach a share of it. The last column says
# how much of the request they are: the rest cannot be had from better products.

# %%
config = model.encoder.config
rows = [
    ceiling.against_the_ceiling(first_served, config, one_request, mean_length, count)
    for count in sorted({1, bench.threads})
]
bench.table(rows, keep="int8_products")

# %% [markdown]
# ## 6.6 Heads with a loop: WiC
#
# The task WiC asks whether a word means the same in two sentences; its head reads these words, and not the first token.
# FastFormers could not export that model, because the words were taken out in a Python loop. The same as tensor operations
# is what this book's model of WiC is served by: a mask for each word, and the largest value under it.

# %% tags=["hide-input"]
display.source(encoder.read_words)

# %% [markdown]
# ## 6.7 Measure: engines, by one call
#
# The same model, with the last layer for the first token, through one function, with the same threads. The peer, OpenVINO,
# gets the whole graph too, and makes its own int8 of the graph for the first token; chapter 5 has its int8 of the whole one.
# In fp32 the logits have to be the model's. In eight bits the labels are counted, and the last column says who may be served.

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
bench.table(
    [
        row | {"answers": fitness.verdict(by_engine[row["engine"]].checked, min_agreement)}
        for row in bench.facts["engines"]
    ]
)

# %% [markdown]
# ## 6.8 Length again: batches, packed rows, graphs of one shape
#
# A batch saves the overhead of calls and costs padding, of which sorted batches have little. Two further ways: *pack*
# several short requests into one row, with a mask that keeps them apart; or give the engine a graph for each length, so
# that it knows every shape beforehand.

# %% tags=["hide-input"]
display.source(packing.first_fit, packing.PackedClassifier.forward)

# %%
is_short = test.lengths <= np.median(test.lengths)
short = test.take(np.flatnonzero(is_short)[:n_busy_requests])
short_logits = training.predict(model, short)
packed_rows = packing.first_fit(short.lengths, packed_tokens)
packed_float = export.save_onnx(
    packing.PackedClassifier(model), folder.with_name("packed") / "model.onnx"
)
# In fp32 packing must not change a logit. A recipe that is calibrated knows no packed rows: there they stay in fp32.
packed = packing.pack(short, packed_rows)
in_rows = predictors.onnx_predictor(predictors.onnx_session(packed_float, bench.threads))
packed_logits = in_rows(packed.inputs)[np.argsort(packed.order)]
change = float(np.abs(packed_logits - short_logits).max())
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
by_way = bench.compare_at_once(
    {name: way for name, (way, _) in ways_and_batches.items()},
    short,
    short_logits,
    plans={name: plan for name, (_, plan) in ways_and_batches.items()},
    tolerance=1.0 if recipe else 1e-3,
)

# %% tags=["hide-input"]
show(bench.table(by_way.rows(), keep="by_length"))
attended = packing.attended_share(short.lengths, packed_rows)
by_packing = by_way.speedup("whole graph, packed rows", "whole graph, sorted batches")
by_shape = by_way.speedup("first token, a graph for each length", "first token, one by one")
Markdown(
    f"{len(short)} requests in {len(packed_rows)} packed rows; in fp32 no logit differs by more than {change:.0e}. Of all pairs "
    f"of tokens that attention computes in these rows, {attended:.0%} are of use. Of what sorted batches compute, "
    f"{batching.padding_share(short.lengths, in_batches):.0%} is padding. Packed rows answer {by_packing:.2f} times as much as "
    f"they do; a graph for each length answers {by_shape:.2f} times as much as one for all."
)

# %% [markdown]
# ## 6.9 The rung
#
# Chapter 5's file and this chapter's, in the batches of chapter 2, in the same rounds and on the same requests. Only the
# graph differs, so the step is what the first token brings.

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
# Accuracy is measured on all of test in the very batches that are served: with dynamic scales an answer may depend on them. So
# the rule is asked once more, on dev: if this file does not keep `min_retention` of the teacher's score, that of chapter 5 goes on.


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
show(final_race.ratios(over="chapter 5's file"))  # its own numbers are chapter 5's
told = f"keeps {kept.words or 'no share'} of the teacher's score on dev"
show(Markdown(f"The new file {told}. What goes on: **{bench.facts['goes_on_from']}**."))
bench.rungs_table()

# %% [markdown]
# ## 6.10 What it cost
#
# No accuracy beyond the rounding that chapter 5 has paid for already: the last layer for one token is exact. What it takes is
# care, since a graph that is fused wrongly answers without an error, and a file that serves classification alone: who wants
# the states of all tokens has to export the whole graph.
#
# ## 6.11 When it does not pay
#
# - **Deep models** gain little from computing the last layer for one token: 6.2 says how little.
# - **A head that reads every token** (tagging, mean pooling, the words of 6.6) needs the last layer whole.
# - **Fusions** whose kernel is worse than the operators that it replaces: 6.3 shows which ones here.
# - **Packing** spares padding that sorted batches have spared already, and lets attention compute pairs that nobody needs.
#
# ## 6.12 Exercises
#
# 1. Write a variant of `fusions.VARIANTS` with the skip-LayerNorm fusion and the first token. Is it slower in int8, too?
# 2. Set `packed_tokens` to twice as many. What becomes of the share of attention that is of use, and of the throughput?
# 3. Add your own way to serve to `ways_and_batches`. What has to be true of its answers before it is timed?
#
# **Next:** [chapter 7](07_serving.ipynb) divides the cores, and lets requests arrive when they like.

# %% tags=["hide-input"]
# What the next chapter serves, and what it compares that with: where the files are.
in_same_bits = built[built_graphs.name_of(papers, "int8" if recipe else "fp32")]
papers_file = fusions.save(in_same_bits.proto, folder.with_name("paper") / "model.onnx", model)
goes_on = first_served if kept.holds(min_retention) else whole_served
left = {"served": goes_on, "first token": first_served, "the paper's graph": papers_file} | peers
bench.facts["files"] = {name: files.shown(path) for name, path in left.items()}
bench.save()
