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
# # 8 · Beyond the model: work that need not be done
#
# **Claim.** The model that chapter 7 serves is small and its [engine](glossary.md#engine) is tuned. What is left is
# work that need not be done at all. If many texts are clear from their first tokens, the same model can read those
# first, and the rest only where it is unsure.
#
# **Cost.** Labels, where the beginning of a text misleads. And how fast such a *system* is depends on the texts that
# arrive, not on the model alone. So its [rungs](glossary.md#rung) are marked *system*, and the book's headline never
# contains one.
#
# **Needs** chapters [1](01_baseline.ipynb) to [7](07_serving.ipynb). **Leaves** the system rungs, the cost of a request
# that arrives as text, the budget of a request, and the frontier: which speed can be had for which share of the
# teacher's score.

# %% tags=["parameters"]
first_reads: list[int] = [16, 32]  # tokens of a first reading that are tried
shares_sent: list[float] = [0.0, 0.25, 0.5, 0.9]  # of the texts that it cuts, sent on to a second
retention_levels: list[float] = [0.9, 0.95, 0.97, 0.98, 0.99, 1.0]  # what the frontier asks for
min_retention: float = 0.98  # the rule: what goes on keeps this share of the teacher's score on dev
min_agreement: float = 0.9  # a file that keeps fewer of the original's labels is not served
n_distil: int = 64  # training examples that a cheap front learns from; 0 takes all
distil_length: int = 32  # tokens of them that the teacher reads
n_requests: int = 8  # requests that are timed one by one
n_busy_requests: int = 16  # requests that are timed in batches and on several instances
rounds: int = 2  # interleaved timing rounds
# Seldom changed:
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results go, from the project's root
task: str = "docs"  # docs, one of SuperGLUE's seven, or a file that describes your own data
reference: str = "google-bert/bert-base-uncased"  # the speed reference
data_source: str = "auto"  # auto, hub, or a folder of SuperGLUE files
size: str = "smoke"  # smoke, standard or full; named in the record
threads: int = 0  # threads of every engine; 0 takes all cores
usd_per_hour: float = 0.677  # of the paper's machine with 8 cores, for the cost columns; set yours
n_dev: int = 64  # dev examples, for every choice; 0 takes all
n_test: int = 96  # test examples, for every reported accuracy; 0 takes all
n_resamples: int = 200  # bootstrap resamples of an accuracy interval

# %% tags=["hide-input"]
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display, files
from fflib.beyond import (
    cascade,
    cheap_front,
    figures,
    from_text,
    frontier,
    request_budget,
    same_cut,
    thresholds,
)
from fflib.beyond.cascade import Cascade
from fflib.beyond.thresholds import Confidence, Readings
from fflib.book.bench import Bench
from fflib.data import batching, retention
from fflib.engine import export, predictors
from fflib.measure import ceiling, fitness, timing
from fflib.measure.timing import Variant
from fflib.model import cache, checkpoints, flops, hf_names
from fflib.model.encoder import Classifier
from fflib.model.text_means import TextMeans
from fflib.runs import ladder as ladders
from fflib.runs import records
from fflib.runtime import served
from fflib.serving.instances import start as start_instances
from fflib.story import fastformers

bench = Bench.open("08_beyond", globals())

# %% [markdown]
# ## 8.1 Idea: read little first
#
# Computing time grows with the number of tokens. But a person who has read a question and the first lines of a long
# passage often knows the answer already. A [cascade](glossary.md#cascade) makes use of that. It is an old idea, usually
# with a small model in front of a large one ([Varshney and Baral](https://arxiv.org/abs/2210.05528)). Here there is
# only one model, and it is asked twice:
#
# ```text
#                      first k tokens              sure: answer
#     every request ──────────────────> model ───────────────────>
#                                         │ unsure
#                                         └──> model, whole text ──> answer
# ```
#
# *Sure* means that the highest [logit](glossary.md#logit) is far above the second. That distance is the *margin*, and a
# *threshold* decides. Of a pair the second text is cut, because half a question cannot be answered; the first text is
# cut as well only where it would take more than half of the $k$ tokens.
#
# Nothing is trained for this, and no new model is served: it is the file of chapter 7, with its instances and its
# batches.

# %% tags=["hide-input"]
served_file = bench.facts_of("07_serving")["served"]
below, recipe, final = (served_file[name] for name in ("rung", "recipe", "model"))
path, (count, threads_each, how) = files.resolve(served_file["onnx"]), served_file["division"]
model = bench.load(final)
export.check_belongs(path, model)
split_names = ("dev", "test")
texts = {name: bench.texts(name, final) for name in split_names}
test, longest = texts["test"], bench.task.max_length
busy = test.take(batching.evenly_by_length(test.lengths, n_busy_requests))
requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
architecture = checkpoints.untrained_classifier(reference, bench.task.num_labels).config.to_dict()
config = replace(hf_names.our_config(architecture), spans=bench.task.spans)
large = checkpoints.to_transformers(Classifier(config, bench.task.num_labels).eval())
running = ExitStack()  # the instances run until the end of the chapter
several = running.enter_context(start_instances(path, count, threads_each, how))


def batches(lengths):
    """Make batches as they are served."""
    kind, number = served_file["batches"]
    return batching.PLANS[kind](lengths, number)


def operations(length):
    """Count the operations of the served model for a text of that many tokens."""
    count_them = flops.first_token_flop if served_file["first_token"] else flops.forward_flop
    return count_them(model.encoder.config, length)


def told_share(share):
    """Write a share of the teacher's score; of a teacher that is not clear of the floors none is told."""
    return f"{share:.1%}" if bench.teacher_is_clear and share == share else ""


def kept_on(split, which=slice(None)):
    """Return what says how much of the teacher's score logits keep on a split, or on some of its texts."""
    gold = bench.split(split).gold
    gold = gold.take(np.arange(len(gold.labels))[which])
    of_teacher = bench.teacher_logits(split)[which]
    return lambda logits: retention.retention(bench.task, logits, of_teacher, gold)


show(display.source(cascade.first_places, Cascade.__call__))

# %% [markdown]
# ## 8.2 Predict: what a first reading saves
#
# Let $c(n)$ be the operations of a text of $n$ tokens, $k$ the tokens of the first reading and $s$ the share of texts that are read
# again. Then a cascade does
#
# $$\frac{c(n)}{c(\min(k, n)) + s\, c(n)}$$
#
# times fewer operations than the model alone, where both sides of the fraction are summed over all texts. Two things
# follow. A small $k$ is cheap but sends on more texts. And the second reading starts from nothing, so with $s$ near 1 a
# cascade is *slower* than the model.
#
# How large $s$ has to be depends on the answers. So the served model reads all of dev and test, whole and cut, in the
# batches in which it serves.


# %%
def ask(split, first=None):
    """Ask the served model for whole texts, or for their first tokens alone."""
    asked, lengths = several, texts[split].lengths
    if first:
        asked = [Cascade(each, first, -np.inf) for each in several]
        lengths = np.minimum(lengths, first)
    return cascade.logits_of(predictors.together(asked), texts[split], batches(lengths))


def readings_of(split):
    first = {tokens: ask(split, tokens) for tokens in first_reads}
    return Readings(ask(split), first, texts[split].lengths, bench.split(split).gold)


readings = {name: readings_of(name) for name in split_names}
dev_rows = thresholds.grid(readings["dev"], shares_sent, kept_on("dev"), operations)

# %% [markdown]
# ## 8.3 Do it: the threshold, chosen on dev
#
# A row of this grid is a first reading and a threshold. Two things are asked of it on [dev](glossary.md#dev-and-test).
# It has to keep a share of the labels that the same model gives to whole texts (`min_agreement`), as every other way to
# serve had to. And it has to keep the [rule](glossary.md#the-rule), a share of the [teacher's](glossary.md#teacher)
# score (`min_retention`), *without luck*. What does that mean?
#
# On some texts the first tokens lead to the right answer and the whole text to a wrong one. But the beginning of a text
# holds nothing that the whole text lacks, so this is chance. With one row it would not matter, for chance spoils as
# many answers as it mends. The grid has many rows, though, and whoever takes the best of many takes the luckiest. On
# other texts the luck is gone. So for the rule such lucky answers count as wrong, as they are when the whole text is
# read. Right answers that the first reading loses count as lost.
#
# Of the rows that meet both demands and save any work, the one with the fewest operations is taken. Where several need
# about as few, it is the one that sends the fewest texts on, since it depends least on its threshold. If no row
# qualifies, no cascade is served. The figure shows the whole grid, rows that fail included.
#
# A margin by itself says little, so it is *calibrated*: a sigmoid, fitted on dev, turns it into the probability that
# the whole text would get the same label (Platt scaling). With that, dev predicts how many labels will be kept on test.

# %%
fitting = thresholds.fit(dev_rows, min_retention, min_agreement)
chosen = fitting or max(dev_rows, key=lambda row: row["agreement"])
first_tokens, threshold = chosen["first"], chosen["threshold"]

on_dev = readings["dev"]
confidence = Confidence.of(on_dev, first_tokens)
predicted_agreement = confidence.agreement(readings["test"], first_tokens, threshold)

# %% tags=["hide-input"]
bench.facts["grid"], bench.facts["chosen"], bench.facts["holds"] = dev_rows, chosen, bool(fitting)
caption = f"{bench.caption}; {len(texts['dev'])} texts of dev"
figure = figures.cascades(dev_rows, fitting, min_retention, min_agreement, caption)
show(bench.figure(figure, "cascades"))
told = (
    f"Chosen: read **{first_tokens} tokens** first, and **{chosen['sent']:.0%}** of the texts again. On dev it keeps "
    f"{told_share(chosen['retention']) or 'no share'} of the teacher's score ({told_share(chosen['without_luck']) or 'no share'} without "
    f"luck) and {chosen['agreement']:.1%} of the labels. Predicted by operations: **{chosen['factor']:.2f} times** as fast as *{below}*."
)
if not fitting:
    told = (
        f"**No threshold keeps the rule and the labels on dev and saves work**: no cascade is served. Below stands the one that keeps "
        f"the most labels, to show what it would do: {first_tokens} tokens first, {chosen['sent']:.0%} of the texts again."
    )
Markdown(told)

# %% [markdown]
# ## 8.4 Check: accuracy of the whole system
#
# What counts is what the system says in the end, whichever reading it came from. It answers all of dev and test as it would in service,
# and each answer is compared with what the two readings of 8.2 make of the same text.


# %%
def system(row):
    """Return a cascade on all instances, as a way to answer a plan."""
    first, limit = row["first"], row["threshold"]
    return predictors.together([Cascade(each, first, limit, batches) for each in several])


def answers_to(split):
    plan = batches(np.minimum(texts[split].lengths, first_tokens))
    return cascade.logits_of(system(chosen), texts[split], plan)


answers = {name: answers_to(name) for name in split_names}
kept = {name: bench.retention(answers[name], name) for name in split_names}

# %% tags=["hide-input"]
gold = bench.split("test").gold
composed, again = readings["test"].answers(first_tokens, threshold)
as_composed = timing.compared(answers["test"], composed, gold).label_agreement
assert as_composed >= fitness.least(min_agreement, len(test), fitness.NEARLY_NEVER)
checked = timing.compared(answers["test"], readings["test"].whole, gold)
labels_kept = checked.label_agreement
of_whole = {name: bench.retention(readings[name].whole, name) for name in split_names}
bench.facts["on_test"] = {"sent": float(again.mean()), "agreement": labels_kept}
bench.facts["on_test"] |= {"agreement_predicted": predicted_agreement, "as_composed": as_composed}
if bench.teacher_is_clear:
    bench.facts["on_test"]["retention"] = kept["test"].fact(min_retention)
    bench.facts["on_test"]["retention_whole"] = of_whole["test"].fact(min_retention)


def add_system(name, timed, way, base):
    """Add the rung of a system whose answers are those of the cascade or, with ``base`` the served model, its own."""
    is_quick = base == "cascade"
    says = answers if is_quick else {split: each.whole for split, each in readings.items()}
    own = timing.compared(says["test"], cache.predict_cached(model, test), gold)
    if fitting or not is_quick:
        bench.add_rung(
            f"{ladders.SYSTEM}{name}",
            replace(timed[way], checked=checked if is_quick else own),
            **dict(on=below, like=below, below=timed[below], instances=count, threads=threads_each),
            **dict(plan=plans[base], kept=bench.retention(says["dev"])),
            scored=bench.scored(says["test"], gold),
        )


NOT_SERVED = "*This cascade does not pass 8.3: what is served is the model alone.*"
labels_told = f"{labels_kept:.1%} (predicted {predicted_agreement:.1%})"
rows = [{"": "texts read again", "dev": f"{chosen['sent']:.1%}", "test": f"{again.mean():.1%}"}]
rows.append({"": "labels kept", "dev": f"{chosen['agreement']:.1%}", "test": labels_told})
for name, share in ("kept of the teacher's score", kept), ("the same, the model alone", of_whole):
    rows.append({"": name} | {split: share[split].words for split in split_names})
show(bench.table(rows if bench.teacher_is_clear else rows[:2]))
verdict = retention.certificate(bench.facts["on_test"].get("retention")) if fitting else NOT_SERVED
Markdown(verdict or "*The teacher is not clear of the floors, so no share of its score is told.*")

# %% [markdown]
# Each interval is paired: teacher and system answer the same texts. Test took no part in the choice, so only its column
# says how good the system is. The last line is the model without a cascade: only the distance to *that* line is the
# cascade's doing.
#
# Compare the two columns. *Labels kept* are those of the whole text. Their share on dev, and the one that is predicted
# for test, are put together from the two readings of 8.2. The one measured on test counts the answers of the cascade
# itself. There the second readings stand in other batches, and in eight bits with ranges of the batch (5.7) that alone
# changes a few labels. How many of the changed labels were *right* is a matter of few texts, so dev may promise what
# test does not keep: on the embedded task the two come from different source files. If you serve such a system, ask for
# a stricter `min_agreement` or for a longer first reading. The table of 8.5 and the frontier of 8.9 show what either
# costs.
#
# ## 8.5 Measure: the served model and the systems, side by side
#
# All take part in the same rounds, with the same [instances](glossary.md#instance) and the same [token
# budget](glossary.md#token-budget). *All hard* is the worst case for these texts: every text that the first reading
# cuts turns out to be unclear and is read twice. *First k alone* never reads on. The other rows are those of the grid
# that need the fewest operations on dev for one of `retention_levels`; the frontier of 8.9 is drawn from them. The last
# two columns are put together from the readings of 8.2, for all of test.

# %%
to_time = thresholds.to_time(dev_rows, chosen, retention_levels)
ways = {below: predictors.together(several)}
plans = {below: batches(busy.lengths)}
for name, row in to_time.items():
    ways[name] = system(row)
    plans[name] = batches(np.minimum(busy.lengths, row["first"]))
expected = {name: cascade.logits_of(ways[name], busy, plans[name]) for name in ways}
# A text whose margin is at the threshold may be read once or twice: by so much its answer may move.
between_readings = max(np.abs(each - expected[below]).max() for each in expected.values())
tolerance = served.tolerance(recipe, expected[below]) + between_readings
race = bench.compare_at_once(ways, busy, expected, plans=plans, tolerance=tolerance)

# %% tags=["hide-input"]
timed_on = readings["test"].take(batching.evenly_by_length(test.lengths, n_busy_requests))
measured = []
for name, row in to_time.items():
    limits = row["first"], row["threshold"]
    on_test = thresholds.row(readings["test"], *limits, kept_on("test"), operations)
    asked = thresholds.row(timed_on, *limits, None, operations)
    told = {"system": name, "sent on test": on_test["sent"], "predicted": asked["factor"]}
    told |= {"measured": race.speedup(name, below), "agreement": on_test["agreement"]}
    ends = {end: on_test[f"retention_{end}"] for end in ("low", "high")}
    measured.append(told | {"retention": on_test["retention"]} | ends)
bench.facts["systems"] = measured
bench.table(
    [
        {"system": row["system"], "read again": f"{row['sent on test']:.0%}"}
        | {f"times as fast as {below}, predicted": row["predicted"], "measured": row["measured"]}
        | {
            "kept of the teacher's score, test": told_share(row["retention"]),
            "labels kept": f"{row['agreement']:.1%}",
        }
        for row in measured
    ]
)

# %% [markdown]
# The prediction counts the operations of the very requests that were timed. Operations are not everything. Two calls
# instead of one, and smaller batches in the second reading, can make a cascade slower than predicted. Reading little
# can also be faster than predicted: the softmax of attention grows with the square of the length and is not counted,
# and small batches fit the cache.
#
# If a cascade is served, its rung gets what was measured in these rounds; it stands on the served model and is marked
# *system*.
#
# A client that sends one request and waits sees something else. Answers after a first reading come sooner, those after
# a second come later than before. So compare the median (p50) and the slow end (p95) separately.

# %%
add_system("read little first", race, "cascade", "cascade")
one_by_one = batching.in_order(requests.lengths, 1)
single = {below: several[0], "cascade": Cascade(several[0], first_tokens, threshold)}
right = {name: Variant(name, way, one_by_one).logits(requests) for name, way in single.items()}
alone = bench.compare(single, requests, right, tolerance=tolerance, agreement=0.0)
bench.facts["one_by_one"] = {name: alone[name].row for name in alone}
alone.table(over=below)

# %% [markdown]
# ## 8.6 When traffic drifts
#
# The share that is sent on was measured on texts like those of dev. If other texts arrive, nothing fails visibly: the
# system just becomes slower, or less accurate, or both. Here the same cascade answers the short, the middle and the
# long texts alone. Short texts are hardly cut, so there is nothing to save; of long ones a first reading sees the
# smallest part.

# %% tags=["hide-input"]
drift = thresholds.by_length(
    readings["test"], chosen, lambda logits, which: kept_on("test", which)(logits), operations
)
bench.facts["drift"] = drift
bench.table(
    [
        {
            "texts": row["texts"],
            "mean tokens": row["mean tokens"],
            "read again": f"{row['sent']:.0%}",
        }
        | {
            "labels kept": f"{row['agreement']:.1%}",
            "of the teacher's score": told_share(row["retention"]),
        }
        | {f"times as fast as {below}, predicted": row["factor"]}
        for row in drift
    ]
)

# %% [markdown]
# If you serve a cascade, watch one number: the share that is sent on. It needs no labels. When it drifts away from its
# value on dev, speed and accuracy have to be measured anew. *All hard* in 8.5 says how slow it becomes at most, on
# texts of those lengths.
#
# ## 8.7 A cheap front: words and static embeddings
#
# Could something much cheaper than any transformer answer the easy texts? Chapter 1 has fitted such classifiers as
# [floors](glossary.md#floor), on labels. Here they also learn from the teacher: each training text counts once for
# every class, with the probability that the teacher gives that class as its weight. Then they stand in front of the
# served model and answer what they are sure about. How many texts may they answer if the whole has to meet the two
# demands of 8.3?
#
# On the embedded task the prediction is: hardly any, because its wrong pairs share their words with the right ones on purpose.

# %%
train = bench.split("train", n_distil)
teacher = bench.load("teacher")
soft = cache.predict_cached(teacher, bench.texts("train", limit=n_distil, length=distil_length))
means = TextMeans(teacher, bench.tokenizer("teacher"))
fronts = cheap_front.fit(bench.task, train, soft, means)

# %% tags=["hide-input"]
rows = []
for (reads, learnt_from), front in fronts.items():
    dev_says, test_says = front(bench.split("dev")), front(bench.split("test"))
    most = cheap_front.most_answered(
        dev_says,
        on_dev.whole,
        bench.split("dev").gold,
        kept_on("dev"),
        min_retention,
        min_agreement,
    )
    rows.append(
        {
            "reads": reads,
            "learnt from": learnt_from,
            "alone, test %": 100 * bench.score(test_says, gold),
        }
        | {"of the teacher's score": told_share(kept_on("test")(test_says).value)}
        | {"may answer, % of the texts": 100 * most["share"] if most else 0.0}
    )
bench.table(rows, decimals=1, keep="fronts")

# %% [markdown]
# The first two columns say what is in front; *alone* is its score without a model behind it. *May answer* is the
# largest share on dev for which the front together with the served model keeps the rule and the labels. Where it is
# small, a front is only extra work. On tasks that single words give away (the mood of a review, a topic) it may be
# large: try such a data set of your own.
#
# ## 8.8 From text
#
# Every rung so far began with token ids. But a request arrives as text, and cutting it into tokens takes time as well.
# That did not matter while a request took a tenth of a second. *Core-ms* are the milliseconds of one core. The
# tokenizer is the compiled one of the library `tokenizers`, if it gives the same ids as the book's own for all
# requests; otherwise it is the book's own. Each instance cuts the texts of its own batches.

# %%
asked = bench.split("test").take(batching.evenly_by_length(test.lengths, n_busy_requests))
encode = from_text.exact(bench.tokenizer(final), longest, asked, busy)
tokenizing_ms = from_text.core_ms(encode, asked, plans[below], rounds)
with_text = {"the model, from text": from_text.together(several, encode, asked)}
quick = [Cascade(each, first_tokens, threshold, batches) for each in several]
with_text["the cascade, from text"] = from_text.together(quick, encode, asked)

# %%
both = {name: ways[name] for name in (below, "cascade")} | with_text
like = dict(zip(both, [below, "cascade"] * 2, strict=True))
right = {name: expected[like[name]] for name in both}
plan_of = {name: plans[like[name]] for name in both}
text_race = bench.compare_at_once(both, busy, right, plans=plan_of, tolerance=tolerance, seed=1)

# %% tags=["hide-input"]
model_ms = 1e3 * count * threads_each / text_race[below].throughput_per_s
of_text = from_text.cost(tokenizing_ms, model_ms, text_race.speedup("the model, from text", below))
bench.facts["from_text"] = dict(of_text)
for name in with_text:
    ratio = text_race.speedup(name, like[name])
    bench.facts["from_text"][name] = {"of the speed from token ids": ratio}
    add_system(name, text_race, name, like[name])
show(text_race.ratios(over=below))
Markdown(from_text.told(of_text))

# %% [markdown]
# From text a cascade can gain less than from token ids. It saves work of the model and none of the tokenizer, which
# reads the whole text before it is known whether the first tokens are enough.
#
# ## 8.9 How fast, for which share of the teacher's score
#
# The [frontier](glossary.md#frontier) names, for each share of the teacher's score, the fastest way to serve that keeps
# at least that share **on test**. It only describes what was measured; the choices were made on dev. And it takes on test
# the luck that 8.3 forbids on dev: of many ways it picks the fastest by the value alone, and a share that misses a level
# by less than a printed digit is out. So look at the intervals: that of a model is of its own score, as if the teacher's
# were exact; that of a system is paired, as in 8.4. All factors are against the padded reference, as products of the
# steps of the ladder. *The fastest of all* may also be a system or a
# [floor](glossary.md#floor). The paper's points are those of [FastFormers, table 3](https://arxiv.org/abs/2010.13382),
# on its own task and machine.

# %%
earlier = records.all_current(run_dir, before=bench.name)
ladder = ladders.ladder([rung for record in earlier for rung in record["rungs"]])
points = frontier.points(ladder)
of_served = ladder.set_index("rung").loc[below, "speedup_vs_padded"]
for row in measured if bench.teacher_is_clear else ():
    name, factor = f"{ladders.SYSTEM}{row['system']}", of_served * row["measured"]
    if row["system"] != thresholds.ALL_HARD:  # the worst case, and nothing to serve
        share = {key: row[key] for key in ("retention", "low", "high")}
        points.append({"rung": name, "factor": factor} | share)
best = frontier.best(points, retention_levels)

# %% tags=["hide-input"]
of_paper = fastformers.table()
paper = [
    {
        "rung": row.rung,
        "factor": row.speedup_vs_padded,
        "retention": row.accuracy / of_paper["accuracy"][0],
    }
    for row in of_paper.itertuples()
]
bench.facts["frontier"], bench.facts["points"] = best, points
caption = f"{bench.caption}; {len(test)} texts of test"
figure = figures.frontiers(points, paper, min_retention, caption)
show(bench.figure(figure, "frontier"))
show(display.table(best, heads=frontier.HEADS))
Markdown(frontier.told(points, best, below))

# %% [markdown]
# ### The same cut for both sides
#
# If you cut texts, cut them for the reference as well. Otherwise the cut is taken for a merit of the model. The table
# sets the first reading *alone*, without a cascade, beside a reference that reads as little. Both sides answer the same
# few requests, one by one; of the served model one instance does. So its gains are others than in 8.5, where all
# instances answer more requests at once. *What is left*, the first gain over the second, is the fair number, if its
# range leaves out one.

# %%
few = requests.take(batching.evenly_by_length(requests.lengths, max(2, n_requests // 8)))
sides = several[0], predictors.torch_predictor(large)
side_rounds = 10 * rounds, rounds  # those of the served model take next to no time
races = []
for predict, times in zip(sides, side_rounds, strict=True):
    cut, right = same_cut.ways(predict, first_reads, few)
    races.append(bench.compare(cut, few, right, rounds=times, tolerance=tolerance))
cuts = same_cut.rows(*races)

# %% tags=["hide-input"]
bench.facts["same_cut"] = cuts
heads = {"own": f"gain of {below}, one instance", "reference": "gain of the reference"}
heads |= {"left": "what is left", "low": "from", "high": "to"}
show(display.table(cuts, heads=heads))
Markdown(same_cut.told(cuts, len(few), side_rounds))

# %% [markdown]
# ## 8.10 The limit, and the budget of a request
#
# How much is there still to gain? Two bounds are easy to work out. A *perfect engine* in [fp32](glossary.md#fp32) would
# do the operations of a model at the fp32 rate of one large product in PyTorch, the *fp32 peak*, and nothing else. And
# integer products can be faster than that by as much as their instructions do more (5.2). Both are limits for the
# *products alone*, and only as good as that peak: another library may multiply faster on this processor (1.11). It is
# measured here again, on all threads and on one thread times their number, since integer rates are counted so too. The
# served model has the throughput of its rung in the ladder: one configuration has one number in this book.
#
# Where does the rest of the time go? The *budget* takes one batch apart, as it is served: ONNX Runtime's own profile of
# its operators, the call itself, and the padding. A budget is *closed* if its parts add up to the whole; otherwise it
# explains nothing. So their sum is compared with the time of the batch without a profiler. (The profiler lengthens each
# operator by some microseconds. How many is measured on operators that do nothing, and taken off; what that misses
# can make *not explained* negative.)

# %%
peaks = [ceiling.fp32_peak_gflop_per_s(0.2) for _ in range(rounds)]
of_model, of_reference = (
    request_budget.mean_operations(each, test.lengths, is_first)
    for each, is_first in ((model.encoder.config, served_file["first_token"]), (config, False))
)
integers = request_budget.integer_rates(bench.facts_of("06_runtime"), bench.threads, recipe)
of_rung = bench.rung(below)
served_per_s = of_rung["throughput_per_s"], *of_rung["evidence"]["throughput_interval_per_s"]
limits = request_budget.against_the_limit(served_per_s, of_model, of_reference, peaks, *integers)

# %% tags=["hide-input"]
bench.facts["limits"], bench.facts["peaks_gflop_per_s"] = limits, peaks
against = f"{below}, as a multiple of it"
told = [
    {"limit": row["limit"], "requests/s at the limit": row["requests/s"]}
    | {against: row["factor"], "from": row["low"], "to": row["high"]}
    for row in limits
]
show(bench.table(told, decimals=3))
if said := request_budget.peak_that_is_no_limit(limits):
    show(Markdown(said))

middle = plans[below][len(plans[below]) // 2]
found = request_budget.budget(path, busy, middle, threads_each, bool(recipe))
bench.facts["budget"] = found | {"texts": len(middle), "tokens": int(busy.lengths[middle].max())}
caption = f"{bench.caption}; {len(middle)} texts of up to {busy.lengths[middle].max()} tokens"
caption += f", on {threads_each} thread" + "s" * (threads_each != 1)
show(bench.figure(figures.budget(found, caption), "budget"))
show(bench.table(request_budget.budget_rows(found)))
Markdown(
    f"The parts add up to {1 + found['off']:.0%} of the batch: the budget is **{'closed' if found['closes'] else 'not closed'}** "
    f"(within {request_budget.CLOSED:.0%})."
)

# %% [markdown]
# The first line of the first table sets the served model beside an engine that nobody has, with the *reference* on it.
# A smaller model is a stricter yardstick: chapter 9 (9.2) also starts from this run's own teacher. In the other lines a
# factor below one is the share of the limit that the served model reaches; in eight bits it may be above one against a
# perfect engine in fp32. Where an instruction set has tiles (AMX), the limit by instructions is far above what an engine
# reaches for small products, so look at the last line.
#
# In the second table, *products of tokens and weights* contains the rounding of what flows in, because every integer
# product needs it. An engine that multiplied these products infinitely fast would still need the time of all the other
# parts.
#
# ## 8.11 What it cost
#
# The labels that the cascade changes stand in 8.4, its slowest requests in 8.5. It takes no more memory, since it is
# the same file. But somebody has to watch over a threshold.

# %% tags=["hide-input"]
costs = [{"": "requests/s, times", below: 1.0, "cascade": race.speedup("cascade", below)}]
costs.append(
    {"": "the same, all hard", below: 1.0, "cascade": race.speedup("cascade, all hard", below)}
)
for quantile in ("p50 ms", "p95 ms"):
    costs.append(
        {"": f"one request, {quantile}"} | {name: alone[name].row[quantile] for name in single}
    )
show(bench.table(costs))
bench.facts["goes_on_from"] = below  # a system is never what the story goes on from
bench.rungs_table()

# %% [markdown]
# ## 8.12 When it does not pay
#
# - **Short texts.** Where most texts are hardly longer than the first reading, every second reading is a loss.
# - **Where the slowest requests count.** Those that are read twice come later than without a cascade. Whether the 95th
#   percentile gains depends on how many they are and how long; 8.11 says what it did here.
# - **Traffic that changes.** The threshold was chosen for texts like those of dev; 8.6 shows what happens with others.
# - **A cheap front on a task that words do not give away** answers too few texts to pay for itself.
# - **In a comparison of models.** The factor of a system belongs to this mix of texts, so it must not be multiplied
#   into the speed-up of the model.
#
# **Next:** [chapter 9](09_story.ipynb) puts the rungs together.
#
# ## 8.13 Exercises
#
# **1.** Somebody wants 99 of 100 labels kept. Predict how many texts have to be read again, and what is left of the
# gain. The answer reads it off the grid of 8.3; `make book SET="shares_sent=[0.5,0.6,0.7,0.8,0.9]"` makes the grid
# finer where it matters, and only this chapter and those after it run again.

# %% tags=["answer"]
stricter = thresholds.fit(dev_rows, min_retention, 0.99)
answer = "no row of the grid keeps the rule and saves work: the model alone has to answer"
if stricter:
    answer = (
        f"the choice would be {stricter['first']} tokens first and {stricter['sent']:.0%} read again, "
        f"with {stricter['factor']:.2f} times fewer operations than the model alone; the row chosen above reads {chosen['sent']:.0%} "
        f"again, with {chosen['factor']:.2f} times fewer"
    )
show(Markdown(f"With 99 % of the labels on dev, {answer}."))

# %% [markdown]
# **2.** At which share of texts that are read again does the cascade stop paying? Take the factors and shares from 8.5
# (*first k alone*, *cascade, all hard*), assume that the time grows in a straight line between the two, and solve for a
# factor of one. Then compare with the table of 8.6.

# %% tags=["answer"]
timed = {row["system"]: (row["sent on test"], 1 / row["measured"]) for row in measured}
few_again, few_s = timed.get(f"first {first_tokens} alone", timed[thresholds.CASCADE])
most_again, most_s = timed[thresholds.ALL_HARD]
even = few_again + (1 - few_s) * (most_again - few_again) / max(most_s - few_s, 1e-9)
worst = max(row["sent"] for row in drift)
words = (
    f"With {few_again:.0%} of the texts read again the system takes {few_s:.0%} of the model's time, with {most_again:.0%} "
    f"it takes {most_s:.0%}. So it pays up to about **{min(max(even, 0.0), most_again):.0%}**. The hardest third of 8.6 "
    f"sends {worst:.0%}."
)
show(Markdown(words))

# %% [markdown]
# **3.** How fast could a request be, from text, if the model took no time at all? What does that say about the next thing to improve?

# %% tags=["answer"]
now = text_race["the model, from text"].throughput_per_s
show(Markdown(from_text.bound(of_text, now)))

# %% tags=["hide-input"]
running.close()
bench.facts = thresholds.finite(bench.facts)  # some thresholds are without end
bench.save()
