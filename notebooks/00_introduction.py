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
# # Taming Transformers
#
# A transformer that classifies texts can answer hundreds of times as many requests on an ordinary processor, and this book shows
# how, one step at a time. Each step is explained, predicted, measured **on the machine that runs the book**, and followed by what it cost.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Image, Markdown
from IPython.display import display as show

from fflib import display
from fflib.book import chapter_map, reference
from fflib.book.bench import Bench
from fflib.data import retention
from fflib.runs import ladder as ladders
from fflib.runs import records
from fflib.runs.ladder import PADDED
from fflib.story import factors, headline_told
from fflib.story.factors import AGAINST

bench = Bench("00_introduction", globals())
was_run_here = (bench.folder / "results" / "09_story.json").exists()
if was_run_here:
    shown_records, figures = records.all_current(run_dir), bench.folder / "figures"
else:  # the results that came with the book
    kept = reference.instead_of(run)
    shown_records, figures = kept.records, reference.REFERENCES / kept.name / "figures"
by_chapter = {record["chapter"]: record for record in shown_records}
baseline, story = by_chapter["01_baseline"], by_chapter["09_story"]["facts"]
measured = [record for record in shown_records if "01" < record["chapter"] < "09"]
headline = headline_told.of_records(shown_records)  # None: of older code, which multiplied steps
ladder = headline_told.in_ladder(factors.ladder_of(measured), headline)
last = factors.last_rung(measured)
rung = ladder.set_index("rung")

# %% tags=["hide-input"]
speedups, certified = story["speedups"], story.get("retention")
throughput = {against: f"{gain:.0f}x" for against, gain in speedups["throughput"].items()}
how = "They are the products of the steps"
if headline:
    throughput |= {
        against: headline_told.factor_words(row) for against, row in headline["against"].items()
    }
    how = f"They were measured side by side in {headline['rounds']} rounds; in brackets the smallest and the largest of the rounds"
padded, unpadded, best_engine, own_teacher, teacher_engine = (throughput[each] for each in AGAINST)
one_ms, most_frequent = speedups["one_request_ms"], speedups["most_frequent_answer"]
machine, threads = baseline["machine"], baseline["rungs"][0]["threads"]
where = f"{machine['cpu']} with {threads} threads"
who = f"This is a run on {where}."
if not was_run_here:
    who = f"*Nothing was run here yet, so these are the results that came with the book:* the run `{kept.name}` on {where}."
weak = ""
if not records.teacher_is_clear(baseline["facts"]):
    weak = " **The teacher is not clearly above the floors of chapter 1, so no share of its accuracy counts as kept.**"
elif rung.loc[last, "accuracy_low"] <= most_frequent:
    weak = " **That is not clearly more than guessing.**"
untrained = ""
if pd.isna(rung.loc[PADDED, "accuracy"]):
    untrained = " It was not trained for the task here, so it has a speed and no accuracy."

# %% tags=["hide-input"]
show(
    Markdown(
        f"{who} The model at the end of the book answers **{own_teacher}** as many requests a second as the model that it learned "
        f"from, its *teacher*. It is right on **{speedups['accuracy']:.1%}** of the test examples, the teacher on "
        f"{speedups['teacher_accuracy']:.1%}, and always giving the most frequent answer would be right on {most_frequent:.1%}"
        f"{retention.missed(certified)}.{weak} {retention.certificate(certified)}"
    )
)
rows = {
    "its own teacher, without padding": own_teacher,
    "its own teacher on ONNX Runtime, without padding": teacher_engine,
    "the reference with padding": f"**{padded}**",
    "the reference without padding": f"**{unpadded}**",
    "the reference on the best engine that was tried, without padding": best_engine,
}
show(
    display.table(
        [
            {"compared with": name, "times as many requests a second": factor}
            for name, factor in rows.items()
        ]
    )
)
Markdown(
    f"The *reference* is `{baseline['parameters']['reference']}`, the larger standard model that such stories start from.{untrained} "
    f"*Padding* means filling every text up to one length, with blanks that the model computes like words. Speed-ups are given with and without it, "
    f"because the two tell different stories. {how}. One request alone takes {one_ms['padded']:,.0f} ms on the reference with padding, "
    f"{one_ms['unpadded']:,.0f} ms without, and {one_ms['end']:.1f} ms at the end."
)

# %% tags=["hide-input"]
alternative = "The steps from the padded reference to the last rung, as factors on a log axis"
Image(str(figures / "waterfall.png"), alt=alternative)

# %% [markdown]
# Read the figure from top to bottom. Each bar is one technique. It begins where the one above it ended, and its length, on a scale of factors, is what
# the technique multiplied the number of requests a second by. A red bar, should there be one, is a step that by itself makes the model slower and that later steps
# build on. The diamond at the bottom is the end measured directly beside the start, with the range of
# the rounds; it need not equal the product of the steps, and chapter 9 explains the difference.
#
# ## How to read this book
#
# **You need** basic natural language processing: what a transformer such as BERT is, what fine-tuning means, some Python. Nothing about
# processors, compression or serving is assumed. A formula always comes with the names of its symbols.
#
# **Three ways through it.** Read the pages in order, without running anything: every table and figure is there. Or run the book, with
# `make book`, and compare your numbers with ours. Or open a chapter in JupyterLab, with `make lab`, and do its exercises; each has a folded answer.
#
# **Every chapter has the same form.** It states its claim and its cost, explains the idea, predicts a number where one can be predicted, does the step,
# checks that the answers are still right, measures, and says when the step does not pay. Numbers come from cells and never from the text, so
# they are always those of the machine that is named. Beside an accuracy stands an interval: how far other texts could have moved it.
# Beside a speed stands the [range of its rounds](glossary.md#range-of-rounds); another hour, or other texts, may lie further off.
#
# **A few words have a meaning of their own here.** A [rung](glossary.md#rung) is one measured way to serve the model, and the rungs of a run are its
# [ladder](glossary.md#ladder). The [teacher](glossary.md#teacher) is the fine-tuned model whose accuracy has to be kept. Every choice
# is made on *dev*, and *test* only says how good the chosen model is ([dev and test](glossary.md#dev-and-test));
# [the rule](glossary.md#the-rule) is the share of the teacher's score that a model must keep on dev. The
# [padded](glossary.md#padded-reference) and the [unpadded reference](glossary.md#unpadded-reference) are the two baselines. The other special words are in the
# [glossary](glossary.md), and the first use of each in a chapter is a link to it.
#
# ## The chapters

# %% tags=["hide-input"]
display.table(chapter_map.rows(bench.folder if was_run_here else reference.REFERENCES / kept.name))

# %% [markdown]
# The time to read is an estimate at an unhurried pace. The time to run is that of the machine named above; models and predictions that a run has made are kept, so
# the second time is shorter. Besides these there is chapter 10: it closes a *sweep*, many runs over several tasks, and sets all of them
# side by side. Chapter 11 belongs to runs on a graphics card.
#
# ## The story in one page
#
# 1. **Choose what to compare with.** Much of a famous speed-up is decided before any trick is used. So the book begins with two baselines, one that pads
#    and one that does not ([chapter 1](01_baseline.ipynb)).
# 2. **Answer similar requests together.** Batches of texts of similar length compute hardly any padding. That changes no answer, but a request has to wait for its
#    batch, and a later step may give the batches up again, as the table below says ([chapter 2](02_batching.ipynb)).
# 3. **Let a small model learn from a large one.** The [student](glossary.md#student) imitates the teacher's answers and its inner states ([chapter 3](03_distillation.ipynb)), after
#    TinyBERT ([Jiao et al.](https://arxiv.org/abs/1909.10351)).
# 4. **Cut what is not needed.** Attention heads and neurons are removed, after DynaBERT ([Hou et al.](https://arxiv.org/abs/2004.04037)), and the clock rather
#    than the number of weights decides which ([chapter 4](04_pruning.ipynb)).
# 5. **Use smaller numbers.** Eight bits in place of thirty-two, by recipes that keep the answers; some popular ones quietly change them
#    ([chapter 5](05_quantization.ipynb)).
# 6. **Clean up the graph.** What a classifier never reads need not be computed, and [engines](glossary.md#engine) differ in what they make of the rest ([chapter 6](06_runtime.ipynb)).
# 7. **Share out the cores.** Several copies of the model, called [instances](glossary.md#instance), so that no core waits for another, behind a server that keeps its promise under load
#    ([chapter 7](07_serving.ipynb)).
# 8. **Leave out work.** Where the first tokens of a text settle the answer, the rest need not be read ([chapter 8](08_beyond.ipynb)). How often
#    they do depends on the texts that arrive, so this gain stands beside the headline and not in it.
# 9. **Add it all up.** Start and end are measured side by side, each technique is left out once, and the result is set beside the paper and the limit of the
#    processor ([chapter 9](09_story.ipynb)).
#
# Most of the techniques are those of FastFormers ([Kim and Hassan Awadalla](https://arxiv.org/abs/2010.13382)).
#
# What each step brought in this run, and what was left of the accuracy after it:

# %% tags=["hide-input"]
rungs_taken = ladders.stack(ladder, last)
rows = [{"rung": PADDED, "what it does": "where it starts", "all steps so far": "1x"}]
rows += [
    {
        "rung": step["rung"],
        "what it does": step["what"],
        "this step": f"{step['factor']:.2f}x",
        "all steps so far": f"{step['total']:,.0f}x",
    }
    for step in factors.factors(ladder, rungs_taken)
]
for row in rows:
    accuracy = rung.loc[row["rung"], "accuracy"]
    row["accuracy on test"] = "" if pd.isna(accuracy) else f"{accuracy:.1%}"
if headline:
    end = {"rung": last, "what it does": "measured side by side with the start"}
    end |= {
        "all steps so far": throughput[AGAINST[0]],
        "accuracy on test": rows[-1]["accuracy on test"],
    }
    rows.append(end)
columns = ["rung", "what it does", "this step", "all steps so far", "accuracy on test"]
display.table(pd.DataFrame(rows, columns=columns))

# %% [markdown]
# *All steps so far* multiplies the steps; only the last row was measured as a whole. An empty cell was not measured: the reference may be there for its speed alone.

# %% [markdown]
# ## The ladder
#
# These are all the rungs of the run. Where a name stands in brackets, the story did not go on from that rung: it is an alternative, or
# a *floor* or a *system*, which are explained below. The *last rung* is the last one without brackets.

# %% tags=["hide-input"]
show(Markdown(ladders.ladder_markdown(factors.mark_alternatives(ladder, rungs_taken))))
alternative = "The ladder: a bar a rung, speed-up against the padded reference"
Image(str(figures / "ladder.png"), alt=alternative)

# %% [markdown]
# ## How to read the ladder
#
# - **The first two rows are baselines.** The first is the standard model as many tutorials run it, with every request padded to the longest length. The second
#   leaves the padding out. Each rung shows its speed-up against both, *vs padded* and *vs unpadded*.
# - ***step*** compares a rung with the one that it stands on. The two were timed side by side for it, the lower one once more. The numbers under *requests/s*
#   come from different minutes, so dividing two of them may give another factor; the step is the one to trust. *vs padded* and *vs unpadded* multiply the
#   steps, except on the last rung, where both were measured directly. Chapter 9 does that, so in the tables of chapters 1 to 8 the last rung
#   still has the product of its steps.
# - ***p50* and *p95*** are the [latency](glossary.md#latency) of a single request: half of the requests take at most p50, and 95 % at most p95. In a batch a
#   request has its answer only when the whole batch is done. *requests/s* is the [throughput](glossary.md#throughput) of the whole machine. Some steps improve
#   one and worsen the other.
# - ***accuracy*** is measured on texts that took no part in training or in any choice. Its 95 % interval says how far other texts of the same
#   kind could have moved it.
# - ***MB*** is the size of the model's file, and ***USD/100M*** the price of a hundred million answers by the rung's own *requests/s*, at the hourly price in the
#   run's parameters. The default is that of the paper's machine with eight cores, so set `usd_per_hour` to yours. The bill of chapter 9 goes by the factors instead.
# - ***below the rule*** marks a rung that keeps too little of the teacher's score on dev, however fast it is. No later step starts from it.
# - **A [floor](glossary.md#floor)** has no fine-tuned transformer behind it: it counts words or averages embeddings. It may be very fast. What the other rungs
#   keep of their teacher means something only where the teacher is clearly above the floors.
# - **A *[system](glossary.md#system)*** is built around the last rung, in [chapter 8](08_beyond.ipynb). *Read little first* is a [cascade](glossary.md#cascade): the
#   model reads the first tokens of a text, and the whole text only where it is unsure. *From text* means that cutting the text into tokens is
#   timed as well; for all other rungs it is done beforehand. A system's factors are those of the last rung times its own step. Its speed
#   depends on the texts that arrive, so the headline contains none.
# - **The other names**, such as *pruned 33/50*, are explained in the chapters that add them.
#
# ## What this run used
#
# The machine with its software, the task, which [chapter 1](01_baseline.ipynb) explains, the teacher, and the [size](glossary.md#size) of the run.

# %% tags=["hide-input"]
teacher, parameters = baseline["facts"]["teacher"], baseline["parameters"]
low, high = teacher["accuracy_interval"]
origin = "fine-tuned for it" if parameters["epochs"] else "taken as it is"
show(display.card(machine, threads))
show(
    Markdown(
        f"The task is **{parameters['task']}**. The teacher is `{teacher['name']}`, {origin}; it scores {teacher['accuracy']:.1%} on the test set "
        f"(95 % interval {low:.1%} to {high:.1%}). The size of the run is **{parameters['size']}**."
    )
)
bench.save()
