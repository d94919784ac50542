"""Questions people ask: each is answered with numbers of a run that is named, or says what was not measured."""

import re

import pytest
import yaml
from small_pages import book, source

from fflib.book.pages import answers, questions, sections, sources
from fflib.files import InputError
from fflib.runs import params

ENTRIES = yaml.safe_load((sources.TEMPLATES / "questions.yaml").read_text(encoding="utf-8"))
KEPT = sources.source_of(sources.kept_runs()[0])  # of the default run
NOT_MEASURED_YET = {"tokenizer"}
SHAPES = {"whole graph, one by one": 30.0, "whole graph, packed rows": 20.0, "first token, one by one": 40.0}
SHAPES |= {"first token, a graph for each length": 35.0, "first token, sorted batches": 80.0}


def by_length(**changed):
    rows = [{"way": way, "requests/s": per_s} for way, per_s in (SHAPES | changed).items()]
    return {"06_runtime": {"by_length": rows}}


def test_there_are_ten_and_each_ends_with_a_question_mark():
    assert len(ENTRIES) == 10 and all(entry["question"].endswith("?") for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["values"])
def test_the_kept_run_answers_it_with_numbers(entry):
    if entry["values"] in NOT_MEASURED_YET:
        return
    values = getattr(answers, entry["values"])(KEPT)
    told = entry["answer"].format(**values)
    assert re.search(r"\d", told) and "nan" not in told
    assert set(values) == set(re.findall(r"\{(\w+)\}", entry["answer"]))  # none is computed for nothing


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["values"])
def test_each_link_leads_to_a_section(entry):
    for chapter, fact in entry["measured"]:
        if entry["values"] in NOT_MEASURED_YET:
            continue
        cells = [
            {"cell_type": "code", "source": text} if not marker.startswith("[markdown]") else
            {"cell_type": "markdown", "source": re.sub(r"^# ", "", text, flags=re.MULTILINE)}
            for marker, text in params.cells(chapter)
        ]  # fmt: skip
        assert sections.section(cells, fact), f"no cell of {chapter} leaves {fact}"


def test_this_run_answers_first_then_a_kept_run_by_name_and_else_it_says_what_is_missing():
    page = questions.page_of(book(by_length(), source(by_length(), "kept run old")))
    assert "answers 40 requests a second" in page.replace("\n", " ") or "40 requests a second" in page
    assert "kept run old" not in page and "No run has timed the products in eight bits." in page
    page = questions.page_of(book({}, source(by_length(), "kept run old, a machine")))
    assert "*The numbers are from the kept run old, a machine: this run did not measure all of them.*" in page


def test_the_verdict_on_graphs_of_one_length_follows_the_numbers():
    slower = answers.shapes(source(by_length()))["verdict"]
    faster = answers.shapes(source(by_length(**{"first token, a graph for each length": 50.0})))["verdict"]
    assert "slower" in slower and "faster" in faster


def test_a_page_without_a_number_is_refused():
    with pytest.raises(InputError, match="no run holds a number"):
        questions.page_of(book({}))


def test_the_share_of_the_tokenizer_is_the_one_measured_on_whole_requests():
    found = {
        "tokenizing_core_ms": 0.5,
        "model_core_ms": 2.0,
        "the model, from text": {"of the speed from token ids": 0.75},
    }
    values = answers.tokenizer(source({"08_beyond": {"from_text": found}}))
    assert values == {"tokenizing": "0.50", "model": "2.00", "share": "25%", "ratio": "0.75"}
