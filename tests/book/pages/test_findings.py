"""Negative results: each has its number in a kept run, none is told where it did not happen."""

import re

import pytest
from small_pages import book, source

from fflib.book.pages import did_not_work, findings, measured_beyond, sections, sources
from fflib.files import InputError
from fflib.runs import params

ALL = findings.all_findings()
KEPT = [sources.source_of(each) for each in sources.kept_runs()]
# No kept run has measured it, or it came true in all of them.
NOT_KEPT_YET = {"Training with the rounding", "Multiply the steps"}
NOT_KEPT_YET |= {"Let a part of the tokens go on", "Read little first", "A cheap classifier in front of the model"}
NOT_KEPT_YET |= {"Static scales instead of dynamic ones", "A simulation of the server"}  # which hang on a close race


def sweep(factor):
    one = {"batching": "in order", "batch size or tokens": 1, "requests/s": 10.0, "measured speed-up": 1.0}
    more = one | {"batch size or tokens": 8, "requests/s": 10.0 * factor, "measured speed-up": factor}
    return {"02_batching": {"sweep": [one | {"padding": "0%"}, more | {"padding": "40%"}]}}


@pytest.mark.parametrize("finding", ALL, ids=lambda finding: finding.title)
def test_each_failed_in_a_kept_run_and_its_sentence_has_a_number(finding):
    outcomes = [found for run in KEPT if (found := findings.outcome(finding, run))]
    failed = [found for found in outcomes if found.failed]
    assert failed or finding.title in NOT_KEPT_YET
    for found in outcomes:
        assert re.search(r"\d", found.told) and found.told.endswith(".") and "nan" not in found.told


@pytest.mark.parametrize("finding", ALL, ids=lambda finding: finding.title)
def test_each_leads_to_a_section_of_its_chapter(finding):
    if finding.chapter not in params.chapters():
        pytest.skip(f"there is no chapter {finding.chapter} yet")
    cells = [
        {"cell_type": "markdown" if marker.startswith("[markdown]") else "code", "source": text.replace("# ", "", 1)}
        for marker, text in params.cells(finding.chapter)
    ]
    lines = [cell | {"source": re.sub(r"^# ", "", cell["source"], flags=re.MULTILINE)} for cell in cells]
    assert sections.section(lines, finding.fact)


def test_what_came_true_here_is_told_so_and_a_kept_failure_beside_it_with_its_name():
    page = did_not_work.page_of(book(sweep(1.5), source(sweep(0.5), "kept run old, a machine, 2026-01-02")))
    assert "### Batches in the order of arrival" in page and "**In this run it came true.** Batches of 8" in page
    assert "**Measured in the kept run old, a machine, 2026-01-02.** Batches of 8" in page and "0.50 times" in page
    assert "**In this run 0 expectations did not come true.** 1 more did so in a kept run" in page
    assert "Neither this run nor a kept one measured: Count words" in page


def test_what_failed_here_needs_no_kept_run_and_what_came_true_everywhere_is_named_only():
    page = did_not_work.page_of(book(sweep(0.5), source(sweep(0.4), "kept run old")))
    assert "**Measured.** Batches of 8" in page and "kept run old" not in page
    budget = {"batching": "token budget", "padding": "9%", "requests/s": 1.0}
    rows = [budget | {"batch size or tokens": n, "measured speed-up": float(n)} for n in (1, 2)]
    both = sweep(0.5)
    both["02_batching"]["sweep"] += rows
    assert "it came true in every run: A larger budget of tokens." in did_not_work.page_of(book(both))


def test_a_page_without_any_number_is_refused():
    with pytest.raises(InputError, match="no negative result|negative result"):
        did_not_work.page_of(book({}))


def test_a_fact_of_another_form_counts_as_not_measured():
    odd = {"02_batching": {"sweep": [{"batching": "in order"}], "online": 3}}
    assert not any(told.here for told in findings.look_up(book(odd), ALL) if told.finding.chapter == "02_batching")


@pytest.mark.parametrize(("may_answer", "failed"), [(0.0, True), (4.0, True), (30.0, False)])
def test_a_front_fails_where_it_may_answer_next_to_nothing(may_answer, failed):
    rows = [{"reads": "words", "learnt from": "labels", "alone, test %": 55.0, measured_beyond.MAY_ANSWER: may_answer}]
    assert measured_beyond.cheap_front(source({"08_beyond": {"fronts": rows}})).failed == failed


def test_a_cascade_fails_where_it_is_no_faster_whatever_was_predicted():
    told = {"system": "cascade", "sent on test": 0.4, "predicted": 1.5, "agreement": 0.99}
    slow, fast = (source({"08_beyond": {"systems": [told | {"measured": speed}]}}) for speed in (0.9, 1.3))
    assert measured_beyond.read_little(slow).failed and not measured_beyond.read_little(fast).failed
    assert "0.90 times" in measured_beyond.read_little(slow).told
