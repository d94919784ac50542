import pytest
from drawing import checked, parts, texts
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from fflib.files import InputError
from fflib.story import fastformers, tables_markdown
from fflib.story import table_figures as drawn

PAPERS = {task: tables_markdown.papers(task) for task in fastformers.TASKS}
COLUMNS = list(drawn.YARDSTICKS)


def row(task, teacher=None, unpadded=None, padded=None, retention=0.97, smoke=False, guesses=False):
    factors = dict(zip(COLUMNS, (teacher, unpadded, padded), strict=True))
    known = retention if any(factors.values()) else None
    label = task + " (smoke)" * smoke
    return {"label": label, "task": task, "smoke": smoke, "guesses": guesses, "retention": known, **factors}


SWEEPS = {
    "whole": [
        row("BoolQ", 29.2, 175.4, 420.8, 1.0015), row("CB", 22.1, 61.3, 310.2, 0.91), row("COPA", 31.8, 44, 902, 1.02),
        row("MultiRC", 19.6, 122.5, 244.1, 0.88), row("ReCoRD"), row("RTE", 26.4, 88, 401, 0.953),
        row("WiC", 24.5, 52.6, 1210, 0.99),
    ],
    "gaps": [row("BoolQ", 12, None, None), row("CB", None, 20, 300), row("RTE")],
    "equal": [row("BoolQ", 20, 20, 20), row("CB", 20, 20.1, 20.2)],
    "no paper": [row("docs", 29.2, 175.4, 420.8)],
    "smoke": [row("BoolQ", 3, 9, 40, 0.9, smoke=True)],
    "guessing": [row("BoolQ", 20.8, 131.5, 394, 0.974, guesses=True), row("RTE", 26.4, 88, 401, 0.953)],
    "slower": [row("BoolQ", 0.8, 2, 5)],
    "long": [row("a task with a name that goes on for longer than anyone would like", 3, 30, 3000)],
}  # fmt: skip


def title_of(figure):
    return " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("rows", SWEEPS.values(), ids=SWEEPS)
def test_each_task_has_its_factors_on_a_line_and_the_papers_below(rows):
    figure = checked(drawn.by_task(rows, PAPERS, "caption"))
    (axes,) = figure.axes
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in parts(figure, "mark")}
    assert marks == {(row[column], y) for y, row in enumerate(rows) for column in COLUMNS if row[column]}
    theirs = {(line.get_xdata()[0], round(line.get_ydata()[0] - drawn.LANE)) for line in parts(figure, "paper")}
    assert theirs == {(factor, y) for y, row in enumerate(rows) for factor in PAPERS.get(row["task"], [])}
    low, high = axes.get_xlim()
    assert all(low < x < high for x, _ in marks | theirs) and axes.get_xscale() == "log"
    assert [" ".join(label.get_text().split()) for label in axes.get_yticklabels()] == [row["label"] for row in rows]
    kept = [text.get_text() for text in parts(figure, "kept", plt.Text)]
    assert [word.split()[0] for word in kept] == [f"{100 * row['retention']:.0f}%" for row in rows if row["retention"]]
    assert "caption" in texts(figure)


def test_each_factor_is_written_in_the_colour_of_its_mark():
    figure = drawn.by_task(SWEEPS["whole"][:1], PAPERS)
    written = {text.get_text(): text.get_color() for text in parts(figure, "factor", plt.Text)}
    assert list(written) == ["29.2x", "175x", "421x"]
    for (_, color, _), ink in zip(drawn.YARDSTICKS.values(), written.values(), strict=True):
        assert same_color(color, ink)


def test_a_task_without_a_result_has_no_mark():
    figure = checked(drawn.by_task(SWEEPS["gaps"], PAPERS))
    assert {line.get_ydata()[0] for line in parts(figure, "mark")} == {0, 1} and len(
        parts(figure, "kept", plt.Text)
    ) == 2


def test_what_a_guess_keeps_is_called_so_and_is_in_no_title():
    figure = drawn.by_task(SWEEPS["guessing"], PAPERS)
    assert [text.get_text() for text in parts(figure, "kept", plt.Text)] == ["97%\nof a guess", "95%"]
    assert title_of(figure).startswith("1 task is served 26.4x")
    alone = "How many times as fast each task became; its accuracy means nothing"
    assert title_of(drawn.by_task(SWEEPS["guessing"][:1], PAPERS)) == alone


def test_a_run_without_a_teacher_says_so_where_the_share_would_stand():
    rows = [SWEEPS["whole"][0], SWEEPS["whole"][1] | {"retention": None, "guesses": True, "unclear": True}]
    figure = checked(drawn.by_task(rows, PAPERS))
    assert [text.get_text() for text in parts(figure, "no teacher", plt.Text)] == ["no\nteacher"]
    assert len(parts(figure, "kept", plt.Text)) == 1 and title_of(figure).startswith("1 task is served")


def test_smoke_size_is_pale_and_counts_in_no_title():
    both = [SWEEPS["whole"][0], *SWEEPS["smoke"]]
    figure = checked(drawn.by_task(both, PAPERS))
    opaque = [line.get_alpha() for line in parts(figure, "mark")]
    assert opaque == [1, 1, 1, *[drawn.PALE] * 3]
    expected = (
        "1 task is served 29.2x as fast as by its own teacher, with 100% of the accuracy; against a padded reference "
    )
    assert title_of(figure) == expected + "the same reads 421x"
    assert title_of(drawn.by_task(SWEEPS["smoke"], PAPERS)).endswith("its accuracy means nothing")


def test_the_title_says_from_where_to_where():
    expected = "6 tasks are served 19.6x to 31.8x as fast as by their own teachers, with 88% to 102% of the accuracy; "
    expected += "against a padded reference the same reads 244x to 1,210x"
    assert title_of(drawn.by_task(SWEEPS["whole"], PAPERS)) == expected
    nothing = drawn.by_task([row("CB", None, 20, 300)], PAPERS)
    assert title_of(nothing) == "How many times as fast each task became"


def test_a_paper_that_is_silent_is_not_in_the_key():
    assert "paper" not in texts(drawn.by_task(SWEEPS["no paper"], PAPERS))
    assert "paper, CPU only" in texts(drawn.by_task(SWEEPS["whole"], PAPERS))


@pytest.mark.parametrize("rows", [[], [row("RTE")]])
def test_a_figure_of_nothing_says_what_is_missing(rows):
    with pytest.raises(InputError, match="let one run finish first"):
        drawn.by_task(rows, PAPERS)
    assert not plt.get_fignums()
