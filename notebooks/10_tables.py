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
# **Claim.** One task proves little: a speed-up depends on how long its texts are, the accuracy that is kept on how hard the task is for
# a small model. So here stand all the runs of a sweep, in the order of the paper's tables and beside them.
#
# **Cost.** None: nothing is measured here. Every number was saved by chapters [1](01_baseline.ipynb) to [9](09_story.ipynb) of its run.
#
# **Needs** the runs of a sweep (`make sweep SWEEP=superglue`), or any runs whose folders are named below. A run that is missing or
# failed gets an empty row and a sentence, and stops nothing. **Leaves** `tables.csv`, `tables.md` and a figure.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record
runs: list[str] = []  # folders of runs under outputs; empty: this run alone

# %% tags=["hide-input"]
from IPython.display import Markdown

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
# Where each row comes from. Runs of one machine were measured one after another, never at the same time. Where machines differ, the
# tables say so and keep what can be compared all the same: factors, and accuracies.

# %% tags=["hide-input"]
bench.facts["rows"] = rows
display.table(tables.sources(entries))

# %% [markdown]
# What must be known before reading on:

# %% tags=["hide-input"]
notes = tables_markdown.notes(rows)
bench.facts["notes"] = notes
Markdown("\n".join(f"- {note}" for note in notes) or "Nothing: every run is whole.")

# %% [markdown]
# ## 10.2 Accuracy by task
#
# The paper's Table 1, on SuperGLUE's validation sets, each task by its own metric. *Teacher*, *student* and *served* are this book's:
# the fine-tuned model, the small one that learned from it, and what is left after cutting and rounding, as the last rung of the ladder
# serves it. The interval covers the choice of test texts, not another training. *Best floor* is the best on dev of what needs no
# fine-tuned transformer, such as counting shared words (chapter 1); by how many points the teacher is above it is paired. Where that
# interval on dev reaches zero there is **no teacher**: a small model that keeps all of it keeps nothing.
#
# The paper's teachers are BERT and RoBERTa of twelve layers. This book's may be as large, or small enough for two cores; 10.1 names
# them, and what they learnt from stands beside them. **So a row tells how much of its own teacher a student keeps, not
# whose teacher is better.**

# %% tags=["hide-input"]
Markdown(tables_markdown.accuracy_markdown(rows))

# %% [markdown]
# ## 10.3 How much faster, and against what
#
# One run, three speed-ups: against its own teacher, the model whose accuracy is kept; against the large reference without padding; and
# against the same reference with padding, which is how most large numbers come about. The paper's CPU-only systems were compared with the
# organisers' BERT, on another machine and on test sets that are not public: set them beside the first two, not beside the third.

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
# ## 10.4 Speed and cost by task
#
# The paper's Table 4, with what it does not print: how much accuracy is kept, and against what a task is faster. Factors are those of the
# last rung of each run's ladder, measured side by side with its starting points; *energy* is that of the padded reference over that of the served model.
# Money and watt-hours follow the factors, so that no drift of a machine is in them.

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
# A mean over tasks is a choice, too. The paper's is a ratio of total times, so the task with the most texts decides it; in the geometric
# mean above each run counts once. The two are not to be compared.
#
# ## 10.5 Check
#
# What must hold of every run, whatever its numbers are:

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
Markdown(f"{len(finished_runs)} of {len(entries)} runs are whole.")

# %% [markdown]
# ## 10.6 When it does not pay
#
# - **A task that the small model cannot learn.** What is kept of an accuracy near guessing means nothing, however fast it comes.
# - **Few examples.** On a test set of a hundred texts, an interval is wider than most differences in these tables.
# - **Short texts.** There is less to gain from unpadded batches than against a padded reference: see which of the three factors moves.
#
# ## 10.7 Exercises
#
# 1. On which task is the gap between the padded and the unpadded factor widest, and what do the lengths of its texts say about it?
# 2. Sort the tasks by what is kept. Is it the number of examples or the length of the texts that goes with it?
# 3. Add a run of your own to `params/sweeps/` and run the sweep again. For a run that was copied from another machine into
#    `outputs/`, make the tables alone, `python -m fflib.book.sweep chapter 10_tables --sweep superglue`: the sweep itself would measure it here.

# %% tags=["hide-input"]
tables_markdown.write(run_dir, rows)
bench.save()
