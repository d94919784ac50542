"""The figures of serving: how cores are divided, load, policies, and how many machines it takes.

As everywhere, functions take plain numbers and return a matplotlib Figure. Times are in ms, rates are per second,
shares are fractions of 1. (Longer than 200 lines: four figures, each with a layout of its own.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.axis import Axis

from fflib.plotting import (
    ABOVE_AXES,
    BESIDE,
    BLACK,
    BLUE,
    DARK,
    GREEN,
    GREY,
    NUMBER,
    ORANGE,
    PLAIN,
    SHADE,
    SMALL,
    VERMILION,
    Row,
    by_model,
    finish,
    fold,
    make_room,
    number,
    put_name,
    span,
    styled,
)

KINDS = {"process": (BLUE, "o", "processes"), "thread": (VERMILION, "s", "threads")}
PERCENTILES = {
    "p50_ms": ("median", BLUE, "o"),
    "p95_ms": ("95th percentile", ORANGE, "s"),
    "p99_ms": ("99th percentile", VERMILION, "^"),
}
LENGTHS = {"short_p95_ms": ("short requests", BLUE, "o", 12), "long_p95_ms": ("long requests", VERMILION, "s", 8.5)}
SIMULATED = {"linestyle": "--", "lw": 1.2, "mfc": "white", "ms": 9, "zorder": 1.9}


def _log_axis(axis: Axis, values: Sequence[float]) -> None:
    """Make an axis logarithmic around ``values``, with at least two numbers on it however near they are."""
    low, high = min(values), max(values)
    margin = max(1.3, (high / low) ** 0.12)
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low / margin, high * margin)})
    decades = np.log10(high / low) + 2 * np.log10(margin)
    locator = ticker.LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=8)
    axis.set(major_locator=locator if decades > 0.8 else ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(NUMBER)
    axis.set_minor_locator(ticker.NullLocator())


@styled
def divisions(
    rows: Sequence[Row], caption: str = "", unit: str = "requests answered per second (log scale)"
) -> plt.Figure:
    """Draw the 95th percentile of latency over throughput for each division of the cores, in a panel a model.

    ``rows`` hold model, instances, threads (of each instance), kind ("process" or "thread": what an instance is),
    throughput_per_s, p50_ms, p95_ms and chosen. ``unit`` says what the throughput is, where it is a ratio.
    """
    models = by_model(rows)
    figure, panels = plt.subplots(len(models), 1, figsize=(8.4, 1.5 + 2.9 * len(models)), squeeze=False)
    for panel, (model, own) in zip(panels[:, 0], models.items(), strict=True):
        for row in own:
            _division(panel, row)
        _log_axis(panel.xaxis, [row["throughput_per_s"] for row in own])
        _log_axis(panel.yaxis, [row[key] for row in own for key in ("p50_ms", "p95_ms")])
        panel.set_ylabel("latency\n(ms, log scale)")
        panel.set_title(model, **SMALL)
    panels[-1, 0].set_xlabel(f"{unit}; labels: instances x threads of each")
    drawn = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    keys = [plt.Line2D([], [], color=KINDS[kind][0], marker=KINDS[kind][1], ms=8, lw=0) for kind in drawn]
    keys.append(plt.Line2D([], [], color=GREY, marker="_", ms=9, mew=2, lw=0))
    words = [*(f"instances are {KINDS[kind][2]}: 95th percentile" for kind in drawn), "median"]
    if any(row["chosen"] for row in rows):
        keys.append(plt.Line2D([], [], marker="o", ms=13, mfc="none", mec=BLACK, mew=1.6, lw=0))
        words.append("chosen")
    panels[0, 0].legend(keys, words, ncols=2, borderaxespad=2, **ABOVE_AXES)  # above the title of the panel
    finish(figure, _trade(list(models.values())), caption)
    figure.get_layout_engine().execute(figure)  # the layout must stand before labels are placed
    for panel, own in zip(panels[:, 0], models.values(), strict=True):
        _name_divisions(panel, own)
    return figure


def _division(panel: plt.Axes, row: Row) -> None:
    """Draw the 95th percentile of one division, tied to its median; the chosen has a ring."""
    x, (color, marker, _) = row["throughput_per_s"], KINDS[row["kind"]]
    panel.plot([x, x], [row["p50_ms"], row["p95_ms"]], color=color, lw=1.2, gid="tie")
    panel.plot(x, row["p50_ms"], "_", color=color, ms=9, mew=2, gid="p50")
    panel.plot(x, row["p95_ms"], marker, color=color, mec="white", ms=8.5, gid="p95")
    if row["chosen"]:
        panel.plot(x, row["p95_ms"], "o", ms=17, mfc="none", mec=BLACK, mew=1.6, gid="ring")


def _best(rows: Sequence[Row]) -> tuple[Row, Row]:
    """Return the division that answers the most per second, and the one with the lowest 95th percentile."""
    return (
        max(rows, key=lambda row: (row["throughput_per_s"], -row["p95_ms"])),
        min(rows, key=lambda row: (row["p95_ms"], -row["throughput_per_s"])),
    )


def _name_divisions(panel: plt.Axes, rows: Sequence[Row]) -> None:
    """Write instances x threads at each division, and what the best two are best in."""
    busy, taken, (most, soonest) = [line.get_window_extent() for line in panel.lines], [], _best(rows)
    for row in sorted(rows, key=lambda row: (row is not most and row is not soonest, not row["chosen"])):
        praise = " and ".join(["most per second"] * (row is most) + ["lowest latency"] * (row is soonest))
        name = f"{row['instances']} x {row['threads']}" + f": {praise}" * bool(praise)
        point = {
            "name": name,
            "x": row["throughput_per_s"],
            "accuracy": row["p95_ms"],
            "chosen": bool(praise) or row["chosen"],
        }
        taken += put_name(panel, point, (*KINDS[row["kind"]][:2], panel.transData), busy, taken)


def _trade(models: Sequence[Sequence[Row]]) -> str:
    """Say what the division with the most throughput gains, and costs, against the one with the lowest latency."""
    apart = [(most, soonest) for most, soonest in map(_best, models) if most is not soonest]
    if not apart:
        return "The division of the cores with the most throughput also has the lowest latency"
    gain = span(*(a["throughput_per_s"] / b["throughput_per_s"] for a, b in apart))
    cost = span(*(a["p95_ms"] / b["p95_ms"] for a, b in apart))
    where = f" (for {len(apart)} of {len(models)} models)" * (len(apart) < len(models))
    claim = f"the one with the most throughput answers {gain} times as many, at {cost} times the latency"
    return f"Compared with the division of the cores that has the lowest latency, {claim}{where}"


@styled
def load(
    points: Sequence[Row], knee: int, capacity_per_s: float, simulated: Sequence[Row] = (), caption: str = ""
) -> plt.Figure:
    """Draw latency, and what is answered and refused, over the offered load; ``knee`` is the index of a point.

    ``points``, sorted by it, hold offered_per_s, p50_ms, p95_ms, p99_ms (None where too few were answered),
    answered_per_s and refused_share, and so does ``simulated``; where they hold p95_interval_ms, it is a bar.
    """
    figure, (top, low) = plt.subplots(2, 1, figsize=(8.4, 6.2), sharex=True, height_ratios=(2.2, 1))
    for key, (name, color, marker) in PERCENTILES.items():
        _curve(top, points, simulated, itemgetter(key), name, color, marker)
    intervals = [(row["offered_per_s"], row["p95_interval_ms"]) for row in points if row.get("p95_interval_ms")]
    for offered, interval in intervals:
        top.plot([offered] * 2, interval, color=PERCENTILES["p95_ms"][1], lw=6, alpha=0.35, gid="interval", zorder=1.5)
    _curve(low, points, simulated, itemgetter("answered_per_s"), "answered", GREEN, "o")
    _curve(low, points, simulated, lambda row: row["refused_share"] * row["offered_per_s"], "refused", VERMILION, "s")
    end = 1.06 * max(capacity_per_s, *(row["offered_per_s"] for row in (*points, *simulated)))
    low.plot([0, end], [0, end], color=GREY, linestyle=":", lw=1.2, zorder=1, label="offered")
    at = points[knee]["offered_per_s"]
    for panel in (top, low):
        panel.axvspan(capacity_per_s, end, color=SHADE, lw=0, zorder=0, gid="beyond")
        panel.axvline(at, color=BLACK, linestyle="-.", lw=1.2, gid="knee")
    times = [row[key] for row in (*points, *simulated) for key in PERCENTILES if row[key] is not None]
    _log_axis(top.yaxis, [*times, *(end for _, interval in intervals for end in interval)] or [1.0])
    top.set_ylabel("latency (ms, log scale)")
    low.set(xlim=(0, end), xlabel="requests offered per second")
    low.set(ylim=(-0.06 * end, 1.06 * end), ylabel="requests\nper second")
    low.xaxis.set_major_formatter(NUMBER)
    low.yaxis.set_major_formatter(NUMBER)
    keys, words = top.get_legend_handles_labels()
    if intervals:
        after = words.index(PERCENTILES["p95_ms"][0]) + 1  # "its" is that of the entry above
        keys.insert(after, plt.Line2D([], [], color=PERCENTILES["p95_ms"][1], lw=6, alpha=0.35))
        words.insert(after, "its 95% interval")
    keys += [top.lines[-1], plt.Rectangle((0, 0), 1, 1, color=SHADE)]
    words += [f"knee: {number(at)} per second", f"beyond capacity: {number(capacity_per_s)} per second"]
    if simulated:
        keys.append(plt.Line2D([], [], color=GREY, marker="o", **SIMULATED))
        words.append("simulated")
    top.legend(keys, words, ncols=2, **ABOVE_AXES)
    low.legend(ncols=3, **ABOVE_AXES)
    return finish(figure, _promise(points, knee), caption)


def _curve(
    panel: plt.Axes,
    points: Sequence[Row],
    simulated: Sequence[Row],
    value: Callable[[Row], float | None],
    name: str,
    color: str,
    marker: str,
) -> None:
    """Draw one value over the offered load, simulated and measured; nothing stands where it is None."""
    for rows, look in ((simulated, {"gid": f"{name}, simulated", **SIMULATED}), (points, {"gid": name, "label": name})):
        offered, values = [row["offered_per_s"] for row in rows], np.array([value(row) for row in rows], dtype=float)
        if not np.isnan(values).all():
            panel.plot(offered, values, color=color, marker=marker, **look)


def _promise(points: Sequence[Row], knee: int) -> str:
    """Say within what time requests are answered at the knee and at the highest load."""
    turn, last = points[knee], points[-1]
    if turn["p95_ms"] is None:
        return "Latency, and what is answered and refused, over the offered load"
    rate, time = number(turn["offered_per_s"]), number(turn["p95_ms"])
    title = f"At the knee, {rate} per second, 95% are answered within {time} ms"
    if turn is last:
        return title + ": the highest load offered"
    title += f"; at {number(last['offered_per_s'])} per second"
    title += ", too few to say" if last["p95_ms"] is None else f" within {number(last['p95_ms'])} ms"
    return title + f", and {last['refused_share']:.0%} are refused" * bool(last["refused_share"])


@styled
def fleet(rows: Sequence[Row], bound_ms: float, caption: str = "") -> plt.Figure:
    """Draw how many machines each way of serving needs to answer 99% of the requests within ``bound_ms``.

    ``rows`` hold way, machines, rate_per_machine_per_s, p99_ms and usd_per_day.
    """
    figure, axes = plt.subplots(figsize=(8.4, 1.5 + 0.62 * len(rows)))
    in_time = [row for row in rows if row["p99_ms"] <= bound_ms]
    fewest, most = (end(in_time or rows, key=lambda row: row["machines"]) for end in (min, max))
    for i, row in enumerate(rows):
        late, at = row not in in_time, (row["machines"], i)
        color = VERMILION if late else BLUE if row["machines"] == fewest["machines"] else PLAIN
        axes.barh(i, row["machines"], 0.7, color=color, gid="bar")
        words = f"{_machines(row['machines'])}, {number(row['usd_per_day'])} USD a day"
        axes.annotate(words, at, **BESIDE | {"xytext": (5, 1), "va": "bottom", "weight": "bold", "fontsize": 10})
        words = f"{number(row['rate_per_machine_per_s'])} per second each; 99% within {number(row['p99_ms'])} ms"
        ink = {"color": DARK if late else GREY}
        axes.annotate(words + ": too late" * late, at, **BESIDE | {"xytext": (5, 0), "va": "top"} | ink)
    make_room(axes, 6)
    axes.set_yticks(range(len(rows)), [fold(row["way"], 26) for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlabel(f"machines, for 99% of the answers within {number(bound_ms)} ms")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    title = f"From {_machines(most['machines'])} ({most['way']}) to {fewest['machines']:,} ({fewest['way']})"
    if fewest["machines"] == most["machines"]:
        ways = "with each way of serving" if len(in_time) > 1 else f"the one way in time: {fewest['way']}"
        title = f"{_machines(fewest['machines'])} for 99% of the answers in time ({ways})"
    if len(in_time) < len(rows):
        title += "; red: too late"
    return finish(figure, title if in_time else f"No way answers 99% within {number(bound_ms)} ms", caption)


def _machines(count: int) -> str:
    return f"{count:,} machine" + "s" * (count != 1)


@styled
def by_length(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw the 95th percentile of latency of short and of long requests under each policy.

    ``rows`` hold policy, short_p95_ms, long_p95_ms and throughput_per_s, which is written beside.
    """
    figure, axes = plt.subplots(figsize=(8.4, 1.9 + 0.5 * len(rows)))
    for i, row in enumerate(rows):
        axes.plot([row["short_p95_ms"], row["long_p95_ms"]], [i, i], color=PLAIN, lw=3, zorder=1, gid="between")
        for key, (name, color, marker, size) in LENGTHS.items():
            axes.plot(row[key], i, marker, color=color, mec="white", ms=size, label=name if i == 0 else None, gid=key)
        words, place = f"{number(row['throughput_per_s'])} answers\nper second", axes.get_yaxis_transform()
        axes.text(1.02, i, words, transform=place, va="center", fontsize=9, gid="words")
    axes.set_yticks(range(len(rows)), [fold(row["policy"], 26) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _log_axis(axes.xaxis, [row[key] for row in rows for key in LENGTHS])
    axes.set_xlabel("95% are answered within (ms, log scale)")
    axes.legend(ncols=2, **ABOVE_AXES)
    return finish(figure, _fairness(rows), caption)


def _fairness(rows: Sequence[Row]) -> str:
    """Say which policy is best for short requests, and what that costs the long ones."""
    short, long = ([row[key] for row in rows] for key in LENGTHS)
    if len(set(short)) == len(set(long)) == 1:
        return "How long short and long requests take"
    best = min(rows, key=lambda row: (row["short_p95_ms"], row["long_p95_ms"]))
    cost = best["long_p95_ms"] / min(long)
    then = "and so are long ones" if cost == 1 else f"long ones then take {span(cost)} times their best"
    return f"Short requests are answered soonest with: {best['policy']}; {then}"
