import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from fflib.files import InputError
from fflib.tasks import Task, difference_interval, get_task, score, score_interval, scored

THREE = Task("weather", ("text",), "sky", ("sun", "rain", "snow"), "accuracy", 64, "What is the sky like?")


def test_tasks_are_found_in_any_case_of_letters():
    assert get_task("boolq").name == get_task("BOOLQ").name == "BoolQ"
    assert get_task("docs").num_labels == 2
    assert get_task("BoolQ").published["teacher"] == 74.01


def test_an_unknown_task_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"did you mean 'BoolQ'\? the tasks are docs, BoolQ"):
        get_task("bolq")
    with pytest.raises(InputError, match=r"^unknown task 'zzz'; the tasks are docs, BoolQ$"):
        get_task("zzz")


def test_texts_come_in_the_order_of_the_fields():
    record = {"passage": "Rivers run to the sea.", "question": "do rivers run", "label": True, "idx": 3}
    assert get_task("BoolQ").texts(record) == ("do rivers run", "Rivers run to the sea.")
    assert get_task("BoolQ").label(record) == 1
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


def test_score_is_accuracy_for_any_number_of_classes():
    logits = np.array([[3.0, 1, 2], [0, 5, 1], [0, 1, 9], [4, 3, 2]])
    labels = np.array([0, 1, 2, 1])
    assert score(THREE, logits, labels) == accuracy_score(labels, logits.argmax(1)) == 0.75


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((4, 2)), r"shape \[4, 2\], but \[4, 3\]"),
        (np.zeros((3, 3)), r"shape \[3, 3\], but \[4, 3\]"),
        (np.full((4, 3), np.nan), "NaN"),
    ],
)
def test_logits_that_cannot_be_scored_are_refused(logits, message):
    with pytest.raises(InputError, match=message):
        score(THREE, logits, np.zeros(4, int))


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="n > 0"):
        score(THREE, np.zeros((0, 3)), np.zeros(0, int))


def test_an_unknown_metric_is_refused():
    task = Task("weather", ("text",), "sky", ("sun", "rain"), "vibes", 64, "?")
    with pytest.raises(InputError, match="unknown metric 'vibes'"):
        score(task, np.zeros((1, 2)), np.zeros(1, int))


def test_the_interval_is_that_of_a_binomial_and_can_be_repeated():
    labels = np.zeros(1000, int)
    logits = np.zeros((1000, 3))
    logits[:200, 1] = 1  # 80 % right: a standard error of 0.0126
    low, high = score_interval(THREE, logits, labels)
    assert (low, high) == score_interval(THREE, logits, labels)
    assert low == pytest.approx(0.8 - 1.96 * 0.01265, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * 0.01265, abs=0.004)
    narrow = score_interval(THREE, logits, labels, confidence=0.5)
    assert low < narrow[0] < 0.8 < narrow[1] < high


def test_a_paired_difference_is_narrower_than_two_intervals_and_zero_for_equal_models():
    task, rng = get_task("docs"), np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    good = np.eye(2)[np.where(rng.random(400) < 0.85, labels, 1 - labels)]
    worse = good.copy()
    worse[:20] = np.eye(2)[1 - labels[:20]]  # wrong on twenty more at most
    lost = (good[:20].argmax(1) == labels[:20]).sum()
    difference, low, high = difference_interval(task, good, worse, labels)
    assert difference == pytest.approx(lost / 400)
    # Of n independent examples of which k differ, the difference has the standard error sqrt(k) / n.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(lost) / 400, rel=0.2) and low < difference < high
    assert difference_interval(task, good, good, labels) == (0, 0, 0)


def test_scored_is_the_score_with_its_interval():
    labels = np.array([0, 1] * 50)
    logits = np.eye(2)[np.where(np.arange(100) < 80, labels, 1 - labels)]
    task = get_task("docs")
    assert scored(task, logits, labels, 200) == (0.8, *score_interval(task, logits, labels, resamples=200))
