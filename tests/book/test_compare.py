"""A run beside another, beside the paper, and what the two do not share: hand-made ladders with known ratios."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fflib.book import compare
from fflib.files import InputError
from fflib.runs import ladder as rungs
from fflib.runs.ladder import COLUMNS, Rung
from fflib.story import fastformers
from fflib.story.factors import AGAINST

MACHINE = {
    "cpu": "A Processor", "cores": 2, "cores_available": 2, "hyper_threads": False, "instruction_sets": ["avx2"],
    "ram_gb": 8.0, "system": "Linux x86_64", "python": "3.11.7", "versions": {"torch": "2.0"}, "commit": "abc1234",
}  # fmt: skip
PARAMETERS = {"run": "docs-cpu", "run_dir": "outputs/docs-cpu", "task": "docs", "size": "standard", "rate": 2e-4}
DATA = {"train": "7a", "dev": "de", "test": "7e"}
CHAPTERS = ("01_baseline", "02_batching")
SAME = ["Same machine, data and code: differences are noise or chance."]


def rung(name, stacks_on="", per_s=None, accuracy=None, **fields):
    """A rung whose interval is its requests/s less and plus a tenth; accuracy is (value, low, high)."""
    made = Rung(name, stacks_on, "m", "e", "fp32", "none", 1, 2, **fields)
    if per_s:
        made.throughput_per_s, made.latency_p50_ms, made.usd_per_100m = per_s, 1e3 / per_s, 1e4 / per_s
        made.evidence["throughput_interval_per_s"] = [0.9 * per_s, 1.1 * per_s]
    if accuracy:
        made.accuracy, made.accuracy_low, made.accuracy_high = accuracy
        made.retention = accuracy[0] / 0.8
    return asdict(made)


LADDER = (
    rung("reference padded", "", 2.0),
    rung("reference unpadded", "reference padded", 8.0, (0.80, 0.75, 0.85)),
    rung("instances", "reference unpadded", 40.0, (0.70, 0.65, 0.74)),
    rung("broken", "instances", status="failed: no engine"),
)


def write_run(folder: Path, made=LADDER, machine=(), parameters=(), data=(), key="k", chapters=CHAPTERS) -> Path:
    """Write what a run leaves; the rungs are the last chapter's. Dicts change the usual values."""
    (folder / "results").mkdir(parents=True)
    rungs.write_ladder(folder, rungs.ladder(made))
    for chapter in chapters:
        record = {
            "schema_version": 1, "chapter": chapter, "key": f"{key}-{chapter}", "written": "2026-11-20T10:00:00+00:00",
            "parameters": {**PARAMETERS, **dict(parameters)}, "machine": {**MACHINE, **dict(machine)},
            "facts": {"data_fingerprint": {**DATA, **dict(data)}}, "rungs": made if chapter == chapters[-1] else [],
        }  # fmt: skip
        (folder / "results" / f"{chapter}.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def here(tmp_path):
    return compare.load(write_run(tmp_path / "here"))


@pytest.fixture
def beside(tmp_path, here):
    """Compare with a run that is as ``here`` but for the given changes."""
    return lambda **changes: compare.compare(here, compare.load(write_run(tmp_path / "there", **changes)))


def listed(comparison):
    return [tuple(row) for row in comparison.differences.itertuples(index=False)]


def test_what_is_loaded_is_what_was_written(here):
    assert here.name.endswith("/here") and tuple(here.ladder.columns) == COLUMNS
    assert [record["chapter"] for record in here.records] == list(CHAPTERS)
    written = rungs.ladder(LADDER)
    pd.testing.assert_frame_equal(here.ladder, written.where(written.notna(), np.nan), check_dtype=False)


def test_equal_runs(beside):
    found = beside()
    timed = found.rungs[:3]
    assert timed["ratio"].tolist() == [1, 1, 1] and timed["ratio_low"].tolist() == pytest.approx([0.9 / 1.1] * 3)
    assert found.rungs["points"].dropna().tolist() == [0, 0] and not found.rungs["apart"].any()
    assert found.only_here == found.only_there == listed(found) == [] and found.judgement == SAME
    assert "Nothing." in compare.markdown(found)


def test_ratios_and_their_intervals(beside):
    others = (
        rung("reference padded", "", 1.0), rung("reference unpadded", "reference padded", 16.0, (0.9, 0.86, 0.94)),
        rung("instances", "reference unpadded", 20.0, (0.68, 0.6, 0.65)), LADDER[3],
    )  # fmt: skip
    table = beside(made=others).rungs.set_index("rung")
    assert table["ratio"].tolist()[:3] == [2.0, 0.5, 2.0]
    assert table.loc["instances", ["ratio_low", "ratio_high"]].tolist() == pytest.approx([36 / 22, 44 / 18])
    assert table.loc["instances", ["speedup_step_here", "speedup_step_there"]].tolist() == [5.0, 1.25]
    assert table["points"].tolist()[1:3] == pytest.approx([-10, 2])
    assert table["apart"].tolist() == [False, True, False, False]  # 0.65 ends where 0.65 begins: not apart


def test_a_speed_beyond_its_interval_is_not_called_noise(beside):
    faster = (*LADDER[:2], rung("instances", "reference unpadded", 60.0, (0.70, 0.65, 0.74)), LADDER[3])
    found = beside(made=faster)
    assert len(found.judgement) == 1 and "do not meet for: instances" in found.judgement[0]


def test_each_sides_headline_stands_on_top(beside, here):
    against = {
        name: {"factor": 24.0, "low": 23.0, "high": 25.0, "product": 20.0, "requests/s": 2.0} for name in AGAINST
    }
    here.records[-1]["facts"]["headline"] = {"rung": "instances", "rounds": 6, "requests/s": 48.0, "against": against}
    found = beside()
    assert "24x (23x to 25x) as fast as the padded reference" in found.headlines[0]
    assert "products of steps" in found.headlines[1]
    text = compare.markdown(found)
    assert f"- here: {found.headlines[0]}" in text and f"- there: {found.headlines[1]}" in text
    assert "ratios of one table's seconds" in compare.against_paper(here).headlines[1]


def test_apart_in_the_other_direction(beside):
    worse = (*LADDER[:2], rung("instances", "reference unpadded", 40.0, (0.5, 0.4, 0.6)))
    assert beside(made=worse).rungs["apart"].tolist() == [False, False, True]


def test_what_is_missing_stays_empty(beside):
    untimed = {**LADDER[2], "evidence": {}}
    found = beside(made=(rung("reference padded"), LADDER[1], untimed, LADDER[3]))
    table = found.rungs.set_index("rung")
    assert math.isnan(table.loc["reference padded", "ratio"]) and math.isnan(table.loc["broken", "ratio"])
    assert table.loc["instances", "ratio"] == 1 and math.isnan(table.loc["instances", "ratio_low"])
    rows = [[cell.strip() for cell in line.split("|")] for line in compare.markdown(found).splitlines()]
    speed = {row[1]: row[2:-1] for row in rows if len(row) == 8}  # six columns, and the two outside
    assert speed["reference padded"] == ["2.0", "", "500.0", "", ""] and speed["broken"] == [""] * 5
    assert speed["instances"][-1] == "1.00" and speed["reference unpadded"][-1] == "1.00 (0.82 to 1.22)"
    assert "nan" not in compare.markdown(found).lower()


def test_a_rung_that_failed_on_one_side_says_so(beside):
    mended = rung("broken", "instances", 60.0)
    found = beside(made=(*LADDER[:3], mended))
    assert listed(found) == [("rungs", "status", "broken", "failed: no engine", "ok")]
    assert "- rungs, status (broken): failed: no engine | ok" in compare.markdown(found)


def test_rungs_of_one_side(beside):
    found = beside(made=(*LADDER[:2], rung("pruned, by half", "reference unpadded", 30.0)))
    assert (found.only_here, found.only_there) == (["instances", "broken"], ["pruned, by half"])
    text = compare.markdown(found)
    assert "Only here: instances; broken." in text and "Only there: pruned, by half." in text


def test_no_rung_in_common(beside):
    text = compare.markdown(beside(made=(rung("another", "", 3.0),)))
    assert "No rung is in both." in text and "Only there: another." in text


def test_the_same_name_on_another_ground(beside):
    found = beside(made=(*LADDER[:2], rung("instances", "reference padded", 40.0), LADDER[3]))
    assert listed(found) == [("rungs", "stacks_on", "instances", "reference unpadded", "reference padded")]
    assert found.judgement == ["Rungs of one name have another stacks_on."]


def test_another_machine(beside):
    found = beside(machine={"cpu": "B", "instruction_sets": ["avx2", "amx_int8"], "ram_gb": 9.0}, key="other")
    assert listed(found)[:2] == [
        ("machine", "cpu", "", "A Processor", "B"), ("machine", "instruction_sets", "", "avx2", "avx2, amx_int8"),
    ]  # fmt: skip
    assert found.judgement[0] == "Other machine (cpu, instruction_sets): compare factors, not seconds."
    assert "The code may be another" in found.judgement[1] and len(found.judgement) == 2


def test_other_software(beside):
    found = beside(machine={"versions": {"torch": "2.1"}, "python": "3.12.0"})
    assert [row[:2] for row in listed(found)] == [("software", "python"), ("software", "torch")]
    assert len(found.judgement) == 1 and found.judgement[0].startswith("Other software (python, torch)")


def test_other_data(beside):
    assert beside(data={"test": "7f"}).judgement == ["Other data (test): accuracies cannot be compared."]


def test_other_training_data_with_the_same_test_split(beside):
    found = beside(data={"train": "7b"})
    assert listed(found) == [("data", "train", "", "7a", "7b")]
    assert len(found.judgement) == 1 and "the same test split" in found.judgement[0]


def test_another_size(beside):
    found = beside(parameters={"size": "smoke", "n_test": 96, "run_dir": "elsewhere"}, data={"test": "0"}, key="other")
    assert ("parameters", "size", "", "standard", "smoke") in listed(found)
    assert ("parameters", "n_test", "", "", "96") in listed(found) and "run_dir" not in set(found.differences["field"])
    assert [sentence.split(":")[0] for sentence in found.judgement] == [
        "Other data (test)", "Other parameters", "The code may be another",
    ]  # fmt: skip
    assert "size standard, A Processor, 2 cores, threads 2, avx2, 2026-11-20, commit abc1234" in found.sides[0]
    assert "task docs, size smoke" in found.sides[1]


def test_other_code_on_the_same_machine(beside):
    found = beside(key="other", machine={"commit": "def5678"})
    assert listed(found) == [
        ("code", "commit", "", "abc1234", "def5678"),
        *(("code", "chapter key", chapter, f"k-{chapter}", f"other-{chapter}") for chapter in CHAPTERS),
    ]
    assert found.judgement == ["Other code: a rung of one name may be made in two ways."]


def test_another_commit_or_name_with_the_same_keys_is_no_other_code(beside):
    found = beside(machine={"commit": ""}, parameters={"run": "b", "data_source": "/data", "rate": 2.0000001e-4})
    assert [row[1:] for row in listed(found)] == [
        ("run", "", "docs-cpu", "b"), ("data_source", "", "", "/data"), ("commit", "", "abc1234", ""),
    ]  # fmt: skip
    assert found.judgement == SAME and "commit unknown" in found.sides[1]
    assert "- code, commit: abc1234 | none" in compare.markdown(found)


def test_a_difference_in_one_chapter_names_it(beside, here):
    here.records[1]["parameters"]["rate"] = 0.1
    assert listed(beside()) == [("parameters", "rate", "02_batching", "0.1", "0.0002")]


def test_chapters_of_one_side(beside):
    found = beside(chapters=("01_baseline", "04_pruning"))
    assert listed(found) == [("chapters", "of one side", "", "02_batching", "04_pruning")]
    assert found.judgement == SAME


def test_without_a_chapter_in_common_nothing_is_judged(beside):
    found = beside(chapters=("05_quantization",))
    assert found.judgement == ["No chapter that tells its data is in both: nothing says what may be compared."]


def test_the_paper(here):
    found = compare.against_paper(here)
    table = found.rungs.set_index("rung")
    assert table["rung_there"].to_dict() == {
        "reference padded": "BERT-base, padded", "reference unpadded": "no padding", "instances": "several instances",
    }  # fmt: skip
    assert table.loc["instances", "speedup_vs_padded_here"] == 20
    assert table.loc["instances", "speedup_vs_padded_there"] == pytest.approx(734.35 / 5.68)
    assert table.loc["instances", "speedup_step_there"] == pytest.approx(9.97 / 5.68)
    assert table.loc["instances", "retention_there"] == pytest.approx(73.43 / 74.01)
    assert found.only_here == ["broken"]
    assert found.only_there == ["distilled student", "int8 and graph", "pruned 25/25", "pruned 33/50"]
    assert listed(found) == [("rungs", "stacks_on", "instances", "reference unpadded", "int8 dynamic")]
    text = compare.markdown(found)
    assert "87.5%" in text and "99.2%" in text and "5.00x" in text and "129.3x" in text
    assert "ratio of requests/s |" not in text and "p50" not in text
    assert found.judgement == [compare.NO_SECONDS] and "requests/s and their ratio are left out" in text


def test_a_rung_of_the_paper_that_nothing_here_does(here, monkeypatch):
    table = fastformers.table()
    names = {"no padding": "", "several instances": "broken"}
    table["rung_here"] = [names.get(row.rung, row.rung_here) for row in table.itertuples()]
    table["rung"] = table["rung"].replace("no padding", "reference unpadded")  # the same name, but not the same thing
    monkeypatch.setattr(fastformers, "table", lambda: table)
    found = compare.against_paper(here)
    assert "reference unpadded" in found.only_there and "reference unpadded" in found.only_here
    assert found.rungs["rung"].tolist() == ["reference padded", "broken"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Outputs of the test's own, with the run docs-cpu, and no reference."""
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(compare, "REFERENCES", tmp_path / "outputs" / "reference")
    write_run(tmp_path / "outputs" / "docs-cpu")
    return tmp_path


def run_command(capsys, *arguments):
    status = compare.main(list(arguments))
    return status, capsys.readouterr()


def test_the_command_finds_references_runs_folders_and_the_paper(world, capsys):
    write_run(world / "outputs" / "reference" / "kept", machine={"cpu": "Of a reference"})
    write_run(world / "outputs" / "docs-cpu-smoke", parameters={"size": "smoke"})
    write_run(world / "brought", machine={"cpu": "Of a friend"})
    for other, words in {
        "kept": "Of a reference", "docs-cpu-smoke": "size smoke", str(world / "brought"): "Of a friend",
        "paper": "there: the paper", "": "there: the paper",
    }.items():  # fmt: skip
        status, said = run_command(capsys, "--run", "docs-cpu", "--with", other)
        assert (status, said.err) == (0, "") and words in said.out and "| instances " in said.out


def test_without_a_name_the_run_is_set_beside_its_own_reference(world, capsys):
    write_run(world / "outputs" / "reference" / "docs-cpu", machine={"cpu": "Of its reference"})
    status, said = run_command(capsys)
    assert status == 0 and "Of its reference" in said.out
    write_run(world / "outputs" / "docs-cpu-smoke")
    assert "there: the paper" in run_command(capsys, "--size", "smoke")[1].out


def damage(folder, what):
    ladder, record = folder / "ladder.csv", folder / "results" / "01_baseline.json"
    text = ladder.read_text()
    if what == "no ladder":
        ladder.unlink()
    elif what == "no results":
        (folder / "results").rename(folder / "elsewhere")
    elif what.startswith("json"):
        record.write_text({"json": record.read_text()[:50], "json list": "[]", "json other": '{"chapter": 1}'}[what])
    else:
        ladder.write_bytes({
            "empty": b"", "cut": text[: text.rindex("none")].encode(), "bytes": b"\xff\xfe\x00",
            "number": text.replace("40.0", "forty").encode(), "column": text.replace("status", "state").encode(),
            "fewer": b"rung\na\n", "twice": (text + text.splitlines()[-1] + "\n").encode(),
            "order": text.replace("rung,stacks_on", "stacks_on,rung", 1).encode(),
        }[what])  # fmt: skip


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no ladder", "holds no ladder.csv; run the whole book first"), ("no results", "holds no results/NN_name.json"),
        ("json", "01_baseline.json is damaged"), ("json list", "json is damaged (it needs chapter, key"),
        ("json other", "json is damaged (it needs"), ("empty", "ladder.csv is damaged"), ("cut", "a row is cut short"),
        ("bytes", "ladder.csv is damaged"), ("number", "ladder.csv is damaged"), ("twice", "two have one name"),
        ("column", "other columns than this code's (state, status)"), ("fewer", "other columns than this code's (acc"),
        ("order", "other columns than this code's (another order)"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_a_sentence(world, capsys, what, words):
    damage(write_run(world / "brought"), what)
    status, said = run_command(capsys, "--with", str(world / "brought"))
    assert status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("error: ") and words in said.err and str(world / "brought") in said.err


def test_a_ladder_of_before_the_last_column_can_still_be_read(world, capsys):
    path = write_run(world / "brought") / "ladder.csv"
    text = path.read_text()
    path.write_text("\n".join(line.rpartition(",")[0] for line in text.splitlines()) + "\n")
    assert COLUMNS[-1] in text and COLUMNS[-1] not in path.read_text()
    status, said = run_command(capsys, "--with", str(world / "brought"))
    assert (status, said.err) == (0, "")


def test_an_unknown_name_says_what_there_is(world, capsys):
    write_run(world / "outputs" / "reference" / "kept")
    status, said = run_command(capsys, "--with", "nowhere")
    assert (status, said.out) == (2, "") and said.err.count("\n") == 1
    assert "nothing named 'nowhere' to compare with; there are paper, docs-cpu, kept" in said.err


def test_a_run_that_has_not_run_or_does_not_exist(world, capsys):
    status, said = run_command(capsys, "--run", "boolq-minilm")
    assert status == 2 and "boolq-minilm holds no ladder.csv; run the whole book first" in said.err
    status, said = run_command(capsys, "--run", "nowhere")
    assert status == 2 and said.err.count("\n") == 1 and "there is no run 'nowhere'" in said.err


def test_load_takes_a_folder_that_is_not_there_for_one_without_a_ladder(tmp_path):
    with pytest.raises(InputError, match="holds no ladder.csv"):
        compare.load(tmp_path / "nowhere")
