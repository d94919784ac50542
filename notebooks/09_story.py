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
# # 9 · The story: what it adds up to
#
# **Claim.** All steps so far work together. A stock model that pads every request has become a small one that answers many times as
# many requests on the same processor and keeps most of its [teacher](glossary.md#teacher)'s accuracy. How many times is *measured* here, start and
# end side by side. It is told against five [baselines](glossary.md#baseline), because a speed-up means nothing until you say *against what*.
#
# **Cost.** The points of accuracy that the ladder shows. Also, the headline is about [throughput](glossary.md#throughput), which needs
# many requests at hand. A single request gains less; it has a ladder of its own in 9.7.
#
# **Needs** chapters [1](01_baseline.ipynb) to [8](08_beyond.ipynb). Their numbers are taken as they are, and refused if any of them came
# from other code, data or hardware. This chapter measures only what no other one did: the headline; the finished [stack](glossary.md#stack) with
# one technique left out; the reference on a faster [engine](glossary.md#engine); and every model of the story with one request at a time. **Leaves**
# `ladder.csv`, `ladder.md`, and the figures of the story.

# %% tags=["parameters"]
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
reference: str = "google-bert/bert-base-uncased"  # the speed reference
left_out: list[str] = []  # techniques to leave out, one at a time; empty: each
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost columns; set yours
watts_per_core: float = 4.0  # of a busy core, where the processor does not count its energy
requests_per_day: float = 1.0e8  # the traffic of a fleet
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
n_train: int = 96  # training examples; the first n_calibrate serve static recipes
n_calibrate: int = 8  # training texts that show what values flow
n_importance: int = 32  # training texts that the cut of the teacher is chosen and tuned by
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_resamples: int = 200  # bootstrap resamples of an accuracy interval
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
headline_rounds: int = 2  # interleaved rounds of the headline; six give an interval of 95 %

# %% tags=["hide-input"]
import math
from dataclasses import replace
from functools import partial

from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.book.bench import Bench
from fflib.data import batching, metrics, retention
from fflib.engine import predictors
from fflib.measure import fitness
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, hf_names, training
from fflib.model.encoder import Classifier
from fflib.plotting import times
from fflib.runs import ladder as ladders
from fflib.runs import records
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.runtime import engines, openvino, served
from fflib.story import (
    bill,
    factors,
    fastformers,
    figures,
    front,
    front_figure,
    headline,
    headline_told,
    latency,
    leave_one_out,
    leave_one_out_figure,
    leave_one_out_told,
    limit,
    rung_tables,
    stacks,
)
from fflib.story.factors import AGAINST, TEACHER
from fflib.story.leave_one_out import FULL

# A slip in the parameters stops here, before anything takes time.
files.check_known("technique", left_out, leave_one_out.TECHNIQUES)
bench = Bench.open("09_story", globals())
threads = bench.threads

# %% [markdown]
# ## 9.1 Idea, and a prediction: the steps multiply
#
# The whole book is one [ladder](glossary.md#ladder). Each [rung](glossary.md#rung) stands on the one below it:
#
# ```text
#  padded reference     BERT-base as tutorials run it, every text padded to the maximum   <- start
#    teacher            a smaller fine-tuned model, first padded, then without padding
#      best batching    texts of similar length together
#        student        fewer layers, taught by the teacher
#          ...          pruned, in eight bits, with a shorter last layer
#            instances  the cores divided among copies                                     <- end
# ```
#
# A step is the throughput of a rung over that of the rung below. Both are timed in the same rounds, so each step by itself is sound.
# If the steps are $s_1, s_2, \ldots, s_n$, the last rung should be
#
# $$\hat{f} = s_1 \cdot s_2 \cdots s_n$$
#
# times as fast as the first. That is a *prediction*, and not yet a result: the steps were measured at different minutes and
# with different requests, and most rungs were timed twice, once when they were added and once more as the ground of the next. Where several rungs
# stand on the same one, they are alternatives, and the run went on from one of them.

# %%
earlier = records.all_current(run_dir, before=bench.name)
by_steps = factors.ladder_of(earlier, watts_per_core)
last = factors.last_rung(earlier)
rungs_taken = ladders.stack(by_steps, last)  # from the padded reference up to the last rung
steps = factors.factors(by_steps, rungs_taken)
Markdown(f"Predicted: **{steps[-1]['total']:.0f} times** as fast as the padded reference.")

# %% [markdown]
# ## 9.2 Measure: the headline
#
# To find out whether the prediction is right, start and end have to run side by side. In every round, new requests are drawn from test,
# short and long ones in their usual proportion. The last rung answers all of them as it is served, with its
# [instances](glossary.md#instance) and its batches. A starting point answers a few that stand for all, one by one, because it is slow. The
# last rung is timed just before and just after each starting point,
#
# ```text
#  one round:  last rung, padded reference, last rung, teacher, last rung ...
# ```
#
# so that a machine that gets slower in between slows down both. In round $r$ let $t_r$ be the seconds per request of the starting
# point, and $e_r$ the mean of its two neighbours. The speed-up is the median over the $R$ rounds,
#
# $$f = \mathrm{median} \left( \frac{t_1}{e_1}, \ldots, \frac{t_R}{e_R} \right),$$
#
# and its interval goes from one of these ratios to another: with six rounds from the smallest to the largest, which contains the
# true median with a probability of more than 95 %.
#
# Nothing is timed unchecked. The answers are compared with those of the model before the first round and again in every round, and the file that
# is served has to keep enough of that model's labels on all of test.

# %%
models = {name: bench.load(name) for name in ("teacher", "student", "pruned student")}
test = bench.texts("test")
train = bench.texts("train", limit=n_train)
served_file = bench.facts_of("07_serving")["served"]
full = stacks.of_run(served_file)

# %% tags=["hide-input"]
onnx = bench.folder / "models" / "onnx"
quantised = bench.facts_of("05_quantization")["quantised"]
graphs = stacks.graphs_of_run(bench.folder, served_file, quantised)
calibration_texts = train.take(range(min(n_calibrate, len(train))))
parts = stacks.Parts(models, graphs, onnx / "story", calibration_texts, threads)
num_labels = bench.task.num_labels
architecture = checkpoints.untrained_classifier(reference, num_labels).config.to_dict()
config = replace(hf_names.our_config(architecture), spans=bench.task.spans)
large = Classifier(config, num_labels).eval()
stock = predictors.torch_predictor(checkpoints.to_transformers(large))

# %%
running = stacks.RunningStacks({FULL: full}, parts)
full_logits = running.logits(FULL, test)
full_kept = metrics.kept(full_logits, cache.predict_cached(models[full.model], test), test.gold)
assert full_kept >= served.labels_to_keep(full.recipe, min_agreement, len(test))
# In eight bits another division of a product may push a value across the border of its code.
tolerance = served.tolerance(full.recipe, full_logits)
the_end = headline.Way(
    running.together(FULL), partial(running.expected, FULL), tolerance, full.plan
)

# %%
reference_engines = {"ONNX Runtime": "onnxruntime"}
if not openvino.missing():
    reference_engines["OpenVINO"] = "openvino"
reference_on = {
    f"reference, {name}": engines.serve(large, engine, threads, onnx / "reference")[0]
    for name, engine in reference_engines.items()
}
teacher_on = {
    TEACHER: engines.serve(models["teacher"], "pytorch", threads, onnx / "teacher")[0],
    latency.TEACHER_ON_ONNX: engines.serve(
        models["teacher"], "onnxruntime", threads, onnx / "teacher"
    )[0],
}

# %%
few = max(2, n_requests // 6)
large_says, teacher_says = (
    partial(training.predict, model) for model in (large, models["teacher"])
)
padded = predictors.in_turn(stock, pad_to=bench.task.max_length)
starts = {PADDED: headline.Way(padded, large_says, count=max(1, n_requests // 32))}
for name, predict in {UNPADDED: stock, **reference_on}.items():
    starts[name] = headline.Way(predictors.in_turn(predict), large_says, count=few)
for name, predict in teacher_on.items():
    starts[name] = headline.Way(predictors.in_turn(predict), teacher_says, count=few)
found = headline.measure(the_end, starts, test, n_busy_requests, headline_rounds)
running.close()
unpadded_references = [UNPADDED, *reference_on]
best_reference = max(unpadded_references, key=found.per_s.get)
best_fp32 = found.per_s[best_reference] / found.per_s[UNPADDED]
teacher_fp32 = found.per_s[latency.TEACHER_ON_ONNX] / found.per_s[TEACHER]
products = factors.speedups(by_steps, last, best_fp32, teacher_fp32)
measured_starts = (PADDED, UNPADDED, best_reference, TEACHER, latency.TEACHER_ON_ONNX)
start_by_name = dict(zip(AGAINST, measured_starts, strict=True))

# %% tags=["hide-input"]
told = bench.facts["headline"] = headline_told.fact(found, last, start_by_name, products)
ladder = headline_told.in_ladder(by_steps, told)
show(display.table(headline_told.rows(told)))
show(Markdown(headline_told.sentence(told)))
bench.facts["factors"] = steps
ground = {"rung": PADDED, "what": "where it starts", "factor": 1.0, "total": 1.0}
against_padded = told["against"][AGAINST[0]]
show(bench.figure(figures.waterfall([ground, *steps], bench.caption, against_padded), "waterfall"))
all_rungs = [rung for record in earlier for rung in record["rungs"]]
again = headline_told.timed_again(all_rungs, rungs_taken, found)
show(bench.table(again, keep="timed_again"))
Markdown(headline_told.explanation(told, again))

# %% [markdown]
# **Reading the table and the figure.** Each row of the table is one starting point. The second column is measured, the third is the product of the
# steps. In the figure, every bar multiplies the total so far by its factor. The axis is logarithmic, so equal widths are equal factors. The
# diamond is the measured headline. Where a step also changes how requests are grouped, the grey words beside it say so, and part of its
# factor is that change: a rung that goes *back to one request at a time* has given up what *best batching* brought.
#
# The second table shows where product and measurement against the padded reference part: rungs were timed again as the ground of the next step, and
# wherever *requests/s then* is not what it was *when added*, the product moves by the factor in the last column. A rung that was
# added in the same rounds as the next one was timed only once and has no row.
#
# **The ladder.** Here is the whole of it. Names in brackets are alternatives that the run did not take,
# [floors](glossary.md#floor), and the *systems* of [chapter 8](08_beyond.ipynb). The last rung is the last name without brackets:
# its *vs padded* and *vs unpadded* are the measured factors. Those of a system are these factors times its own step, and those of
# all other rungs are products of steps. They are not the ratio of two cells of
# *requests/s*, since these were measured at different times. An empty cell was not measured. The [reference](glossary.md#padded-reference)
# has no accuracy where its weights are untrained: random weights take as long to multiply as trained ones, but know nothing. Below the
# ladder stands its figure, where pale bars are the rungs in brackets and hatched ones are below [the rule](glossary.md#the-rule).
# Then come two tables. The first says what each rung on the way is; each of them stands on the one above it. The names of students
# are explained in [3.4](03_distillation.ipynb); *searched for* a factor is a shape that was searched to be that many times as fast
# ([4.6](04_pruning.ipynb)). The second says how every rung is served (a [token budget](glossary.md#token-budget) is given in
# tokens), how many requests its batches hold on average, how many requests timed it, and its [retention](glossary.md#retention):
# what share of the teacher's score it keeps on test. Whether it *keeps the rule* was decided on
# [dev](glossary.md#dev-and-test), so a *yes* can stand beside a retention that on test is lower than the rule asks.

# %% tags=["hide-input"]
ladders.write_ladder(run_dir, ladder)
show(Markdown(ladders.ladder_markdown(factors.mark_alternatives(ladder, rungs_taken))))
show(bench.figure(figures.ladder(ladder, rungs_taken, bench.caption, last), "ladder"))
show(display.table(rung_tables.what_it_is(ladder, rungs_taken)))
display.table(rung_tables.how_it_serves(ladder))

# %% [markdown]
# ## 9.3 Accuracy against speed
#
# Which rung should *you* take? The figure has every rung of this run, speed to the right and accuracy up, like FastFormers' figure 3
# ([Kim and Hassan Awadalla](https://arxiv.org/abs/2010.13382)). The last rung stands where it was measured, and the others as far from it as
# their steps say.
#
# The red line is the [front](glossary.md#front): for a rung on it, no other is both faster and more accurate. If you want another balance
# than this book, take another point of the front. It may be a system, whose speed depends on the texts that arrive. A cross
# marks a rung below the rule, which the book does not go on from, however fast it is. The dashed lines are the teacher's accuracy
# on test and the share of it that the rule asks for. The rule is applied on dev, so a rung that kept it there may lie below the
# lower line.
#
# Points without a number are alternatives off the front. The floors are in the figure, too, hardly better than guessing. The thin
# vertical lines are [intervals](glossary.md#bootstrap-interval): with other test texts, the accuracy could be anywhere on them, so a
# difference smaller than the lines decides nothing.

# %%
points = front.points(by_steps, rungs_taken, against_padded["factor"] / against_padded["product"])
unbeaten = front.pareto(points)
teacher_accuracy = bench.teacher_accuracy

# %% tags=["hide-input"]
bench.facts["front"] = unbeaten
figure = front_figure.accuracy_against_speed(
    points,
    teacher_accuracy,
    bench.caption,
    min_retention=min_retention,
    teacher_is_clear=bench.teacher_is_clear,
)
bench.figure(figure, "accuracy_against_speed")

# %% [markdown]
# Points far apart are easy to read; those that overlap are not. Two rungs whose intervals overlap may still differ, because they
# answered the same texts: 9.8 compares model and teacher text by text.
#
# ## 9.4 Predict: one technique left out
#
# The order of a ladder is a choice. Had pruning come last, its step might have been smaller. So ask another question: what would the *finished*
# stack lose without a technique? If the steps did not influence each other, the stack without it would be slower by exactly the
# factor that the ladder shows for its step. That is the prediction.
#
# They do influence each other. Batching saves calls but costs [padding](glossary.md#padding), and the smaller the model, the less a call
# costs compared with the padding. A small product gains less from eight bits than a large one.
#
# What does "without" mean, technique by technique?
#
# - Without *[distillation](glossary.md#distillation)*, nothing teaches a small model, and nothing repairs a pruned one. What remains is the
#   fine-tuned teacher itself. It keeps all its layers; each layer loses the share of heads and neurons that the
#   [student](glossary.md#student) lost; and the rest is rescaled, but not trained.
# - Without *first token*, the last layer computes every token again, although the classifier reads only the first (chapter 6).
# - Without *ONNX Runtime*, the eight-bit products and the instances go too, since both depend on it.
# - Everything else stays as it is, the batches included. Tuning the stack anew would win back a part, so the factors are upper bounds rather
#   than lower ones.
# - The choice of a smaller teacher, and not to pad, belong to the start of the story and are not left out.
#
# Below: the function that cuts the teacher, and what exactly changes in the full stack for each technique.

# %%
predicted = factors.factor_by_technique(steps)

has_student = bench.facts_of("03_distillation")["student"]["shape"] != "teacher"
stack_by_name = {FULL: full}
for technique in left_out or leave_one_out.TECHNIQUES:
    lacking = leave_one_out.without(technique, full, threads)
    # Else the run's own stack does without it, or there is no student that was taught.
    if lacking != full and (has_student or technique != "distillation"):
        stack_by_name[technique] = lacking

# %% tags=["hide-input"]
show(display.source(leave_one_out.cut_in_proportion))
display.table(
    [
        {
            "without": technique,
            "what changes": leave_one_out.changes(stack_by_name.get(technique, full), full)
            or "nothing: not in this run's stack",
        }
        for technique in left_out or leave_one_out.TECHNIQUES
    ]
)

# %% [markdown]
# ## 9.5 Do it: the stacks
#
# All models come from earlier chapters, except the teacher that is cut as the student was. Every stack is started with all its
# instances, and they stay up side by side until they have been timed.

# %%
if "distillation" in stack_by_name:
    importance_texts = train.take(range(min(n_importance, len(train))))
    models[leave_one_out.CUT_TEACHER] = leave_one_out.cut_in_proportion(
        models["teacher"], models["student"], models[full.model], importance_texts
    )
running = stacks.RunningStacks(stack_by_name, parts)

# %% [markdown]
# ## 9.6 Check, then measure
#
# First comes the check on all of test, in the batches that are served. In [fp32](glossary.md#fp32) the [logits](glossary.md#logit) must be
# those of the model; in eight bits enough labels must stay the same. A stack that keeps too few is timed all the same and marked as *not
# served*. Then comes the clock: in every round, each stack answers all requests, in an order that is drawn anew.
#
# In the figure, a bar is what a technique is worth in the full stack, and the diamond is the prediction, what it brought when it was added.

# %%
logits, labels_kept = {FULL: full_logits}, {FULL: full_kept}
for name, stack in stack_by_name.items():
    float_logits = cache.predict_cached(models[stack.model], test)
    if name != FULL:
        logits[name] = running.logits(name, test) if stack.recipe else float_logits
        labels_kept[name] = metrics.kept(logits[name], float_logits, test.gold)

busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
expected = {name: running.expected(name, busy) for name in stack_by_name}
timings = running.time(busy, expected, rounds, tolerance)
running.close()
wall_s = {name: timing.wall_s for name, timing in timings.items()}
slowdowns = leave_one_out.slowdowns(wall_s)
accuracy = {name: bench.score(logits[name], test.gold) for name in slowdowns}
full_score = bench.scored(logits[FULL], test.gold)

# %% tags=["hide-input"]
rows = []
for name, (factor, low, high) in slowdowns.items():
    row = {"technique": leave_one_out.label(name, full, threads)}
    row |= {"factor": factor, "low": low, "high": high}
    row["added"] = leave_one_out.factor_when_added(name, full, threads, predicted)
    row["throughput_per_s"] = timings[name].throughput_per_s
    difference = 100 * (accuracy[name] - full_score.value)
    row |= {"accuracy": accuracy[name], "points": difference}
    served_if = fitness.least(min_agreement, len(test))  # none of dev is left to judge these
    rows.append(row | {"labels_kept": labels_kept[name], "served": labels_kept[name] >= served_if})
bench.facts["leave_one_out"] = rows
if rows:
    caption = f"{bench.caption}; {len(busy)} requests, {rounds} rounds"
    figure = leave_one_out_figure.leave_one_out(rows, caption)
    show(bench.figure(figure, "leave_one_out"))
routes = {row["route"]: row for row in bench.facts_of("03_distillation")["routes"]}
remark = ""
if "labels" in routes:
    labels = routes["labels"]
    remark = (
        f" In chapter 3, before pruning and rounding, the same student trained on labels alone differed from the "
        f"distilled one by {labels['against two stages, points']:+.1f} points ({labels['95 % from']:+.1f} to "
        f"{labels['to']:+.1f})."
    )
Markdown(
    f"The full stack has {full_score.value:.1%} on test, and points are the difference from that.{remark} "
    + leave_one_out_told.served_otherwise(
        [name for name in slowdowns if name in predicted], full, threads, steps, by_steps
    )
)

# %% [markdown]
# **Reading the figure.** A bar that ends right of its diamond belongs to a technique that became more valuable with the others around it, and one
# that ends left of it to a technique that the others partly replace, as far as both were served alike: the steps of the ladder were
# timed in the batches and on the cores of their day, and the sentence above says which of them differ from the full stack. A grey bar has no clear gain: its range of rounds includes one. That
# alone does not make the technique useless. Look at the last column, *accuracy (points)*, which is negative where the stack
# scores less without the technique: distillation, for example, is there for the accuracy that the other techniques spend.
#
# ## 9.7 One request at a time
#
# Throughput counts the answers of a busy machine. If you send one request and wait for it, you see another ladder: no batches, no neighbours,
# and all threads for one text. So every model of the story is timed here in the same rounds, one request at a time, beside the reference
# on other engines. There are fewer requests than where the rungs were added, so compare factors, not milliseconds.
#
# Instances are not in this ladder, because a single request keeps only one of them busy. *First token, one thread* is the time
# that a request takes in an instance of one core while its neighbours rest. The table below the figure has what it takes when all of them are busy.

# %%
requests = test.take(batching.evenly_by_length(test.lengths, max(2, n_requests // 2)))
pruned_rung = bench.facts_of("04_pruning")["goes_on_from"]
int8_rung = bench.facts_of("05_quantization")["goes_on_from"]
eight_bits = stacks.Stack(full.model, full.recipe, threads=threads)
alone = {
    TEACHER: stacks.Stack("teacher", engine="pytorch", threads=threads),
    latency.TEACHER_ON_ONNX: stacks.Stack("teacher", threads=threads),
    "distilled student": stacks.Stack("student", engine="pytorch", threads=threads),
    "ONNX Runtime": stacks.Stack("student", threads=threads),
    pruned_rung: stacks.Stack(full.model, threads=threads),
    int8_rung: eight_bits,
    "first token": replace(eight_bits, first_token=True),
}
if not has_student:
    del alone["distilled student"]  # it is the teacher
if threads > 1:
    alone["first token, one thread"] = replace(eight_bits, first_token=True, threads=1)

# %%
one_by_one = batching.in_order(requests.lengths, 1)
two_requests = [one_by_one[i] for i in batching.evenly_by_length(requests.lengths, 2)]
ways = {
    PADDED: Variant(PADDED, stock, two_requests, pad_to=bench.task.max_length),
    UNPADDED: stock,
    **reference_on,
}
running = stacks.RunningStacks(alone, parts)
ways.update(running.one_by_one(requests, busy, min_agreement))  # each against its own model
race = bench.compare(ways, requests, training.predict(large, requests))
running.close()

# %% tags=["hide-input"]
rows = latency.rows(race)
bench.facts["latency"] = rows
caption = f"{bench.caption}; {len(requests)} requests of all lengths (padded reference: {len(two_requests)}), {rounds} rounds"
show(bench.figure(figures.latency_ladder(rows, caption), "latency"))
display.table([bench.facts_of("07_serving")["one_by_one"]])

# %% [markdown]
# **Reading the figure.** Each dot is a median, and the line reaches up to the 95th percentile. Compare it with the ladder of 9.2: the steps that
# come from batching and from instances are missing, so the last dot is a smaller factor away from the first than the headline says. If what your users
# feel is one request, this is the number to quote. Where *first token, one thread* is as fast as *first token*, the products have become too small to be worth
# splitting, which is why chapter 7 copies the model instead.
#
# ## 9.8 Which speed-up is which
#
# Five numbers, all measured, all true, and easily mistaken for one another:
#
# - **Against the padded reference.** The paper's definition, and the source of every "200-fold". It includes the choice to pad,
#   which is neither compression nor engineering, and which nobody has to make.
# - **Against the [unpadded reference](glossary.md#unpadded-reference).** The same stock model without padding, one request at a time: what small models,
#   eight bits, graphs and cores really brought, and batches only where the last rung still has them (9.4 says whether it does).
# - **Against the best fp32 engine tried.** The same reference once more, exported and run wherever it is fastest on this machine. PyTorch's
#   eager fp32 products are slower than they could be, on some AMD processors by half; and to beat a slow start is no achievement.
# - **Against this run's own teacher**, in PyTorch and on ONNX Runtime. Where the reference's weights are untrained, as they are without
#   access to the hub, these are the only factors that have the same task on both sides. **Speed and the accuracy that is kept belong to the
#   same model here, and only here.**
#
# How much accuracy is kept? Let model and teacher answer the same $n$ test texts. The [retention](glossary.md#retention) is
#
# $$r = \frac{\mathrm{score}_\mathrm{model}}{\mathrm{score}_\mathrm{teacher}}, \qquad \mathrm{for\ accuracy} \quad r = 1 - \frac{n_l - n_w}{n_t},$$
#
# where the teacher is right on $n_t$ texts, alone right on $n_l$ of them, and the model alone is right on $n_w$. Only the texts on which
# the two differ count, so pairing them gives a much narrower interval than two separate accuracies would. The interval comes from a paired [bootstrap](https://doi.org/10.1214/aos/1176344552): $n$ texts are drawn with
# replacement, both models are scored on the same draw, and after many draws the middle 95 % of the ratios remain.

# %% tags=["hide-input"]
last_alone = latency.LAST if full.first_token else int8_rung
latency_gain = latency.speedups(race, best_reference, last_alone)
end = ladder.set_index("rung").loc[last]
starts_and_end = {"padded": PADDED, "unpadded": UNPADDED, "end": last_alone}
most_frequent = metrics.chance(bench.task, test.gold)
bench.facts["speedups"] = {
    "rung": last,
    "throughput": {name: row["factor"] for name, row in told["against"].items()},
    "latency": latency_gain,
    "one_request_ms": {name: race[way].latency_p50_ms for name, way in starts_and_end.items()},
    "best_fp32_engine": best_reference.partition(", ")[2] or "PyTorch",
    "accuracy": float(end["accuracy"]),
    "retention": None if math.isnan(end["retention"]) else float(end["retention"]),
    "teacher_accuracy": teacher_accuracy,
    "most_frequent_answer": most_frequent,
}
display.table(
    [
        {
            "against": name,
            "throughput, measured": headline_told.factor_words(row),
            "one request, p50": f"{latency_gain[name]:.0f}x",
        }
        for name, row in told["against"].items()
    ]
)

# %% tags=["hide-input"]
below_rule = retention.missed(served_file["retention"])
keeps = front.keeps(end["accuracy"], teacher_accuracy, end["retention"])
warning = ""
if end["accuracy_low"] <= most_frequent:
    warning = "**The accuracy is not clearly above guessing, so what is kept of it means nothing.**"
# Chapter 7 served it, and test took no part in any choice: this is what the run may say of itself.
bench.facts["retention"] = served_file["retention"]
Markdown(
    f"{headline_told.sentence(told)} It comes from a teacher {keeps}{below_rule}. (Always giving the most frequent "
    f"answer would score {most_frequent:.1%}.) {warning} {retention.certificate(bench.facts['retention'])}"
)

# %% [markdown]
# The table has the five factors for throughput and for one request; the sentence below it has the accuracy, and how the rule, which chose on dev, fares on test.
# If the interval has both sides of the rule, these test texts cannot tell whether it holds. That is a result too, and it is stated rather than rounded away.
#
# ## 9.9 Where the limit lies
#
# How much faster could it still get? A processor performs only so many multiplications per second. Let a request of mean length need $G$ operations in its products of tokens and
# weights, and let $B$ be the best rate that any product of this engine reached on this machine; a rate on one thread is multiplied
# by the number of threads. Then no more than
#
# $$X_\mathrm{max} = \frac{B}{G}$$
#
# requests per second are possible. This is the flat part of the [roofline](glossary.md#roofline) model of [Williams et al.](https://doi.org/10.1145/1498765.1498785). It is a limit
# for *this model on this engine*: a smaller model has a higher one. It is not the limit of chapter 8 (8.10), where $G$
# counts the products inside attention as well. It is compared with the last rung, as chapter 7 timed it.

# %%
products = bench.facts_of("06_runtime")["int8_products"]
if full.recipe:
    best_gop_per_s = limit.best_rate(products, threads)
else:
    best_gop_per_s = bench.facts_of("01_baseline")["ceiling"]["fp32_gflop_per_s"]
limit_per_s = best_gop_per_s / products[0]["operations, G"]
measured_per_s = float(end["throughput_per_s"])

# %% tags=["hide-input"]
rows = limit.rows(measured_per_s, limit_per_s)
bench.facts["limits"] = rows
caption = (
    f"{bench.caption}; for a request of mean length, {round(float(test.lengths.mean()))} tokens"
)
show(bench.figure(figures.limits(rows, caption), "limits"))
Markdown(
    f"Between {measured_per_s:,.0f} and {limit_per_s:,.0f} requests per second lie the products of attention itself, LayerNorm, "
    "activations, rounding, padding inside batches, and the calls. To go beyond the limit, the model has to do less."
)

# %% [markdown]
# The gap between the two bars is the most that you could still gain without changing the model, by better code alone; no program
# reaches all of it.
#
# ## 9.10 What it cost: money and energy
#
# If a machine costs $p$ USD an hour and answers $X$ requests per second without a pause, a hundred million answers cost
#
# $$\mathrm{USD} = \frac{10^8}{3600\, X} \cdot p.$$
#
# The price is a parameter of the hardware (`usd_per_hour`). Energy is counted by the processor where it allows that; the column *energy* says so. Otherwise it
# is an estimate, busy cores times a typical power, and then it simply follows the money. Both are computed with the factors of the
# ladder, starting from the padded reference, and for the last rung with the measured one. So no drift of the machine between chapters
# is in them. `ladder.csv`, and the column *USD/100M* wherever the ladder is shown, have the same quantities from each rung's own
# requests per second. So they are other dollars wherever the machine was faster or slower when a rung was timed.

# %%
costs = bill.bill(ladder, rungs_taken)
always_busy = bill.machines_always_busy(ladder, last, requests_per_day)

# %% tags=["hide-input"]
show(display.table(costs))
serving = bench.facts_of("07_serving")
fleet = min(serving["fleet"], key=lambda row: row["machines"], default=None)
if not serving["simulation_holds"]:
    fleet = None
    remark = "*Chapter 7's simulation misses its own check here, so no fleet is built on it.*"
elif fleet:
    remark = (
        "With a peak hour and a promise about waiting, chapter 7's simulation asks for "
        f"**{fleet['machines']}**, at {fleet['usd_per_day']:,.0f} USD a day."
    )
else:
    remark = "*Chapter 7 found no fleet that keeps its promise about waiting.*"
bench.facts["machines"] = fleet and fleet["machines"]
Markdown(
    f"{requests_per_day:,.0f} requests a day keep {always_busy:.1f} such machines busy all day. {remark} "
    f"All prices are at {bill.price_words(usd_per_hour, bench.machine['cores_available'])}."
)

# %% [markdown]
# Read the table from top to bottom: it is the ladder again, in dollars and kilowatt-hours. The price of the training is not
# in it. The sentence below counts machines that are busy all day, which real traffic never allows; chapter 7 explains why.
#
# ## 9.11 Beside the paper
#
# FastFormers' [Table 3](https://arxiv.org/abs/2010.13382) is the model of this ladder: BoolQ, one request at a time, eight cores of an Azure F16s v2.
# Three things differ. Its steps come in another order. Its student is made from BERT-base, while here it is made from a teacher that is small
# already; therefore what belongs together is multiplied in the table below. And its last rows are the throughput of eight processes, so a
# single request takes about eight times as long as they suggest. The paper's last rung keeps 72.81 of 74.01 points; in its Table 1, the same
# kind of teacher has 75.99.
#
# The second table recomputes the paper's price column from its seconds, at one price per hour, which is the default of this book.
# It is the rent of the paper's eight cores, so its bill and that of 9.10 are like for like only on a machine of that price.

# %%
comparison = factors.beside_the_paper(steps)
paper_kept = fastformers.TABLE_3[-1].accuracy / fastformers.TABLE_3[0].accuracy

# %% tags=["hide-input"]
rows = [
    {
        "technique": row["technique"],
        "paper": times(row["paper"]) if row["paper"] else "",
        "here": times(row["here"]) if row["here"] else "",
    }
    for row in comparison
]
rows[-1]["accuracy kept, paper"] = f"{paper_kept:.1%}"
rows[-1]["accuracy kept, here"] = ladders.kept_words(end["retention"])
show(display.table(rows))
display.table(bill.papers_bill())

# %% [markdown]
# An empty cell means that this ladder has no such step. Where a row says *back to one request at a time*, the last rung has none of
# the batches of the row above; their factor is in the product all the same, since this step was taken over a rung that had them.
# The last row multiplies all steps of a side; take it as an orientation, since task, machine and starting point differ.
#
# ## 9.12 When it does not pay
#
# - **Few requests.** Training a teacher and a student costs more than a slow model that is asked a thousand times a day, and the days of the person
#   who does it cost more still.
# - **A task that the small model cannot learn.** The accuracies of this ladder are those of this task. In the paper's Table 1, the
#   student that keeps up on BoolQ falls from 64.81 to 33.68 on ReCoRD.
# - **Labels that change every week.** Every step has to be done again then, and all choices made anew on dev.
#
# ## 9.13 Exercises
#
# **Exercise 1: two ways to compute a step.** Open `ladder.csv` and divide the requests per second of the last rung by those of the rung it
# stands on. Why is the result not *speedup_step*? Predict which of the two is more trustworthy, then look at the column of each:
#
#     column -s, -t < outputs/docs-cpu/ladder.csv | less -S

# %% tags=["answer"]
below = ladder.set_index("rung").loc[end["stacks_on"]]
from_columns = end["throughput_per_s"] / below["throughput_per_s"]
answer = f"From the columns: {from_columns:.2f}. *speedup_step*: {end['speedup_step']:.2f}. The first divides two numbers "
answer += "of different minutes. The second divides two of the same rounds: the rung below was timed again beside the new "
answer += (
    "one, which the record keeps as `paired_baseline_per_s`. So the second is the one to trust."
)
show(Markdown(answer))

# %% [markdown]
# **Exercise 2: is the finished stack more than its steps?** Multiply all factors of 9.6, leaving out *ONNX Runtime*, whose row already contains two others.
# Predict whether the product is larger or smaller than that of the same techniques when they were added. To time a single
# technique again:
#
#     make book SET='left_out=["batching"]'

# %% tags=["answer"]
single = [
    row
    for row in bench.facts["leave_one_out"]
    if row["added"] and ", with " not in row["technique"]
]
otherwise = leave_one_out_told.served_otherwise(
    [row["technique"] for row in single], full, threads, steps, by_steps
)
answer = f"{leave_one_out_told.products_told(single)} {otherwise}"
show(Markdown(answer if single else "This run's stack has no technique of its own to leave out."))

# %% [markdown]
# **Exercise 3: what does a narrower interval cost?** The interval of the retention shrinks with the square root of the number of test texts. How many
# would be needed to halve it, and how many until it no longer contains the rule? Then see whether the share that the paper keeps
# lies within your interval:
#
#     make compare WITH=paper

# %% tags=["answer"]
share = bench.facts["retention"]
answer = "This run's teacher is not clear of the floors, so there is no retention to speak of."
if share and share["value"] is not None:
    half = (share["high"] - share["low"]) / 2
    apart = abs(share["value"] - share["min_retention"])
    times_more = (half / apart) ** 2 if apart else math.inf
    answer = f"The interval reaches {100 * half:.1f} points to each side with {share['n']:,} texts. Half of that takes four times as "
    answer += f"many, {4 * share['n']:,}. The value is {100 * apart:.1f} points from the rule, so {share['n'] * times_more:,.0f} "
    answer += "texts would tell on which side it lies, if the value stayed the same."
show(Markdown(answer))

# %% tags=["hide-input"]
bench.facts["speedup_vs_padded"] = float(end["speedup_vs_padded"])
bench.facts["energy"] = sorted({*ladder["energy_source"]} - {""})
bench.save()
