"""The page "On a cluster": its numbers are those of the plan, its words name what exists."""

from __future__ import annotations

import re

import pytest

from fflib.book import cluster, farm
from fflib.book.farm import Step
from fflib.book.pages import cluster_figure, cluster_page, sources
from fflib.files import ROOT, write_json
from fflib.runs import params, sweep_plan, times

KEPT = {"runs": 4, "chapters": {"01_baseline": 60.0}, "book_s": 5.0, "seconds": {"1": 500.0, "2": 260.0, "4": 140.0}}


@pytest.fixture
def few(monkeypatch):
    steps = [Step(f"{run} {name}", 100.0) for run in "ab" for name in (*sweep_plan.order(), times.BOOK)]
    monkeypatch.setattr(cluster_page, "sweep_steps", lambda: steps)
    return steps


def test_the_page_has_the_times_of_the_simulation_and_a_figure(few, tmp_path, monkeypatch):
    monkeypatch.setattr(times, "KEPT", tmp_path)
    text = cluster_page.page_of(None, tmp_path)
    assert f"| 2 | {times.about(farm.makespan_s(few, 2))} | {farm.efficiency(few, 2):.0%} |" in text
    assert "simulated only" in text and (tmp_path / "cluster.png").exists() and "{" not in text
    write_json(tmp_path / cluster_page.KEPT, KEPT)
    assert "grey marks were measured: a sweep of 4 runs" in cluster_page.page_of(None, tmp_path)


def test_what_was_measured_gives_the_overhead_of_a_job():
    steps, overhead_s = cluster_page.small_sweep(KEPT)
    assert len(steps) == 8 and farm.makespan_s(steps, 1, overhead_s) == pytest.approx(500)
    assert cluster_page.efficiency_measured(KEPT) == {1: 260 / 500, 2: 260 / 520, 4: 260 / 560}


def test_the_figure_has_a_line_a_sweep_and_a_mark_for_what_was_measured():
    axes = cluster_figure.efficiency({"a": {1: 0.9, 2: 0.5}, "b": {1: 0.8}}, {2: 0.4}, (1, 2)).axes[0]
    lines = {line.get_gid(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines[1:]}
    assert len(axes.lines) == 3 and lines == {"simulated": ([1], [0.8]), "measured": ([2], [0.4])}
    assert len(cluster_figure.efficiency({"a": {1: 0.9}}, {}, (1,)).axes[0].lines) == 1


def test_the_page_names_only_what_is_there():
    text = sources.template("cluster")
    heeded = (ROOT / "Makefile").read_text()
    for target, words in re.findall(r"^\s*make (\w+)((?: \w+=\w+)*)", text, re.MULTILINE):
        known = re.search(rf"^HEEDS.{target} =(.*)$", heeded, re.MULTILINE)[1].split()
        assert {word.partition("=")[0] for word in words.split()} <= {*known}, target
    for path in re.findall(r"params/cluster/(\w+)", text):
        assert path in (*cluster.names(), "mine")
    profile = (cluster.profile("slurm") / cluster.CONFIG).read_text()
    for setting in ("slurm_account", "slurm_partition", "constraint", "jobs:"):
        assert setting in text and setting in profile


def test_the_sweep_of_the_page_is_there_and_its_first_steps_are_teachers():
    steps = cluster_page.sweep_steps()
    runs = sweep_plan.load(cluster_page.SWEEP).runs
    assert cluster_page.count_runs(steps) == len(runs)
    assert steps[0].name.endswith(params.BASELINE) and farm.makespan_s(steps, 8) < farm.makespan_s(steps, 1)
    assert {*cluster_page.mean_run(steps)} == {*sweep_plan.order()}
