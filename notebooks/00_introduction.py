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
# A transformer that classifies texts can be made a hundred times faster on an ordinary CPU, and more. This book does it
# step by step, measures every step **on the machine that runs it**, and shows what the step cost.
#
# Below is the ladder of this run. Each chapter adds rungs to it; nothing in it was typed by hand.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Image, Markdown

from fflib import files, pages, results, rungs

chapter = results.Chapter("00_introduction", globals())
records = {record["chapter"]: record for record in results.read_all(run_dir)}
ladder = rungs.ladder(
    [rung for name, record in records.items() if name < "07" for rung in record["rungs"]]
)
Markdown(rungs.ladder_markdown(ladder))

# %% tags=["hide-input"]
Image(
    str(files.resolve(run_dir) / "figures" / "ladder.png"),
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
baseline = records["01_baseline"]
pages.card(baseline["machine"], baseline["rungs"][0]["threads"])

# %% tags=["hide-input"]
facts = baseline["facts"]["teacher"]
low, high = facts["accuracy_interval"]
Markdown(
    f"**Task** {baseline['parameters']['task']}. **Teacher** `{facts['name']}`, fine-tuned here: "
    f"{facts['accuracy']:.1%} on the test set ({low:.1%} to {high:.1%}). **Size** {size}."
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
# 7. [The story](07_story.ipynb): all rungs together, beside the paper's.
#
# The techniques are those of FastFormers (Kim and Hassan Awadalla, arXiv 2010.13382), with TinyBERT's distillation
# (1909.10351) and DynaBERT's pruning (2004.04037).
#
# ## How long it took

# %% tags=["hide-input"]
times = [
    (name, record["seconds"] / 60, len(record["rungs"]))
    for name, record in records.items()
    if name != chapter.name
]
pages.table(pd.DataFrame(times, columns=["chapter", "minutes", "rungs"]), decimals=1)

# %%
chapter.save()
