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
# # 10 · The tables: all tasks side by side
#
# **Claim.** One task proves little. A speed-up depends on how long the texts of a task are, and the accuracy that is kept depends on how hard the task
# is for a small model. So here are all runs of a [sweep](glossary.md#sweep), in the order of the paper's tables and beside them.
#
# **Cost.** None: nothing is measured in this chapter. Every number was saved by chapters [1](01_baseline.ipynb) to [9](09_story.ipynb) of its run.
#
# **Needs** the runs of a sweep (`make sweep SWEEP=superglue`), or any runs whose folders are named in the parameter `runs`. A run that is missing or
# failed gets an empty row and a sentence that says why, and does not stop the others. **Leaves** `tables.csv`, `tables.md` and a figure.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record
runs: list[str] = []  # folders of runs under outputs; empty: this run alone

# %% tags=["hide-input"]
from IPython.display import Markdown
from IPython.display import display as show

from fflib import display
from fflib.book.bench import Bench
from fflib.story import fastformers, table_figures, tables, tables_markdown

bench = Bench("10_tables", globals())

# %%
entries = tables.gather(runs or [bench.folder.name])
rows = tables.rows(entries)

# %% [markdown]
# ## 10.1 The runs
#
# Where does each row come from? The table below says it: model, size, seeds, machine, versions, date and commit. Runs of one machine were measured one
# after another, never at the same time. Where runs come from different machines, the tables say so and keep only what can still be
# compared, factors and accuracies.

# %% tags=["hide-input"]
bench.facts["rows"] = rows
display.table(tables.sources(entries))

# %% [markdown]
# Before you read on, know this about the runs:

# %% tags=["hide-input"]
notes = tables_markdown.notes(rows)
bench.facts["notes"] = notes
Markdown("\n".join(f"- {note}" for note in notes) or "Nothing to note: every run is complete.")

# %% [markdown]
# ## 10.2 Accuracy by task
#
# This is the paper's Table 1 ([Kim and Hassan Awadalla](https://arxiv.org/abs/2010.13382)), on SuperGLUE's validation sets, with each task's own metric.
# Three columns are this book's: the *[teacher](glossary.md#teacher)*, the fine-tuned model; the *[student](glossary.md#student)*, the small model that
# learned from it; and *served*, what is left after pruning and rounding, as the last [rung](glossary.md#rung) serves it. The interval tells how much the
# choice of test texts matters. It does not cover another training.
#
# Is a teacher worth learning from at all? The best [floor](glossary.md#floor) is the best score on dev of anything that needs no fine-tuned
# transformer, such as counting shared words (chapter 1). The next column says by how many points the teacher is above it, on the same texts.
# Where the interval of that difference reaches zero on dev, the table says **no teacher**: a small model that keeps all of nothing keeps
# nothing.
#
# The paper's teachers are BERT and RoBERTa with twelve layers. The teachers of these runs may be as large, or small enough for two cores; 10.1 names
# them, and the column *trained on* says from how many texts they learned. **So a row tells how much of its own teacher a
# student keeps, not whose teacher is better.**

# %% tags=["hide-input"]
Markdown(tables_markdown.accuracy_markdown(rows))

# %% [markdown]
# Compare *teacher*, *student* and *served* along a row: the two drops are the prices of distillation and of everything after it. If the intervals of
# two cells overlap widely, the table cannot tell them apart.
#
# ## 10.3 How much faster, and against what
#
# Each run has three speed-ups here, and the figure shows all of them: against its own teacher, whose accuracy is kept; against the large reference
# without padding; and against the same reference with padding, which is where most large numbers come from. The paper's CPU-only systems were
# compared with the organisers' BERT, on another machine and on test sets that are not public. Set them beside the first two, not beside the third.

# %% tags=["hide-input"]
finished_runs = [entry for entry in entries if entry.side]
machines = ", ".join(tables.machines(rows)) or "no run has finished yet"
papers = {task: tables_markdown.papers(task) for task in fastformers.TASKS}
figure = None
if finished_runs:
    points = tables_markdown.figure_rows(rows)
    figure = bench.figure(table_figures.by_task(points, papers, f"{run}: {machines}"), "tables")
figure

# %% [markdown]
# The grey diamond lies furthest from the green square where texts are much shorter than the maximum to which they are padded.
#
# ## 10.4 Speed and cost by task
#
# This is the paper's Table 4, with two things that the paper does not print: how much accuracy is kept, and what each factor is measured against. The
# factors are those of the last rung of each run, measured side by side with its starting points (chapter 9); for runs that measured
# none, 10.1 says that they are products of steps. *Energy* is the energy of the padded reference over that of the served
# model. Money and watt-hours follow the factors, so that no drift of a machine is in them.

# %% tags=["hide-input"]
Markdown(tables_markdown.speed_markdown(rows))

# %% tags=["hide-input"]
display.table(
    [
        {
            "paper, CPU only": system.system,
            "speed-up over all tasks": f"{system.speedup}x",
            "energy saved over all tasks": f"{system.energy_saved}x",
        }
        for system in fastformers.TABLE_4
    ]
)

# %% [markdown]
# A mean over tasks is a choice, too. The paper divides the total time before by the total time after, so the task with the most texts decides. In the
# geometric mean above,
#
# $$\bar{f} = \left( f_1 \cdot f_2 \cdots f_n \right)^{1/n},$$
#
# each of the $n$ runs counts once with its factor $f_i$. Do not compare the two.
#
# ## 10.5 Check
#
# Whatever the numbers are, some things must hold for every run. Accuracy kept times the teacher's accuracy must be the accuracy served, and padding
# cannot make the reference faster:

# %%
for row in rows:
    speedup, retention = row["speedup_vs_padded"], row["retention"]
    if row["status"] != "ok":
        assert speedup is None and retention is None, "a number without a run"
        continue
    if retention is not None:  # of a teacher that scores nothing, no share is kept
        off = abs(row["served"] - retention * row["teacher"])
        assert off < 1e-4, f"{row['run']}: another teacher's accuracy"
    assert speedup >= row["speedup_vs_unpadded"], f"{row['run']}: padding made the reference faster"

# %% tags=["hide-input"]
Markdown(f"{len(finished_runs)} of {len(entries)} runs are complete.")

# %% [markdown]
# ## 10.6 When it does not pay
#
# - **A task that the small model cannot learn.** What is kept of an accuracy near guessing means nothing, however fast it comes.
# - **Few examples.** On a test set of a hundred texts, the interval is wider than most differences in these tables.
# - **Short texts.** Against the padded reference the factor is large, but most of it is padding. See which of the three factors moves.
#
# ## 10.7 Exercises
#
# **Exercise 1: what does padding contribute?** Divide *vs padded* by *vs unpadded* for each task. On which task is the ratio largest, and what
# does that say about the length of its texts? To see the lengths, open chapter 1 of that run, for example after
#
#     make book RUN=wic-minilm

# %% tags=["answer"]
whole = [row for row in rows if row["speedup_vs_padded"] and row["speedup_vs_unpadded"]]
padding = [
    {"task": row["task"], "padding alone": row["speedup_vs_padded"] / row["speedup_vs_unpadded"]}
    for row in whole
]
padding.sort(key=lambda row: -row["padding alone"])
show(display.table(padding) if padding else Markdown("No run here is complete."))
show(
    Markdown(
        "The largest ratio belongs to the task whose texts are shortest, compared with the maximum length."
    )
)

# %% [markdown]
# **Exercise 2: what decides how much is kept?** Sort the tasks by what is kept. Does it grow with the number of training examples? Predict first. To give
# one task fewer examples:
#
#     make book RUN=boolq-minilm SET="n_train=500"

# %% tags=["answer"]
learned = sorted((row for row in rows if row["retention"]), key=lambda row: -row["retention"])
kept = [
    {"task": row["task"], "kept %": 100 * row["retention"], "trained on": row["n_train"] or "all"}
    for row in learned
]
show(
    display.table(kept)
    if kept
    else Markdown("No run here has a teacher of which something could be kept.")
)
words = "With few runs an order can be chance, and a teacher near guessing is easily matched: see the notes in 10.1."
show(Markdown(words))

# %% [markdown]
# **Exercise 3: which mean?** Compute the arithmetic, the geometric and the harmonic mean of *vs padded*. Which is largest, and which would you report if every task
# gets the same number of requests that take equally long before? To add a run of your own to the table, name it in
# `params/sweeps/superglue.yaml` and run `make sweep SWEEP=superglue` again. For a run that was copied from another machine into `outputs/`,
# make only the tables, since a sweep would measure the run here:
#
#     .venv/bin/python -m fflib.book.sweep chapter 10_tables --sweep superglue

# %% tags=["answer"]
factors = [row["speedup_vs_padded"] for row in whole]
answer = "No run here is complete."
if factors:
    arithmetic = sum(factors) / len(factors)
    harmonic = len(factors) / sum(1 / factor for factor in factors)
    middle = tables.geometric_mean(whole, "speedup_vs_padded")
    answer = f"Arithmetic {arithmetic:.0f}x, geometric {middle:.0f}x, harmonic {harmonic:.0f}x. They always come in this "
    answer += (
        "order. If all tasks take equally long before, the total time falls by the harmonic mean."
    )
show(Markdown(answer))

# %% tags=["hide-input"]
tables_markdown.write(run_dir, rows)
bench.save()
