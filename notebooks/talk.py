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
# Slides of a finished run. `make talk` executes this notebook, which records the live demos as it goes, makes a deck of it and opens it; in
# JupyterLab it presents as it stands (View, Presentation Mode). Each slide is a cell with its notes below: how many seconds it takes, what to
# say, what to ask. Slides with the tag `long` are left out of the short form, `make talk MINUTES=20`. No number is typed here: all come from
# the records of the run's chapters, and are refused if these came from other code, data or hardware.

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
# is lost later on, the deck goes on from these recordings and says so.

# %% tags=["hide-input"] slideshow={"slide_type": "skip"}
recording.record(bench.folder, bench.folder / recording.FOLDER)

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    "# Taming Transformers",
    f"### {times(padded['factor'])} as many answers a second from one ordinary processor, and what that cost",
    f"Everything here was measured on {evidence.machine}, on {evidence.date}, by the run `{run}`. No number was typed.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 45 s
#
# **Say.** A text classifier, a processor without an accelerator, and one question: how much of the work need not be done at all? I will show
# each step with its price, and steps that failed. The factor in the title is measured, start and end side by side; later I take it apart.
#
# **Before you begin.** The address bar holds the slide: a reload comes back here. S opens this window, R sets a demo back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
request_ms, dollars = rung.loc[PADDED, "latency_p50_ms"], rung.loc[PADDED, "usd_per_100m"]
per_s, stock = rung.loc[PADDED, "throughput_per_s"], rung.loc[PADDED, "model"]
slides.show(
    "## The problem: a model that nobody asked for",
    slides.large(
        {
            f"{number(request_ms)} ms": f"for one answer of <code>{stock}</code>, called as tutorials call it",
            f"{number(per_s)} a second": "is all that the machine answers",
            f"{number(dollars)} USD": f"for a hundred million answers, at {evidence.usd_per_hour:g} USD an hour",
            f"{number(rung.loc[PADDED, 'model_mb'])} MB": "are loaded before the first one",
        }
    ),
    "What was asked for is the answer.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 75 s
#
# **Say.** This is the stock model, called as the documentation calls it, on the machine in front of you. Everybody begins with it, and it is expensive.
# Classification runs all day, on every document, comment and ticket; there the bill is made.
#
# **Ask first.** Hands up: how many times as fast can this become without another processor? Twice? Ten times? A hundred times? Remember your
# number.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
padding = rung.loc[PADDED, "latency_p50_ms"] / rung.loc[UNPADDED, "latency_p50_ms"]
slides.show(
    f"## Two baselines: leaving the padding out is {times(padding)} already",
    figures.bars(evidence.baselines(), "milliseconds for one request, median", log=True),
    "Same weights, same answers. Blanks are computed like words. So every factor here is told against **both**.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** The first bar fills every text with blanks up to the longest that the model takes. The second leaves them out and gives the very same
# answer. Many a famous factor begins at the first bar. The two lower bars are this run's teacher, a smaller model that was fine-tuned.
#
# **Ask first.** Before you show it: what share of the time goes into blanks?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## How a number comes about here",
    "- **Checked first**: nothing is timed before its answers were compared with the model it stands for\n"
    f"- **In turns**: what is compared runs in the same rounds, in an order drawn anew; the headline in {evidence.headline['rounds']} rounds\n"
    "- **Same requests, same cores** for everything; medians, and intervals from redrawn requests\n"
    f"- **Chosen on dev, told on test**: {baseline['n_examples']['test']:,} texts that no choice has seen\n"
    f"- **The rule**: a step that keeps less than {evidence.rule:.0%} of the teacher's score on dev is shown, and not taken",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Five habits, and each is there because its lack has produced a wonderful number somewhere. The last one matters most for this talk:
# you will see bars that are faster than what we took. They broke the rule.
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
    f"{gap}To keep the accuracy of a model that knows nothing is easy: hence this slide.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** A floor is whatever answers without a fine-tuned transformer: always the same answer, counted shared words, averaged embeddings. If a
# floor reached the teacher, a tiny model would keep all of its accuracy, and that would prove nothing.
#
# **Ask first.** How well do shared words do on your own task? Have you tried?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 1 · Batching: {slides.brought(evidence, 'batching')}",
    figures.bars(evidence.batches(), "times as fast as one by one, the teacher", one="one by one"),
    costs.brief(evidence, "batching"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** The classic advice is: batch. On a processor a batch of unlike lengths computes blanks, and red bars are slower than no batch at all.
# What helps is a budget: texts of like length together until so many tokens are reached.
#
# **Ask first.** Who expects eight requests at once to be faster than one by one? Then show the red bars.

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Batching: what it cost, what did not work", costs.bullets(evidence, "batching"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** A batch answers when its slowest member does: throughput is bought with waiting. An adaptive server takes what is there and never
# waits for company; at light load that is the whole difference.
#
# **Ask.** Does your service sell throughput or waiting time?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    f"## 2 · Distillation: {slides.brought(evidence, 'distillation')}",
    figures.bars(evidence.students(), "accuracy on test, per cent"),
    costs.brief(evidence, "distillation"),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** A small model learns what the large one computes, its inner states and then its answers. The speed comes from having fewer layers; that is no
# trick. What is bought with the training is the accuracy.
#
# **Ask first.** The same small model with the labels alone, no teacher: how far does it get?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Distillation: what it cost, what did not work", costs.bullets(evidence, "distillation")
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** This is the step with a bill in advance: somebody has to train. And it is the one without which nothing else here would be allowed,
# because it pays for the accuracy that cutting and rounding spend.
#
# **Ask.** How many labelled examples do you have? What the labels alone teach depends on that.

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
# **Say.** Which heads and neurons can go? The line on top asks how much the answers change when one is taken away. Large weights
# are not important weights, and a random choice is the honest comparison. What is left is a smaller dense model: no sparse kernels needed.
#
# **Ask first.** Where will the line for the size of the weights run, above or below a random choice?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Pruning: what it cost, what did not work", costs.bullets(evidence, "pruning"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** The shape is judged by the clock, since counting weights or operations predicts milliseconds badly. What fell below
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
# **Say.** Eight bits instead of thirty-two. Every bar is a recipe that can be found in some tutorial. Red ones are slower than what they replace,
# or they change answers; accuracy alone would not have shown that, since flips in both directions cancel. So labels are compared one by one.
#
# **Ask first.** Four bits are half of eight. Are they twice as fast?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Quantisation: what it cost, what did not work", costs.bullets(evidence, "quantization")
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** The quiet failures are the dangerous ones: a library's default gives a file that loads, is fast, and answers something else now and
# then. Whether a format is fast is a question to the processor, not to the paper.
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
# **Say.** The weights are the same in all of these bars; only the graph differs. Three things go into the factor above: another engine, a last
# layer that is computed for the one token a classifier reads, and cores that are divided so that none waits for another.
#
# **Ask first.** Fusing operators saves work. Which of these will be the slowest?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show("## Runtime: what it cost, what did not work", costs.bullets(evidence, "runtime"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** This is where belief is earned: a fusion that was made for another machine can cost time on this one, and one that is
# told the wrong number of heads changes answers without a word. Switch things on one at a time, and time them.
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
# **Say.** Read it from the top; the axis is logarithmic, so equal widths are equal factors. No bar is a miracle. The green bar is not their
# product: it was measured with start and end side by side.
#
# **Ask first.** Which step is the widest? Point, before I say it. It is often the one that nobody writes papers about.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## The race: the same requests, the same cores", slides.demo("race"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** Every lane gets the same requests in the same order, and the counters count answers that you can read. Where two lanes cannot run at
# once without taking each other's cores, they run one after another, and the earlier one is replayed beside the later; the screen says so. A
# lane with untrained weights races for its speed alone.
#
# **Ask first.** When the fast lane is done, how long does the slow one still need? Seconds, minutes, an hour?
#
# **If it fails.** "The machine on stage has given up; what you see now is its own rehearsal, recorded on the machine and the day that the
# badge names." Nothing needs to be pressed. R sets it back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
measured_rows = [
    f"| {against} | **{headline_told.factor_words(row)}** | {times(row['product'])} |"
    for against, row in evidence.headline["against"].items()
]
certified = story.get("retention")
slides.show(
    f"## {times(padded['factor'])}, or {times(unpadded['factor'])}, or {times(teacher['factor'])}: against what?",
    "\n".join(
        ["| against | measured (rounds) | steps multiplied |", "|:--|--:|--:|", *measured_rows]
    ),
    f"Accuracy **{evidence.accuracy(last):.1%}**, the teacher's {evidence.accuracy(TEACHER):.1%}{retention.missed(certified)}. "
    + (
        "The reference's weights are untrained here: it has a speed and no accuracy."
        if untrained
        else ""
    ),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** One product, five factors, all true. The first is the one for a headline. The fourth is the one to believe most: the same task on
# both sides, and the accuracy that is kept belongs to the same model. The last column multiplies the steps; where it leaves the range of the rounds,
# the machine was another one between the chapters, and the measured number counts.
#
# **Ask first.** What was your number at the start? Against which of these did you mean it?

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
# **Say.** To the right is faster, up is better. A cross is below the rule on dev and was not taken, however fast. The thin lines are intervals: a
# difference smaller than they are decides nothing. The rule is asked on dev, and test is looked at once: it may disagree, and then it is told.
#
# **Ask.** Which point would you take home? There is no right answer; there is a front.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## Your own words, at every key", slides.demo("typing"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Every key asks all models again. What the slow one cannot answer before the next key is lost, and counted. Where answers disagree, they
# turn red, and I will not hide it.
#
# **Ask.** Somebody give me a sentence. Now: will the small model say the same as its teacher?
#
# **If it fails.** "This is what I typed at home": the recorded sentence goes on by itself, with its badge. R sets it back.

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show("## Rung by rung, on one sentence", slides.demo("ladder"))

# %% [markdown] slideshow={"slide_type": "notes"}
# 75 s
#
# **Say.** A stop a rung: what it is made of, what it has gained so far, what it answers to the text that we just typed. An answer that flips
# turns red at the step that flipped it.
#
# **Ask first.** At which step would you expect the first flip?
#
# **If it fails.** "The recorded sentence shows the same steps." The slider works without the machine. R sets it back.

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## Leave one out: what would be missed?",
    figures.bars(
        evidence.left_out(), "times as slow without it; lines: intervals", one="the full stack"
    ),
    "*Points*: the accuracy of the stack without it, against the full one.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** The order of a ladder is a choice, so each technique is taken out of the finished stack once. Steps depend on each other: what was worth
# much when it was added may be worth little at the end, and the other way round.
#
# **Ask first.** A bar whose interval crosses the line could go. Which one do you expect there?

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
    "A processor multiplies so many numbers a second. Between the two bars lie attention, rounding, activations, blanks inside batches, and calls.",
    "Beyond the lower one, the model has to do less.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 105 s
#
# **Say.** This tells you when to stop. The lower bar is what the best products that were measured on this machine would allow for this very model. A
# smaller model moves it; nothing else does.
#
# **Ask.** Would you go on from here, or ship it?

# %% tags=["hide-input", "long"] slideshow={"slide_type": "slide"}
slides.show(
    "## The bill: a hundred million answers",
    figures.bars(
        evidence.bill(),
        f"USD, at {evidence.usd_per_hour:g} an hour for a machine that is always busy",
        log=True,
        height=3.2,
    ),
    f"Training is on it once: the chapters of this run took {number(costs.minutes(evidence))} minutes on this machine, all experiments included.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 120 s
#
# **Say.** Money follows throughput. But the training comes first, and the days of the person who does it: who asks a model a thousand times a day should
# leave it as it is. Energy goes with the money here, where the processor does not count it.
#
# **Ask.** From how many requests a day on would this pay for you?

# %% tags=["hide-input"] slideshow={"slide_type": "slide"}
slides.show(
    "## To take home",
    f"- **Say against what.** {times(padded['factor'])}, {times(unpadded['factor'])} and {times(teacher['factor'])} are the same product\n"
    "- **Check before you time**: label by label, not by the mean\n"
    "- **Measure steps side by side**; fusions, bits and batches can all be slower\n"
    "- **Keep a rule for accuracy**, asked on texts that are not the ones you report",
    "`make book` runs all of this on your machine, `make export` gives you the model, `make talk` this talk about it.",
)

# %% [markdown] slideshow={"slide_type": "notes"}
# 90 s
#
# **Say.** Four sentences, and none of them is about transformers. Everything you saw comes out of one command on one machine; run it on yours, with
# your data, and give this talk with your own numbers.
#
# **Ask.** Questions? Good ones to have slides for: the floors, the leave-one-out, the limit.

# %% tags=["hide-input"] slideshow={"slide_type": "skip"}
bench.facts["source"] = evidence.source
bench.save()
