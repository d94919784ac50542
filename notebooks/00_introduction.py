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
# A transformer that classifies texts can be made many times faster on an ordinary processor. This book does it step by step, measures
# every step **on the machine that runs it**, and shows what each step cost. Numbers come from cells, not from the text.
#
# Three words first. *Padding*: filling every text up to one length, with blanks that are computed like words. A *rung*: one measured way
# to serve; the rungs of a run are its *ladder*. *Unpadded*: the same model without those blanks, one request at a time.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Image, Markdown
from IPython.display import display as show

from fflib import display
from fflib.book import reference
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
told = headline_told.of_records(shown_records)  # None: of older code, which multiplied steps
ladder = headline_told.in_ladder(factors.ladder_of(measured), told)
last = factors.last_rung(measured)
rung = ladder.set_index("rung")

# %% tags=["hide-input"]
speedups, certified = story["speedups"], story.get("retention")
throughput = {against: f"{gain:.0f}x" for against, gain in speedups["throughput"].items()}
if told:
    throughput |= {
        against: headline_told.factor_words(row) for against, row in told["against"].items()
    }
padded, unpadded, best_engine, own_teacher, _ = (throughput[against] for against in AGAINST)
how = f"Measured side by side in {told['rounds']} rounds" if told else "By the product of the steps"
one_ms, most_frequent = speedups["one_request_ms"], speedups["most_frequent_answer"]
machine, threads = baseline["machine"], baseline["rungs"][0]["threads"]
who = "This run" if was_run_here else f"*Nothing was run here yet. The reference run `{kept.name}`*"
weak, untrained = "", ""
if not records.teacher_is_clear(baseline["facts"]):
    weak = " **The teacher is not clearly above the floors of chapter 1: nothing is told as kept.**"
elif rung.loc[last, "accuracy_low"] <= most_frequent:
    weak = " **That is not clearly more than guessing.**"
if pd.isna(rung.loc[PADDED, "accuracy"]):
    untrained = " (Its weights are untrained here, so it has a speed and no accuracy.)"
Markdown(
    f"{who}, on {machine['cpu']} with {threads} threads, ended **{own_teacher}** as fast as "
    f"its own teacher, unpadded, with an accuracy of {speedups['accuracy']:.1%} where the teacher has "
    f"{speedups['teacher_accuracy']:.1%} (always the most frequent answer: {most_frequent:.1%}), on texts that took no "
    f"part in training or in any choice{retention.missed(certified)}.{weak} {retention.certificate(certified)}\n\n"
    f"Against `{baseline['parameters']['reference']}`, the larger stock model that such stories start from: **{padded}** as fast when "
    f"that one pads, **{unpadded}** when it does not, {best_engine} when it runs on the best engine tried.{untrained} "
    f"{how}. "
    f"One request alone takes {one_ms['padded']:,.0f} ms there padded, {one_ms['unpadded']:,.0f} ms "
    f"unpadded, and {one_ms['end']:.1f} ms at the end."
)

# %% tags=["hide-input"]
alternative = "The steps from the padded reference to the last rung, as factors on a log axis"
Image(str(figures / "waterfall.png"), alt=alternative)

# %% [markdown]
# ## The story in one page
#
# Much of a famous speed-up is decided before any trick is used, by what it is compared with; so the book starts with **two
# baselines**, one that pads and one that does not ([chapter 1](01_baseline.ipynb)). Then requests of like length go together: that
# changes no answer, but a request waits for its batch ([2](02_batching.ipynb)). A **small model learns what the large one computes**,
# its answers and its inner states ([3](03_distillation.ipynb)). Heads and neurons that it can do without are **cut**, in a shape that
# is judged by the clock and not by the count of weights ([4](04_pruning.ipynb)). Its numbers shrink to **eight bits**, by recipes that keep the
# answers and not by those that quietly change them ([5](05_quantization.ipynb)). The **graph** is rid of what a classifier never reads,
# and engines run it side by side ([6](06_runtime.ipynb)). The **cores** are divided so that none waits for another, and a
# server keeps its promise under load ([7](07_serving.ipynb)). At the end the start and the last rung are measured side by side, the stack is
# taken apart again, and set beside the paper and the limit of the processor ([9](09_story.ipynb)).
#
# What each step brought here, and what was left of the accuracy after it. *So far* is the product of the steps; the last row is measured:

# %% tags=["hide-input"]
rungs_taken = ladders.stack(ladder, last)
rows = [{"rung": PADDED, "so far": "1x"}]
rows += [
    {
        "rung": step["rung"],
        "what": step["what"],
        "step": f"{step['factor']:.2f}x",
        "so far": f"{step['total']:,.0f}x",
    }
    for step in factors.factors(ladder, rungs_taken)
]
for row in rows:
    accuracy = rung.loc[row["rung"], "accuracy"]
    row["accuracy"] = "" if pd.isna(accuracy) else f"{accuracy:.1%}"
if told:
    measured_row = {"rung": f"{last}, side by side with the start", "what": "measured"}
    rows.append(measured_row | {"so far": throughput[AGAINST[0]], "accuracy": rows[-1]["accuracy"]})
columns = ["rung", "what", "step", "so far", "accuracy"]
display.table(pd.DataFrame(rows, columns=columns))

# %% [markdown]
# ## The ladder
#
# Every rung; the names of those that the story did not take stand in brackets.

# %% tags=["hide-input"]
show(Markdown(ladders.ladder_markdown(factors.mark_alternatives(ladder, rungs_taken))))
alternative = "The ladder: a bar a rung, speed-up against the padded reference"
Image(str(figures / "ladder.png"), alt=alternative)

# %% [markdown]
# ## How to read the ladder
#
# - The first row is the stock model as many tutorials run it: every request padded to the longest length it can take.
#   The second leaves the padding out. **Both are baselines**, and every rung shows its speed-up against both, because
#   they tell different stories.
# - *step* compares a rung with the one it stands on. *vs padded* and *vs unpadded* are products of steps; those of the last rung are
#   measured, where a run has done so.
# - *p50* and *p95* are the latency of a single request; *requests/s* is the throughput of the whole machine. Some steps
#   raise one and hurt the other.
# - *below the rule*: a rung that is faster, but keeps less of the teacher's score on dev than the rule of this book asks for
#   ([chapter 3](03_distillation.ipynb)). No choice goes on from there.
# - Accuracy is measured on texts that took no part in training or in any choice; its 95 % interval stands beside it.
#   An empty cell was not measured.
# - A rung called *floor* has no fine-tuned transformer behind it: words are counted, or embeddings averaged. What the other rungs
#   keep of their teacher means something only where the teacher is clearly above these.
#
# ## What this run used

# %% tags=["hide-input"]
teacher, parameters = baseline["facts"]["teacher"], baseline["parameters"]
low, high = teacher["accuracy_interval"]
origin = "fine-tuned here" if parameters["epochs"] else "taken as it is"
show(display.card(machine, threads))
Markdown(
    f"**Task** {parameters['task']}. **Teacher** `{teacher['name']}`, {origin}: "
    f"{teacher['accuracy']:.1%} on the test set ({low:.1%} to {high:.1%}). **Size** {parameters['size']}."
)

# %% [markdown]
# ## The chapters
#
# 1. [The baseline](01_baseline.ipynb): what we are faster than, and where the time goes.
# 2. [Batching](02_batching.ipynb): padding, sorted batches, and requests that arrive at random.
# 3. [Distillation](03_distillation.ipynb): small students that learn from what the teacher computes.
# 4. [Pruning](04_pruning.ipynb): heads, neurons, layers and words that are not needed, and a shape chosen by the clock.
# 5. [Quantisation](05_quantization.ipynb): eight bits in place of thirty-two, and how to keep the answers.
# 6. [Runtime](06_runtime.ipynb): the graph that is served, and the engine that runs it.
# 7. [Serving](07_serving.ipynb): the cores divided, and a server that keeps its promise under load.
#
# Two chapters close the book: [9, the story](09_story.ipynb), all rungs together, each technique left out once, beside the paper's;
# and [10, the tables](10_tables.ipynb), with which a sweep over several tasks ends, all of them side by side.
#
# The techniques are those of FastFormers (Kim and Hassan Awadalla, arXiv 2010.13382), with TinyBERT's distillation
# (1909.10351) and DynaBERT's pruning (2004.04037).
#
# ## How long it took

# %% tags=["hide-input"]
rows = [
    {"chapter": name, "minutes": record["seconds"] / 60, "rungs": len(record["rungs"])}
    for name, record in by_chapter.items()
    if name != bench.name
]
show(display.table(rows, decimals=1))
bench.save()
