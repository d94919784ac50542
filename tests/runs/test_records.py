"""What a chapter left: found, refused where it is damaged or of other code, set aside where it is stale."""

import json

import pytest

from fflib import files
from fflib.files import InputError
from fflib.runs import records, run_folder
from fflib.runs.ladder import COLUMNS


def test_a_missing_result_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match="run chapter 01_baseline first"):
        records.current(tmp_path, "01_baseline")


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 0}'])
def test_a_damaged_result_is_refused(tmp_path, text):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "01_baseline.json").write_text(text)
    with pytest.raises(InputError, match="delete it and run again"):
        records.current(tmp_path, "01_baseline")


def test_results_of_other_code_are_not_mixed_in(tmp_path):
    (tmp_path / "results").mkdir()
    record = {"schema_version": 1, "chapter": "09_story", "key": "old", "facts": {}, "rungs": [],
              "parameters": {"run": "x", "run_dir": "y", "size": "smoke"}}  # fmt: skip
    (tmp_path / "results" / "09_story.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="other code"):
        records.current(tmp_path, "09_story")


def test_a_stale_or_damaged_result_is_set_aside_and_kept(tmp_path):
    path = tmp_path / "results" / "01_baseline.json"
    record = {"chapter": "01_baseline", "key": "now", "written": "", "parameters": {}, "machine": {}, "facts": {}}
    files.write_json(path, record | {"rungs": []})
    assert not records.set_aside(tmp_path, "01_baseline", "now") and path.exists()
    assert records.set_aside(tmp_path, "01_baseline", "later") and not path.exists()
    assert json.loads(path.with_suffix(".json.old").read_text())["key"] == "now"
    assert not records.set_aside(tmp_path, "02_batching", "now")


@pytest.mark.parametrize("name", ["01_baseline (1)", "01_baseline-PC.conflict", "01_baseline_copy", "._01_baseline"])
def test_a_copy_beside_a_result_is_none(tmp_path, name):
    """As folders have that are shared between machines; by symptom: every rung stands there twice."""
    record = {"chapter": "01_baseline", "key": "now", "written": "2", "parameters": {}, "machine": {}, "facts": {}}
    files.write_json(tmp_path / "results" / "01_baseline.json", record | {"rungs": []})
    files.write_json(tmp_path / "results" / f"{name}.json", record | {"rungs": [], "written": "1"})
    files.write_text(tmp_path / "ladder.csv", ",".join(COLUMNS) + "\n")
    assert [path.stem for path in records.readable(tmp_path)] == ["01_baseline"]
    assert [record["written"] for record in run_folder.load(tmp_path).records] == ["2"]
