import json
import os

import huggingface_hub
import numpy as np
import pyarrow.parquet
import pytest
from small_tokenizer import make_tokenizer

from fflib import download
from fflib.data import sources
from fflib.data import splits as data
from fflib.data.metrics import Gold
from fflib.data.splits import load_split, tokenize
from fflib.files import InputError

SUPERGLUE = os.environ.get("FFLIB_SUPERGLUE", "")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FFLIB_SUPERGLUE", raising=False)


@pytest.fixture
def superglue(tmp_path):
    """A folder in SuperGLUE's layout: 200 training questions on 100 passages, 20 for validation."""
    folder = tmp_path / "superglue"
    (folder / "BoolQ").mkdir(parents=True)
    for name, count in [("train", 200), ("val", 20)]:
        rows = [
            {"question": f"is it tree {i}", "passage": f"The {name} river {i // 2}.", "idx": i, "label": i % 3 == 0}
            for i in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "BoolQ" / f"{name}.jsonl").write_text(text + "\n")  # a blank line at the end does no harm
    return folder


@pytest.fixture
def tokenizer():
    return make_tokenizer()


def make_split(texts):
    return data.text_split("invented", "train", texts, Gold(np.arange(len(texts)) % 2))


def test_test_is_the_official_val(superglue):
    split = load_split("boolq", "test", str(superglue))
    assert (split.task, split.name, len(split)) == ("BoolQ", "test", 20)
    assert split.texts[3] == ("is it tree 3", "The val river 1.")
    assert split.labels.dtype == np.int64
    assert split.labels[:4].tolist() == [1, 0, 0, 1]


def test_dev_is_about_a_tenth_of_train_and_shares_no_passage_with_it(superglue):
    train, dev = (load_split("BoolQ", name, str(superglue)) for name in ("train", "dev"))
    assert len(train) + len(dev) == 200
    assert 4 <= len(dev) <= 40
    assert not {text[1] for text in train.texts} & {text[1] for text in dev.texts}


def test_the_task_folder_itself_and_the_environment_variable_lead_to_the_same_data(superglue, monkeypatch):
    wanted = load_split("BoolQ", "dev", str(superglue)).fingerprint
    assert load_split("BoolQ", "dev", str(superglue / "BoolQ")).fingerprint == wanted
    monkeypatch.setenv("FFLIB_SUPERGLUE", str(superglue))
    assert load_split("BoolQ", "dev").fingerprint == wanted


def test_a_smaller_limit_is_the_start_of_a_larger_one(superglue):
    small, large = (load_split("BoolQ", "train", str(superglue), limit=n, seed=4) for n in (10, 50))
    assert len(small) == 10
    assert small.texts == large.texts[:10]
    assert small.texts != load_split("BoolQ", "train", str(superglue), limit=10, seed=5).texts
    whole = load_split("BoolQ", "train", str(superglue))
    assert sorted(load_split("BoolQ", "train", str(superglue), limit=10**6).texts) == sorted(whole.texts)


def test_take_and_head_carry_a_fingerprint_of_their_own(superglue):
    split = load_split("BoolQ", "test", str(superglue))
    assert split.head(5).fingerprint == split.take([0, 1, 2, 3, 4]).fingerprint != split.fingerprint
    assert split.head(99).fingerprint == split.fingerprint
    assert split.take([7]).texts == [split.texts[7]]
    assert split.take([1, 0]).fingerprint != split.take([0, 1]).fingerprint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'question': 1}", "not JSON"),
        ("[1, 2]", "list instead of an object"),
        ('{"question": "is it", "label": true}', "no column 'passage'"),
        ('{"question": "is it", "passage": " ", "label": true}', "'passage' is ' '"),
        ('{"question": "is it", "passage": "A tree.", "label": "yes"}', "label='yes' is not a label"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(superglue, line, message):
    path = superglue / "BoolQ" / "val.jsonl"
    path.write_text('{"question": "is it", "passage": "A tree.", "label": true}\n\n' + line + "\n")
    with pytest.raises(InputError, match=rf"val\.jsonl, line 3: .*{message}"):
        load_split("BoolQ", "test", str(superglue))


def test_a_file_that_is_not_text_is_refused(superglue):
    (superglue / "BoolQ" / "val.jsonl").write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(InputError, match=r"val\.jsonl is a parquet file"):
        load_split("BoolQ", "test", str(superglue))


def test_what_is_missing_is_named_with_what_was_tried(superglue, tmp_path):
    with pytest.raises(InputError, match="there is no folder .*nowhere; give SuperGLUE's folder, or 'hub'"):
        load_split("BoolQ", "test", str(tmp_path / "nowhere"))
    (superglue / "BoolQ" / "val.jsonl").unlink()
    with pytest.raises(InputError, match=r"BoolQ/val\.jsonl nor .*superglue/val\.jsonl"):
        load_split("BoolQ", "test", str(superglue))
    (superglue / "BoolQ" / "val.jsonl").write_text("\n")
    with pytest.raises(InputError, match="the test split is empty"):
        load_split("BoolQ", "test", str(superglue))


def test_wrong_arguments_are_refused(superglue):
    with pytest.raises(InputError, match="unknown split 'val'; the splits are train, dev, test"):
        load_split("BoolQ", "val", str(superglue))
    with pytest.raises(InputError, match="limit=0"):
        load_split("BoolQ", "test", str(superglue), limit=0)
    with pytest.raises(InputError, match="docs is built from the installed packages"):
        load_split("docs", "test", str(superglue))


@pytest.fixture
def from_hub(tmp_path, monkeypatch):
    """A function that lets the hub's download be a folder with ``rows`` of BoolQ's validation split."""
    asked = []

    def fetch(*args, **kwargs):
        asked.append((args, kwargs))
        return tmp_path

    def put(rows):
        (tmp_path / "boolq").mkdir(exist_ok=True)
        path = tmp_path / "boolq" / "validation-00000-of-00001.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path

    monkeypatch.setattr(download, "fetch", fetch)
    put.asked = asked
    return put


def test_the_hub_is_asked_for_one_split_and_its_class_indices_are_translated(from_hub):
    from_hub([{"question": "is it a tree", "passage": "It is.", "idx": 0, "label": 1}])
    split = load_split("BoolQ", "test")
    assert split.texts == [("is it a tree", "It is.")]
    assert split.labels.tolist() == [1]
    (args, kwargs), *_ = from_hub.asked
    wanted = "boolq/validation-*.parquet"
    assert args == ("aps/super_glue", [wanted], wanted, sources.REVISION) and kwargs["kind"] == "dataset"
    with pytest.raises(InputError, match="aps/super_glue has no boolq/train-.*; set FFLIB_SUPERGLUE"):
        load_split("BoolQ", "train")


def test_a_bad_row_from_the_hub_is_named(from_hub):
    from_hub([{"question": "is it", "passage": "A tree.", "label": label} for label in (0, -1)])
    with pytest.raises(InputError, match="aps/super_glue boolq/validation, row 1: .*label=-1 is not a label"):
        load_split("BoolQ", "test")
    path = from_hub([{"question": "is it"}])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"validation.*\.parquet: not a parquet file .* delete it and run again"):
        load_split("BoolQ", "test")


def test_a_hub_out_of_reach_is_one_sentence_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"the dataset aps/super_glue .*HF_HUB_OFFLINE.*, or set FFLIB_SUPERGLUE"):
        load_split("BoolQ", "train")


def test_pairs_get_special_tokens_and_two_token_types(tokenizer):
    tokens = tokenize(make_split([("is it", "the sea"), ("no", "a tree or bird")]), tokenizer, 16)
    assert tokens.input_ids[0].tolist() == [1, 4, 5, 2, 9, 10, 2]
    assert tokens.token_type_ids[0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert tokens.lengths.tolist() == [7, 8]
    assert len(tokens) == 2
    assert tokens.labels.tolist() == [0, 1]


def test_one_text_is_tokenized_without_a_pair(tokenizer):
    tokens = tokenize(make_split([("is it",), ("the sea stone",)]), tokenizer, 16)
    assert [ids.tolist() for ids in tokens.input_ids] == [[1, 4, 5, 2], [1, 9, 10, 11, 2]]


def test_the_longer_text_is_cut_first(tokenizer):
    tokens = tokenize(make_split([("is it", "sea " * 30), ("bird " * 30, "the sea")]), tokenizer, 10)
    assert tokens.lengths.tolist() == [10, 10]
    assert tokens.token_type_ids[0].tolist() == [0] * 4 + [1] * 6
    assert tokens.token_type_ids[1].tolist() == [0] * 7 + [1] * 3


def test_a_length_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="max_length=4 leaves no room for text; it takes at least 5"):
        tokenize(make_split([("is it", "the sea")]), tokenizer, 4)


def test_the_second_call_reads_the_cache(tokenizer, monkeypatch):
    split = make_split([("is it", "the sea"), ("no", "a tree")])
    first = tokenize(split, tokenizer, 16)
    monkeypatch.setattr(type(tokenizer), "__call__", lambda *_, **__: pytest.fail("tokenized again"))
    second = tokenize(split, tokenizer, 16)
    assert second.fingerprint == first.fingerprint
    assert [ids.tolist() for ids in second.input_ids] == [ids.tolist() for ids in first.input_ids]
    assert second.input_ids[0].dtype == first.input_ids[0].dtype == np.int32


def test_the_cache_knows_text_tokenizer_and_length_apart(tokenizer, tmp_path):
    split = make_split([("is it", "the sea"), ("no", "a tree")])
    tokenize(split, tokenizer, 16)
    tokenize(split, tokenizer, 12)
    tokenize(split, make_tokenizer(extra=["moon"]), 16)
    tokenize(make_split([("is it", "the sea"), ("no", "a bird")]), tokenizer, 16)
    assert len(list((tmp_path / "cache" / "tokenized").iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_cache_file_is_made_anew(tokenizer, tmp_path, damage):
    split = make_split([("is it", "the sea"), ("no", "a tree")])
    wanted = tokenize(split, tokenizer, 16).fingerprint
    (path,) = (tmp_path / "cache" / "tokenized").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert tokenize(split, tokenizer, 16).fingerprint == wanted
    assert path.read_bytes() == whole


def test_tokens_can_be_taken_by_index(tokenizer):
    tokens = tokenize(make_split([("is it", "the sea"), ("no", "a tree or bird")]), tokenizer, 16)
    taken = tokens.take(np.array([1]))
    assert taken.lengths.tolist() == [8]
    assert taken.labels.tolist() == [1]
    assert taken.fingerprint != tokens.fingerprint


@pytest.mark.skipif(not SUPERGLUE, reason="FFLIB_SUPERGLUE is not set")
def test_the_real_boolq():
    splits = {name: load_split("BoolQ", name, SUPERGLUE) for name in data.SPLITS}
    assert len(splits["test"]) == 3270
    assert 0.07 < len(splits["dev"]) / (len(splits["dev"]) + len(splits["train"])) < 0.13
    assert np.mean(splits["test"].labels) == pytest.approx(0.62, abs=0.01)
