"""A little SuperGLUE of invented sentences, in the files and fields of the real one, and a model that is as small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fflib.model import checkpoints
from fflib.model.encoder import Classifier, EncoderConfig

NAMES = ("Ada", "Bo", "Cy", "Dee", "Eli", "Fay", "Gus", "Ida")
THINGS = ("boat", "lamp", "stone", "river", "horse", "bell", "kite", "bread")
DOES = ("sees", "likes", "sells", "paints", "carries", "finds")
Rng = np.random.Generator
Record = dict


def _fact(rng: Rng) -> tuple[str, str, str]:
    return tuple(str(rng.choice(words)) for words in (NAMES, DOES, THINGS))


def _text(rng: Rng, facts: int) -> tuple[str, list[tuple[str, str, str]]]:
    told = [_fact(rng) for _ in range(facts)]
    return " ".join(f"{who} {does} a {what}." for who, does, what in told), told


def boolq(rng: Rng, i: int) -> Record:
    passage, told = _text(rng, int(rng.integers(2, 9)))
    who, does, what = told[0] if i % 2 else _fact(rng)
    return {"question": f"is it true that {who} {does} a {what}", "passage": passage, "label": bool(i % 2), "idx": i}


def cb(rng: Rng, i: int) -> Record:
    premise, told = _text(rng, 3)
    who, does, what = told[1]
    label = ("entailment", "contradiction", "neutral")[i % 3]
    hypothesis = (f"{who} {does} a {what}", f"{who} never {does} a {what}", f"{_fact(rng)[0]} was glad")[i % 3]
    return {"premise": premise, "hypothesis": hypothesis, "label": label, "idx": i}


def copa(rng: Rng, i: int) -> Record:
    who, does, what = _fact(rng)
    right, wrong = f"{who} had a {what}.", f"{_fact(rng)[0]} was asleep."
    choices = (right, wrong) if i % 2 == 0 else (wrong, right)
    asked = ("cause", "effect")[i // 2 % 2]
    record = {"premise": f"{who} {does} a {what}.", "choice1": choices[0], "choice2": choices[1], "question": asked}
    return record | {"label": i % 2, "idx": i}


def multirc(rng: Rng, i: int) -> Record:
    passage, told = _text(rng, 4)
    questions = []
    for number, (who, does, what) in enumerate(told[:2]):
        answers = [{"text": what, "label": 1, "idx": 0}, {"text": str(rng.choice(NAMES)), "label": 0, "idx": 1}]
        questions.append({"question": f"What is it that {who} {does}?", "answers": answers, "idx": number})
    return {"idx": i, "version": 1.1, "passage": {"text": f"Day {i}: {passage}", "questions": questions}}


def record(rng: Rng, i: int) -> Record:
    passage, told = _text(rng, 4)
    who, does, what = told[0]
    text = f"Day {i}: {passage}\n@highlight\n{who} was there."
    entities = [{"start": text.index(name), "end": text.index(name) + len(name) - 1} for name in {f[0] for f in told}]
    place = next(entity for entity in entities if text[entity["start"] : entity["end"] + 1] == who)
    query = {"query": f"@placeholder {does} a {what}", "answers": [place | {"text": who}], "idx": i}
    return {"source": "invented", "passage": {"text": text, "entities": entities}, "qas": [query], "idx": i}


def rte(rng: Rng, i: int) -> Record:
    made = cb(rng, i % 2)
    return made | {"label": ("entailment", "not_entailment")[i % 2], "idx": i}


def wic(rng: Rng, i: int) -> Record:
    (who, does, word), same = _fact(rng), bool(i % 2)
    first, second = f"{who} {does} a {word}.", f"The {word} is {'old' if same else 'a word'}."
    spans = {"start1": first.index(word), "end1": first.index(word) + len(word)}
    spans |= {"start2": second.index(word), "end2": second.index(word) + len(word)}
    return {"word": f"{word}{i % 7}", "sentence1": first, "sentence2": second, "label": same, "idx": i} | spans


TASKS: dict[str, Callable[[Rng, int], Record]] = {
    "BoolQ": boolq,
    "CB": cb,
    "COPA": copa,
    "MultiRC": multirc,
    "ReCoRD": record,
    "RTE": rte,
    "WiC": wic,
}


def write(folder: Path, task: str, train: int = 90, val: int = 40) -> Path:
    """Write ``folder``/<task>/train.jsonl and val.jsonl; return ``folder``."""
    for seed, (name, count) in enumerate((("train", train), ("val", val))):
        rng = np.random.default_rng([seed, len(task)])
        rows = [TASKS[task](rng, i) for i in range(count)]
        path = folder / task / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and letters of small texts, as BERT's tokenizer would mark them."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [word.lower() for word in (*NAMES, *THINGS, *DOES)] + ["a", "the", "is", "it", "was", "what", "day", "old"]
    marks = list(".,:?!'_0123456789")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*words, *letters, *marks])]
    tokens += [f"##{letter}" for letter in [*letters, *"0123456789"]]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    special = {f"{kind}_token": token for kind, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special)


def save_teacher(folder: Path) -> Path:
    """Write a small untrained teacher of six layers with its tokenizer; return ``folder``."""
    torch.manual_seed(0)
    reader = tokenizer()
    config = EncoderConfig.uniform(6, 4, 64, 256, len(reader.get_vocab()))
    checkpoints.save(Classifier(config, 2), folder, reader)
    return folder
