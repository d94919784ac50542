"""What a page asks becomes the tokens that the book's models see, or a sentence."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_tokenizer import make_tokenizer

from fflib.data import splits
from fflib.data.task import Span, Task
from fflib.files import InputError
from fflib.talk import cast
from fflib.talk.cast import Cast

TOKENIZER = make_tokenizer()


def made_up(spans=0, cores=(3, 5)) -> Cast:
    task = Task("t", ("one", "two"), "label", ("no", "yes"), ("accuracy",), 32, "a task", spans=spans)
    made = Cast.__new__(Cast)
    made.run, made.cores, made.lanes = SimpleNamespace(task=task, tokenizer=TOKENIZER), cores, [None] * 4
    return made


def test_the_tokens_are_those_of_the_book():
    texts = ("a cat sat", "on the mat")
    ids, types = made_up().tokens(texts)
    (expected,), (expected_types,) = splits.encode([texts], TOKENIZER, 32)
    assert np.array_equal(ids, expected) and np.array_equal(types, expected_types)


def test_marked_words_are_read_and_have_to_stay():
    spans = (Span(0, 2, 5), Span(1, 0, 2))
    texts = ("a cat sat", "on the mat")
    _, types = made_up(2).tokens(texts, [list(span) for span in spans])
    _, (expected,) = splits.encode([texts], TOKENIZER, 32, [spans])
    assert np.array_equal(types, expected)
    for wrong in ([], [[0, 2, 5]], [[0, 2, 5], [1, 50, 60]]):
        with pytest.raises(InputError, match="keep the marked words"):
            made_up(2).tokens(texts, wrong)


@pytest.mark.parametrize("texts", [(), ("a",), ("a", "b", "c"), ("", "b"), ("a", " \n"), ("a", "b" * 20_001)])
def test_other_texts_than_the_task_has(texts):
    with pytest.raises(InputError, match="give one and two"):
        made_up().tokens(texts)


def test_a_text_that_is_longer_than_the_model_reads_is_cut():
    assert len(made_up().tokens(("cat " * 500, "mat " * 500))[0]) == 32


def test_as_many_lanes_at_once_as_there_are_cores():
    assert [made_up(cores=range(n)).typing_at_once for n in (1, 2, 8)] == [1, 2, 4]


def test_each_lane_on_a_core_of_its_own():
    asked = []
    made = made_up()
    made.lanes = [SimpleNamespace(ask=lambda index, ids, types, cpus: asked.append(cpus))] * 2
    for slot in (0, 1, 2):
        made.ask_lane(0, ([1], [0]), slot)
    assert asked == [(3,), (5,), (3,)]


def test_what_a_slide_shows_of_a_request_is_one_short_line():
    assert cast.clipped("a\n b\t c") == "a b c"
    assert cast.clipped("word " * 100, 20) == "word word word word…"
