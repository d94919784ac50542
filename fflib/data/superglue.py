"""The seven tasks of FastFormers (2010.13382, table 1), as SuperGLUE publishes them (Wang et al., 1905.00537).

Records come from the original JSON lines, where a passage holds its questions and answers, or from the hub, where each
answer is a row. Both become the same examples. (Longer than 200 lines: seven tasks.)
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from fflib.data.task import Example, Record, Span, Task
from fflib.files import InputError

NO_YES = (0, 1)
PLACEHOLDER, HIGHLIGHT = "@placeholder", "@highlight"
ASKED = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
# FastFormers: accuracy on BoolQ's validation set in per cent, as printed. Tables 1 and 3 give different figures for the
# same models, since they are two trainings.
BOOLQ_PUBLISHED = MappingProxyType(
    {
        "teacher": 74.01,  # table 3: BERT, 12 layers, 768 wide
        "student_4L_312": 74.04,
        "student_4L_312_int8": 73.43,
        "student_4L_312_int8_pruned_25_25": 73.36,
        "student_4L_312_int8_pruned_33_50": 72.81,
        "table1_teacher": 75.99,
        "table1_student_6L_768": 76.06,
        "table1_student_4L_312": 72.63,
        "table1_roberta_teacher": 81.59,
    }
)


def choices(task: Task, record: Record) -> Iterator[Example]:
    """COPA: one example for each of two alternatives; their scores are compared (Roemmele et al., 2011)."""
    asked = task.column(record, "question")
    if asked not in ASKED:
        raise InputError(f"{task.name}: question={asked!r} is neither {' nor '.join(map(repr, ASKED))}")
    premise, right = f"{task.text(record, 'premise')} {ASKED[asked]}", _one_of(task, record, "label", NO_YES)
    question = f"{premise} {record.get('idx')}"
    for i in range(2):
        yield Example((premise, task.text(record, f"choice{i + 1}")), int(i == right), question)


def answers(task: Task, record: Record) -> Iterator[Example]:
    """MultiRC: one example for each answer to each question about a passage; any number of them is right."""
    if "paragraph" in record:  # the hub's rows, one for each answer
        index = task.column(record, "idx")
        number = f"{index['paragraph']}/{index['question']}"
        yield _answer(task, task.text(record, "paragraph"), task.text(record, "question"), number, record)
        return
    passage = _inner(task, record, "passage", Mapping)
    text = task.text(passage, "text")
    for asked in _inner(task, passage, "questions", Sequence):
        number = f"{record.get('idx')}/{asked.get('idx')}"
        for answer in _inner(task, asked, "answers", Sequence):
            yield _answer(task, text, task.text(asked, "question"), number, answer, "text")


def _answer(task: Task, passage: str, asked: str, number: str, record: Record, column: str = "answer") -> Example:
    text = task.column(record, column)
    if not isinstance(text, str):
        raise InputError(f"{task.name}: column {column!r} is {text!r}, but it must hold some text")
    # Three published answers are empty: wrong ones, and as good to ask about as others.
    return Example((f"{asked} {text}".rstrip(), passage), task.label(record), f"{number} {asked}")


def candidates(task: Task, record: Record) -> Iterator[Example]:
    """ReCoRD: one example for each entity of a passage, put where a query has a gap (Zhang et al., 1810.12885)."""
    if "entities" in record:  # the hub's rows, one for each query
        yield from _filled(task, task.text(record, "passage"), record["entities"], record, record["answers"])
        return
    passage = _inner(task, record, "passage", Mapping)
    text = task.text(passage, "text")
    # The end of an entity is its last character.
    entities = [text[entity["start"] : entity["end"] + 1] for entity in _inner(task, passage, "entities", Sequence)]
    for query in _inner(task, record, "qas", Sequence):
        right = [answer["text"] for answer in _inner(task, query, "answers", Sequence)]
        yield from _filled(task, text, entities, query, right)


def _filled(task: Task, passage: str, entities: Sequence[str], query: Record, right: Sequence[str]) -> list[Example]:
    asked = task.text(query, "query")
    if PLACEHOLDER not in asked or not entities or not right:
        raise InputError(f"{task.name}: a query needs {PLACEHOLDER}, entities and an answer; fetch the file again")
    passage, found = passage.replace(HIGHLIGHT, ""), []
    for entity in dict.fromkeys(entities):
        overlap = max(words_f1(entity, answer) for answer in right)
        label = int(any(normalised(entity) == normalised(answer) for answer in right))
        question = f"{query.get('idx')} {asked}"
        found.append(Example((asked.replace(PLACEHOLDER, entity), passage), label, question, overlap))
    return found


def word_in_two(task: Task, record: Record) -> Iterator[Example]:
    """WiC: two sentences and where a word stands in each: does it mean the same? (Pilehvar and others, 1808.09121)."""
    texts, spans = task.texts(record), []
    for i, text in enumerate(texts):
        start, end = (task.column(record, f"{side}{i + 1}") for side in ("start", "end"))
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
            raise InputError(f"{task.name}: start{i + 1}={start!r}, end{i + 1}={end!r} is no part of sentence{i + 1}")
        spans.append(Span(i, start, end))
    yield Example(texts, task.label(record), spans=tuple(spans))


def normalised(text: str) -> str:
    """Return an answer as ReCoRD's and SQuAD's scorers compare it: small letters, no punctuation, no articles.

    >>> normalised("The U.S. Senate")
    'us senate'
    """
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def words_f1(answer: str, right: str) -> float:
    """Return F1 of the words of two answers, `normalised`, each word as often as it stands in both."""
    ours, theirs = normalised(answer).split(), normalised(right).split()
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def tasks() -> tuple[Task, ...]:
    """Return the seven tasks. A ``max_length`` is the least power of two that hardly any text of the task exceeds."""
    pair = partial(Task, label_field="label", metrics=("accuracy",))
    return (
        pair(
            "BoolQ",
            ("question", "passage"),
            labels=(False, True),
            max_length=512,
            description="Is the answer to this question about this Wikipedia passage yes?",
            published=BOOLQ_PUBLISHED,
        ),
        pair(
            "CB",
            ("premise", "hypothesis"),
            labels=("entailment", "contradiction", "neutral"),
            metrics=("accuracy", "macro F1"),
            max_length=256,
            description="Does the writer of this text hold that this is so, that it is not, or neither?",
            apart_by="premise",
            dev_one_in=4,  # of 250
        ),
        pair(
            "COPA",
            ("premise", "choice"),
            labels=NO_YES,
            metrics=("accuracy of the choice",),
            max_length=64,
            description="Which of two sentences is the cause, or the effect, of a third? A request is one of the two.",
            by_hand=f"End the premise with {' or '.join(map(repr, ASKED.values()))} and ask about each choice alone: "
            "of two choices take the one with the higher probability of 1.",
            apart_by="premise",
            dev_one_in=4,  # of 400
            one_right=True,
            expand=choices,
        ),
        pair(
            "MultiRC",
            ("question and answer", "passage"),
            labels=NO_YES,
            metrics=("F1 of the answers", "exact match"),
            max_length=512,
            description="Is this an answer to this question about this passage?",
            by_hand="The answer follows the question, after a space.",
            expand=answers,
        ),
        pair(
            "ReCoRD",
            ("query", "passage"),
            labels=NO_YES,
            metrics=("F1 of the choice", "accuracy of the choice"),
            max_length=512,
            description="Which name of this news text belongs in the gap of this sentence? A request is one name.",
            by_hand="Put one name in the gap of the query, and ask about each name alone: of all names take the one "
            "with the highest probability of 1.",
            expand=candidates,
        ),
        pair(
            "RTE",
            ("premise", "hypothesis"),
            labels=("entailment", "not_entailment"),
            max_length=256,
            description="Does this sentence follow from this text?",
            apart_by="premise",
        ),
        pair(
            "WiC",
            ("sentence1", "sentence2"),
            labels=(False, True),
            max_length=128,
            description="Does a word mean the same in both sentences?",
            by_hand="Put the word that is asked about between asterisks, in each sentence.",
            apart_by="word",
            spans=2,
            expand=word_in_two,
        ),
    )


def _one_of(task: Task, record: Record, name: str, known: Sequence[Any]) -> Any:
    value = task.column(record, name)
    if isinstance(value, bool) or value not in known:
        raise InputError(f"{task.name}: {name}={value!r} is not a label; the labels are {', '.join(map(repr, known))}")
    return value


def _inner(task: Task, record: Record, name: str, kind: type) -> Any:
    """Return what a nested record holds under a name. InputError: it is missing or not of its kind."""
    value = task.column(record, name)
    if not isinstance(value, kind) or isinstance(value, str) or not value:
        raise InputError(f"{task.name}: {name!r} is not as SuperGLUE publishes it; fetch the file again")
    return value
