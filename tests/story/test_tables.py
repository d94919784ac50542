"""The runs of a sweep side by side: hand-made runs with known factors, whole, failed, missing and of other machines."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from fflib.book import reference
from fflib.files import InputError
from fflib.runs import ladder as rungs
from fflib.runs import params, sweep_plan
from fflib.runs.ladder import Rung
from fflib.story import factors as story
from fflib.story import fastformers, headline_told, tables, tables_markdown

VERSIONS = {"torch": "2.0", "onnxruntime": "1.0"}
MACHINE = {"cpu": "A Processor", "cores_available": 2, "versions": VERSIONS, "commit": "abc"}
CHAPTERS = params.chapters()[1:]
# Throughputs whose factors are known: 4 times by no padding, 5 by a smaller teacher, 10 and 3 more by the last two.
SPEEDS = {rungs.PADDED: 2.0, rungs.UNPADDED: 8.0, "teacher padded": 10.0, story.TEACHER: 40.0}
WATTS = 4.0


def rung(name, below, per_s, accuracy=None):
    made = Rung(name, below, "m", "e", "fp32", "none", 1, 2, throughput_per_s=per_s, usd_per_100m=1000 / per_s)
    if accuracy:
        made.scored(accuracy, (accuracy - 0.05, accuracy + 0.04), 0.8)
    return made


def ladder(knows=1):
    """Reference, teacher, student and the last rung, whose chapter ran when the machine was twice as fast.

    All accuracies are multiplied by ``knows``.
    """
    below = {rungs.PADDED: "", story.TEACHER: "teacher padded"}
    made = [
        rung(name, below.get(name, rungs.PADDED), per_s, None if "reference" in name else 0.8)
        for name, per_s in SPEEDS.items()
    ]
    made.append(rung("distilled student", story.TEACHER, 400.0, 0.78))
    last = rung("instances", "distilled student", 2400.0, 0.76)
    last.paired_baseline_per_s = 800.0
    return [asdict(each) for each in [*made, last]]


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    return tmp_path


def floors_of(points, half=2.0, score=0.7):
    """What chapter 1 leaves of a teacher that is so many points above the best floor."""
    rows = [{"floor": "one answer for all", "test": 0.5, "low": 0.48, "high": 0.52}]
    rows.append({"floor": "words", "test": score, "low": score - 0.02, "high": score + 0.02})
    above = {"points": points, "low": points - half, "high": points + half}
    return {"floors": {"rows": rows, "best": "words", "teacher_above_best": above}, "teacher_is_clear": points > half}


def make_run(
    folder: Path, task="BoolQ", size="standard", machine=(), counts=(), guess=0.6, limits=(), floors=None
) -> str:
    """Write what a whole run leaves and return its name; the rungs are those of chapters 1 and 7."""
    made = ladder()
    limits = {"n_train": 0, "n_test": 1500, "seeds": [0], "teacher": "small", **dict(limits)}
    rungs.write_ladder(folder, rungs.ladder(made, WATTS))
    for i, chapter in enumerate(CHAPTERS):
        facts = {
            "01_baseline": {"n_examples": dict(counts)} | (floors or {}),
            "07_serving": {"goes_on_from": "instances"},
        }
        facts["09_story"] = {"speedups": {"most_frequent_answer": guess}}
        record = {
            "chapter": chapter, "key": "k", "written": f"2026-11-20T10:0{i}:00+00:00", "seconds": 60.0,
            "parameters": {"run": folder.name, "task": task, "size": size, **limits},
            "machine": {**MACHINE, **dict(machine)}, "facts": facts.get(chapter, {}),
            "rungs": {"01_baseline": made[:4], "07_serving": made[4:]}.get(chapter, []),
        }  # fmt: skip
        path = folder / "results" / f"{chapter}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    return folder.name


def rows_of(*names):
    return tables.rows(tables.gather(names))


def row_of(name):
    return next(row for row in rows_of(name) if row["run"] == name)


def test_the_numbers_of_a_run_follow_from_its_ladder(outputs):
    """5 x 4 x 10 x 3 against the padded reference; the machine's doubled speed at the end is in none of it."""
    row = row_of(make_run(outputs / "boolq"))
    assert row["speedup_vs_padded"] == pytest.approx(600) and row["speedup_vs_unpadded"] == pytest.approx(150)
    assert row["speedup_vs_teacher"] == pytest.approx(30) and row["rung"] == "instances"
    assert row["throughput_per_s"] == pytest.approx(1200) and row["usd_per_100m"] == pytest.approx(1000 / 1200)
    assert row["energy_factor"] == pytest.approx(600) and row["energy_source"].startswith("estimated")
    assert row["energy_wh_per_1k"] == pytest.approx(WATTS * 2 / 1200 / 3.6)
    scores = [row[name] for name in ("teacher", "student", "served", "served_low", "served_high", "retention")]
    assert scores == pytest.approx([0.8, 0.78, 0.76, 0.71, 0.80, 0.95])
    assert tuple(row) == tables.COLUMNS and row["status"] == "ok" and row["most_frequent"] == 0.6


def test_the_speed_ups_are_those_of_the_story(outputs):
    make_run(outputs / "boolq")
    entry = tables.gather(["boolq"])[0]
    told = list(story.speedups(entry.side.ladder, "instances", 1.0, 1.0).values())
    row = row_of("boolq")
    columns = ("speedup_vs_padded", "speedup_vs_unpadded", "speedup_vs_teacher")
    assert [row[column] for column in columns] == pytest.approx([told[0], told[1], told[3]])


def test_a_measured_headline_takes_the_place_of_the_products(outputs):
    """As the story leaves it: in the ladder's last row, and its factors in the record."""
    make_run(outputs / "boolq")
    made = ladder()
    against = {name: {"factor": factor} for name, factor in zip(story.AGAINST, (700, 180, 90, 36, 20), strict=True)}
    headline = {"rung": "instances", "rounds": 6, "against": against}
    rungs.write_ladder(outputs / "boolq", headline_told.in_ladder(rungs.ladder(made, WATTS), headline))
    path = outputs / "boolq" / "results" / "09_story.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"facts": record["facts"] | {"headline": headline}}))
    make_run(outputs / "older")
    row, older = row_of("boolq"), row_of("older")
    assert [row[f"speedup_vs_{start}"] for start in ("padded", "unpadded", "teacher")] == [700, 180, 36]
    assert row["throughput_per_s"] == pytest.approx(1400), "the padded reference's times the measured factor"
    assert (row["factors"], older["factors"]) == ("measured", "products")
    said = [note for note in tables_markdown.notes([row, older]) if "products of steps" in note]
    assert len(said) == 1 and "older" in said[0] and "(boolq)" not in said[0]


def test_the_tasks_come_in_the_papers_order_with_those_that_no_run_is_on(outputs):
    for name, task in (("rte", "RTE"), ("docs", "docs"), ("boolq", "BoolQ"), ("boolq-2", "BoolQ")):
        make_run(outputs / name, task)
    found = rows_of("rte", "docs", "boolq", "boolq-2")
    runs = ["boolq", "boolq-2", "", "", "", "", "rte", "", "docs"]
    assert [row["run"] for row in found] == runs
    assert [row["task"] for row in found if not row["run"]] == ["CB", "COPA", "MultiRC", "ReCoRD", "WiC"]
    assert "No run here is on CB, COPA, MultiRC, ReCoRD, WiC: these rows hold the paper's numbers alone." in (
        tables_markdown.notes(found)
    )


def broken(outputs, how):
    folder = outputs / "rte-minilm"
    if how != "missing":
        make_run(folder, "RTE")
    if how == "incomplete":
        (folder / "ladder.csv").unlink()
    elif how == "a chapter short":
        (folder / "results" / "05_quantization.json").unlink()
    elif how == "outdated":
        path = folder / "results" / "04_pruning.json"
        path.write_text(path.read_text().replace("T10:03", "T11:00"))
    elif how == "damaged":
        (folder / "results" / "02_batching.json").write_text("{")
    elif how == "failed":
        (folder / "results" / "03_distillation.json").unlink()
        sweep_plan.note_failure(
            folder, "03_distillation", "03_distillation failed: the teacher only guesses (see a.ipynb)"
        )
    return folder.name


PROBLEMS = {
    "missing": "holds no ladder.csv",
    "incomplete": "holds no ladder.csv",
    "a chapter short": "05_quantization is missing, or older than a chapter before it",
    "outdated": "05_quantization is missing, or older than a chapter before it",
    "damaged": "is damaged",
    "failed": "03_distillation failed: the teacher only guesses (see a.ipynb)",
}


@pytest.mark.parametrize(("how", "says"), PROBLEMS.items(), ids=PROBLEMS)
def test_a_run_that_is_not_whole_has_an_empty_row_and_a_sentence_never_a_zero(outputs, how, says):
    make_run(outputs / "boolq")
    found = rows_of("boolq", broken(outputs, how))
    row = next(row for row in found if row["run"] == "rte-minilm")
    assert row["task"] == "RTE" and says in row["status"], "its task is known by params/ or by what it left"
    assert {value for name, value in row.items() if name not in ("task", "run", "status")} == {None}
    (note,) = [note for note in tables_markdown.notes(found) if note.startswith("No result")]
    assert note.startswith("No result: RTE (rte-minilm): ") and says in note and "\n" not in note
    for text in (tables_markdown.accuracy_markdown(found), tables_markdown.speed_markdown(found)):
        (line,) = [line for line in text.splitlines() if line.startswith("| RTE (no result)")]
        ours = [cell.strip() for cell in line.split("|")[2:]]
        theirs = {"69.7%", "68.6%", "64.6%", "79.1%", "22.4x"}  # the paper's
        assert {*ours} - theirs == {""}


def test_a_failure_that_was_mended_is_not_told(outputs):
    make_run(outputs / "boolq")
    sweep_plan.note_failure(outputs / "boolq", "03_distillation", "03_distillation failed: long ago")
    assert row_of("boolq")["status"] == "ok"


def test_the_task_of_a_missing_run_is_known_by_its_file_whatever_its_size(outputs):
    assert [entry.task for entry in tables.gather(["wic-minilm-smoke", "docs-cpu", "nobodys"])] == ["WiC", "docs", ""]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_runs_are_named_each_once(names):
    with pytest.raises(InputError, match="each once"):
        tables.gather(names)


def test_smoke_size_is_said_in_each_row_and_in_a_sentence_and_counts_in_no_mean(outputs):
    make_run(outputs / "boolq")
    make_run(outputs / "rte", "RTE", size="smoke")
    found = rows_of("boolq", "rte")
    assert "| RTE (smoke)" in tables_markdown.accuracy_markdown(found)
    assert "| RTE (smoke)" in tables_markdown.speed_markdown(found)
    assert "In smoke size, whose numbers mean nothing: RTE (rte)." in tables_markdown.notes(found)
    found[0]["speedup_vs_padded"] = 100.0
    assert tables.geometric_mean(found, "speedup_vs_padded") == pytest.approx(100)
    alone = [row for row in found if row["size"] == "smoke"]
    assert tables.geometric_mean(alone, "speedup_vs_padded") == pytest.approx(600)


def test_the_mean_is_geometric_and_over_what_is_there():
    there = [{"x": 10.0, "size": "standard"}, {"x": None, "size": None}, {"x": 1000.0, "size": "full"}]
    assert tables.geometric_mean(there, "x") == pytest.approx(100)
    assert tables.geometric_mean([{"x": None, "size": None}], "x") is None


def test_runs_of_several_machines_are_told_and_share_no_seconds(outputs):
    make_run(outputs / "boolq")
    same = tables_markdown.speed_markdown(rows_of("boolq"))
    assert all(head in same for head in ("requests/s", "USD/100M", "Wh/1000"))
    make_run(outputs / "rte", "RTE", machine={"cpu": "Another one", "cores_available": 8})
    found = rows_of("boolq", "rte")
    assert tables.machines(found) == ["A Processor, 2 cores", "Another one, 8 cores"]
    mixed = tables_markdown.speed_markdown(found)
    assert not any(head in mixed for head in ("requests/s", "USD/100M", "Wh/1000"))
    assert mixed.count("600.0x") == 6, "factors stay: of both, and of their mean"
    (note,) = [note for note in tables_markdown.notes(found) if "machines" in note]
    assert "A Processor, 2 cores; Another one, 8 cores" in note and "only factors" in note


def test_two_nodes_of_one_kind_are_two_machines(outputs):
    card = {"cpu": "A Processor", "cores_available": 2}
    for name, node in (("boolq", "a1b2"), ("rte", "c3d4")):
        make_run(outputs / name, machine=card | {"node": node})
    found = rows_of("boolq", "rte")
    assert tables.machines(found) == ["A Processor, 2 cores, node a1b2", "A Processor, 2 cores, node c3d4"]
    assert "requests/s" not in tables_markdown.speed_markdown(found)
    make_run(outputs / "rte", machine=card | {"node": "a1b2"})
    assert "requests/s" in tables_markdown.speed_markdown(rows_of("boolq", "rte")), "both on one node"


def test_a_run_whose_chapters_come_from_two_machines_is_of_both(outputs):
    make_run(outputs / "boolq")
    path = outputs / "boolq" / "results" / "07_serving.json"
    path.write_text(path.read_text().replace("A Processor", "Another one"))
    assert tables.machines(rows_of("boolq")) == ["A Processor, Another one, 2 cores"]


@pytest.mark.parametrize(
    ("task", "counts", "limits", "trained", "tested"),
    [
        ("BoolQ", {"train": 3500, "test": 1500}, {}, "3,500, a subset of 9,427", "1,500 of 3,270"),
        ("BoolQ", {"train": 8470, "test": 3270}, {}, "8,470", "3,270"),
        ("CB", {"train": 222, "test": 56}, {"n_train": 8500}, "222", "56"),
        ("RTE", {}, {"n_train": 96, "n_test": 0}, "96, a subset of 2,490", "all there was"),
        ("CB", {"train": 189, "test": 56}, {}, "189", "56"),
        ("COPA", {"train": 602, "test": 200}, {}, "602", "200"),
        ("COPA", {"train": 500, "test": 100}, {}, "500, a subset of 800", "100 of 200"),
        ("docs", {}, {"n_train": 8500}, "8,500", "1,500"),
        ("WiC", {}, {}, "all there was", "all there was"),
    ],
)
def test_the_sizes_of_the_data_are_named_and_whether_they_are_a_subset(outputs, task, counts, limits, trained, tested):
    make_run(outputs / "one", task, counts=counts, limits=limits)
    text = tables_markdown.accuracy_markdown(rows_of("one"))
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {task} ")]
    assert [cell.strip() for cell in line.split("|")[3:5]] == [trained, tested]


def test_a_teacher_that_had_learnt_another_task_before_is_called_so(outputs):
    make_run(
        outputs / "multirc-after-boolq", "MultiRC", limits={"teacher": "outputs/boolq-after-docs/models/teacher-0"}
    )
    make_run(outputs / "rte", "RTE", limits={"teacher": "some/model"})
    make_run(outputs / "wic", "WiC", limits={"teacher": "/home/me/models/mine"})
    told = " ".join(tables_markdown.notes(rows_of("multirc-after-boolq", "rte", "wic")))
    assert (
        "learnt another run's task before" in told and ": MultiRC (multirc-after-boolq) after boolq-after-docs." in told
    )
    assert [row_of(name)["after"] for name in ("multirc-after-boolq", "rte", "wic")] == ["boolq-after-docs", "", ""]


def test_an_accuracy_near_guessing_is_called_so(outputs):
    make_run(outputs / "boolq", guess=0.72)
    expected = (
        "Not clearly above always giving the same answer, so what is kept of it means nothing: BoolQ (boolq) (72.0%)."
    )
    assert expected in tables_markdown.notes(rows_of("boolq"))
    make_run(outputs / "boolq", guess=0.70)
    assert expected not in tables_markdown.notes(rows_of("boolq"))


def cells(text, task):
    head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return dict(zip(head, next(line for line in lines if line[0] == task), strict=True))


def test_the_papers_numbers_stand_beside_ours(outputs):
    make_run(outputs / "multirc", "MultiRC")
    found = rows_of("multirc")
    scores, factors = (make(found) for make in (tables_markdown.accuracy_markdown, tables_markdown.speed_markdown))
    shown = cells(scores, "MultiRC")
    assert shown["teacher (95 %)"] == "80.0% (75.0% to 84.0%)" and shown["served (95 %)"] == "76.0% (71.0% to 80.0%)"
    paper_cells = [shown[f"paper: {name}"] for name in ("BERT", "6 layers", "4 layers", "RoBERTa")]
    assert paper_cells == ["42.0%", "37.5%", "36.7%", "50.3%"]
    shown = cells(factors, "MultiRC")
    assert shown["paper, CPU only"] == "25.0x, 17.5x" and shown["vs own teacher"] == "30.0x"
    assert cells(factors, "BoolQ (no run)")["paper, CPU only"] == "40.3x" and shown["kept"] == "95.0%"
    assert "geometric mean" not in factors, "one run has no mean"


def test_what_is_written_can_be_read_again(outputs):
    make_run(outputs / "boolq")
    found = rows_of("boolq", broken(outputs, "failed"))
    tables_markdown.write(outputs / "sweep", found)
    table = pd.read_csv(outputs / "sweep" / "tables.csv")
    assert tuple(table.columns) == tables.COLUMNS and len(table) == len(found)
    by_task = table.set_index("task")
    assert by_task.loc["BoolQ", "speedup_vs_padded"] == pytest.approx(600)
    assert math.isnan(by_task.loc["RTE", "speedup_vs_padded"]) and math.isnan(by_task.loc["RTE", "retention"])
    page = (outputs / "sweep" / "tables.md").read_text()
    assert tables_markdown.accuracy_markdown(found) in page and "- No result: RTE" in page
    assert json.dumps(found, allow_nan=False), "a chapter's facts hold no NaN"


def test_the_sources_say_where_each_row_comes_from(outputs):
    make_run(outputs / "boolq")
    first, second = tables.sources(tables.gather(["boolq", broken(outputs, "missing")]))
    assert first["machine"] == "A Processor, 2 cores" and first["ended"] == "2026-11-20" and first["teacher"] == "small"
    assert first["PyTorch"] == "2.0" and first["commit"] == "abc"
    assert second["run"] == "rte-minilm" and second["machine"] == second["ended"] == ""


def test_nothing_at_all_makes_tables_too(outputs):
    found = rows_of(broken(outputs, "missing"))
    tables_markdown.write(outputs / "sweep", found)
    assert tables.machines(found) == [] and "22.4x" in (outputs / "sweep" / "tables.md").read_text()


def test_the_reference_run_reads_as_its_own_story_tells(monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(reference.REFERENCES))
    name = reference.MAIN
    kept = reference.read(name)
    told = reference.record_of(kept.records, "09_story")["facts"]["speedups"]
    row = row_of(name)
    against = list(told["throughput"].values())
    ours = [row[f"speedup_vs_{what}"] for what in ("padded", "unpadded", "teacher")]
    assert ours == pytest.approx([against[0], against[1], against[3]], rel=1e-4)
    assert row["served"] == pytest.approx(told["accuracy"], rel=1e-4) and row["task"] == kept.about["task"]


def test_every_task_of_the_paper_has_both_of_its_tables():
    assert all(tables_markdown.papers(task) for task in fastformers.TASKS) and tables_markdown.papers("docs") == []
    assert tables.OFFICIAL.keys() == {*fastformers.TASKS} - {"ReCoRD"}


def test_a_label_says_smoke_no_result_and_the_run_where_a_task_has_several(outputs):
    for name, task, size in (
        ("boolq", "BoolQ", "standard"),
        ("boolq-smoke", "BoolQ", "smoke"),
        ("wic", "WiC", "smoke"),
    ):
        make_run(outputs / name, task, size)
    found = tables_markdown.labels(rows_of("boolq", "boolq-smoke", "wic", "rte-minilm"))
    ours = ["BoolQ (boolq)", "BoolQ (boolq-smoke, smoke)", "RTE (no result)", "WiC (smoke)"]
    assert [label for label in found if "no run" not in label] == ours and "CB (no run)" in found


def test_what_a_guess_keeps_is_in_no_mean(outputs):
    for name, task, guess in (("boolq", "BoolQ", 0.9), ("rte", "RTE", 0.5)):
        make_run(outputs / name, task, guess=guess)
    found = rows_of("boolq", "rte")
    found[0]["retention"] = 0.5
    mean = cells(tables_markdown.speed_markdown(found), "*geometric mean*")
    assert mean["kept"] == "95.0%" and mean["vs padded"] == "600.0x"
    assert "The mean of what is kept is over RTE (rte), other means over all." in tables_markdown.notes(found)
    assert not any("mean of what is kept" in note for note in tables_markdown.notes(rows_of("rte")))


@pytest.mark.parametrize(
    "names", [("boolq", "zero", "rte-minilm", "docs"), ("rte-minilm",), ()], ids=["several", "none", "itself"]
)
def test_the_chapter_runs_whatever_the_runs_left(outputs, names):
    """All its code, with its asserts; by default its only run is the one in whose folder it is."""
    make_run(outputs / "boolq")
    make_run(outputs / "docs", "docs", size="smoke")
    ladder = pd.read_csv(outputs / make_run(outputs / "zero", "MultiRC") / "ladder.csv")
    scores = [name for name in ladder.columns if name.startswith("accuracy")]
    ladder[scores] = ladder[scores].where(ladder[scores].isna(), 0)  # a teacher that says no to everything
    ladder.assign(retention=None).to_csv(outputs / "zero" / "ladder.csv", index=False)
    code = [source for marker, source in params.cells(params.TABLES) if not marker.startswith("[markdown]")]
    (declared,) = [source for source in code if "run_dir: str" in source]
    given = {"run": "all", "run_dir": str(outputs / ("all" if names else "docs")), "runs": [*names]}
    namespace = {}
    exec(declared, namespace)
    namespace |= given
    for source in code:
        if source != declared:
            exec(source, namespace)
    folder = Path(given["run_dir"])
    saved = json.loads((folder / "results" / f"{params.TABLES}.json").read_text())
    ok = [row["run"] for row in saved["facts"]["rows"] if row["status"] == "ok"]
    assert ok == [name for name in names or ["docs"] if name != "rte-minilm"]
    assert (folder / "tables.csv").exists() and (folder / "figures" / "tables.png").exists() == bool(ok)


def test_floors_stand_beside_the_teacher_and_an_unclear_one_is_no_teacher(outputs):
    make_run(outputs / "boolq", "BoolQ", floors=floors_of(10.0))
    make_run(outputs / "rte", "RTE", floors=floors_of(1.0, score=0.79))
    make_run(outputs / "docs", "docs")  # kept from before there were floors
    found = rows_of("boolq", "rte", "docs")
    by_task = {row["task"]: row for row in found}
    assert [by_task[task]["teacher_is_clear"] for task in ("BoolQ", "RTE", "docs")] == [True, False, None]
    assert by_task["BoolQ"]["retention"] == pytest.approx(0.95) == by_task["docs"]["retention"]
    assert by_task["RTE"]["retention"] is None and by_task["RTE"]["floor_score"] == 0.79
    accuracy, speed = tables_markdown.accuracy_markdown(found), tables_markdown.speed_markdown(found)
    assert "70.0% (68.0% to 72.0%), words" in accuracy and "+10.0 (+8.0 to +12.0)" in accuracy
    lines = {line.split("|")[1].strip(): line for line in speed.splitlines()[2:]}
    assert "95.0%" in lines["BoolQ"] and "no teacher" in lines["RTE"] and "no teacher" not in lines["docs"]
    told = tables_markdown.notes(found)
    assert any("No teacher" in note and "RTE (rte) (+1.0 (-1.0 to +3.0) points above words)" in note for note in told)
    assert [row["unclear"] for row in tables_markdown.figure_rows(found) if row["run"]] == [False, True, False]
    tables_markdown.write(outputs, found)
    assert tuple(pd.read_csv(outputs / "tables.csv").columns) == tables.COLUMNS


def test_tables_of_runs_without_floors_have_no_column_of_them(outputs):
    make_run(outputs / "boolq")
    assert "floor" not in tables_markdown.accuracy_markdown(rows_of("boolq"))
