"""Vocabulary pruning against the whole model: the same logits, whichever of the two answers a request."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import examples_of
from torch import Tensor

from fflib import files
from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit, tokenized
from fflib.engine.predictors import torch_predictor
from fflib.files import InputError
from fflib.model import checkpoints
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.pruning.vocabulary import FILE, Vocabulary, WithFallback, prune

SIZE, HIDDEN = 50, 16
SHAPES = (LayerShape(2, 8, 32), LayerShape(3, 5, 12))
BERT: dict = {}
ROBERTA = {"pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1}
FAMILIES = pytest.mark.parametrize("family", [BERT, ROBERTA], ids=["bert", "roberta"])
SPECIAL = [0, 1, 2, 3]
TRAIN = examples_of([5, 9, 12, 7], seed=4)  # has 7 or more of the ids 7 to 49, and not all of them
WORDS = Vocabulary.of(TRAIN, SIZE, SPECIAL)
RARE = sorted(set(range(SIZE)) - set(WORDS.kept.tolist()))


def classifier(seed=0, **family) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    config = EncoderConfig(SIZE, HIDDEN, SHAPES, max_position_embeddings=64, **family)
    model = Classifier(config, num_labels=3).eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    return model


def split_of(*rows: list[int]) -> TokenizedSplit:
    ids = [np.array(row, np.int32) for row in rows]
    return tokenized(ids, [np.zeros_like(row) for row in ids], Gold(np.zeros(len(rows), np.int64)))


def arrays_of(examples: TokenizedSplit, model: Classifier, pad_to=None) -> dict[str, np.ndarray]:
    pad_token_id = model.encoder.config.pad_token_id
    return batching.collate(examples, range(len(examples)), pad_to, pad_token_id).inputs


def logits_of(model: Classifier, inputs: dict[str, np.ndarray], words: Vocabulary | None = None) -> Tensor:
    if words is not None:
        inputs = inputs | {"input_ids": words.renumber(inputs["input_ids"])}
    with torch.no_grad():
        return model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits


def mixed() -> TokenizedSplit:
    """Six requests of unlike length, of which those at 1, 3 and 4 hold a token that was dropped."""
    rows = [row.tolist() for row in examples_of([5, 3, 9, 4, 7, 2], seed=1).input_ids]
    kept = [[int(WORDS.kept[token % len(WORDS.kept)]) for token in row] for row in rows]
    kept[1][0], kept[3][3], kept[4][2] = RARE[0], RARE[1], RARE[-1]
    return split_of(*kept)


class Spy:
    """Makes a predictor of ``model`` and notes what it is asked."""

    def __init__(self, model: Classifier) -> None:
        self.predict, self.made, self.batches = torch_predictor(model), 0, []

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        self.batches.append(inputs)
        return self.predict(inputs)

    def make(self) -> Spy:
        self.made += 1
        return self


def served(family: dict, fault: Callable[[Classifier], None] = lambda small: None) -> tuple[WithFallback, Spy, Spy]:
    model = classifier(**family)
    small = prune(model, WORDS)
    fault(small)
    spies = Spy(small), Spy(model)
    return WithFallback(spies[0], spies[1].make, WORDS), *spies


@FAMILIES
@pytest.mark.parametrize("pad_to", [None, 20])
def test_a_pruned_model_gives_the_same_logits_bit_for_bit(family, pad_to, tmp_path):
    model = classifier(**family)
    inputs = arrays_of(TRAIN, model, pad_to)
    assert (inputs["attention_mask"] == 0).any()
    small = prune(model, WORDS)
    expected = logits_of(model, inputs)
    assert torch.equal(logits_of(small, inputs, WORDS), expected)
    assert not torch.equal(logits_of(small, inputs | {"input_ids": inputs["input_ids"] % len(WORDS.kept)}), expected)
    checkpoints.save(small, tmp_path / "small")
    WORDS.save(tmp_path / "small")
    loaded, words = checkpoints.load(tmp_path / "small"), Vocabulary.load(tmp_path / "small")
    assert torch.equal(logits_of(loaded, inputs, words), expected)
    assert loaded.encoder.config == small.encoder.config
    assert words.size == SIZE and words.kept.dtype == np.int64 and np.array_equal(words.kept, WORDS.kept)


def test_roberta_counts_positions_also_where_the_padding_has_another_number():
    model, words = classifier(**ROBERTA), Vocabulary.of(TRAIN, SIZE, [1])  # no token 0, so the padding moves up to it
    small = prune(model, words)
    assert (small.encoder.config.pad_token_id, small.encoder.config.position_offset) == (0, 2)
    inputs = arrays_of(TRAIN, model, pad_to=20)
    assert torch.equal(logits_of(small, inputs, words), logits_of(model, inputs))


def test_only_rows_of_dropped_tokens_are_gone():
    model = classifier()
    small = prune(model, WORDS)
    rows = small.encoder.embeddings.word.weight
    assert rows.shape == (len(WORDS.kept), HIDDEN) == (small.encoder.config.vocab_size, HIDDEN)
    assert all(torch.equal(rows[new], model.encoder.embeddings.word.weight[old]) for new, old in enumerate(WORDS.kept))
    fell = checkpoints.size_mb(model) - checkpoints.size_mb(small)
    assert fell == pytest.approx(len(RARE) * HIDDEN * 4 / 1e6) and RARE


def test_keeping_all_is_the_identity():
    model, everything = classifier(**ROBERTA), Vocabulary(np.arange(SIZE), SIZE)
    small = prune(model, everything)
    assert small.encoder.config == model.encoder.config
    assert all(torch.equal(small.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_the_pruned_model_is_a_model_of_its_own():
    model = classifier().train()
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    small = prune(model, Vocabulary(np.arange(SIZE), SIZE))  # all rows: a slice of them would be a view
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training and not any(module.training for module in small.modules())
    with torch.no_grad():
        for parameter in small.parameters():
            assert parameter.requires_grad
            parameter.fill_(7)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert prune(model.double(), WORDS).encoder.embeddings.word.weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (Vocabulary.of(TRAIN, SIZE, [0, 2]), "padding token 1 would be dropped; name it"),
        (Vocabulary.of(TRAIN, SIZE + 1, SPECIAL), "has 51 tokens, the model 50"),
        (Vocabulary(np.arange(SIZE - 1), SIZE - 1), "has 49 tokens, the model 50"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        prune(classifier(**ROBERTA), words)


@pytest.mark.parametrize(
    ("min_count", "kept"), [(1, [0, 3, 5, 6, 8, 9]), (2, [0, 3, 5, 8]), (3, [0, 3, 8]), (4, [0, 3])]
)
def test_tokens_are_kept_that_occur_often_enough(min_count, kept):
    first, second = split_of([5, 5, 8], [8, 9]), split_of([3, 8, 6])
    assert Vocabulary.of([first, second], 10, [3, 0], min_count).kept.tolist() == kept
    together = split_of([5, 5, 8], [8, 9], [3, 8, 6])
    assert Vocabulary.of(together, 10, (0, 3), min_count).kept.tolist() == kept


def test_renumbering_is_a_search_in_the_kept_ids():
    ids = np.random.default_rng(0).integers(0, SIZE, (3, 4, 5)).astype(np.int32)
    kept = WORDS.kept.tolist()
    new = WORDS.renumber(ids)
    assert new.shape == ids.shape and new.dtype == np.int64
    assert new.ravel().tolist() == [kept.index(i) if i in kept else -1 for i in ids.ravel()]
    assert WORDS.renumber(WORDS.kept).tolist() == list(range(len(kept)))
    assert WORDS.renumber(np.zeros((0, 4), np.int64)).shape == (0, 4)


def test_coverage_counts_tokens_and_requests():
    words = Vocabulary(np.array([0, 4, 5]), 10)
    examples = split_of([4, 5, 4], [4, 9], [5], [8, 9, 4, 4])
    assert words.coverage(examples) == (7 / 10, 2 / 4)
    rows = batching.collate(examples, range(4)).input_ids  # the padding is one of the kept
    assert words.covers(rows).tolist() == [True, False, True, False]
    assert WORDS.coverage(TRAIN) == (1, 1)


@pytest.mark.parametrize("wrong", [-1, -SIZE, SIZE, 10**12])
def test_a_token_outside_the_vocabulary_is_named(wrong):
    answers, *_ = served(BERT)
    ids = np.array([[4, wrong, 5]])
    calls = [
        lambda: WORDS.renumber(ids),
        lambda: WORDS.covers(ids),
        lambda: WORDS.coverage(TokenizedSplit(list(ids), list(ids * 0), Gold(np.zeros(1, np.int64)), "")),
        lambda: Vocabulary.of(TokenizedSplit(list(ids), list(ids * 0), Gold(np.zeros(1, np.int64)), ""), SIZE, SPECIAL),
        lambda: Vocabulary.of(TRAIN, SIZE, [0, wrong]),
        lambda: answers({"input_ids": ids, "attention_mask": np.ones_like(ids)}),
    ]
    for call in calls:
        with pytest.raises(InputError, match=f"token {wrong} is not one of the {SIZE}; "):
            call()


@pytest.mark.parametrize(("examples", "min_count"), [(TRAIN.take([]), 1), ([], 1), (TRAIN, 0)])
def test_counting_needs_examples(examples, min_count):
    with pytest.raises(InputError, match="at least one of train"):
        Vocabulary.of(examples, SIZE, SPECIAL, min_count)


@pytest.mark.parametrize("kept", [[], [3, 2], [2, 2], [-1, 2], [2, SIZE], [1.0, 2.0], [[1, 2]]])
def test_ids_to_keep_must_ascend(kept):
    with pytest.raises(InputError, match="must be whole numbers that ascend"):
        Vocabulary(np.array(kept), SIZE)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        '{"size": 50, "kept": [1, 2',
        "[1, 2]",
        '{"size": 50}',
        '{"size": "50", "kept": [1, 2]}',
        '{"size": 50, "kept": 3}',
        '{"size": 50, "kept": [1.5, 2]}',
        '{"size": 50, "kept": ["1", "2"]}',
        '{"size": 50, "kept": [[1, 2], [3]]}',
        '{"size": 50, "kept": [1, 50]}',
        '{"size": 50, "kept": [1, 1e400]}',
        '{"size": 50, "kept": [1, 1000000000000000000000]}',
        b"\xff\xfe",
    ],
)
def test_a_missing_or_damaged_file_is_named(text, tmp_path):
    if text is not None:
        (tmp_path / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"{FILE} is missing or damaged"):
        Vocabulary.load(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    WORDS.save(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        Vocabulary(np.arange(SIZE), SIZE).save(tmp_path)
    assert json.loads((tmp_path / FILE).read_text())["kept"] == WORDS.kept.tolist()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@FAMILIES
def test_mixed_requests_are_answered_in_their_order(family):
    answers, small, whole = served(family)
    inputs = arrays_of(mixed(), classifier(**family))
    before = copy.deepcopy(inputs)
    found, expected = answers(inputs), torch_predictor(classifier(**family))(inputs)
    assert found.dtype == expected.dtype and np.abs(found - expected).max() <= 1e-6
    assert min(np.abs(expected[i] - expected[j]).max() for i in range(6) for j in range(i)) > 1e-4  # order matters
    assert [len(batch["input_ids"]) for batch in small.batches + whole.batches] == [3, 3]
    assert all(np.array_equal(inputs[name], before[name]) for name in before)


def test_each_request_goes_where_it_belongs():
    """A small model that answers otherwise shows who answered what."""
    answers, *_ = served(BERT, fault=lambda small: small.classifier.bias.data.fill_(1000))
    found = answers(arrays_of(mixed(), classifier()))
    assert (found.min(axis=1) > 500).tolist() == [True, False, True, False, False, True]


def test_the_whole_model_is_made_when_it_is_first_needed_and_once():
    answers, small, whole = served(BERT)
    model, all_kept = classifier(), arrays_of(TRAIN, classifier())
    assert np.array_equal(answers(all_kept), logits_of(model, all_kept).numpy())
    assert (whole.made, len(small.batches), answers.requests, answers.fell_back) == (0, 1, 4, 0)
    assert all(small.batches[0][name] is all_kept[name] for name in ("attention_mask", "token_type_ids"))  # no copies
    answers(arrays_of(mixed(), model))
    assert (whole.made, answers.requests, answers.fell_back) == (1, 10, 3)
    answers(arrays_of(mixed(), model))
    assert (whole.made, answers.requests, answers.fell_back) == (1, 16, 6)


def test_a_batch_of_which_nothing_is_covered_goes_on_as_it_is():
    answers, small, whole = served(BERT)
    inputs = arrays_of(split_of([0, RARE[0], 3], [RARE[1]]), classifier())
    assert np.array_equal(answers(inputs), logits_of(classifier(), inputs).numpy())
    assert not small.batches and whole.batches[0] is inputs
    one = arrays_of(split_of([0, RARE[0], 3]), classifier())
    assert np.array_equal(answers(one), logits_of(classifier(), one).numpy())
    assert (answers.requests, answers.fell_back) == (3, 3)


def test_a_stock_class_is_refused_where_padding_got_another_number_than_positions_count_from():
    """RoBERTa's class numbers positions from the padding token, silently wrong after a renumbering."""
    model = Classifier(EncoderConfig.uniform(2, 2, HIDDEN, 32, SIZE, max_position_embeddings=64, **ROBERTA), 2).eval()
    checkpoints.to_transformers(prune(model, Vocabulary(np.arange(49), SIZE)))
    with pytest.raises(InputError, match="cannot hold"):
        checkpoints.to_transformers(prune(model, Vocabulary(np.arange(1, SIZE), SIZE)))
