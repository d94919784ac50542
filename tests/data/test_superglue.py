"""SuperGLUE's seven tasks from invented records, in both of the forms they are published in."""

import copy
import json
import os

import numpy as np
import pytest

from fflib.data import superglue
from fflib.data.registry import get_task
from fflib.data.splits import load_split
from fflib.files import InputError

SUPERGLUE = os.environ.get("FFLIB_SUPERGLUE", "")
COPA = {"premise": "The lamp went out.", "choice1": "The oil was used up.", "choice2": "It was noon."}
COPA |= {"question": "cause", "label": 0, "idx": 4}
MULTIRC = {
    "idx": 2,
    "passage": {
        "text": "Ada sails. Bo rows.",
        "questions": [
            {"idx": 0, "question": "Who sails?", "answers": [{"text": "Ada", "label": 1}, {"text": "Bo", "label": 0}]},
            {"idx": 1, "question": "Who rows?", "answers": [{"text": "Bo", "label": 1}]},
        ],
    },
}
NEWS = "Ada Lind met Bo in Rome.\n@highlight\nThey talked."
RECORD = {
    "idx": 0,
    "passage": {"text": NEWS, "entities": [{"start": 0, "end": 7}, {"start": 13, "end": 14}, {"start": 19, "end": 22}]},
    "qas": [{"idx": 0, "query": "@placeholder lives there.", "answers": [{"start": 13, "end": 14, "text": "Bo"}]}],
}
WIC = {"word": "bank", "sentence1": "A bank lent it.", "sentence2": "We sat on the bank.", "label": False}
WIC |= {"start1": 2, "end1": 6, "start2": 14, "end2": 18}


def without(record, *path):
    """A copy of a nested record without what the path leads to."""
    changed = copy.deepcopy(record)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


def test_copa_is_two_examples_of_one_question():
    first, second = get_task("COPA").examples(COPA)
    assert first.texts == ("The lamp went out. What was the cause of this?", "The oil was used up.")
    assert second.texts[1] == "It was noon." and (first.label, second.label) == (1, 0)
    assert first.question == second.question != get_task("COPA").examples(COPA | {"idx": 5})[0].question
    assert get_task("COPA").examples(COPA | {"question": "effect"})[0].texts[0].endswith("What happened as a result?")


def test_multirc_is_an_example_for_each_answer_and_the_hub_s_rows_are_the_same():
    task = get_task("MultiRC")
    examples = task.examples(MULTIRC)
    assert [example.texts for example in examples] == [
        (f"{asked} {answer}", "Ada sails. Bo rows.")
        for asked, answer in (("Who sails?", "Ada"), ("Who sails?", "Bo"), ("Who rows?", "Bo"))
    ]
    assert [example.label for example in examples] == [1, 0, 1]
    assert examples[0].question == examples[1].question != examples[2].question
    row = {"paragraph": "Ada sails. Bo rows.", "question": "Who sails?", "answer": "Bo", "label": 0}
    assert task.examples(row | {"idx": {"paragraph": 2, "question": 0, "answer": 1}}) == [examples[1]]


def test_record_fills_the_gap_with_every_entity_and_the_hub_s_rows_are_the_same():
    task = get_task("ReCoRD")
    examples = task.examples(RECORD)
    assert [example.texts[0] for example in examples] == [f"{e} lives there." for e in ("Ada Lind", "Bo", "Rome")]
    assert [example.label for example in examples] == [0, 1, 0]
    assert "@highlight" not in examples[0].texts[1] and len({example.question for example in examples}) == 1
    row = {"passage": NEWS, "query": "@placeholder lives there.", "entities": ["Ada Lind", "Bo", "Rome", "Bo"]}
    from_hub = task.examples(row | {"answers": ["Bo"], "idx": {"passage": 0, "query": 0}})
    assert [e[:2] + e[3:] for e in from_hub] == [e[:2] + e[3:] for e in examples]


@pytest.mark.parametrize(
    ("answer", "right", "f1"),
    [
        ("the Ada Lind", "Ada Lind", 1),
        ("Ada", "Ada Lind", 2 / 3),
        ("Ada Ada", "Ada Lind", 0.5),
        ("U.S.", "us", 1),
        ("Bo", "Ada", 0),
    ],
)
def test_words_are_compared_as_squad_does(answer, right, f1):
    assert superglue.words_f1(answer, right) == pytest.approx(f1)


def test_wic_says_where_its_words_are():
    (example,) = get_task("WiC").examples(WIC)
    assert [example.texts[span.text][span.start : span.end] for span in example.spans] == ["bank", "bank"]
    assert example.label == 0


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("COPA", COPA | {"label": 2}, "label=2 is not a label; the labels are 0, 1"),
        ("COPA", COPA | {"label": True}, "label=True is not a label"),
        ("COPA", COPA | {"question": "why"}, "question='why' is neither 'cause' nor 'effect'"),
        ("COPA", without(COPA, "choice2"), "no column 'choice2'"),
        ("WiC", WIC | {"end2": 99}, "start2=14, end2=99 is no part of sentence2"),
        ("WiC", without(WIC, "start1"), "no column 'start1'"),
        ("MultiRC", without(MULTIRC, "passage", "questions"), "no column 'questions'"),
        ("MultiRC", without(MULTIRC, "passage", "questions", 0, "answers", 1, "label"), "no column 'label'"),
        ("MultiRC", MULTIRC | {"passage": "text"}, "'passage' is not as SuperGLUE publishes it"),
        ("ReCoRD", without(RECORD, "qas", 0, "answers", 0), "'answers' is not as"),
        ("CB", {"premise": "a", "hypothesis": "b", "label": "maybe"}, "'maybe' is not a label"),
    ],
)
def test_what_does_not_fit_is_named(task, record, message):
    with pytest.raises(InputError, match=message):
        get_task(task).examples(record)


def write(folder, task, rows):
    for name in ("train", "val"):
        path = folder / task / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row | {"idx": i}) + "\n" for i, row in enumerate(rows)))
    return str(folder)


def test_a_limit_takes_whole_questions_and_a_smaller_one_is_the_start(tmp_path):
    source = write(tmp_path, "COPA", [COPA | {"premise": f"Lamp {i} went out."} for i in range(40)])
    some, more = (load_split("COPA", "test", source, limit=n) for n in (9, 20))
    assert len(some) == 8 and len(more) == 20 and some.gold.one_right
    assert some.texts == more.texts[:8]
    assert np.bincount(some.gold.numbered()).tolist() == [2] * 4
    assert len(load_split("COPA", "test", source, limit=1)) == 2  # one question at least


def test_dev_shares_no_passage_with_train(tmp_path):
    rows = [copy.deepcopy(MULTIRC) for _ in range(60)]
    for i, row in enumerate(rows):
        row["passage"]["text"] += f" It was day {i // 2}."
    train, dev = (load_split("MultiRC", name, write(tmp_path, "MultiRC", rows)) for name in ("train", "dev"))
    assert len(train) + len(dev) == 180 and len(dev) > 0
    assert not {texts[1] for texts in train.texts} & {texts[1] for texts in dev.texts}
    assert len(dev.gold.take(range(3)).numbered()) == 3


def test_the_fingerprint_knows_questions_and_words(tmp_path):
    changed = [WIC, WIC | {"start1": 0, "end1": 1}]
    fingerprints = {
        load_split("WiC", "test", write(tmp_path / str(i), "WiC", [row])).fingerprint for i, row in enumerate(changed)
    }
    assert len(fingerprints) == 2


@pytest.mark.skipif(not SUPERGLUE, reason="FFLIB_SUPERGLUE is not set")
@pytest.mark.parametrize(
    ("task", "examples", "questions"),
    [("CB", 56, 56), ("COPA", 200, 100), ("MultiRC", 4848, 953), ("RTE", 277, 277), ("WiC", 638, 638)],
)
def test_the_real_tasks(task, examples, questions):
    test, train, dev = (load_split(task, name, SUPERGLUE) for name in ("test", "train", "dev"))
    assert len(test) == examples and test.gold.numbered().max() + 1 == questions
    share = len(dev) / (len(dev) + len(train))
    assert 0.5 < share * get_task(task).dev_one_in < 1.6
    assert set(np.unique(test.labels)) == set(range(get_task(task).num_labels))
