import pytest

from fflib.data.registry import get_task
from fflib.data.task import Task
from fflib.files import InputError

THREE = Task("weather", ("text",), "sky", ("sun", "rain", "snow"), ("accuracy",), 64, "What is the sky like?")
NAMES = ("docs", "BoolQ", "CB", "COPA", "MultiRC", "ReCoRD", "RTE", "WiC")


def test_tasks_are_found_in_any_case_of_letters():
    assert get_task("boolq").name == get_task("BOOLQ").name == "BoolQ"
    assert [get_task(name).name for name in NAMES] == list(NAMES)
    assert get_task("docs").num_labels == 2
    assert get_task("BoolQ").published["teacher"] == 74.01


def test_an_unknown_task_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"did you mean 'BoolQ'\? the tasks are docs, BoolQ"):
        get_task("bolq")
    with pytest.raises(InputError, match=r"^unknown task 'zzz'; the tasks are docs, BoolQ, .*, WiC, or a file"):
        get_task("zzz")


def test_texts_come_in_the_order_of_the_fields():
    record = {"passage": "Rivers run to the sea.", "question": "do rivers run", "label": True, "idx": 3}
    assert get_task("BoolQ").texts(record) == ("do rivers run", "Rivers run to the sea.")
    assert get_task("BoolQ").label(record) == 1
    assert get_task("BoolQ").examples(record) == [(("do rivers run", "Rivers run to the sea."), 1, "", 0.0, ())]
    assert THREE.texts({"text": "clouds"}) == ("clouds",)


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(InputError, match="no column 'question'; the columns are passage, idx"):
        get_task("BoolQ").texts({"passage": "Some text.", "idx": 0})
    with pytest.raises(InputError, match="no column 'sky'; the columns are none"):
        THREE.label({})


@pytest.mark.parametrize("value", ["", "  \n", None, 3])
def test_empty_text_and_what_is_not_text_are_refused(value):
    with pytest.raises(InputError, match="column 'text' is .* must hold some text"):
        THREE.texts({"text": value})


@pytest.mark.parametrize(("task", "value"), [("BoolQ", "True"), ("BoolQ", 1), ("docs", "maybe"), ("docs", None)])
def test_a_label_outside_the_set_is_refused_with_the_set(task, value):
    known = {"BoolQ": "False, True", "docs": "'no', 'yes'"}[task]
    with pytest.raises(InputError, match=f"is not a label; the labels are {known}"):
        get_task(task).label({"label": value})
