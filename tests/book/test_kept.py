"""What a kept run found in a chapter, beside what this run measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fflib.book import inputs, kept
from fflib.files import InputError
from fflib.runs import params


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs-cpu" / "results").mkdir(parents=True)
    write(tmp_path)
    return tmp_path


def write(folder: Path, name: str = "03_distillation", **values: Any) -> None:
    record = {
        "schema_version": 1, "chapter": name, "key": "then", "written": "2026-11-30T02:07:29+00:00", "parameters": {},
        "machine": {"cpu": "a processor", "commit": "abc1234"}, "facts": {"tried": [1, 2]}, "rungs": [{"rung": "a"}],
    }  # fmt: skip
    (folder / "docs-cpu" / "results" / f"{name}.json").write_text(json.dumps(record | values))


def test_it_is_the_same_chapter_with_a_label_that_says_whose_numbers_these_are(folder: Path) -> None:
    found = kept.chapter_of("03_distillation", "docs-cpu", folder)
    assert found and found.facts == {"tried": [1, 2]} and found.rungs == [{"rung": "a"}]
    assert found.label == "kept run docs-cpu, a processor, 2026-11-30, commit abc1234"
    write(folder, machine={"cpu": "a processor", "commit": None})
    assert kept.chapter_of("03_distillation", "docs-cpu", folder).label == "kept run docs-cpu, a processor, 2026-11-30"


def test_a_chapter_that_was_counted_otherwise_then_is_the_same(folder: Path) -> None:
    write(folder, "08_story")
    assert kept.chapter_of("09_story", "docs-cpu", folder).facts == {"tried": [1, 2]}


def test_what_is_not_kept_is_none_and_never_an_error(folder: Path) -> None:
    assert kept.chapter_of("04_pruning", "docs-cpu", folder) is None
    assert kept.chapter_of("03_distillation", "another", folder) is None


def test_what_is_damaged_or_no_name_is_told(folder: Path) -> None:
    write(folder, schema_version=0)
    with pytest.raises(InputError, match="schema"):
        kept.chapter_of("03_distillation", "docs-cpu", folder)
    write(folder, facts=[])
    with pytest.raises(InputError, match="damaged"):
        kept.chapter_of("03_distillation", "docs-cpu", folder)
    with pytest.raises(InputError, match="names no kept run"):
        kept.chapter_of("03_distillation", "../docs-cpu", folder)


def test_a_chapters_bench_finds_the_kept_default_run() -> None:
    defaults = {name: one.default for name, one in params.declared("03_distillation").items()}
    found = inputs.Inputs("03_distillation", defaults).kept()
    assert found and found.facts and found.label.startswith("kept run docs-cpu, ")
