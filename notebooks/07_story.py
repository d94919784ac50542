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
# # 7 · The story: the ladder
#
# **Claim.** One table tells what every step bought and what it cost, on the machine that made this page.
#
# **Cost.** Nothing is measured here; the numbers are those of the chapters before, refused if any of them came from other
# code, data or hardware.
#
# **Needs** the chapters before it. **Leaves** `ladder.csv`, `ladder.md` and the ladder's figure.

# %% tags=["parameters"]
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown

from fflib import figures, pages, results, rungs

chapter = results.Chapter("07_story", globals())
earlier = results.read_all(run_dir, before=chapter.name)
threads = earlier[-1]["rungs"][-1]["threads"]
machine = earlier[-1]["machine"]
pages.card(machine, threads)

# %% [markdown]
# ## 7.1 The ladder
#
# A rung stacks on another one; where several stack on the same, they are alternatives, of which the run takes one; *step* is the throughput against that one, both timed in the same rounds. Two columns compare with the two baselines:
# *vs padded* with the stock model that pads every request to its limit, as the paper's 200-fold story does; *vs unpadded*
# with the same model without padding, which is what an honest server would have run anyway. An empty cell was not
# measured; the reference has untrained weights in this run, so it has a speed and no accuracy.

# %%
ladder = rungs.ladder([rung for record in earlier for rung in record["rungs"]])
rungs.write_ladder(run_dir, ladder)
Markdown(rungs.ladder_markdown(ladder))

# %%
goes_on_from = [
    record["facts"].get("goes_on_from", record["rungs"][-1]["rung"]) for record in earlier
][-1]
caption = f"{machine['cpu']}, {threads} threads, PyTorch {machine['versions']['torch']}; run {run}, size {size}"
figure = figures.ladder(ladder, "padded reference", rungs.stack(ladder, goes_on_from), caption)
chapter.save_figure(figure, "ladder")
figure

# %% [markdown]
# ## 7.2 Which speed-up is which
#
# - **Against the padded reference**: the paper's definition. It contains the choice to pad, which is no compression.
# - **Against the unpadded reference**: what compression, batching and engines really bought.
# - **Throughput is not latency.** *requests/s* counts answers of a busy machine; *p50* and *p95* are what one request
#   waits for. A batch raises the first and the second.

# %%
last = ladder.set_index("rung").loc[goes_on_from]
Markdown(
    f"So far, with *{goes_on_from}*: **{last['speedup_vs_padded']:.0f} times** the padded reference, which is "
    f"**{last['speedup_vs_unpadded']:.1f} times** the unpadded one, at {last['retention']:.1%} of the teacher's "
    f"accuracy. The median request takes {last['latency_p50_ms']:.0f} ms in its batch."
)

# %% [markdown]
# ## 7.3 Beside the paper
#
# FastFormers' Table 3 (BoolQ, batch 1, eight cores of an Azure F16s v2). Its machine, model and task differ from this
# run's, so the factors may be compared, the seconds may not.

# %%
paper = pd.DataFrame(
    [
        ("PyTorch BERT-base, padded", 734.35, 74.01),
        ("+ no padding", 209.29, 74.01),
        ("+ distilled student", 22.5, 74.04),
        ("+ int8 and graph", 9.97, 73.43),
        ("+ several instances", 5.68, 73.43),
        ("+ pruned 33 %/50 %", 3.14, 72.81),
    ],
    columns=["the paper's rung", "seconds for the dev set", "accuracy %"],
)
paper["step"] = paper["seconds for the dev set"].shift() / paper["seconds for the dev set"]
paper["vs padded"] = paper["seconds for the dev set"].iloc[0] / paper["seconds for the dev set"]
paper["vs unpadded"] = paper["seconds for the dev set"].iloc[1] / paper["seconds for the dev set"]
pages.table(paper)

# %% [markdown]
# ## 7.4 Exercises
#
# 1. Open `ladder.csv` and compute *speedup_step* of the last rung from the throughputs alone. Why is it not quite the
#    figure in the table? Look for the anchor in `results/02_batching.json`.
# 2. What would the ladder look like if all requests were as long as the limit? Which factor disappears?

# %%
chapter.facts["data_fingerprint"] = earlier[0]["facts"]["data_fingerprint"]
chapter.facts["speedup_vs_padded"] = float(last["speedup_vs_padded"])
chapter.save()
