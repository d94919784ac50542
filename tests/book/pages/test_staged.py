"""What is written beside the chapters: the pages that can be made; of the others it is said why not."""

from small_runs import be_current, make_run, splits

from fflib.book import reference
from fflib.book.pages import sources, staged


def test_a_folder_without_a_ladder_has_no_pages_and_nothing_is_said(tmp_path, capsys):
    assert staged.write(tmp_path, tmp_path) == [] and capsys.readouterr().out == ""
    assert staged.links([]) == ""


def test_a_damaged_run_has_none_and_it_is_said(tmp_path, capsys):
    (tmp_path / "ladder.csv").write_text("no,ladder\n1,2\n")
    assert staged.write(tmp_path, tmp_path) == [] and "none of the pages" in capsys.readouterr().out


def test_pages_that_can_be_made_are_written_and_the_others_are_named(tmp_path, monkeypatch, capsys):
    be_current(monkeypatch)
    run, kept, staging = make_run(tmp_path / "outputs" / "docs-cpu"), tmp_path / "reference", tmp_path / "staging"
    reference.keep(run, "other", splits(), folder=kept)
    about = kept / "other" / "results" / "04_pruning.json"
    about.write_text(about.read_text().replace("2026-01-0", "2025-01-0"))
    monkeypatch.setattr(sources, "kept_runs", lambda *_: [reference.read("other", kept)])
    staging.mkdir()
    names = staged.write(run, staging)
    assert (
        names == ["which_one", "cpu_or_gpu", "graphics_card", "other_machines"]
        and (staging / "figures" / "other_machines.png").exists()
    )
    said = capsys.readouterr().out
    assert 'no page "questions"' in said and 'no page "what_did_not_work"' in said
    text = (staging / "which_one.md").read_text(encoding="utf-8")
    assert "★" in text and text.startswith(
        f"# Which one do I take?\n\n{staged.SMOKE}"
    )  # the made-up run is of size smoke
    assert str(tmp_path) not in text
    assert staged.links(names).startswith("- [Which one do I take?](which_one.md) Your")


def test_a_link_to_a_page_that_could_not_be_made_is_words():
    text = "see [this](which_one.md) and [that](questions.md) and [more](elsewhere.md)"
    found = staged.LINK.sub(lambda match: staged._link(match, {"questions": ""}), text)
    assert found == "see this and [that](questions.md) and [more](elsewhere.md)"
