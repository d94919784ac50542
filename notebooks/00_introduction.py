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
from IPython.display import Image, Markdown, display

from fflib import display as pages
from fflib.book import reference
from fflib.book.bench import Bench
from fflib.runs import ladder as rungs
from fflib.runs import records
from fflib.story import factors

chapter = Bench.open("00_introduction", globals())
own = (chapter.folder / "results" / "09_story.json").exists()
if own:
    records, figures = records.all_current(run_dir), chapter.folder / "figures"
else:  # nothing was run yet: the results that came with the book
    kept = reference.read(run if run in reference.names() else reference.MAIN)
    records, figures = kept.records, reference.REFERENCES / kept.name / "figures"
by_name = {record["chapter"]: record for record in records}
measured = [record for record in records if "01" < record["chapter"] < "09"]
told, baseline = by_name["09_story"]["facts"], by_name["01_baseline"]
ladder = rungs.ladder([rung for record in measured for rung in record["rungs"]])
last = factors.last_rung(measured)

# %% tags=["hide-input"]
padded, unpadded, best, own_teacher, _ = told["speedups"]["throughput"].values()
accuracy, one_ms = told["speedups"], told["speedups"]["one_request_ms"]
whose = "This run" if own else f"*Nothing was run here yet. The reference run `{kept.name}`*"
above_guessing = (
    ladder.set_index("rung").loc[last, "accuracy_low"] > accuracy["most_frequent_answer"]
)
has_learned = pd.notna(ladder.set_index("rung").loc[rungs.PADDED, "accuracy"])
no_accuracy = (
    "" if has_learned else " (Its weights are untrained here, so it has a speed and no accuracy.)"
)
weak = "" if above_guessing else " **That is not clearly more than guessing.**"
Markdown(
    f"{whose}, on {baseline['machine']['cpu']} with {baseline['rungs'][0]['threads']} threads, ended **{own_teacher:.0f} times** as fast as "
    f"its own teacher, unpadded, with an accuracy of {accuracy['accuracy']:.1%} where the teacher has {accuracy['teacher_accuracy']:.1%} (always the most "
    f"frequent answer: {accuracy['most_frequent_answer']:.1%}), on texts that took no part in training or in any choice.{weak}\n\n"
    f"Against `{baseline['parameters']['reference']}`, the larger stock model that such stories start from: **{padded:.0f} times** as fast when "
    f"that one pads, **{unpadded:.0f} times** when it does not, {best:.0f} times when it runs on the best engine tried.{no_accuracy} "
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
# the **cores** are divided so that none waits for another, and a server keeps its promise under load ([6](06_runtime.ipynb)). At the
# end everything is multiplied, taken apart again, and set beside the paper and the limit of the processor ([7](09_story.ipynb)).
#
# What each step brought here, and what was left of the accuracy after it:

# %% tags=["hide-input"]
stack = ladder.set_index("rung").loc[rungs.stack(ladder, last)]
pages.table(
    [
        {
            "rung": name,
            "what": factors.WORDS.get(factors.technique_of(name), "") if row["stacks_on"] else "",
            "step": f"{row['speedup_step']:.2f}x" if row["stacks_on"] else "",
            "so far": f"{row['speedup_vs_padded']:,.0f}x",
            "accuracy": "" if pd.isna(row["accuracy"]) else f"{row['accuracy']:.1%}",
        }
        for name, row in stack.iterrows()
    ]
)

# %% [markdown]
# ## The ladder
#
# Every rung, those that the story did not take in brackets.

# %% tags=["hide-input"]
display(Markdown(rungs.ladder_markdown(factors.ladder_with_ways(ladder, list(stack.index)))))
Image(
    str(figures / "ladder.png"),
    alt="The ladder: a bar a rung, speed-up against the padded reference",
)

# %% [markdown]
# ## How to read the ladder
#
# - The first row is the stock model as many tutorials run it: every request padded to the longest length it can take.
#   The second leaves the padding out. **Both are baselines**, and every rung shows its speed-up against both, because
#   they tell different stories.
# - *step* compares a rung with the one it stands on.
# - *p50* and *p95* are the latency of a single request; *requests/s* is the throughput of the whole machine. Some steps
#   raise one and hurt the other.
# - Accuracy is measured on texts that took no part in training or in any choice; its 95 % interval stands beside it.
#   An empty cell was not measured.
#
# ## What this run used

# %% tags=["hide-input"]
pages.card(baseline["machine"], baseline["rungs"][0]["threads"])

# %% tags=["hide-input"]
facts = baseline["facts"]["teacher"]
low, high = facts["accuracy_interval"]
whence = "fine-tuned here" if baseline["parameters"]["epochs"] else "taken as it is"
size_of = baseline["parameters"]["size"] if not own else size
Markdown(
    f"**Task** {baseline['parameters']['task']}. **Teacher** `{facts['name']}`, {whence}: "
    f"{facts['accuracy']:.1%} on the test set ({low:.1%} to {high:.1%}). **Size** {size_of}."
)

# %% [markdown]
# ## The chapters
#
# 1. [The baseline](01_baseline.ipynb): what we are faster than, and where the time goes.
# 2. [Batching](02_batching.ipynb): padding, sorted batches, and requests that arrive at random.
# 3. [Distillation](03_distillation.ipynb): small students that learn from what the teacher computes.
# 4. [Pruning](04_pruning.ipynb): heads, neurons, layers and words that are not needed, and a shape chosen by the clock.
# 5. [Quantisation](05_quantization.ipynb): eight bits in place of thirty-two, and how to keep the answers.
# 6. [Runtime](06_runtime.ipynb): the graph that is served, the cores divided, and a server that keeps its promise.
# 7. [The story](09_story.ipynb): all rungs together, each technique left out once, beside the paper's.
#
# A sweep over several tasks ends with [the tables](10_tables.ipynb): all of them side by side, beside the paper's.
#
# The techniques are those of FastFormers (Kim and Hassan Awadalla, arXiv 2010.13382), with TinyBERT's distillation
# (1909.10351) and DynaBERT's pruning (2004.04037).
#
# ## How long it took

# %% tags=["hide-input"]
times = [
    (name, record["seconds"] / 60, len(record["rungs"]))
    for name, record in by_name.items()
    if name != chapter.name
]
pages.table(pd.DataFrame(times, columns=["chapter", "minutes", "rungs"]), decimals=1)

# %%
chapter.save()
