"""From text: the ids of the book, one thread each, and the answers of the served model."""

from __future__ import annotations

import os
import threading

import little_superglue
import numpy as np
import pytest

from fflib.beyond import from_text
from fflib.data import batching, splits
from fflib.data.metrics import Gold
from fflib.data.task import Span

TEXTS = {
    "single": [("anna sees the boat",), ("the mill " * 30,), ("x",)],
    "pairs": [("anna sees the boat", "a boat " * 25), ("the mill " * 30, "the brook"), ("x", "y")],
}


def split_of(rows, spans=None):
    return splits.text_split("made up", "x", rows, Gold(np.zeros(len(rows), int)), spans)


@pytest.mark.parametrize("rows", TEXTS.values(), ids=[*TEXTS])
def test_the_ids_are_those_of_the_book(rows):
    tokenizer, asked = little_superglue.tokenizer(), split_of(rows)
    encode = from_text.Encoder(tokenizer, 24)
    for _ in range(2):
        made, right = encode(asked), splits.encode(rows, tokenizer, 24)
        for mine, theirs in zip((made.input_ids, made.token_type_ids), right, strict=True):
            assert [row.tolist() for row in mine] == [row.tolist() for row in theirs]
    tokens = splits.TokenizedSplit(*right, asked.gold, "x")
    assert from_text.same_tokens(encode, asked, tokens)
    assert from_text.exact(tokenizer, 24, asked, tokens)._fast is not None
    right[0][0][1] += 1
    assert not from_text.same_tokens(encode, asked, tokens)
    assert from_text.exact(tokenizer, 24, asked, tokens)._fast is None
    plain = from_text.Encoder(tokenizer, 24, fast=False)(asked)
    assert [row.tolist() for row in plain.input_ids] == [row.tolist() for row in made.input_ids]
    assert len(tokenizer(*map(list, zip(*rows, strict=True)))["input_ids"][1]) > 24, "the book's tokenizer is as it was"


def test_marks_are_made_as_the_book_makes_them():
    tokenizer = little_superglue.tokenizer()
    asked = split_of([("anna sees the boat", "a boat")], [(Span(0, 14, 18), Span(1, 2, 6))])
    made = from_text.Encoder(tokenizer, 24)(asked)
    assert {int(kind) // 2 for kind in made.token_type_ids[0]} == {0, 1, 2}


def test_every_batch_is_cut_by_one_thread_and_answered_in_its_place(monkeypatch):
    monkeypatch.delenv(from_text.VARIABLE, raising=False)
    asked, seen = split_of(TEXTS["pairs"]), []

    def length(inputs):
        seen.append((os.environ[from_text.VARIABLE], threading.current_thread() is threading.main_thread()))
        return inputs["attention_mask"].sum(1, keepdims=True).astype(np.float32)

    encode = from_text.Encoder(little_superglue.tokenizer(), 24)
    plan = batching.in_order(np.zeros(3), 2)[::-1]
    parts, wall_s, seconds = from_text.together([length, length], encode, asked)(None, plan)
    lengths = [len(row) for row in encode(asked).input_ids]
    assert [part[:, 0].tolist() for part in parts] == [[lengths[2]], lengths[:2]]
    assert wall_s > 0 and len(seconds) == 2 and [*{*seen}] == [("false", False)]
    assert from_text.VARIABLE not in os.environ
    monkeypatch.setenv(from_text.VARIABLE, "true")
    assert from_text.core_ms(encode, asked, plan, 2) > 0 and os.environ[from_text.VARIABLE] == "true"


def test_what_text_adds_is_told_as_measured_and_not_as_its_parts_timed_alone():
    found = from_text.cost(0.15, 1.0, 0.8)
    assert found["added_core_ms"] == pytest.approx(0.25) and found["added_share"] == pytest.approx(0.2)
    told = from_text.told(found)
    assert "**0.25 more**: 20% of such a request" in told and "by itself, is 0.15 of that" in told
    bound = from_text.bound(found, 1600.0)
    assert "8,000 requests" in bound and "**5.0 times**" in bound and "promise 7.7 times" in bound


def test_noise_that_hides_the_cost_of_text_is_told_as_such():
    assert "no other cost" in from_text.told(from_text.cost(0.3, 1.0, 0.8))
    hidden = from_text.cost(0.15, 1.0, 1.1)
    assert "cannot see it" in from_text.told(hidden) and "no bound" in from_text.bound(hidden, 900.0)
