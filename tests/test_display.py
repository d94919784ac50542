"""What a page shows of a function: the lines that matter, unchanged, and nothing else."""

import ast

import pytest

from fflib import display
from fflib.data import batching
from fflib.files import InputError, check_known
from fflib.model import flops
from fflib.serving import scheduling


def checked(kind: str, count: int = 1) -> list[int]:
    """Do something.

    Over several lines.
    """
    check_known("kind", [kind], ("a", "b"))
    if count < 1:
        raise InputError(f"{count} is too few")
    if count > 5:  # this one decides something
        count = 5
    elif count == 4:
        raise ValueError
    values = [1, 2]  # stays
    for value in values:
        if value > count:
            raise ValueError("inside a loop too")
        # a comment of its own
        count += value
    return values


def only_a_docstring() -> None:
    """There is nothing else."""


def test_docstring_and_argument_checks_are_left_out_and_the_rest_is_as_it_stands():
    assert display.essential_lines(checked) == (
        "def checked(kind: str, count: int = 1) -> list[int]:\n"
        "    if count > 5:  # this one decides something\n"
        "        count = 5\n"
        "    elif count == 4:\n"
        "        raise ValueError\n"
        "    values = [1, 2]  # stays\n"
        "    for value in values:\n"
        "        # a comment of its own\n"
        "        count += value\n"
        "    return values"
    )
    assert "There is nothing else" in display.essential_lines(only_a_docstring)


@pytest.mark.parametrize("function", [batching.token_budget, batching.Batch, flops.forward_flop, scheduling.adaptive])
def test_what_is_shown_is_still_python(function):
    lines = display.essential_lines(function)
    ast.parse(lines)
    assert function.__name__ in lines and '"""' not in lines.partition("\n")[2].lstrip()[:3]


def test_several_functions_are_shown_one_after_the_other():
    text = display.source(batching.in_order, batching.sorted_by_length).data
    assert text.count("```python") == 2 and text.index("in_order") < text.index("sorted_by_length")


def test_a_table_leaves_empty_what_was_not_measured():
    shown = display.table([{"a": 1.234, "b": None, "c": float("nan"), "d": 7}]).data
    assert "1.23" in shown and "None" not in shown and "nan" not in shown and "| 7" in shown


def test_a_bar_in_a_label_begins_no_further_cell():
    rows = display.table([{"floor": "always a|b", "score": 0.5}]).data.splitlines()
    assert rows[-1].replace(r"\|", "").count("|") == rows[0].count("|") == 3
