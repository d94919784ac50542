"""Where pages take numbers from: this run, then kept runs, each with its machine, its date and the age of its code."""

import pytest
from small_pages import source
from small_runs import MACHINE, be_current, make_run, splits

from fflib.book import reference
from fflib.book.pages import sources
from fflib.measure import hardware
from fflib.runs import params, provenance


def test_a_fact_that_is_not_there_or_empty_is_missing_and_chapters_go_by_name():
    run = source({"07_story": {"headline": 3, "peer": []}})
    assert run.fact("09_story", "headline") == 3
    for name in ("peer", "nothing"):
        with pytest.raises(sources.Missing, match=name):
            run.fact("09_story", name)
    with pytest.raises(sources.Missing):
        run.parameter("05_quantization", "seed")
    assert run.last == "instances" and run.rung("instances")["accuracy"] == 0.77
    with pytest.raises(sources.Missing):
        run.rung("int8 broken")  # it failed
    assert [*run.stack()["rung"]][-2:] == ["distilled student", "instances"]


def test_a_row_is_found_by_its_values_also_where_its_columns_have_spaces():
    rows = [{"kept by": "size", "n": 1}, {"kept by": "chance", "n": 2}]
    assert sources.row(rows, kept_by="chance")["n"] == 2
    with pytest.raises(sources.Missing):
        sources.row(rows, kept_by="luck")


def test_the_key_of_a_record_can_be_made_again_with_the_machine_that_it_names():
    values = params.load_run("docs-cpu").chapter_values("02_batching")
    key = provenance.chapter_key("02_batching", values)
    assert provenance.chapter_key("02_batching", values, hardware.card()) == key
    assert provenance.chapter_key("02_batching", values, hardware.card() | {"cpu": "another"}) != key


def test_a_record_is_of_this_version_only_where_its_key_comes_out_again(monkeypatch):
    monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values, card: f"{chapter}, {card['cpu']}")
    record = {"chapter": "01_baseline", "parameters": {"task": "docs"}, "machine": MACHINE}
    same = record | {"key": "01_baseline, A processor (family 1)"}
    assert sources.version([same]) == sources.SAME
    assert sources.version([same, record | {"key": "01_baseline, another"}]) == sources.OLDER
    assert sources.version([same | {"chapter": "07_story"}]) == sources.OLDER  # no chapter of this book
    assert sources.version([same | {"parameters": {"task": "BoolQ"}}]) == sources.UNKNOWN  # its data are not here


def test_the_run_itself_is_not_shown_as_a_kept_one_but_another_is(tmp_path, monkeypatch):
    be_current(monkeypatch)
    run, kept = make_run(tmp_path / "outputs" / "docs-cpu"), tmp_path / "reference"
    reference.keep(run, "docs-cpu", splits(), folder=kept)
    assert not sources.book_of(run, kept).kept
    about = kept / "docs-cpu" / "results" / "04_pruning.json"
    about.write_text(about.read_text().replace("2026-01-0", "2025-01-0"))
    (other,) = sources.book_of(run, kept).kept
    assert other.label.startswith("kept run docs-cpu, A processor (family 1), 2026-01-0")
    assert "commit abc1234" in other.label and other.about["name"] == "docs-cpu"


def test_the_kept_runs_of_the_project_can_be_read_and_the_default_runs_is_first():
    kept = sources.kept_runs()
    assert kept[0].name == reference.MAIN and len({each.name for each in kept}) >= 3
