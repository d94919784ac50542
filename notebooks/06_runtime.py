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
# # 6 · Runtime: graph, cores, and a server that keeps its promise
#
# **Claim.** The same small model can be served much faster or slower on the same machine. What decides is which graph the engine
# is given, how the cores are divided, and what happens to requests that arrive together.
#
# **Cost.** No accuracy beyond the rounding of chapter 5. But throughput and the wait of a single request are two goals, and the
# second half of this chapter is about the price of one in the other.
#
# **Needs** chapters [1](01_baseline.ipynb) to [5](05_quantization.ipynb). **Leaves** the file that is served, and the rungs of the
# graph, of one thread, and of several instances.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # price of this machine, for the cost columns
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
n_calibrate: int = 8  # training texts that show what values flow
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
min_agreement: float = 0.5  # a file that keeps fewer of the original's labels is not served
rounds: int = 2  # interleaved timing rounds
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
graphs_tried: list[str] = ["+ skip-LayerNorm"]  # ways to optimise, beside the paper's and ours
engines_tried: list[str] = ["pytorch", "onnxruntime", "onnxruntime int8"]  # beside each other
instance_kinds: list[str] = ["process", "thread"]  # what an instance is
goal: str = "throughput"  # what the division of the cores is chosen for: throughput or latency
instances: int = 0  # how many; 0 takes the best division that this run measures
instance_threads: int = 1  # of each, where instances is not 0
token_budgets: list[int] = [256, 1024]  # padded tokens in a batch
packed_tokens: int = 128  # tokens in a row of packed requests
server_loads: list[float] = [0.5, 1.3]  # arrivals, in multiples of what the instances can answer
n_server_requests: int = 60  # requests of each load test
queue_limit: int = 16  # how many requests may wait
server_tokens: int = 512  # padded tokens a batch of the server may hold
n_killed: int = 60  # requests while a worker is killed
requests_per_day: float = 1.0e8  # the traffic of a fleet
peak_factor: float = 2.0  # its densest hour over the mean
p99_bound_ms: float = 200.0  # the promise: 99 of 100 requests are answered within
n_simulated: int = 2000  # requests of a simulated load
seed: int = 0  # of arrivals

# %% tags=["hide-input"]
import os
import time
from contextlib import ExitStack

import numpy as np
from IPython.display import Markdown, display

from fflib import display as pages
from fflib import files
from fflib.book.bench import Bench
from fflib.data import batching, splits
from fflib.measure import hardware
from fflib.measure import timing as measure
from fflib.model import checkpoints, flops
from fflib.runs import ladder, records

chapter = Bench.open("06_runtime", globals())
threads = chapter.threads

# %% tags=["hide-input"]
from fflib.data import metrics, registry
from fflib.engine import export, gemm, predictors
from fflib.measure import cores
from fflib.model import cache, slicing, training
from fflib.quantization import calibration, recipes
from fflib.runtime import engines, first_token, fusions, openvino, packing
from fflib.serving import capacity as fleet
from fflib.serving import core_split, loadgen, server

machine = hardware.card()
caption = f"{machine['cpu']}, {threads} threads; run {run}, size {size}"
pages.card(machine, threads)

# %% [markdown]
# ## 6.1 Idea: what is left once the model is small
#
# Three things. The *graph*: the same model can be written in many ways, and engines rewrite it once more; some rewritings help,
# some hurt, one can change the answers. The *cores*: a small product cannot keep many threads busy, but several requests can.
# The *queue*: requests come when they like, and how long they wait depends on who is served first and on who is turned away.
#
# The model is the one that chapter 5 left, in eight bits if a recipe held.

# %%
from fflib.model import encoder
from fflib.runtime import figures as graph_figures
from fflib.serving import figures
from fflib.serving import instances as workers
from fflib.serving import scheduling as rules

# A slip in the parameters stops here, before anything takes time.
files.check_known("engine", engines_tried, engines.ENGINES)
files.check_known("kind of instance", instance_kinds, workers.KINDS)
files.check_known("goal", [goal], core_split.GOALS)
files.check_known("graph", graphs_tried, fusions.VARIANTS)
if instances:
    cores.divide(instances, instance_threads)
baseline = records.current(run_dir, "01_baseline")
facts, the_task = baseline["facts"], registry.get_task(task)
quantised = records.current(run_dir, "05_quantization")["facts"]["quantised"]
below = records.current(run_dir, "05_quantization")["facts"]["goes_on_from"]
final = quantised["model"]
student_folder = records.current(run_dir, "03_distillation")["facts"]["student"]["folder"]
pruned_facts = records.current(run_dir, "04_pruning")["facts"]["pruned"]
folders = {
    "teacher": facts["teacher"]["folder"],
    "student": student_folder,
    "pruned student": pruned_facts["folder"],
}
tokenizer = checkpoints.load_tokenizer(str(files.resolve(folders[final])))
if quantised["learned"]:  # it learned with its rounding: other weights, in a folder of their own
    folders[final] = f"{files.shown(chapter.folder)}/models/quantised-student"

# %%
models = {name: checkpoints.load(files.resolve(folder)) for name, folder in folders.items()}
model = models[final]
test_split = splits.load_split(task, "test", data_source, n_test or None)
assert test_split.fingerprint == facts["data_fingerprint"]["test"], "chapter 1 saw other data"
chapter.facts["data_fingerprint"] = facts["data_fingerprint"]
test = splits.tokenize(test_split, tokenizer, the_task.max_length)
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
mean_length = round(float(test.lengths.mean()))
nearest = test.take([int(np.abs(test.lengths - mean_length).argmin())])
alone = batching.collate(nearest, [0]).inputs  # one request of mean length
logits = {"requests": training.predict(model, requests), "busy": training.predict(model, busy)}
folder = chapter.folder / "models" / "onnx" / "served"
lean = first_token.FirstTokenClassifier(model)
known = files.resolve(quantised["onnx"]).parent if quantised["onnx"] else folder.with_name("whole")
sources = {  # the first is there already, from chapter 5
    "whole": export.save_onnx(model, known / "model.onnx"),
    "first token": export.save_onnx(lean, folder / "model.onnx"),
}

# %% [markdown]
# ## 6.2 Predict: the last layer for one token
#
# A classifier reads the *first* token of the last layer, nothing else. There all other tokens are needed as keys and values, so
# that the first can look at them, but not as queries, and not in the feed-forward half. Leaving them out changes no answer.
# How much it saves depends on how many layers there are: it is one layer's worth of work, nearly.

# %%
display(pages.source(first_token.FirstTokenClassifier.forward, first_token.first_of_layer))
work = {}
for name, one in models.items():
    config = one.encoder.config
    every = flops.forward_flop(config, mean_length) / 1e9
    one_token = flops.first_token_flop(config, mean_length) / 1e9
    work[name] = {"layers": len(config.layers), "GFLOP": every, "for the first token": one_token}
    work[name]["predicted speed-up"] = every / one_token
chapter.facts["first_token_work"] = work
pages.table([{"model": name} | row for name, row in work.items()])

# %% [markdown]
# ## 6.3 The graph, taken apart
#
# ONNX Runtime rewrites a graph when it loads it, in levels: *basic* folds constants, *extended* also replaces groups of operators
# by a fused one, *all* adds what depends on the processor. Its library for transformers fuses more, beforehand. FastFormers used
# all of it at once. Here is each fusion alone, on top of *all* without any of the four, then the paper's recipe as it works with
# today's versions, and this book's: only what pays here, and the last layer for one token.
#
# Each in fp32, where the logits must be those of the model, and in eight bits rounded as FastFormers did, where the table says
# how many labels stay. Two names stand for one and the same graph in places (where *fused* and *operators* agree): their
# difference is this machine's noise, and smaller ones mean nothing. Today's library no longer finds the number of heads by
# itself, so the paper's recipe is also shown with the number told.

# %%
bits = recipes.safe_weight_bits()
every_third = batching.in_order(requests.lengths, 1)[::3]


graphs = fusions.Graphs(model, sources["whole"], sources["first token"])
tried = [*graphs_tried, *(name for name in fusions.SHOWN if name not in graphs_tried)]


def variant_of(name, kind):
    """Make a graph by a recipe, check it and count its operators."""
    recipe = fusions.VARIANTS[name]
    proto = graphs.optimised(recipe, bits * (kind == "int8"))
    predict, operators = fusions.serve(proto, recipe, threads)
    rounded = {"tolerance": np.inf, "agreement": 0.5} if kind == "int8" else {}
    variant = measure.Variant(f"{name}, {kind}", predict, every_third)
    checked = measure.check(variant, requests, logits["requests"], **rounded)
    return proto, checked, operators


made, cannot = {}, {}
for name in tried:
    for kind in ("fp32", "int8"):
        try:
            made[name, kind] = variant_of(name, kind)
        except files.InputError as error:  # layers with unlike heads
            cannot[name] = str(error)
took = measure.time_interleaved([checked for _, checked, _ in made.values()], requests, rounds)
Markdown("\n".join(f"*{name}: {why}*" for name, why in cannot.items()) or "All could be made.")

# %%
rows = []
for (name, kind), (_, checked, operators) in made.items():
    timing = took[checked.name]
    ends = sorted(1e3 / per_s for per_s in timing.throughput_interval())
    fused = sum(operators.get(fused, 0) for fused in fusions.FUSED_OPERATORS)
    row = {"model": f"{final}, {kind}", "variant": name, "ms": 1e3 / timing.throughput_per_s}
    row |= {"low": ends[0], "high": ends[1], "off": checked.checked.max_abs_difference}
    row |= {"kept": checked.checked.label_agreement >= 0.9}
    row |= {"default": name == fusions.BOOK, "operators": sum(operators.values())}
    rows.append(row | {"fused": fused, "labels kept": checked.checked.label_agreement})
chapter.facts["graph_variants"] = rows
figure = graph_figures.graph_variants(rows, f"{caption}; {len(every_third)} requests, one by one")
chapter.figure(figure, "graph_variants")
figure

# %%
ms = {(row["model"].rsplit(", ")[-1], row["variant"]): row["ms"] for row in rows}
papers_best = min(
    (name for name in fusions.PAPERS if (name, "int8") in made),
    key=lambda name: ms["int8", name],
)
gain = {kind: ms[kind, papers_best] / ms[kind, fusions.BOOK] for kind in ("fp32", "int8")}
whole_gain = {kind: ms[kind, fusions.WHOLE] / ms[kind, fusions.BOOK] for kind in ("fp32", "int8")}
chapter.facts["against_the_papers_graph"] = gain
chapter.facts["first_token_gain"] = whole_gain
columns = ("model", "variant", "ms", "operators", "fused", "labels kept")
shown = [{k: row[k] for k in columns} | {"off": f"{row['off']:.0e}"} for row in rows]
display(pages.table(shown))
Markdown(
    f"This book's graph is **{gain['int8']:.2f} times** as fast as the better form of the paper's recipe (*{papers_best}*) in int8, "
    f"{gain['fp32']:.2f} times in fp32. What the first token brings of that, against this book's graph for all "
    f"tokens: {whole_gain['int8']:.2f} and {whole_gain['fp32']:.2f} times; {work[final]['predicted speed-up']:.2f} were predicted "
    "from operations, which leave out embeddings, softmax and calls."
)

# %% [markdown]
# Fusing is no gain in itself: a fused operator is as good as its kernel on this processor. Where does the time go in each graph?
# The engine's profiler adds a little to each operator, so compare shares.

# %%
profiles = {}
for label, name in (
    ("the paper's graph", papers_best),
    ("this book's", fusions.BOOK),
):
    if (name, "int8") in made:
        recipe = fusions.options(fusions.VARIANTS[name], threads)
        profiles[label] = predictors.node_ms(made[name, "int8"][0], recipe, alone, by="operator")
chapter.facts["operators_ms"] = profiles
figure = graph_figures.operators(profiles, f"{caption}; int8, one request of {mean_length} tokens")
chapter.figure(figure, "operators")
figure

# %% [markdown]
# ## 6.4 A trap: the heads a model had before pruning
#
# The library that fuses attention must know the number of heads; told a wrong one, it obeys. Take the student, cut every second
# head, and fuse with the numbers of its old configuration, as one does who forgets to change them:

# %%
config = models["student"].encoder.config
halved = slicing.slice_model(
    models["student"], heads=[range(0, layer.num_heads, 2) for layer in config.layers]
)
had, has = (
    (layer.num_heads, layer.num_heads * layer.head_size)
    for layer in (config.layers[0], halved.encoder.config.layers[0])
)
traced, expected = fusions.legacy_onnx(halved), training.predict(halved, nearest)
trap = []
for told, numbers in (("those it has", has), ("those it had", had), ("to look for itself", (0, 0))):
    proto = fusions.fused(traced, ("attention",), *numbers)
    count = sum(node.op_type == "Attention" for node in proto.graph.node)
    row = {"told": told, "heads": numbers[0], "attentions fused": count}
    try:
        predict = predictors.onnx_predictor(predictors.onnx_session(proto, threads))
        row["largest change of a logit"] = float(np.abs(predict(alone) - expected).max())
    except (files.InputError, RuntimeError) as error:
        row["error"] = str(error).splitlines()[0][:80]
    trap.append(row)
chapter.facts["heads_trap"] = trap
pages.table(trap, decimals=6)

# %% [markdown]
# The logits are simply wrong, and nothing says so. The guard is the check that every graph of this book passes: compare with the
# model, on random tokens, before anything else. It refuses that graph:

# %%
try:
    export.assert_parity(halved, fusions.fused(traced, ("attention",), *had))
    refused = "nothing"
except (AssertionError, RuntimeError, files.InputError) as error:
    refused = str(error).splitlines()[0]
off = trap[1].get("largest change of a logit", np.inf)
assert refused != "nothing" or off < 10 * export.TOLERANCE, "the wrong graph passed the check"
Markdown(f"*{refused}*")

# %% [markdown]
# ## 6.5 Do it: the file that is served
#
# The graph for the first token, in the integers that chapter 5 chose. One file for any batch and length.

# %%
train = splits.load_split(task, "train", data_source, n_train or None)
seen = splits.tokenize(train, tokenizer, the_task.max_length).take(
    range(min(n_calibrate, len(train)))
)


def in_integers(source, recipe):
    """The file in the integers of chapter 5, or itself where no recipe held."""
    if not recipe:
        return source
    wanted = recipes.get_recipe(recipe)
    shown = calibration.Calibration(recipes.load(source), seen, threads)
    with export.quiet():  # chapter 5 has warned already
        target = source.with_name(f"{recipe}.onnx")
        return recipes.quantize(source, target, wanted, shown if wanted.calibrated else None)


served = {
    "whole": files.resolve(quantised["onnx"]) if quantised["onnx"] else sources["whole"],
    "first token": in_integers(sources["first token"], quantised["recipe"]),
}
export.check_belongs(served["whole"], model)
ROUNDED = {"tolerance": np.inf, "agreement": min(0.85, min_agreement)}
JUDGED = ROUNDED if quantised["recipe"] else {}
pages.table(
    [{"file": files.shown(path), "MB": path.stat().st_size / 1e6} for path in served.values()]
)

# %% [markdown]
# How near are its products to what the engine can do? The ceiling is the best rate of any int8 product measured here, one of
# several hundred tokens among them; the products of a request of mean length reach a share of it. The last column says how much
# of the request they are: what is left cannot be had from better products.

# %%
layers = model.encoder.config.layers
hidden = model.encoder.config.hidden_size
big = [
    (512, 1536, 1536),
    (512, 384, 1536),
    (mean_length, hidden, max(1, layers[0].intermediate_size)),
]
gop = flops.first_token_product_flop(model.encoder.config, mean_length) / 1e9
product_rows = []
for count in sorted({1, threads}):
    spent = predictors.node_ms(
        served["first token"], predictors.session_options(count), alone, by="operator"
    )
    int8_ms = sum(spent.get(operator, 0) for operator in fusions.INT8_PRODUCTS)
    ceiling = max(rate.int8_gop_per_s for rate in gemm.product_rates(big, count, 0.05))
    rate = gop / int8_ms * 1e3 if int8_ms else None  # where no recipe held there are none
    row = {"threads": count, "operations, G": gop, "ms, rounding included": int8_ms, "GOP/s": rate}
    row |= {"best rate measured, GOP/s": ceiling, "share of it": rate / ceiling if rate else None}
    product_rows.append(row | {"share of the request": int8_ms / sum(spent.values())})
chapter.facts["int8_products"] = product_rows
pages.table(product_rows)

# %% [markdown]
# **Heads with a loop.** The task WiC asks whether a word means the same in two sentences; its head reads these words, and not
# the first token. FastFormers could not export that model, because the words were taken out in a Python loop. The same as
# tensor operations, which this book's model of WiC is served by: a mask for each word, and the largest value under it.

# %%
pages.source(encoder.read_words)

# %% [markdown]
# ## 6.6 Engines, by one call
#
# The same model, with the last layer for the first token, through one function, with the same threads. The peer, OpenVINO, gets
# the whole graph too, and its own int8 of the graph for the first token; chapter 5 has its int8 of the whole one.

# %%
served_by, why_not = {}, {}
for engine in engines_tried:
    if reason := engines.missing(engine):
        why_not[engine] = reason
        continue
    start = time.perf_counter()
    predict, name = engines.serve(lean, engine, threads, folder)
    served_by[engine] = predict, name, time.perf_counter() - start
peer_missing = openvino.missing()
if not peer_missing:
    graphs = {f"OpenVINO fp32, {name} graph": path for name, path in sources.items()}
    own_int8 = openvino.quantize(sources["first token"], seen, len(seen))
    graphs |= {"OpenVINO int8, first token graph": own_int8}
    for name, graph in graphs.items():
        served_by[name] = openvino.predictor(graph, threads), "OpenVINO", None
ours = predictors.onnx_predictor(predictors.onnx_session(served["first token"], threads))
served_by["this book's file"] = ours, "ONNX Runtime", None
Markdown(
    "\n".join(f"*{engine}: {why}*" for engine, why in why_not.items()) or "Every engine is here."
)

# %%
one_each = batching.in_order(requests.lengths, 1)
loose = {
    "tolerance": np.inf,
    "agreement": 0.5,
}  # some of them are in eight bits; what they keep is in the table
ways = [
    measure.check(measure.Variant(name, predict, one_each), requests, logits["requests"], **loose)
    for name, (predict, _, _) in served_by.items()
]
by_engine = measure.time_interleaved(ways, requests, rounds)
engine_rows = [
    {
        "engine": way.name,
        "ms": 1e3 / by_engine[way.name].throughput_per_s,
        "p50 ms": by_engine[way.name].latency_p50_ms,
        "p95 ms": by_engine[way.name].latency_p95_ms,
        "labels kept %": 100 * way.checked.label_agreement,
        "largest change": way.checked.max_abs_difference,
        "to load or compile, s": served_by[way.name][2],
    }
    for way in ways
]
chapter.facts["engines"] = engine_rows
pages.table(engine_rows)

# %% [markdown]
# ## 6.7 Measure: dividing the cores
#
# One instance with every core, or an instance for each core, or something between? FastFormers' table 2, for this machine: one
# request at a time for each instance, all instances busy. An instance is a process with a session of its own, or a thread with
# one; both are pinned to physical cores that no other has. *p50* and *p95* are of a request on a busy machine; they lie apart
# because requests differ in length. A process costs a copy over a socket for each request, but if it dies, it dies alone.

# %%
display(pages.source(cores.divide, core_split.divisions))
teacher_tokenizer = checkpoints.load_tokenizer(str(files.resolve(folders["teacher"])))
teacher_requests = splits.tokenize(test_split, teacher_tokenizer, the_task.max_length)
few = batching.evenly_by_length(teacher_requests.lengths, max(2, n_requests // 5))
teacher_requests = teacher_requests.take(few)
teacher_file = export.save_onnx(models["teacher"], folder.with_name("teacher") / "model.onnx")
right = training.predict(models["teacher"], teacher_requests)
divided = core_split.study(teacher_file, teacher_requests, right, instance_kinds, rounds, 1e-3)
# With eight bits another division of a product may push a value across the border of its code.
right = measure.Variant("alone", ours, one_each).logits(requests)
ours_divided = core_split.study(
    served["first token"], requests, right, instance_kinds, rounds, 0.3, machine["hyper_threads"]
)
names = {"teacher, fp32": divided, f"{final}, {quantised['recipe'] or 'fp32'}": ours_divided}
for name, rows in names.items():
    rows[:] = [{"model": name} | row for row in rows]

# %%
best_row = core_split.best(ours_divided, goal)  # of those that keep to physical cores
asked = instances, instance_threads
best_row = next(
    (row for row in ours_divided if (row["instances"], row["threads"]) == asked), best_row
)
for row in divided + ours_divided:
    row["chosen"] = row in (best_row, core_split.best(divided, goal))
chapter.facts["divisions"], chapter.facts["division"] = ours_divided, best_row
chapter.facts["teacher_divisions"] = divided
figure = figures.divisions(
    divided + ours_divided, f"{caption}; one request at a time for each instance"
)
chapter.figure(figure, "divisions")
display(figure)
per_s = {
    (row["instances"], row["threads"], row["kind"]): row["throughput_per_s"] for row in ours_divided
}
one_instance = max(per_s[1, threads, kind] for kind in instance_kinds)
several = max((value for (count, _, _), value in per_s.items() if count > 1), default=np.nan)
chapter.facts["instances_gain"] = several / one_instance
Markdown(
    f"Several instances answer {several / one_instance:.2f} times as much as one with all threads. "
    f"For {goal}: **{best_row['instances']} x {best_row['threads']}**, as {best_row['kind']}. "
    f"`python -m fflib.serving.core_split --run {run} --write NAME` keeps that as hardware parameters."
)

# %% [markdown]
# ## 6.8 Length again: batches, packed rows, graphs of one shape
#
# A batch saves the overhead of calls and costs padding, of which sorted batches have little. Two further ways: *pack* several
# short requests into one row, with a mask that keeps them apart; or give the engine a graph for each length, so that it knows
# every shape beforehand.

# %%
display(pages.source(packing.first_fit, packing.PackedClassifier.forward))
short = test.take(np.flatnonzero(test.lengths <= np.median(test.lengths))[:n_busy_requests])
packed_rows = packing.first_fit(short.lengths, packed_tokens)
packed = packing.pack(short, packed_rows)
packed_file = in_integers(
    export.save_onnx(packing.PackedClassifier(model), folder.with_name("packed") / "model.onnx"),
    quantised["recipe"] if not recipes.RECIPES[quantised["recipe"] or "dynamic"].calibrated else "",
)
exact = predictors.onnx_predictor(
    predictors.onnx_session(folder.with_name("packed") / "model.onnx", threads)
)
short_logits = training.predict(model, short)
off = float(np.abs(exact(packed.inputs)[np.argsort(packed.order)] - short_logits).max())
assert off < export.TOLERANCE, f"packing changed a logit by {off:.1e}"
Markdown(
    f"{len(short)} requests in {len(packed_rows)} rows; in fp32 no logit differs by more than {off:.0e}. Of all pairs of tokens "
    f"that attention computes in these rows, {packing.attended_share(short.lengths, packed_rows):.0%} are of use."
)


# %%
files_of = (packed_file, served["whole"])
in_rows, at_once = (
    predictors.onnx_predictor(predictors.onnx_session(f, threads)) for f in files_of
)
by_shape = predictors.sessions_by_length(served["first token"], threads, short.lengths)
single = batching.in_order(short.lengths, 1)
in_batches = batching.sorted_by_length(short.lengths, 16)
ways = {
    "whole graph, one by one": (predictors.together([at_once]), single),
    "whole graph, sorted batches": (predictors.together([at_once]), in_batches),
    "whole graph, packed rows": (packing.row_by_row(in_rows), [*map(np.array, packed_rows)]),
    "first token, one by one": (predictors.together([ours]), single),
    "first token, a graph for each length": (predictors.together([by_shape]), single),
    "first token, sorted batches": (predictors.together([ours]), in_batches),
}
answer, plans = ({name: pair[i] for name, pair in ways.items()} for i in (0, 1))
loosely = 1.0 if quantised["recipe"] else 1e-3
right = dict.fromkeys(ways, short_logits)
by_way = measure.time_at_once(answer, short, plans, right, rounds, loosely)

# %%
length_rows = [{"way": name} | timing.row for name, timing in by_way.items()]
chapter.facts["by_length"] = length_rows
waste = batching.padding_share(short.lengths, in_batches)
display(pages.table(length_rows))
row_of = {row["way"]: row["requests/s"] for row in length_rows}
by_packing = row_of["whole graph, packed rows"] / row_of["whole graph, sorted batches"]
by_shape_gain = row_of["first token, a graph for each length"] / row_of["first token, one by one"]
Markdown(
    f"Of what sorted batches compute, {waste:.0%} is padding. Packed rows answer {by_packing:.2f} times as much as they do; a graph "
    f"for each length answers {by_shape_gain:.2f} times as much as one for all."
)

# %% [markdown]
# ## 6.9 The rungs
#
# Graph, one thread, instances: all in the same rounds, on the same requests. The instances get the batches that suit them best,
# picked in a first pass and timed anew in the second, since the best of many noisy numbers flatters. The paper's graph gets the
# same instances, and the same precision: where chapter 5 found no recipe that keeps its labels, neither is in eight bits.

# %%
best_kind, best_size = records.current(run_dir, "02_batching")["facts"]["best"]
plans = {("in order", 1): batching.in_order(busy.lengths, 1)}
plans |= {("token budget", n): batching.token_budget(busy.lengths, n) for n in token_budgets}
usual = (best_kind, best_size)
plans[usual] = batching.PLANS[best_kind](busy.lengths, best_size)
stack = ExitStack()  # the instances run until the end of the chapter
paper_file = folder.with_name("paper") / "model.onnx"
with files.atomic_path(paper_file) as temporary:
    precision = "int8" if quantised["recipe"] else "fp32"
    temporary.write_bytes(made[papers_best, precision][0].SerializeToString())
division, kind = (best_row["instances"], best_row["threads"]), best_row["kind"]
started, papers = (
    stack.enter_context(workers.start(path, *division, kind))
    for path in (served["first token"], paper_file)
)
crews = {
    "chapter 5's file": [
        predictors.onnx_predictor(predictors.onnx_session(served["whole"], threads))
    ],
    "first token": [ours],
    "one thread": stack.enter_context(workers.start(served["first token"], 1, 1, "thread")),
    "instances": started,
    "the paper's graph": papers,
}


# %%
def timed(wanted, rounds, seed=0):
    """Time crews in plans, {label: (crew, plan)}, all in turn."""
    return measure.time_at_once(
        {label: predictors.together(crews[crew]) for label, (crew, _) in wanted.items()},
        busy,
        {label: plans[plan] for label, (_, plan) in wanted.items()},
        dict.fromkeys(wanted, logits["busy"]),
        rounds,
        # In eight bits labels are judged, below and in these batches. Here an answer to another text would stand out.
        tolerance=max(1.0, 0.3 * np.ptp(logits["busy"])) if quantised["recipe"] else 1e-3,
        seed=seed,
    )


both = ("one thread", "instances")
trial = timed({f"{crew} {key}": (crew, key) for key in plans for crew in both}, max(1, rounds - 1))
pages.table(
    [
        {"way": crew, "batches": f"{key[0]} {key[1]}"} | trial[f"{crew} {key}"].row
        for crew in both
        for key in plans
    ]
)

# %%
best_plan = {
    crew: max(plans, key=lambda key: trial[f"{crew} {key}"].throughput_per_s) for crew in both
}
wanted = {
    "chapter 5's file": ("chapter 5's file", usual),
    "first token": ("first token", usual),
    "one thread": ("one thread", best_plan["one thread"]),
    "instances": ("instances", best_plan["instances"]),
    "instances, one by one": ("instances", ("in order", 1)),
    "the paper's graph, one by one": ("the paper's graph", ("in order", 1)),
    "the paper's graph": ("the paper's graph", best_plan["instances"]),
}
final_timings = timed(wanted, rounds, seed=1)
per_s = {way: timing.throughput_per_s for way, timing in final_timings.items()}
over_paper = {
    how: per_s[f"instances{how}"] / per_s[f"the paper's graph{how}"] for how in ("", ", one by one")
}
chapter.facts["instances_over_the_papers_graph"] = list(over_paper.values())
chapter.facts["one_by_one"] = final_timings["instances, one by one"].row
pages.table([{"way": way} | timing.row for way, timing in final_timings.items()])

# %% [markdown]
# Accuracy is measured on all of test in the very batches that are served: with dynamic scales an answer may depend on them.

# %%
rung_before = {
    r["rung"]: r
    for record in records.all_current(run_dir, before=chapter.name)
    for r in record["rungs"]
}[below]
teacher_test = {r["rung"]: r for r in baseline["rungs"]}["teacher unpadded"]["accuracy"]
test_logits = {}
for key in {usual, *best_plan.values(), ("in order", 1)}:
    plan = batching.PLANS[key[0]](test.lengths, key[1])
    test_logits[key] = measure.Variant(str(key), ours, plan).logits(test)
tested = {
    key: metrics.scored(the_task, found, test_split.gold, n_resamples)
    for key, found in test_logits.items()
}
float_test = cache.predict_cached(model, test)
kept = {key: metrics.kept(found, float_test, test_split.gold) for key, found in test_logits.items()}
assert min(kept.values()) >= JUDGED.get("agreement", 0.999), f"labels kept: {kept}"


# %%
def rung_of(label, stacks_on, way, key, count, each):
    batching_told = " ".join(map(str, key)) + (" tokens" if key[0] == "token budget" else "")
    sizes = [len(group) for group in plans[key]]
    alike = {name: rung_before[name] for name in ("model", "engine", "precision")}
    rung = ladder.Rung(
        label,
        stacks_on=stacks_on,
        batching=batching_told,
        batch_size=round(np.mean(sizes)),
        threads=each,
        instances=count,
        model_mb=served["first token"].stat().st_size / 1e6,
        **alike,
    )
    off = float(np.abs(test_logits[key] - float_test).max())
    rung.timed(final_timings[way], measure.Check(off, kept[key], len(test)), usd_per_hour)
    return rung.scored(tested[key].value, tested[key][1:], teacher_test)


# %%
first = rung_of("first token", below, "first token", usual, 1, threads)
first.anchor_per_s = final_timings["chapter 5's file"].throughput_per_s
chapter.add(first)
chapter.add(rung_of("one thread", "first token", "one thread", best_plan["one thread"], 1, 1))
chapter.add(rung_of("instances", "first token", "instances", best_plan["instances"], *division))
chapter.facts["goes_on_from"] = (
    "instances" if per_s["instances"] > per_s["first token"] else "first token"
)
pages.table(
    [
        {"rung": r.rung, "batches": r.batching, "requests/s": r.throughput_per_s}
        | {"95 % interval": "{:.0f} to {:.0f}".format(*r.evidence["throughput_interval_per_s"])}
        | {"p50 ms": r.latency_p50_ms, "p95 ms": r.latency_p95_ms, "test %": 100 * r.accuracy}
        for r in chapter.rungs
    ]
)

# %%
# The peer's own way for throughput: as many requests in flight as there are threads.
if not peer_missing and threads > 1:
    in_flight = {name: openvino.in_flight(g, threads, threads) for name, g in graphs.items()}
    in_flight["this book's instances"] = predictors.together(started)
    key = best_plan["instances"]
    alike = [dict.fromkeys(in_flight, value) for value in (plans[key], logits["busy"])]
    found = measure.time_at_once(in_flight, busy, *alike, rounds, tolerance=np.inf)
    told = f"{key[0]} {key[1]}"
    peers = [{"way": way, "batches": told} | timing.row for way, timing in found.items()]
    chapter.facts["peers_at_once"] = peers
    display(pages.table(peers))
Markdown(
    f"The story goes on from **{chapter.facts['goes_on_from']}**. With this book's graph the same instances answer "
    f"{over_paper['']:.2f} times as much as with the paper's, one by one {over_paper[', one by one']:.2f} times."
    + (f" *OpenVINO left out: {peer_missing}*" if peer_missing else "")
)

# %% [markdown]
# ## 6.10 A server under load
#
# Now requests arrive when they like. The server keeps them in a bounded queue; an instance that is free takes what its policy
# allows: one request, or as many as fit in a budget of tokens. Who finds the queue full is refused at once, in a sentence: a
# promise that cannot be kept is not made. Three scenarios, those of MLPerf: *single stream* (the next request comes when the last is answered),
# *offline* (all at once), *server* (a Poisson process). A latency counts from the moment a request was due. Offline tells which
# policy answers the most: batches of unlike lengths can lose to none at all, by their padding. The other two are asked of that
# policy. The *knee* is the load with the most throughput for its mean latency; more load than that buys little and costs much.
# (The 99th percentile is left out where fewer than 500 requests were answered.)

# %%
display(pages.source(rules.adaptive, loadgen.poisson))
rng = np.random.default_rng(seed)
order = rng.choice(len(test), n_server_requests)
expected_labels = test_logits[("in order", 1)].argmax(1)
policies = {
    "one by one": rules.one_by_one,
    "adaptive batches": rules.adaptive(server_tokens),
    "like lengths": rules.like_lengths(server_tokens),
}


def under_load(run_scenario, chosen, limit=queue_limit):
    """Open a server, run a scenario on it, and compare the answers with those that were scored."""
    with server.Server(started, chosen, limit) as serving:
        load = run_scenario(serving)
    answered = ~(load.refused | load.failed)
    same = load.answers[answered].argmax(1) == expected_labels[order[: len(answered)][answered]]
    assert same.mean() >= JUDGED.get("agreement", 0.999), "the server's answers are not the model's"
    return load, float(serving.busy_s.sum())


def arriving(rate):
    """Requests as a Poisson process, the same in each test but for the rate."""
    return lambda serving: loadgen.poisson(serving, test, order, rate, np.random.default_rng(seed))


# %%
floods = {
    name: under_load(lambda serving: loadgen.offline(serving, test, order), chosen)
    for name, chosen in policies.items()
}
best_policy = max(floods, key=lambda name: floods[name][0].throughput_per_s)
policy, (flood, flood_busy_s) = policies[best_policy], floods[best_policy]
capacity = flood.throughput_per_s
some = order[: max(2, len(order) // 3)]
stream, _ = under_load(lambda serving: loadgen.single_stream(serving, test, some), policy)
loads = [under_load(arriving(share * capacity), policy)[0] for share in server_loads]
chapter.facts["offline"] = {name: load.throughput_per_s for name, (load, _) in floods.items()}
pages.table(
    [
        {
            "scenario": "single stream",
            "p50 ms": stream.percentile_ms(50),
            "p95 ms": stream.percentile_ms(95),
        },
    ]
    + [
        {"scenario": f"offline, {name}", "answered/s": load.throughput_per_s}
        for name, (load, _) in floods.items()
    ]
)


# %%
points, knee = [load.summary for load in loads], loadgen.knee(loads)
chapter.facts["server"] = {
    "points": points,
    "knee": knee,
    "capacity_per_s": capacity,
    "single_stream_p50_ms": stream.percentile_ms(50),
    "lateness_p99_ms": max(float(np.percentile(load.lateness_ms, 99)) for load in loads),
}
pages.table(points)

# %% [markdown]
# ## 6.11 A fleet, simulated from measured times
#
# How many such machines would answer a hundred million requests a day? The time of a batch is fitted to the batches measured above,
# with all instances busy; the queue is simulated. First the check: the same loads, simulated, beside the measured ones. Then the
# fewest machines that keep the bound with nobody refused; one machine fewer breaks it.

# %%
shapes = [
    (len(group), int(busy.lengths[group].max()), float(seconds))
    for key, plan in plans.items()
    for group, seconds in zip(
        plan, np.median(trial[f"instances {key}"].seconds, axis=0), strict=True
    )
]
service = fleet.ServiceTimes.fit(*map(np.array, zip(*shapes, strict=True)))


def simulate(rate, chosen=policy, limit=queue_limit, count=n_simulated):
    return fleet.simulate(
        rate, count, test.lengths, service, best_row["instances"], chosen, limit, seed
    )


# In the server a batch takes longer than alone: who sends and who queues runs on the same cores. By how much, offline tells.
lost = flood_busy_s / simulate(1e6, limit=None, count=n_server_requests).busy_s.sum()
service = service.slowed(lost)

# %%
rates = [point["offered_per_s"] for point in points]
simulated = [simulate(rate).summary(rate) for rate in rates]
told = f"{caption}; {n_server_requests} requests a point, queue of {queue_limit}"
figure = figures.load(points, knee, capacity, simulated, told)
chapter.figure(figure, "server")
display(figure)
light = [i for i, share in enumerate(server_loads) if share < 1]
ratio = {i: simulated[i]["p95_ms"] / points[i]["p95_ms"] for i in light}
chapter.facts["simulated"] = simulated
Markdown(
    "Simulated over measured 95th percentile, below capacity: "
    + ", ".join(f"{r:.2f} at load {server_loads[i]}" for i, r in ratio.items())
    + f". In the server a batch took {lost:.2f} times as long as by itself, which the simulation knows from the offline scenario."
)

# %%
fleet_rows = []
for way, chosen in policies.items():
    try:
        needed = fleet.machines_needed(
            requests_per_day,
            peak_factor,
            p99_bound_ms,
            lambda rate, chosen=chosen: simulate(rate, chosen, None),
        )
    except files.InputError as error:
        display(Markdown(f"*{way}: {error}*"))
        continue
    row = {"way": way, "machines": needed.machines, "p99_ms": needed.p99_ms}
    row |= {"rate_per_machine_per_s": needed.rate_per_machine_per_s, "busy": needed.utilisation}
    fleet_rows.append(row | {"usd_per_day": needed.machines * 24 * usd_per_hour})
chapter.facts["fleet"] = fleet_rows
if fleet_rows:
    figure = figures.fleet(
        fleet_rows,
        p99_bound_ms,
        f"{requests_per_day:,.0f} requests a day, {peak_factor:g} times as dense at the peak; simulated; {caption}",
    )
    chapter.figure(figure, "fleet")
    display(figure)

# %% [markdown]
# ## 6.12 Short and long apart
#
# A short request behind a long one waits for work that is not its own. Policies on the real server, at a load that each of them
# can answer, in a queue that holds all: the oldest first, neighbours in length, the shortest first (with patience, so that no long one starves), and an instance of their
# own for the short ones. One run each: small differences mean nothing.

# %%
middle = min(int(np.median(test.lengths)) + 1, int(test.lengths.max()))
by_policy = {
    "oldest first, one by one": rules.one_by_one,
    "oldest first, in batches": policies["adaptive batches"],
    "like lengths": policies["like lengths"],
    "shortest first": rules.short_first(1, p99_bound_ms / 2e3),
}
if len(started) > 1:
    half = len(started) // 2
    by_policy["short ones apart"] = [rules.within(1, 0, middle)] * half + [
        rules.within(1, middle, the_task.max_length + 1)
    ] * (len(started) - half)

# %%
rate, policy_rows = 0.85 * min(load.throughput_per_s for load, _ in floods.values()), []
for name, chosen in by_policy.items():
    load, _ = under_load(arriving(rate), chosen, limit=len(order))
    is_short = test.lengths[order] < middle
    # Where all are alike, every one of them stands for both.
    groups = [group if group.any() else ~group for group in (is_short, ~is_short)]
    row = {"policy": name, "throughput_per_s": load.throughput_per_s}
    row["short_p95_ms"], row["long_p95_ms"] = (
        float(np.percentile(load.latency_ms[group], 95)) for group in groups
    )
    policy_rows.append(row)
chapter.facts["policies"] = policy_rows
figure = figures.by_length(
    policy_rows,
    f"{caption}; {len(order)} requests, {rate:.0f} a second; short: under {middle} tokens",
)
chapter.figure(figure, "by_length")
figure

# %% [markdown]
# ## 6.13 A worker dies
#
# While requests pour in, one of the processes is killed. It is noticed, started anew, and what it had is asked again: every request
# must have exactly one answer. Only processes can be lost and replaced so; instances that are threads end with the whole server.

# %%
stack.close()
short_ones = np.argsort(test.lengths)[: max(8, len(test) // 8)]  # this is about the queue
quick, few = test.take(short_ones), rng.choice(len(short_ones), n_killed)
one_each = batching.in_order(quick.lengths, 1)
right_labels = measure.Variant("right", ours, one_each).logits(quick).argmax(1)
with workers.start(served["first token"], *division, "process") as processes:
    victim = processes[0].pid
    with server.Server(processes, rules.one_by_one, queue_limit) as serving:
        killer = loadgen.when_answered(serving, n_killed // 2, lambda: os.kill(victim, 9))
        load = loadgen.offline(serving, quick, few)
        killer.join(1)
    restarts = sum(process.restarts for process in processes)
assert load.answered == n_killed and restarts == 1 and not load.failed.any()
wrong = int((load.answers.argmax(1) != right_labels[few]).sum())
assert wrong <= (1 - JUDGED.get("agreement", 1.0)) * n_killed, f"{wrong} answers are wrong"
chapter.facts["killed"] = {"requests": n_killed, "answered": load.answered, "restarts": restarts}
Markdown(
    f"{load.answered:,} of {n_killed:,} requests answered once each, {restarts} worker killed and started anew, in "
    f"{load.span_s:.1f} s; {wrong} labels differ from those given alone."
)

# %% [markdown]
# ## 6.14 What it cost
#
# No accuracy beyond the rounding that chapter 5 has paid for already. The wait of a single request: more instances on the same
# cores answer more, each of them later. And memory: every instance has its own copy of the weights.

# %%
pages.table(
    [
        {"rung": r.rung, "p50 ms": r.latency_p50_ms, "requests/s": r.throughput_per_s}
        | {"MB of weights in memory": r.model_mb * r.instances}
        for r in chapter.rungs
    ]
)

# %% [markdown]
# ## 6.15 When it does not pay
#
# - **Deep models** gain little from computing the last layer for one token: 6.2 says how little.
# - **A head that reads every token** (tagging, mean pooling, the words of 6.5) needs the last layer whole.
# - **One user at a time**: then the best division is the one with the lowest latency, not with the most answers (`goal`).
# - **Several instances of a large model** share one memory and one cache: the teacher's panel in 6.7 shows what is left of it.
# - **Packing** spares padding that sorted batches have spared already, and lets attention compute pairs that nobody needs.
# - **A long queue** answers everybody late. A short one answers most in time, and tells the others at once.
#
# ## 6.16 Exercises
#
# 1. Set `goal` to latency. Which rungs change, and by how much?
# 2. `queue_limit` decides who is refused. Draw the 99th percentile of those who are answered over it, at the highest load.
# 3. Write a variant of `fusions.VARIANTS` with the skip-LayerNorm fusion and the first token. Is it slower in int8, too?
#
# **Next:** [chapter 7](09_story.ipynb) puts the rungs together.

# %%
chapter.facts["served"] = {
    "onnx": files.shown(served["first token"]),
    "tokenizer": files.shown(
        files.resolve(student_folder if final != "pruned student" else pruned_facts["folder"])
    ),
    "rung": chapter.facts["goes_on_from"],
    "model": final,
    "recipe": quantised["recipe"],
    "batches": list(best_plan["instances"]),
    "division": [*division, kind],
}
if chapter.facts["goes_on_from"] == "first token":
    chapter.facts["served"] |= {"batches": list(usual), "division": [1, threads, "thread"]}
chapter.save()
