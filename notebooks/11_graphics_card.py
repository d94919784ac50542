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
# # 11 · The graphics card: the same ladder on another machine
#
# **Claim.** A graphics card answers many more requests a second than a processor, but only if it is given many at once. Then
# the steps of this book help there too: no blanks, sixteen bits, a smaller model. For a single short text it hardly matters
# how fast the card can multiply. What counts is how long it takes to start its work.
#
# **Cost.** A machine with a card has a higher price per hour, and sixteen bits round the answers a little.
#
# **Needs** chapters [1](01_baseline.ipynb) to [4](04_pruning.ipynb) of the same run, with `HARDWARE=gpu`. **Leaves** the last
# [rungs](glossary.md#rung) of this run's [ladder](glossary.md#ladder), and what the page *CPU or GPU?* is made of.
#
# The chapters about eight bits, graphs for processors and divided cores are left out of such a run, for they are
# about processors. If the device of this run is the processor (`SET=device=cpu`), the chapter takes the same steps there, to try
# them. What needs a card then says so in one row.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
device: str = "cpu"  # cpu or cuda; the file of params/hardware says which
card_batch: int = 8  # requests in a large batch
n_card_requests: int = 16  # requests that are timed in batches
bucket_step: int = 64  # a recorded graph is for texts of up to a multiple of so many tokens
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
usd_per_hour: float = 0.677  # of this machine, for the cost columns; set yours
cpu_usd_per_hour: float = 0.677  # without a card, here the paper's 8 cores; set yours
n_requests: int = 8  # requests that are timed one by one
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
reference: str = "google-bert/bert-base-uncased"  # the speed reference
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
import copy

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display
from fflib.book.bench import Bench
from fflib.book.inputs import PRUNED, STUDENT, TEACHER
from fflib.card import figures, graphs, limits, one_sequence, onnx_runtime, ways
from fflib.data import batching
from fflib.engine import predictors
from fflib.measure import fitness, nvml, timing
from fflib.measure.timing import Variant
from fflib.model import checkpoints, training
from fflib.quantization import half_precision
from fflib.runs import ladder as ladders
from fflib.runs import records
from fflib.runtime import engines
from fflib.story import cpu_or_gpu, fastformers

bench = Bench.open("11_graphics_card", globals())

# %% [markdown]
# ## 11.1 Idea: three limits instead of two
#
# A processor has a few cores, and one text keeps them busy. A card has thousands of small ones and a memory of its own. Python
# tells it what to do next, piece by piece. Each piece is called a [kernel](glossary.md#kernel): one product, one addition, one
# LayerNorm. The card works on a kernel while Python already sends the next one:
#
# ```text
#              a large batch                          a single short text
#
# Python       k1 k2 k3 k4 ... then it waits          k1   k2   k3   k4   k5
# card         [== k1 ==][== k2 ==][== k3 ==]         [k1]·[k2]·[k3]·[k4]·[k5]      · the card waits
#
# what takes   the arithmetic                         starting the kernels
# the time
# ```
#
# On the left the card is the slow one, and everything that saves arithmetic saves time. On the right Python is the slow
# one. A model with half the neurons starts just as many kernels, so it is hardly any faster. That is why a card and a
# processor ask for different steps:
#
# | step | on a processor | on a card |
# |:--|:--|:--|
# | large batches | little or no gain ([chapter 2](02_batching.ipynb)) | the first thing to do |
# | sorting by length | leaves out blanks | the same |
# | all requests in one sequence | masked work is computed all the same | there are kernels that skip it |
# | sixteen bits | where the processor multiplies them | nearly always; *fp16* or *bf16* |
# | fewer layers | as much faster as there are fewer | the same, also for a single text |
# | narrower layers | about as much faster | only in large batches |
# | the whole graph recorded and started at once | no such thing | the step for single texts |
#
# FastFormers reports a factor of up to 3.53 from fp16 on a V100, and batches of 256
# ([Kim and Hassan Awadalla, sections 5 and 6.2](https://arxiv.org/abs/2010.13382)). We go the same way, from the padded
# reference to a small model in sixteen bits, and predict each step first.
#
# ## 11.2 The models, the texts, the batches
#
# There are two kinds of models here. The reference shows the steps that do not change the model. The models of chapters 1 to 4 then
# show what a smaller model adds on top.

# %%
kind = "fp16" if device == "cuda" else "bf16"
stock = bench.placed(
    checkpoints.untrained_classifier(reference, bench.task.num_labels, spans=bench.task.spans)
)
small = [TEACHER, STUDENT] + ([PRUNED] if bench.final == PRUNED else [])
models = {"reference": checkpoints.from_transformers(stock)}
models |= {name: bench.load(name) for name in small}

# %%
test = bench.texts("test")
chosen = batching.evenly_by_length(test.lengths, n_card_requests)
texts = {name: bench.texts("test", name).take(chosen) for name in small}
texts["reference"] = texts[TEACHER]

# %% tags=["hide-input"]
in_length = {
    name: batching.sorted_by_length(each.lengths, card_batch) for name, each in texts.items()
}
first = [np.arange(min(card_batch, len(chosen)))]  # a padded request costs the same whatever it is
one_by_one = batching.in_order(texts["reference"].lengths, 1)
few = [one_by_one[i] for i in batching.evenly_by_length(texts["reference"].lengths, n_requests)]
padded_to = bench.task.max_length
expected = {name: training.predict(model, texts[name]) for name, model in models.items()}
rows = [
    {
        "model": name,
        "layers": len(model.encoder.layers),
        "MB in fp32": round(checkpoints.size_mb(model)),
        "texts": len(texts[name]),
        "tokens in the longest": int(texts[name].lengths.max()),
    }
    for name, model in models.items()
]
show(bench.table(rows))
Markdown(f"Large batches have up to {card_batch} requests. *Sixteen bits* are {kind} here.")

# %% [markdown]
# ## 11.3 Do it: the ways to serve
#
# Each way is a predictor with its batches. The last two of the reference have no blanks at all: the requests of a batch
# stand behind one another in one sequence, and each of them attends to its own tokens alone.
#
# ```text
# sorted batch                     one sequence
# ## .......                       ## ### ### ######### #########
# ### ......                       |  |   |   |         |
# ### ......                       where each request begins
# #########                        attention: 2x2, 3x3, 3x3, 9x9, 9x9, nothing else
# #########
# ```
#
# The code for it is short, since PyTorch has tensors whose rows differ in length (*nested* ones):

# %% tags=["hide-input"]
show(display.source(one_sequence.attend))
alone, large, sorted_name = "padded, one at a time", "padded, batches", "sorted, batches"
no_blanks = "no blanks"
no_way = {name: why for name, model in models.items() if (why := one_sequence.lacking(model))}


# %%
def in_sixteen_bits(name):
    model = half_precision.converted(models[name], kind, device)
    serve = predictors.torch_predictor if no_way else one_sequence.predictor
    return Variant(name, serve(model), in_length[name], examples=texts[name])


# %%
serve_stock, plan = predictors.torch_predictor(stock), in_length["reference"]
fp32 = {
    alone: Variant("", serve_stock, few, padded_to, examples=texts["reference"]),
    large: Variant("", serve_stock, first, padded_to, examples=texts["reference"]),
    sorted_name: Variant("", serve_stock, plan, examples=texts["reference"]),
}
if not no_way:
    serve_packed = one_sequence.predictor(models["reference"])
    fp32[no_blanks] = Variant("", serve_packed, plan, examples=texts["reference"])
sixteen = {name: in_sixteen_bits(name) for name in models}

# %% [markdown]
# ## 11.4 Predict: the least time that the limits allow
#
# Chapter 1 had two limits, the operations $F$ over the best rate $P$ and the bytes $M$ over the best rate $B$ of memory
# ([Williams et al.](https://doi.org/10.1145/1498765.1498785)). For a card there is a third one, the number $K$ of kernels times the
# time $c$ that it takes to start one:
#
# $$t \ge \max\left( \frac{F}{P}, \frac{M}{B}, K \, c \right)$$
#
# Each of them is measured on this very device: $P$ with a large product in the precision that is used, $B$ with a large copy, $c$ with a chain
# of the smallest possible kernels. $F$, $M$ and $K$ are counted, batch by batch. $M$ includes the [states](glossary.md#hidden-state) that each
# kernel reads and writes. A card is fast enough at products for this to matter.

# %%
known = limits.measure(kind)
request = batching.collate(texts["reference"], few[0]).inputs
kernels = {name: limits.launches(model, request) for name, model in models.items()}


def asked(way, name, precision, blanks):
    lengths, config = texts[name].lengths, models[name].encoder.config
    return ways.asked(way, lengths, config, precision, kernels[name], blanks)


# %%
counted = {
    way: asked(variant, "reference", "fp32", way != no_blanks) for way, variant in fp32.items()
}
counted |= {
    f"{name}, {kind}": asked(variant, name, kind, bool(no_way)) for name, variant in sixteen.items()
}

# %% tags=["hide-input"]
bench.facts["limits"] = vars(known)
gflop = {name: f"{rate:,.0f}" for name, rate in known.gflop_per_s.items()}
show(
    Markdown(
        f"This device reaches {gflop['fp32']} billion operations a second in fp32 and {gflop[kind]} billion in {kind}, copies "
        f"{known.memory_gb_per_s:,.0f} GB a second, and needs {known.launch_us:.1f} microseconds to start a kernel. The reference "
        f"starts {kernels['reference']} of them for a batch."
    )
)
bench.table(ways.prediction_rows(counted, known), decimals=1)

# %% [markdown]
# Read the column *limit* from top to bottom. Where it says *launches*, a smaller model would not help. Where it says *operations* or
# *bytes*, it would.
#
# ## 11.5 Check
#
# The ways in fp32 must give the logits of the same model in our own encoder. Sixteen bits cannot: they have three or four digits. What is
# asked of them is what chapter 5 asks of eight bits, a share of the labels (`min_agreement`). The reference has no labels that mean anything
# where its weights are untrained, so of it only the logits are looked at.


# %%
def checked(way, name):
    tolerance = 0.1 if name == "reference" else np.inf
    return timing.check(way, texts[name], expected[name], tolerance, agreement=0.0)


sixteen = {f"{name}, {kind}": checked(way, name) for name, way in sixteen.items()}
is_served = {way: each.checked.label_agreement >= min_agreement for way, each in sixteen.items()}
is_served[f"reference, {kind}"] = True

# %% tags=["hide-input"]
bench.facts["sixteen_bits"] = rows = [
    {
        "way": way,
        "largest change of a logit": f"{each.checked.max_abs_difference:.1e}",
        "labels kept %": 100 * each.checked.label_agreement,
        "answers": "checked" if is_served[way] else fitness.NOT_SERVED,
    }
    for way, each in sixteen.items()
]
bench.table(rows, decimals=1)

# %% [markdown]
# ## 11.6 Measure
#
# All ways take turns, in several rounds. A card that has rested is slow and one that is hot slows down, so each way meets both. Every batch was
# answered once before, since the first batch of a shape is the one for which the card chooses its kernels. The clock stops when the answer is
# in the processor's memory, and that is only so when the card is done.

# %%
race = bench.compare(fp32 | sixteen, texts["reference"], expected["reference"])
bench.facts["predictions"] = rows = ways.prediction_rows(counted, known, race)

# %% tags=["hide-input"]
show(bench.table(rows, decimals=2))
for name, why in no_way.items():
    show(Markdown(f"*{name}: {why}*"))
if device == "cpu":
    show(
        Markdown("*This run's device is the processor: these are the ways of a card, tried there.*")
    )
elif why := nvml.lacking():
    show(Markdown(f"*{why}*"))
bench.figure(figures.ladder(rows, bench.caption), "card_ladder")

# %% [markdown]
# *Reading the figure.* The pale bar is what the limits allow, the dark one what was measured. Where the dark bar is short, neither
# arithmetic nor memory holds the way up: look there for launches, for products that are too small, and for the copy to the card.
#
# ## 11.7 The rungs
#
# The rungs of the reference come first, each on the one before. Those of the smaller models follow. Their accuracy is that of the sixteen bits, on all of
# *test*, and the rule looks at *dev* as everywhere.


# %%
def answers(way, split):
    name = way.rpartition(",")[0]
    every = bench.texts(split, name)
    plan = batching.sorted_by_length(every.lengths, card_batch)
    return Variant("", sixteen[way].predict, plan, examples=every).logits(every)


# %% tags=["hide-input"]
names = [f"batches of {card_batch}", "batches, sorted", no_blanks]
measured = [alone, large, sorted_name, *([] if no_way else [no_blanks])]
below, on = alone, ladders.PADDED
shared = {"model": reference, "precision": "fp32", "engine": "transformers, PyTorch eager"}
for rung, way in zip(names, measured[1:], strict=False):
    engine = {"engine": "fflib, nested tensors"} if way == no_blanks else {}
    batches = {"plan": first if way == large else plan, "batching": way}
    bench.add_rung(rung, race[way], on=on, below=race[below], **shared | engine | batches)
    below, on = way, rung
goes_on = on
small_engine, small_batching = (
    ("fflib, PyTorch eager", sorted_name) if no_way else ("fflib, nested tensors", no_blanks)
)
for way in sixteen:
    name = way.rpartition(",")[0]
    fields = {"model": reference if name == "reference" else name, "precision": kind}
    fields |= {"engine": small_engine, "batching": small_batching, "plan": in_length[name]}
    fields |= {"model_mb": checkpoints.size_mb(models[name]) / 2}
    if not is_served[way]:
        kept_share = f"only {sixteen[way].checked.label_agreement:.1%} of the labels stay"
        bench.add_rung(way, None, on=on, status=f"failed: not served, {kept_share}", **fields)
        continue
    if name != "reference":
        fields["scored"] = bench.scored(answers(way, "test"), bench.split("test").gold)
        fields["kept"] = bench.retention(answers(way, "dev"))
    rung = bench.add_rung(way, race[way], on=on, below=race[below], **fields)
    below, on = way, way
    goes_on = way if rung.keeps_rule != "no" else goes_on
bench.facts["goes_on_from"] = goes_on
bench.rungs_table()

# %% [markdown]
# ## 11.8 One request at a time
#
# Nobody waits for a batch to fill up if requests are rare. What does a single one take? The launches are the limit there, and there is a way
# around them: the kernels of one text length are recorded once, and the whole recording is started as one. That is a
# [CUDA graph](glossary.md#cuda-graph). A recording has fixed shapes, so a text is padded up to the next multiple of `bucket_step`, and each multiple
# has a recording of its own. `torch.compile` writes the kernels and records them.
#
# Beside it stand ONNX Runtime on the card, if it is installed, and **the processor beside the card**, with ONNX Runtime in fp32. It is this last
# row that a card has to beat.

# %%
final = bench.final
final_texts = texts[final].take(batching.evenly_by_length(texts[final].lengths, n_requests))
half = half_precision.converted(models[final], kind, device)
folder = bench.folder / "models" / "onnx" / "card"
on_processor = copy.deepcopy(models[final]).cpu()
processor, _ = engines.serve(on_processor, "onnxruntime", threads, folder)

# %%
single = {
    "PyTorch, fp32": predictors.torch_predictor(models[final]),
    f"PyTorch, {kind}": predictors.torch_predictor(half),
}
absent = {graphs.ENGINE: graphs.lacking(), onnx_runtime.ENGINE: onnx_runtime.lacking()}
if not absent[graphs.ENGINE]:
    single[graphs.ENGINE] = graphs.predictor(half, final_texts.lengths, bucket_step)
if not absent[onnx_runtime.ENGINE]:
    file = onnx_runtime.half_graph(models[final], folder / "half.onnx")
    single[onnx_runtime.ENGINE] = onnx_runtime.predictor(file, threads)
single["the processor"] = processor

# %% tags=["hide-input"]
wanted = training.predict(models[final], final_texts)
singly = batching.in_order(final_texts.lengths, 1)
tried = {}
for name, serve in single.items():
    exact = name in ("PyTorch, fp32", "the processor")
    tolerance = 1e-3 if exact else np.inf
    way = Variant(name, serve, singly)
    tried[name] = timing.check(way, final_texts, wanted, tolerance, agreement=0.0)
one = bench.compare(tried, final_texts, wanted)
bench.facts["alone"] = rows = [
    {"way": name, "p50 ms": each.latency_p50_ms, "p95 ms": each.latency_p95_ms}
    | {"labels kept %": 100 * each.checked.label_agreement, "": ""}
    for name, each in one.items()
]
left_out = [{"way": name, "": why} for name, why in absent.items() if why]
bench.table([*rows, *left_out])

# %% [markdown]
# A way that could not be taken here says why in the last column.
#
# ## 11.9 How large a batch, and which of the two?
#
# A card that answers one request at a time earns nothing. From which batch on does it answer for less money than the processor? The model is
# the last one of the ladder, and both prices are parameters.

# %%
texts_of_final, usd = texts[final], {ways.CARD: usd_per_hour, ways.PROCESSOR: cpu_usd_per_hour}
batch_sizes = [size for size in (1, 4, 16, 64, 256) if size < card_batch] + [card_batch]
packed = sixteen[f"{final}, {kind}"]
by_size = {}
for batch in batch_sizes:
    plan = batching.sorted_by_length(texts_of_final.lengths, batch)
    by_size[f"batch {batch}"] = Variant("", packed.predict, plan, checked=packed.checked)
every_one = batching.in_order(texts_of_final.lengths, 1)
by_size["processor"] = checked(Variant("", processor, every_one), final)

# %%
sweep = bench.compare(by_size, texts_of_final, expected[final])
per_s = {batch: sweep[f"batch {batch}"].throughput_per_s for batch in batch_sizes}
alone_ms = {way: one[way].latency_p50_ms for way in one}

# %% tags=["hide-input"]
quickest = min((way for way in alone_ms if way != "the processor"), key=alone_ms.get)
best = max(per_s, key=per_s.get)
name = bench.machine["device"]["identity"]["name"] if device == "cuda" else bench.machine["cpu"]
card = cpu_or_gpu.Server(
    per_s[best], usd_per_hour, alone_ms[quickest], sweep[f"batch {best}"].wh_per_1k, name
)
cpu = cpu_or_gpu.Server(
    sweep["processor"].throughput_per_s,
    cpu_usd_per_hour,
    alone_ms["the processor"],
    machine=bench.machine["cpu"],
)
bench.facts["by_batch"] = {str(batch): value for batch, value in per_s.items()}
bench.facts["card"], bench.facts["processor"] = vars(card), vars(cpu)
show(
    bench.figure(
        figures.batches({f"{final}, {kind}": per_s}, cpu.per_s, bench.caption), "card_batches"
    )
)
show(bench.table(cpu_or_gpu.rows(cpu, card)))
batch = cpu_or_gpu.break_even_batch(per_s, usd_per_hour, cpu)
told = f"{cpu_or_gpu.verdict(cpu, card, batch)} Both halves were measured on this one machine."
tried_only = (
    "*This run's device is the processor: both rows are of it, and say nothing about a card.*"
)
Markdown(told if device == "cuda" else tried_only)

# %% [markdown]
# *Break-even load* counts whole machines: a second processor is rented when the first one is full. The energy of the card is that of the card alone,
# by its own counter. An empty cell was not measured.
#
# ## 11.10 Both at once
#
# FastFormers goes one step further and gives each task to the device where it is cheaper: ReCoRD, with its long texts, to the card, the
# other tasks to processors, all at the same time
# ([Kim and Hassan Awadalla, Table 4](https://arxiv.org/abs/2010.13382)). For a single task the same idea
# works by length. Below, each batch of texts of like length goes where it costs less.

# %%
parts = ways.by_length(race[f"{final}, {kind}"], sweep["processor"], in_length[final], usd)

# %% tags=["hide-input"]
bench.facts["hybrid"] = ways.total_rows(parts, len(texts_of_final))
show(bench.table(ways.hybrid_rows(parts, in_length[final], texts_of_final.lengths)))
show(bench.table(bench.facts["hybrid"]))
display.table(
    [
        {
            "in the paper": each.systems,
            "where": each.where,
            "speed-up over all tasks": each.speedup,
            "energy saved, up to": each.energy_saved,
        }
        for each in fastformers.TABLE_4_WITH_A_CARD
    ],
    decimals=1,
)

# %% [markdown]
# If one device is cheaper for texts of every length, dividing them buys time and costs money. The third row of the second table is then the same as one of the others.
# The paper's factors stand below for comparison. Its tasks, models and machines are others, so only the direction can be compared.
#
# ## 11.11 What it cost
#
# No accuracy, as far as no rung above is marked as not served. A card costs money while it waits, too: the prices above are those of machines that are
# always busy. It has its own memory, into which the model must fit, and each text has to be copied there and its answer back. And its
# numbers depend on the driver and on the temperature, so both are in the record of this chapter.

# %% tags=["hide-input"]
so_far = records.all_current(bench.folder, before="11_graphics_card")
every_rung = [rung for record in so_far for rung in record["rungs"]] + [
    vars(r) for r in bench.rungs
]
ladder = ladders.ladder(every_rung)
ladders.write_ladder(run_dir, ladder)
memory = bench.peak_mb
held = f"At its peak the card's memory held {memory:,.0f} MB of tensors. " if memory else ""
Markdown(f"{held}The ladder of this run is in `ladder.csv`, with {len(ladder)} rungs.")

# %% [markdown]
# ## 11.12 When it does not pay
#
# - **One request at a time.** The launches take longer than the arithmetic. A recorded graph helps, and a processor may answer such a
#   request just as quickly.
# - **Short texts and small students.** The smaller the model, the more of its time is launches. The steps that make a model fast
#   on a processor therefore help least where a card is.
# - **Few requests.** A card has to be rented whole. Below the load in section 11.9 processors are the cheaper choice.
# - **A narrower model in place of a shallower one.** Fewer layers start fewer kernels. Narrower ones start as many.
#
# ## 11.13 Summary
#
# A card is a machine for many requests at once. What leaves out work helps there as it does on a processor, as long as the work is what takes
# the time. Compare the column *limit* before you make a model smaller. Which of the two machines is cheaper is decided by the load, the batch and
# the price per hour, and all three are parameters here.
#
# ## 11.14 Exercises
#
# **Exercise 1.** From which batch on is a kernel's work longer than its launch? Take the last model of the ladder and the limits of section 11.4,
# and predict the batch at which $F / P$ exceeds $K c$ for texts of median length. Then look at the figure in section 11.9. To measure with other batches:
#
# ```text
# make book HARDWARE=gpu SET=card_batch=64
# ```

# %% tags=["answer"]
median = int(np.median(texts_of_final.lengths))
work = limits.work(models[final].encoder.config, [median], kind, kernels[final])
took = limits.seconds(work, known, kind)
balance = max(1, round(took["launches"] / took["operations"]))
Markdown(
    f"One text of {median} tokens has {took['operations'] * 1e6:,.0f} microseconds of arithmetic and {took['launches'] * 1e6:,.0f} of "
    f"launches, so the two are equal in a batch of about **{balance:,}**. Up to there, more texts cost hardly any time."
)

# %% [markdown]
# **Exercise 2.** The paper's systems 5 and 6 differ in MultiRC alone. From their four factors, which share of the time of the unoptimised model did MultiRC take?
# Write down the formula for the speed-up over all tasks and solve it. The two systems are in `fflib/story/fastformers.py`. Then try your own shares
# with `make lab` and `cpu_or_gpu.overall_speedup`.

# %% tags=["answer"]
one_system, other = fastformers.TABLE_4
of_task = one_system.speedups["MultiRC"], other.speedups["MultiRC"]
share = cpu_or_gpu.share_of_time((one_system.speedup, other.speedup), of_task)
Markdown(
    f"With shares $w$ and factors $s$ the whole takes $\\sum w / s$ of the time before. Only one term differs, so $w$ is the difference of "
    f"the two wholes over the difference of $1 / s$: about **{share:.0%}** of the time. The overall factor is no mean of the tasks' factors: "
    "what was slow before counts most."
)

# %% [markdown]
# **Exercise 3.** What may an hour of the card cost, at most, so that a card that is always busy is the cheaper one? Predict it from the two
# columns of requests per second in section 11.9. Then try the price that you can get:
#
# ```text
# make book HARDWARE=gpu SET=usd_per_hour=1.2
# ```

# %% tags=["answer"]
highest = cpu_usd_per_hour * card.per_s / cpu.per_s
Markdown(
    f"Both answer for the same money when the prices are to each other as the requests per second. That is at **{highest:.2f} USD an "
    f"hour**, where this run counted {usd_per_hour:g}. Anything that makes the processor faster lowers this price, such as the eight bits "
    "of chapter 5, which no rung here has."
)

# %% tags=["hide-input"]
bench.save()
