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

# %% [markdown] slideshow={"slide_type": "skip"}
# # The talk
#
# Slides of a finished run. `make talk` executes this notebook, which records the live demos, makes a deck of it, and opens the deck. In
# JupyterLab you can present it as it is (View, Presentation Mode). Each slide is a cell, with its notes below: how many seconds it takes, what to
# say, and what to ask. Slides with the tag `long` are left out of the short form, `make talk MINUTES=20`. No number is typed here: all of them come
# from the records of the run's chapters, and records of other code, data or hardware are refused.

# %% tags=["parameters"] slideshow={"slide_type": "skip"}
run: str = "docs-cpu"  # name of the run, a file in params
run_dir: str = "outputs/docs-cpu-smoke"  # where results are and go, from the project's root
size: str = "smoke"  # smoke, standard or full; named in the record

# %% tags=["hide-input"] slideshow={"slide_type": "skip"}
from fflib.book.bench import Bench
from fflib.data import retention
from fflib.plotting import number, times
from fflib.runs import records
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.story import headline_told
from fflib.story.factors import AGAINST, TEACHER
from fflib.talk import costs, figures, recording, slides
from fflib.talk.evidence import Evidence

bench = Bench("talk", globals())
evidence = Evidence(records.all_current(run_dir))
baseline, story = evidence.facts("baseline"), evidence.facts("story")
rung, last = evidence.rung, evidence.last
padded, unpadded, _, teacher, _ = (evidence.factor(against) for against in AGAINST)
untrained = evidence.accuracy(PADDED) is None

# %% [markdown] slideshow={"slide_type": "skip"}
# The demos are recorded here, while nothing else runs: the same parts that will run on stage, for as long as they will run there. If the stage
# fails later, the deck continues from these recordings and says so.

# %% tags=["hide-input"] slideshow={"slide_type": "skip"}
recording.record(bench.folder, bench.folder / recording.FOLDER)

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    "# Taming Transformers",
    f"### {times(padded['factor'])} as many answers per second from one ordinary processor, and what they cost",
    f"All numbers were measured on {evidence.machine}, on {evidence.date}, by the run `{run}`. None was typed by hand.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 45 s
#
# **Say.** We have a text classifier, a processor without an accelerator, and one question: how much of the work can we leave out? I will show
# you each step with its price, and also the steps that failed. The factor in the title is measured, start and end side by side. Later I will take it apart.
#
# **Before you begin.** The address bar holds the slide, so a reload returns here. S opens this window, and R sets a demo back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
request_ms, dollars = rung.loc[PADDED, "latency_p50_ms"], rung.loc[PADDED, "usd_per_100m"]
per_s, stock = rung.loc[PADDED, "throughput_per_s"], rung.loc[PADDED, "model"]
slides.show(
    "## The problem: you want answers, and get a bill",
    slides.large(
        {
            f"{number(request_ms)} ms": f"for one answer of <code>{stock}</code>, called as in the tutorials",
            f"{number(per_s)} per second": "is all that the machine can answer",
            f"{number(dollars)} USD": f"for a hundred million answers, at {evidence.usd_per_hour:g} USD an hour",
            f"{number(rung.loc[PADDED, 'model_mb'])} MB": "are loaded before the first answer",
        }
    ),
    "Nobody needs the model. Everybody needs the answer.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 75 s
#
# **Say.** This is the stock model, called as its documentation says, on the machine in front of you. Everybody begins here, and it is expensive.
# Classification runs all day, on every document, comment and ticket. That is how the bill adds up.
#
# **Ask first.** Hands up: how much faster can this become on the same processor? Twice as fast? Ten times? A hundred times? Remember your
# number.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
padding = rung.loc[PADDED, "latency_p50_ms"] / rung.loc[UNPADDED, "latency_p50_ms"]
slides.show(
    f"## Two baselines: without padding it is {times(padding)} as fast already",
    figures.bars(evidence.baselines(), "milliseconds for one request, median", log=True),
    "Same weights, same answers: padding is computed like words. So every factor here is given against **both** baselines.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** For the first bar, every text is padded to the longest that the model takes. For the second, it is not, and the answer is the
# same. Many famous speed-ups start at the first bar. The two lower bars are the teacher of this run, a smaller model that was fine-tuned.
#
# **Ask first.** Before you show the slide: what share of the time goes into padding?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## How we measure",
    "- **Checked first**: before we time anything, we compare its answers with those of the model it stands for\n"
    f"- **In turns**: what is compared runs in the same rounds, in random order; the headline in {evidence.headline['rounds']} rounds\n"
    "- **Same requests, same cores** for everything; medians, and intervals from redrawn requests\n"
    f"- **Chosen on dev, reported on test**: {baseline['n_examples']['test']:,} texts that no choice has seen\n"
    f"- **The rule**: a step that keeps less than {evidence.rule:.0%} of the teacher's score on dev is shown, but not taken",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** These are five habits. Each is here because somebody who lacked it once published a wonderful number. The last one matters most for this talk:
# you will see bars that are faster than what we took. Those broke the rule.
#
# **Ask.** Which of these would your last benchmark have failed?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
above = baseline.get("floors", {}).get("teacher_above_best", {})
gap = ""
if above:
    interval = f"({above['low']:.1f} to {above['high']:.1f})"
    gap = f"The teacher is {above['points']:.1f} points above the best floor {interval}. "
clear = "A task that needs a transformer"
if not bench.teacher_is_clear:
    clear = "The teacher is not clearly above the floors"
slides.show(
    f"## {clear}",
    figures.bars(evidence.floors(), "accuracy on test, per cent; lines: 95 % intervals"),
    f"{gap}It is easy to keep the accuracy of a model that knows nothing. Hence this slide.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** A floor is anything that answers without a fine-tuned transformer: always the same answer, a count of shared words, averaged embeddings. If a
# floor reached the teacher, a tiny model could keep all of its accuracy, and that would prove nothing.
#
# **Ask first.** How well would a count of shared words do on your own task? Have you tried?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 1 · Batching: {slides.brought(evidence, 'batching')}",
    figures.bars(evidence.batches(), "times as fast as one by one, the teacher", one="one by one"),
    costs.brief(evidence, "batching"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** The classic advice is to batch. But a batch of texts of different lengths is mostly padding, and the red bars are slower than no batch at all.
# What helps is a budget: collect texts of similar length until a certain number of tokens is reached.
#
# **Ask first.** Who expects eight requests at once to be faster than one by one? Then show the red bars.

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Batching: what it cost, what did not work", costs.bullets(evidence, "batching"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** A batch is answered when its slowest member is, so you pay for throughput with waiting. An adaptive server takes what is there and never
# waits for more. At light load that makes all the difference.
#
# **Ask.** What does your service sell, throughput or short waiting times?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 2 · Distillation: {slides.brought(evidence, 'distillation')}",
    figures.bars(evidence.students(), "accuracy on test, per cent"),
    costs.brief(evidence, "distillation"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** A small model learns what the large one computes, first its inner states and then its answers. The speed comes from having fewer layers; there is no
# trick in that. What the training buys is the accuracy.
#
# **Ask first.** Train the same small model on the labels alone, without a teacher: how far does it get?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Distillation: what it cost, what did not work", costs.bullets(evidence, "distillation")
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** This is the step that you pay for in advance, because somebody has to train. It also makes the other steps possible:
# it earns the accuracy that pruning and rounding then spend.
#
# **Ask.** How many labelled examples do you have? What a model learns from labels alone depends on that.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 3 · Pruning: {slides.brought(evidence, 'pruning')}",
    figures.lines(
        evidence.cuts(),
        "per cent of heads and neurons kept in each layer, not trained again",
        "accuracy on dev",
    ),
    costs.brief(evidence, "pruning"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Which heads and neurons can go? The top line asks how much the loss changes when one of them is removed. Large weights
# are not always important weights, and the honest comparison is a random choice. What is left is a smaller dense model that needs no sparse kernels.
#
# **Ask first.** Where will the line for the size of the weights be, above or below the random choice?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Pruning: what it cost, what did not work", costs.bullets(evidence, "pruning"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** The clock chooses the shape, because a count of weights or operations is a bad prediction of milliseconds. Whatever fell below
# the rule is on this slide and not in the product, however fast it was.
#
# **Ask.** Would you have taken the fastest one?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 4 · Quantisation: {slides.brought(evidence, 'quantisation')}",
    figures.bars(evidence.recipes(), "times as fast as fp32, one request", one="fp32"),
    costs.brief(evidence, "quantization"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Eight bits instead of thirty-two. Each bar is a recipe that you can find in some tutorial. The red ones are slower than what they replace,
# or they change answers. Accuracy alone would not show that, because flips in both directions cancel. So we compare the labels one by one.
#
# **Ask first.** Four bits are half of eight. Are they twice as fast?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Quantisation: what it cost, what did not work", costs.bullets(evidence, "quantization")
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** The quiet failures are the dangerous ones. A library's default gives you a file that loads, is fast, and now and then answers something
# else. And whether a format is fast depends on the processor, not on the paper.
#
# **Ask.** When did you last compare the labels of a quantised model one by one?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
brought = slides.brought(evidence, "ONNX Runtime", "first token", "instances")
slides.show(
    f"## 5 · Runtime: {brought}",
    figures.bars(evidence.graphs(), "milliseconds for one request, the same weights"),
    costs.brief(evidence, "runtime"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** All of these bars have the same weights; only the graph differs. Three things make up the factor above: another engine, a last
# layer that is computed only for the one token that a classifier reads, and cores that are divided so that none waits for another.
#
# **Ask first.** Fusing operators saves work. Which of these will be the slowest?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Runtime: what it cost, what did not work", costs.bullets(evidence, "runtime"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** Do not trust an optimisation by its name. A fusion that was made for another machine can cost time on this one, and a fusion that is
# given the wrong number of heads changes answers silently. Switch things on one at a time, and time them.
#
# **Ask.** Who has ever switched an optimisation off and become faster?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    "## The ladder: the steps multiply, almost",
    figures.waterfall(evidence.steps, padded["factor"], evidence.measured(AGAINST[0]), PADDED),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 75 s
#
# **Say.** Read it from the top. The axis is logarithmic, so equal widths are equal factors. No single bar is a miracle. The green bar is not their
# product: it was measured, with start and end side by side.
#
# **Ask first.** Which step is the widest? Point at it before I say it. It is often one that nobody writes papers about.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## The race: the same requests, the same cores", slides.demo("race"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** Every lane gets the same requests in the same order, and the counters count answers that you can read. Two lanes that would take each
# other's cores run one after the other; the earlier one is then replayed beside the later one, and the screen says so. A
# lane with untrained weights races for speed alone.
#
# **Ask first.** When the fast lane is done, how long will the slow one still need? Seconds, minutes, an hour?
#
# **If it fails.** "The machine on stage has given up. What you see now is its own rehearsal, recorded on the machine and the day that the
# badge names." You need not press anything. R sets it back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
measured_rows = [
    f"| {against} | **{headline_told.factor_words(row)}** | {times(row['product'])} |"
    for against, row in evidence.headline["against"].items()
]
certified = story.get("retention")
slides.show(
    f"## {times(padded['factor'])}, or {times(unpadded['factor'])}, or {times(teacher['factor'])}: against what?",
    "\n".join(
        ["| against | measured (range) | product of the steps |", "|:--|--:|--:|", *measured_rows]
    ),
    f"Accuracy **{evidence.accuracy(last):.1%}**, the teacher's {evidence.accuracy(TEACHER):.1%}{retention.missed(certified)}. "
    + (
        "The reference's weights are untrained here, so it has a speed but no accuracy."
        if untrained
        else ""
    ),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** One product and five factors, all of them true. The first is the one for headlines. The fourth deserves the most trust: both
# sides do the same task, and the accuracy that is kept belongs to the same model. The last column multiplies the steps. Where it lies outside the range of the rounds,
# the machine changed between the chapters, and the measured number counts.
#
# **Ask first.** What was your number at the start? Which of these did you have in mind?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
asked = [
    {
        "y": 100 * evidence.rule * evidence.accuracy(TEACHER),
        "name": f"{evidence.rule:.0%} of the teacher's",
    }
]
by_speed = figures.points(
    evidence.accuracy_by_speed(), "requests a second", "accuracy on test", log=True, lines=asked
)
slides.show(
    "## What was kept", by_speed, retention.certificate(certified).partition(" (paired")[0] + "."
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 135 s
#
# **Say.** Right is faster, up is more accurate. A cross is below the rule on dev and was not taken, however fast it is. The thin lines are intervals: a
# difference smaller than they are decides nothing. The rule is applied on dev. Test is looked at once; it may disagree, and then the slide says so.
#
# **Ask.** Which point would you take home? There is no single right answer: every point of the front is one.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## Your own words, key by key", slides.demo("typing"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** With every key, all models are asked again. If the slow one has not answered before the next key, that answer is dropped and counted. Where answers disagree, they
# turn red, and I will not hide that.
#
# **Ask.** Somebody give me a sentence. Now: will the small model say the same as its teacher?
#
# **If it fails.** "This is what I typed at home." The recorded sentence continues by itself, with its badge. R sets it back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## Rung by rung, on one sentence", slides.demo("ladder"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 75 s
#
# **Say.** The slider stops at every rung. You see what the rung is made of, what has been gained so far, and what it answers to the text that we just typed. An answer that flips
# turns red at the step that flipped it.
#
# **Ask first.** At which step do you expect the first flip?
#
# **If it fails.** "The recorded sentence shows the same steps." The slider also works without the machine. R sets it back.

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Leave one out: what would we miss?",
    figures.bars(
        evidence.left_out(), "times as slow without it; lines: intervals", one="the full stack"
    ),
    "*Points*: the accuracy without the technique, minus that of the full stack.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** The order of a ladder is a choice, so here each technique is taken out of the finished stack once. Steps depend on each other: what was worth
# a lot when it was added may be worth little at the end, and the other way round.
#
# **Ask first.** A technique whose interval crosses the line could go. Which one do you expect there?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
limit_rows = evidence.limits()
left = (
    f": {times(limit_rows[-1]['value'] / limit_rows[0]['value'])} is left"
    if len(limit_rows) > 1
    else ""
)
slides.show(
    f"## Where it ends{left}",
    figures.bars(limit_rows, "requests a second", height=2.4),
    "A processor can do only so many multiplications per second. Between the bars lie attention, rounding, activations, padding in batches, and calls.",
    "To go beyond the lower bar, the model has to do less.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** This slide tells you when to stop. The lower bar is what the fastest products that were measured on this machine would allow for this model. Only a
# smaller model moves it.
#
# **Ask.** Would you go on from here, or ship it?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## The bill: a hundred million answers",
    figures.bars(
        evidence.bill(),
        f"USD, at {evidence.usd_per_hour:g} an hour, for a machine that is always busy",
        log=True,
        height=3.2,
    ),
    f"Training is paid once: the chapters of this run took {number(costs.minutes(evidence))} minutes on this machine, with all experiments.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** The cost follows the throughput. But the training comes first, and so do the days of the person who does it. If you ask a model a thousand times a day,
# leave it as it is. Energy follows the money here, unless the processor counts it.
#
# **Ask.** How many requests a day would it take to pay off for you?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    "## To take home",
    f"- **Say against what.** {times(padded['factor'])}, {times(unpadded['factor'])} and {times(teacher['factor'])} are the same product\n"
    "- **Check before you time**: label by label, not by the mean\n"
    "- **Measure steps side by side**: fusions, bits and batches can all make it slower\n"
    "- **Keep a rule for accuracy**, and apply it to other texts than those you report",
    "`make book` runs all of this on your machine, `make export` gives you the model, and `make talk` this talk about it.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Four sentences, and none of them is about transformers. Everything you saw comes from one command on one machine. Run it on yours, with
# your data, and give this talk with your own numbers.
#
# **Ask.** Any questions? There are slides to go back to: the floors, the leave-one-out, the limit.

# %% tags=["hide-input"] slideshow={"slide_type": "skip"}
bench.facts["source"] = evidence.source
bench.save()
