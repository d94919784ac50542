"""New text from old: what may change, what takes its place, and that nothing else moves."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fflib import hub
from fflib.data import splits
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.distillation import augmentation
from fflib.distillation.augmentation import augment, joined, nearest_neighbours, recombined, replaceable, whole_words
from fflib.files import InputError
from fflib.model import checkpoints

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PAIRS = [
    ("Does the kettle boil water?", "The old kettle stands on a stove, and it heats water slowly."),
    ("Is a river longer than a street?", "Rivers and streets wind unforeseeably through valleys."),
    ("Don't birds sing?", "A bird's song isn't learnt; it's inherited, e.g. by cuckoos."),
    ("Was the bridge painted green?", "Workers painted the bridge grey in 1931 [SEP] nobody repainted it."),
]
SINGLES = [(first,) for first, _ in PAIRS]


@pytest.fixture(scope="module")
def wordpiece():
    return checkpoints.load_tokenizer(MINILM)


@pytest.fixture(scope="module")
def bpe():
    """Like RoBERTa's: a byte-level BPE with <s> a </s></s> b </s>, learnt from the sentences above."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([text for pair in PAIRS for text in pair] * 2, trainer)
    learnt = json.loads(backend.to_str())["model"]
    mask = AddedToken("<mask>", lstrip=True)  # takes the space before it along, as in the published tokenizer
    merges = [tuple(merge) for merge in learnt["merges"]]
    return transformers.RobertaTokenizer(learnt["vocab"], merges, mask_token=mask)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))


def tokens_of(texts, tokenizer, max_length=64) -> TokenizedSplit:
    return splits.tokenize(
        splits.text_split("invented", "train", texts, Gold(np.arange(len(texts)) % 2)), tokenizer, max_length
    )


def strings(ids, tokenizer) -> list[str]:
    return tokenizer.convert_ids_to_tokens(ids.tolist())


def plain_words(tokens: list[str], space: str = "") -> list[int]:
    """Positions of whole words, found by reading the strings: letters that no piece of the same word follows."""
    continued = re.compile(r"##" if not space else r"[0-9A-Za-z]")
    stop = ENGLISH_STOP_WORDS | {"does", "don", "t", "s", "isn"}
    return [
        i
        for i, token in enumerate(tokens)
        if re.fullmatch(f"{space}[A-Za-z]+", token)
        and token.removeprefix(space).lower() not in stop
        and not (i + 1 < len(tokens) and continued.match(tokens[i + 1]))
    ]


def any_substitutes(split, tokenizer, k=5, seed=0):
    """Random other words for every replaceable one."""
    rng, words = np.random.default_rng(seed), whole_words(tokenizer)
    found = []
    for ids, positions in zip(split.input_ids, replaceable(split, tokenizer), strict=True):
        rows = [rng.choice(words[words != ids[at]], k, replace=False) for at in positions]
        found.append(np.array(rows, np.int64).reshape(-1, k))
    return found


def rows_of(split: TokenizedSplit) -> list[tuple[int, ...]]:
    return [tuple(ids.tolist()) for ids in split.input_ids]


# ---- which words -----------------------------------------------------------------------------------------------------


def test_the_words_of_a_sentence(wordpiece):
    split = tokens_of(PAIRS, wordpiece)
    positions = replaceable(split, wordpiece)
    tokens = [strings(ids, wordpiece) for ids in split.input_ids]
    assert [[row[i] for i in at] for row, at in zip(tokens, positions, strict=True)] == [
        ["kettle", "boil", "water", "old", "kettle", "stands", "stove", "heats", "water", "slowly"],
        ["river", "longer", "street", "rivers", "streets", "wind", "valleys"],
        ["birds", "sing", "bird", "song", "learnt", "inherited", "e", "g"],
        ["bridge", "painted", "green", "workers", "painted", "bridge", "grey"],
    ]
    assert [at.tolist() for at in positions] == [plain_words(row) for row in tokens]
    assert "##" in "".join(tokens[1])


def test_the_words_of_a_byte_level_bpe(bpe):
    split = tokens_of(PAIRS, bpe)
    tokens = [strings(ids, bpe) for ids in split.input_ids]
    positions = replaceable(split, bpe)
    assert [at.tolist() for at in positions] == [plain_words(row, "Ġ") for row in tokens]
    assert "Ġkettle" in [tokens[0][i] for i in positions[0]]


def test_substitutes_are_words_too(wordpiece):
    words = strings(whole_words(wordpiece), wordpiece)
    assert len(set(words)) == len(words) > 20_000
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert not ENGLISH_STOP_WORDS & set(words)


def test_other_tokenizers_are_refused():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "river": 1}, unk_token="[UNK]"))
    with pytest.raises(InputError, match="neither like BERT nor like RoBERTa"):
        whole_words(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))


# ---- neighbours ------------------------------------------------------------------------------------------------------


def test_neighbours_equal_a_brute_force_search(monkeypatch):
    monkeypatch.setattr(augmentation, "ROWS", 16)  # several blocks, the last one shorter
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(400, 12)) * rng.uniform(0.1, 9, (400, 1))  # lengths that must not matter
    candidates = np.sort(rng.choice(400, 90, replace=False))
    found = nearest_neighbours(torch.from_numpy(embeddings), candidates, k=7)
    assert found.shape == (90, 7)
    for row, i in zip(found, candidates, strict=True):
        a = embeddings[i]
        cosine = {j: a @ embeddings[j] / math.hypot(*a) / math.hypot(*embeddings[j]) for j in candidates if j != i}
        assert row.tolist() == sorted(cosine, key=cosine.get, reverse=True)[:7]


def test_neighbours_of_some_words_are_those_rows_of_all(monkeypatch):
    monkeypatch.setattr(augmentation, "ROWS", 3)
    embeddings, words = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)), np.arange(5, 40, 2)
    some = words[[1, 4, 5, 9, 16]]
    everything = nearest_neighbours(embeddings, words, k=4)
    np.testing.assert_array_equal(nearest_neighbours(embeddings, words, 4, some), everything[[1, 4, 5, 9, 16]])


def test_neighbours_of_real_words_are_related(wordpiece):
    with safe_open(hub.resolve(MINILM) / hub.WEIGHTS, "pt") as weights:
        embeddings = weights.get_tensor("embeddings.word_embeddings.weight")
    words = ["river", "lake", "happy", "glad", "array", "list", "seven", "nine"]
    ids = np.array(wordpiece.convert_tokens_to_ids(words))
    assert nearest_neighbours(embeddings, ids, k=1)[:, 0].tolist() == ids[[1, 0, 3, 2, 5, 4, 7, 6]].tolist()


def test_neighbours_stand_at_their_words(bpe):
    split = tokens_of(PAIRS, bpe)
    embeddings = torch.randn(len(bpe), 6, generator=torch.Generator().manual_seed(0))
    words = whole_words(bpe)
    table = dict(zip(words.tolist(), nearest_neighbours(embeddings, words, 3), strict=True))
    found = augmentation.neighbour_candidates(split, bpe, embeddings, k=3)
    for ids, positions, rows in zip(split.input_ids, replaceable(split, bpe), found, strict=True):
        assert rows.tolist() == [table[ids[at]].tolist() for at in positions]


def test_more_neighbours_than_words_are_refused():
    with pytest.raises(InputError, match="k=5 substitutes cannot be had of 5 words"):
        nearest_neighbours(torch.eye(9), np.arange(5), k=5)


# ---- augmented copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "space"), [("wordpiece", ""), ("bpe", "Ġ")])
def test_with_certainty_every_word_changes_and_nothing_else(kind, space, request):
    tokenizer = request.getfixturevalue(kind)
    split = tokens_of(PAIRS, tokenizer)
    substitutes = any_substitutes(split, tokenizer)
    new = augment(split, tokenizer, substitutes, copies=3, probability=1.0)
    assert len(new) == 12
    for i, (ids, types) in enumerate(zip(new.input_ids, new.token_type_ids, strict=True)):
        old = split.input_ids[i // 3]
        changed = plain_words(strings(old, tokenizer), space)
        assert np.flatnonzero(ids != old).tolist() == changed
        assert all(ids[at] in row for at, row in zip(changed, substitutes[i // 3], strict=True))
        assert types.tolist() == split.token_type_ids[i // 3].tolist()
        assert ids.dtype == old.dtype
    assert new.labels.tolist() == [-1] * 12


def test_the_share_of_changed_words_and_of_each_substitute_is_as_asked(wordpiece):
    words = strings(np.random.default_rng(1).choice(whole_words(wordpiece), 100), wordpiece)
    split = tokens_of([(" ".join(words),)], wordpiece, 120)
    substitutes = any_substitutes(split, wordpiece, k=4)
    new = augment(split, wordpiece, substitutes, copies=60)
    n, old = 60 * 100, split.input_ids[0]
    changed = sum(int((ids != old).sum()) for ids in new.input_ids)
    assert len(new) == 60
    assert abs(changed / n - 0.4) < 4 * math.sqrt(0.4 * 0.6 / n)
    for column in range(4):
        taken = sum(int((ids[1:-1] == substitutes[0][:, column]).sum()) for ids in new.input_ids)
        assert abs(taken / n - 0.1) < 4 * math.sqrt(0.1 * 0.9 / n)


def test_copies_depend_on_the_seed_alone(wordpiece):
    split = tokens_of(PAIRS, wordpiece)
    substitutes = any_substitutes(split, wordpiece)
    one, same, other = (augment(split, wordpiece, substitutes, 4, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert rows_of(one) == rows_of(same) != rows_of(other)


def test_nothing_comes_twice_and_no_original_comes_back(wordpiece):
    split = tokens_of([("The river.",), ("The river.",), ("It is not.",)], wordpiece)
    substitutes = any_substitutes(split, wordpiece, k=3)
    substitutes[1] = substitutes[0]
    new = augment(split, wordpiece, substitutes, copies=100, probability=0.5)
    assert sorted(ids[2] for ids in new.input_ids) == sorted(
        substitutes[0][0]
    )  # each once, and no example without words
    assert not set(rows_of(new)) & set(rows_of(split))


def test_no_words_give_no_examples(wordpiece):
    split = tokens_of([("It is not.",)], wordpiece)
    new = augment(split, wordpiece, any_substitutes(split, wordpiece), copies=2)
    assert (len(new), new.lengths.tolist(), new.labels.tolist()) == (0, [], [])


@pytest.mark.parametrize(("copies", "probability"), [(0, 0.4), (1, 0.0), (1, 1.1)])
def test_senseless_wishes_are_refused(wordpiece, copies, probability):
    with pytest.raises(InputError, match=f"copies={copies}, probability={probability}"):
        augment(tokens_of(PAIRS, wordpiece), wordpiece, [], copies, probability)


# ---- joined ----------------------------------------------------------------------------------------------------------


def test_joined_equals_the_texts_tokenized_together(wordpiece):
    parts = [tokens_of(texts, wordpiece) for texts in (PAIRS[:2], PAIRS[2:])]
    whole, both = tokens_of(PAIRS, wordpiece), joined(*parts)
    assert both.fingerprint == whole.fingerprint
    assert rows_of(both) == rows_of(whole)
    assert both.labels.tolist() == [0, 1, 0, 1]
    assert joined(*reversed(parts)).fingerprint != whole.fingerprint


def test_new_examples_carry_the_fingerprint_of_their_content(wordpiece):
    split = tokens_of(PAIRS, wordpiece)
    for new in (augment(split, wordpiece, any_substitutes(split, wordpiece), 2), recombined(split, wordpiece, 2, 64)):
        assert new.fingerprint == splits.tokenized(new.input_ids, new.token_type_ids, new.gold).fingerprint


# ---- recombined pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_recombined_pairs_are_those_that_the_tokenizer_makes(kind, request):
    tokenizer = request.getfixturevalue(kind)
    new = recombined(tokens_of(PAIRS, tokenizer), tokenizer, copies=3, max_length=64)
    crossed = tokens_of([(a, b) for a, own in PAIRS for _, b in PAIRS if b != own], tokenizer)
    assert sorted(rows_of(new)) == sorted(rows_of(crossed))
    types = {row: row_types.tolist() for row, row_types in zip(rows_of(crossed), crossed.token_type_ids, strict=True)}
    for row, row_types in zip(rows_of(new), new.token_type_ids, strict=True):
        assert row_types.tolist() == types[row]
    assert new.labels.tolist() == [-1] * 12


def test_recombined_text_is_the_first_of_one_and_the_second_of_another(wordpiece):
    split = tokens_of(PAIRS[:3], wordpiece)
    halves = [wordpiece.decode(ids).split("[SEP]") for ids in split.input_ids]
    firsts, seconds = ([half[side] for half in halves] for side in (0, 1))
    assert firsts[0] == "[CLS] does the kettle boil water? "
    used = []
    for ids in recombined(split, wordpiece, copies=1, max_length=64).input_ids:
        first, second, end = wordpiece.decode(ids).split("[SEP]")
        assert firsts.index(first) != seconds.index(second) and end == ""
        used.append(seconds.index(second))
    assert sorted(used) == [0, 1, 2]  # each second text once


def test_a_long_second_text_is_cut_before_its_separator(wordpiece):
    split = tokens_of([("Is a river long?", "Yes."), ("Is it?", "river " * 50), ("Was it?", "street " * 50)], wordpiece)
    longest = split.lengths.max() - 8
    new = recombined(split, wordpiece, copies=2, max_length=longest)
    assert max(new.lengths) == longest
    for ids, types in zip(new.input_ids, new.token_type_ids, strict=True):
        assert strings(ids, wordpiece).count("[SEP]") == 2 and ids[-1] == wordpiece.sep_token_id
        assert len(ids) == len(types)
    least = 1 + 5 + 1 + 2  # [CLS] is a river long ? [SEP], one token, [SEP]
    assert max(recombined(split, wordpiece, 1, least).lengths) == least
    with pytest.raises(InputError, match=f"max_length={least - 1} leaves no room for a second text.* at least {least}"):
        recombined(split, wordpiece, 1, least - 1)


def test_a_text_that_pairs_share_does_not_bring_the_examples_back(wordpiece):
    split = tokens_of([(f"Is it {word}?", "The same text.") for word in ("red", "green")] + PAIRS[:1], wordpiece)
    new = recombined(split, wordpiece, copies=2, max_length=64)
    assert len(new) == len(set(rows_of(new))) == 3  # of six, two are examples and two are the same
    assert not set(rows_of(new)) & set(rows_of(split))


def test_recombining_depends_on_the_seed(wordpiece):
    split = tokens_of(PAIRS, wordpiece)
    prints = [recombined(split, wordpiece, 1, 64, seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_single_texts_and_too_many_copies_are_refused(kind, request):
    tokenizer = request.getfixturevalue(kind)
    with pytest.raises(InputError, match="example 0 is a single text"):
        recombined(tokens_of(SINGLES, tokenizer), tokenizer, 1, 64)
    with pytest.raises(InputError, match="copies=4 is not possible with 4 pairs"):
        recombined(tokens_of(PAIRS, tokenizer), tokenizer, 4, 64)


def test_separators_written_in_a_single_text_make_no_pair(wordpiece):
    split = tokens_of([("A [SEP][SEP] river.",), ("A street.",)], wordpiece)
    with pytest.raises(InputError, match="example 0 is a single text"):
        recombined(split, wordpiece, 1, 64)
