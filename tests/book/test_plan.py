"""What `make plan` prints, of what snakemake says it would do."""

from __future__ import annotations

import pytest

from fflib.book import farm, plan, snake
from fflib.book.plan import Step
from fflib.files import InputError, write_json
from fflib.runs import params, sweep_plan, times
from fflib.runs.params import Run

SAID = """Building DAG of jobs...
[Sun Nov 29 18:36:05 2026]
rule chapter:
    output: outputs/a/results/01_baseline.json
    jobid: 2
    reason: Missing output files: outputs/a/results/01_baseline.json; Params have changed since last execution: 1, 2
    wildcards: folder=outputs/a, chapter=01_baseline

rule chapter:
    input: outputs/a/results/01_baseline.json
    output: outputs/a/results/02_batching.json
    reason: Input files updated by another job: outputs/a/results/01_baseline.json

rule book:
    output: outputs/a/book/index.html
    reason: Missing output files: outputs/a/book/index.html

localrule all:
    reason: Input files updated by another job: outputs/a/book/index.html
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    return tmp_path


def record(folder, chapter, seconds):
    content = {"chapter": chapter, "key": "k", "written": "1", "seconds": seconds, "facts": {}, "rungs": []}
    content |= {"parameters": {"size": "standard"}, "machine": times.here()}
    write_json(folder / "results" / f"{chapter}.json", content)


def test_each_step_stands_with_its_reason():
    assert plan.steps(SAID) == [
        Step("outputs/a/results/01_baseline.json", "Missing output files; Params have changed since last execution"),
        Step("outputs/a/results/02_batching.json", "Input files updated by another job"),
        Step("outputs/a/book/index.html", "Missing output files"),
    ]
    assert [(step.folder, step.chapter) for step in plan.steps(SAID)][1:] == [("a", "02_batching"), ("a", times.BOOK)]


def test_each_step_has_its_time_and_all_their_sum(home):
    run = Run("a", "cpu", "standard", home / "outputs" / "a", {})
    record(home / "outputs" / "a", "01_baseline", 150)
    record(home / "kept" / "a", "02_batching", 390)
    first = "Missing output files; Params have changed since last execution"
    assert plan.told(plan.steps(SAID), [run]).splitlines() == [
        f"outputs/a/results/01_baseline.json, about 2 min ({first})",
        "outputs/a/results/02_batching.json, about 6 min (Input files updated by another job)",
        "outputs/a/book/index.html (Missing output files)",
        f"in all about 9 min ({times.OWN}, {times.KEPT_ALIKE})",
    ]


def test_what_no_record_tells_is_said(home, monkeypatch):
    monkeypatch.setattr(plan.scale, "estimate", lambda run, chapter: None)  # nor that of another size
    run = Run("a", "cpu", "standard", home / "outputs" / "a", {})
    assert "in all" not in plan.told(plan.steps(SAID), [run])
    record(home / "outputs" / "a", "01_baseline", 150)
    assert plan.told(plan.steps(SAID), [run]).endswith(
        f"in all about 2 min, and 1 of which no record tells ({times.OWN})"
    )


def test_on_so_many_nodes_two_runs_go_on_side_by_side(home):
    first, second = (Run(name, "cpu", "standard", home / "outputs" / name, {}) for name in "ab")
    for run in (first, second):
        record(run.folder, "01_baseline", 600)
    wanted = [Step(f"outputs/{name}/results/01_baseline.json", "missing") for name in "ab"]
    one, two = plan.told(wanted, [first, second], nodes=(1, 2)).splitlines()[-2:]
    assert one.startswith("on 1 node about 21 min") and two.startswith("on 2 nodes about 11 min")


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_number_of_nodes_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=f"NODES={text} is no number of nodes"):
        plan.node_counts(text, True)


def test_a_sweeps_plan_tells_several_numbers_of_nodes_and_a_books_plan_one_that_was_asked_for():
    assert plan.node_counts("", True) == farm.NODES_SHOWN and plan.node_counts("", False) == ()
    assert plan.node_counts("12", False) == (12,)


@pytest.fixture
def says(monkeypatch):
    """Let snakemake say something."""

    def let(text, status=0):
        monkeypatch.setattr(snake, "dry_run", lambda config: (status, text))

    return let


def test_the_command_reads_what_snakemake_said(home, capsys, says):
    says(SAID.replace("outputs/a", "outputs/docs-cpu-smoke"))
    assert plan.main(["--run", "docs-cpu", "--size", "smoke", "--sweep", ""]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "outputs/docs-cpu-smoke/book/index.html (Missing output files)"
    says("Nothing to be done (all requested files are present and up to date).\n")
    assert plan.main([]) == 0
    assert capsys.readouterr().out.startswith("Nothing to be done")
    assert plan.main(["--run", "nope"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no run 'nope'")


def test_where_snakemake_fails_the_plan_does(home, says):
    says("", 1)
    assert plan.main([]) == 1


def test_a_sweeps_runs_and_tables_are_all_known(home, capsys, says):
    sweep = sweep_plan.load("superglue", "smoke")
    names = [run.folder.name for run in [*params.before(sweep.runs), *sweep.runs]]
    said = "".join(SAID.replace("outputs/a", f"outputs/{name}") for name in names)
    said += (
        f"    output: outputs/{sweep.closing.folder.name}/results/10_tables.json\n    reason: Missing output files: x\n"
    )
    says(said)
    assert plan.main(["--sweep", "superglue", "--size", "smoke"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 * len(names) + 1
