"""What README shows of kept runs: the measured headline where there is one, and where there is none, that."""

from __future__ import annotations

import json

import pytest
from small_runs import be_current, cells, ladder, make_run, splits

from fflib.book import readme, reference
from fflib.files import InputError, write_json
from fflib.runs import ladder as rungs
from fflib.story import headline_told
from fflib.story.factors import AGAINST

FACTORS = {"padded": 30.0, "unpadded": 15.0}


def told():
    """A headline of 30x where the steps multiply to 21.3x."""
    middles = (*FACTORS.values(), 12.0, 4.0, 3.0)
    against = {
        name: {"factor": middle, "low": 0.9 * middle, "high": 1.1 * middle, "product": middle / 1.4, "requests/s": 1.0}
        for name, middle in zip(AGAINST, middles, strict=True)
    }
    return {"rung": "chosen", "rounds": 6, "requests/s": 30.0, "against": against}


def with_headline(folder):
    """Let the run in ``folder`` have measured its headline."""
    path = folder / "results" / "09_story.json"
    record = json.loads(path.read_text())
    write_json(path, record | {"facts": record["facts"] | {"headline": told()}})
    rungs.write_ladder(folder, headline_told.in_ladder(ladder(), told()))
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A README with its markers, and a folder for references."""
    be_current(monkeypatch)
    first = f"# Book\n\n{readme.HEADLINE_BEGIN}\nold\n{readme.HEADLINE_END}\n"
    (tmp_path / "README.md").write_text(f"{first}\n{readme.BEGIN}\nold\n{readme.END}\n\nThe end.\n")
    return tmp_path


def keep(world, name, measured, task="docs"):
    run = make_run(world / "runs" / name, task, name)
    reference.keep(with_headline(run) if measured else run, name, splits(task), folder=world / "kept")


def written(world):
    readme.write(world / "README.md", world / "kept")
    assert readme.is_current(world / "README.md", world / "kept")
    return (world / "README.md").read_text()


def row_of(text, name):
    return next(cells(line) for line in text.splitlines() if line.startswith(f"| {name} "))


def test_the_measured_factor_is_what_it_says(world):
    keep(world, reference.MAIN, measured=True)
    text = written(world)
    assert "**30x (27x to 33x)** as fast as the padded reference and **15x (13.5x to 16.5x)**" in text
    assert "in 6 rounds" in text and "Its steps multiply to 21.4x" in text
    row = row_of(text, "chosen")
    assert row[5:7] == ["30.0x", "15.0x"], "the last rung of the ladder has the same number"
    assert row_of(text, "small")[5:7] == ["8.0x", "4.0x"], "other rungs are products of steps"
    assert text.startswith("# Book\n") and text.endswith("The end.\n") and "\nold\n" not in text


def test_a_run_that_measured_none_says_so_and_shows_the_product(world):
    keep(world, reference.MAIN, measured=False)
    text = written(world)
    assert "products of steps, like those of all rungs: this run measured no headline" in text
    assert row_of(text, "chosen")[5:7] == ["21.3x", "10.7x"]


def test_further_runs_are_told_apart_by_how_their_factor_came_about(world):
    keep(world, reference.MAIN, measured=True)
    keep(world, "older", measured=False, task="BoolQ")
    keep(world, "newer", measured=True)
    text = written(world)
    assert row_of(text, "older")[5:7] == ["21.3x, product of steps", "10.7x, product of steps"]
    assert row_of(text, "newer")[5:7] == ["30x (27x to 33x)", "15x (13.5x to 16.5x)"]


def test_the_first_screen_has_the_figure_and_the_measured_factors_and_no_table(world):
    keep(world, reference.MAIN, measured=True)
    keep(world, "older", measured=False, task="BoolQ")
    first, _, rest = written(world).partition(readme.HEADLINE_END)
    assert "figures/ladder.png" in first and "|" not in first and "figures/ladder.png" not in rest
    assert "**30x (27x to 33x)**" in first and "**15x (13.5x to 16.5x)**" in first
    assert "The stock model was not trained for the task." in first, "what has the speed and what the accuracy"
    assert rest.count("<details>") == rest.count("</details>") == 1, "other runs are folded"


@pytest.mark.parametrize("lost", ["HEADLINE_BEGIN", "HEADLINE_END", "BEGIN", "END"])
def test_a_marker_that_is_missing_is_named(world, lost):
    keep(world, reference.MAIN, measured=True)
    page, marker = world / "README.md", getattr(readme, lost)
    page.write_text(page.read_text().replace(marker, ""))
    with pytest.raises(InputError, match=f"README.md needs one line .*{marker}"):
        readme.write(page, world / "kept")
