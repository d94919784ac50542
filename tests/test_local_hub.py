"""The hub's models and data as a user gets them, over HTTP from a hub on this machine, and each way it can fail.

What is called runs in processes of its own (see local_hub); each test has repositories of its own, so one cache does.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest
import torch
import transformers
from local_hub import Answer, LocalHub, Worker
from safetensors.torch import save
from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

from fflib import download, hub
from fflib.data import sources
from fflib.model import checkpoints

RESOLVE, CLASSIFIER, SPLIT = (
    "fflib.hub.resolve",
    "fflib.model.checkpoints.load_classifier",
    "fflib.data.splits.load_split",
)
WORDS = ["is", "it", "a", "river", "or", "the", "sea", "stone", "tree", "bird", "cold", "no", "##s", "?", "."]
SHAPE = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}


# ---- what lies on the hub --------------------------------------------------------------------------------------------


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def bert(folder: Path, head: str, **options) -> Path:
    """A BERT in the files of google-bert/bert-base-uncased, random and tiny."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    config = transformers.BertConfig(vocab_size=len(vocabulary), **SHAPE, **options)
    return _saved(getattr(transformers, f"BertFor{head}")(config), BertWordPieceTokenizer(vocabulary), "Bert", folder)


def roberta(folder: Path) -> Path:
    """A RoBERTa in the files of FacebookAI/roberta-base, whose tokenizer works on bytes."""
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(["is it a river or the sea"] * 3, 270, special_tokens=special, show_progress=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    shape = SHAPE | {"vocab_size": tokenizer.get_vocab_size(), "type_vocab_size": 1, "pad_token_id": 1}
    config = transformers.RobertaConfig(**shape)
    return _saved(transformers.RobertaForMaskedLM(config), tokenizer, "Roberta", folder)


def _saved(model, tokenizer, kind: str, folder: Path) -> Path:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_model(str(folder))  # vocab.txt, or vocab.json and merges.txt
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": f"{kind}Tokenizer", "model_max_length": SHAPE["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "README.md").write_text("An invented model.\n")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody should open")
    (folder / "modeling_own.py").write_text("raise SystemExit('code of others was run')\n")
    return folder


def parquet(rows: list[dict]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def superglue() -> dict[str, bytes]:
    """Data in the files and columns of aps/super_glue; every sentence is invented, every label a class index."""
    files = {"README.md": b"---\nlicense: other\n---\nInvented.\n"}
    for split, count in [("train", 60), ("validation", 12), ("test", 3)]:
        tasks = {"boolq": [], "rte": [], "multirc": []}
        for i in range(count):
            rest = {"idx": i, "label": -1 if split == "test" else i % 2}
            asked = {"question": "Where did it sit?", "answer": ["On a stone.", "In the sea."][i % 2]}
            place = {"idx": {"paragraph": i // 4, "question": i // 2, "answer": i}}
            tasks["boolq"].append({"question": f"is tree {i} cold", "passage": f"The {split} river {i}."} | rest)
            tasks["rte"].append({"premise": f"A {split} stone {i}.", "hypothesis": f"Stone {i}."} | rest)
            tasks["multirc"].append({"paragraph": f"The {split} bird {i // 4} sat on a stone."} | asked | rest | place)
        files |= {f"{task}/{split}-00000-of-00001.parquet": parquet(rows) for task, rows in tasks.items()}
    return files


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """Folders of checkpoints: pretrained BERT and RoBERTa, and a BERT that was fine-tuned on three classes."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("made")
    return {
        "bert": bert(folder / "bert", "PreTraining"),
        "tuned": bert(folder / "tuned", "SequenceClassification", num_labels=3),
        "roberta": roberta(folder / "roberta"),
    }


@pytest.fixture(scope="module")
def shelf(made) -> Iterator[LocalHub]:
    with LocalHub() as the_hub:
        for name, folder in made.items():
            the_hub.add(f"someone/{name}", read(folder))
        old = {"tokenizer.json", "tokenizer_config.json"}  # google's miniatures and TinyBERT have a vocab.txt only
        the_hub.add("someone/bert", {path: body for path, body in read(made["bert"]).items() if path not in old})
        the_hub.add(sources.SUPERGLUE, superglue(), "datasets", commit=sources.REVISION)
        yield the_hub


@pytest.fixture(scope="module")
def user(shelf, tmp_path_factory) -> Iterator[Worker]:
    with Worker(shelf, tmp_path_factory.mktemp("user")) as worker:
        yield worker


@pytest.fixture(scope="module", autouse=True)
def stuck(tmp_path_factory) -> Iterator[Worker]:
    """A process that has asked a hub which never answers; the last test looks what became of it."""
    with LocalHub() as the_hub, Worker(the_hub, tmp_path_factory.mktemp("stuck")) as worker:
        the_hub.fault("hang", "")
        worker.send(RESOLVE, name="someone/slow")
        yield worker


@pytest.fixture(autouse=True)
def all_is_well(shelf):
    shelf.heal()


@pytest.fixture
def small(made) -> dict[str, bytes]:
    return read(made["bert"])


def one_sentence(answer: Answer, error: str, *parts: str) -> str:
    """Check that an answer is an error of one sentence with ``parts`` in it, and return it."""
    assert answer.error == error, f"{answer}"
    assert "\n" not in answer.message and len(answer.message) < 600
    for part in parts:
        assert part in answer.message
    return answer.message


def downloads(shelf: LocalHub) -> list[str]:
    return [path for method, path, _ in shelf.requests if method == "GET" and path.startswith("/cdn/")]


# ---- a hub that works ------------------------------------------------------------------------------------------------


def test_models_and_data_come_from_the_hub_once_and_then_without_it(made, shelf, user):
    """Once online; then offline in a new process, where not one request is made."""
    first = {name: user.call(CLASSIFIER, name=f"someone/{name}", num_labels=3) for name in made}
    rows = user.call(SPLIT, task="BoolQ", split="test", source="hub").value
    asked = {path for _, path, _ in shelf.requests}
    assert not [path for path in asked if path.endswith((".bin", ".py")) or "multirc" in path or "/test-" in path]

    for name, folder in made.items():
        expected = torch.tensor(logits(checkpoints.load_classifier(folder, 3)))
        assert torch.allclose(torch.tensor(first[name].value), expected, atol=1e-5), first[name]
    assert rows["texts"][3] == ["is tree 3 cold", "The validation river 3."] and rows["labels"][:4] == [0, 1, 0, 1]

    shelf.heal()
    assert user.call(CLASSIFIER, name="someone/roberta", num_labels=3).value == first["roberta"].value
    with Worker(shelf, user.folder, HF_HUB_OFFLINE="1") as offline:
        assert offline.call(CLASSIFIER, name="someone/tuned", num_labels=3).value == first["tuned"].value
        assert offline.call(SPLIT, task="BoolQ", split="test", source="hub").value == rows
        for name, folder in made.items():
            ids = offline.call("fflib.model.checkpoints.load_tokenizer", name=f"someone/{name}").value
            assert ids == checkpoints.load_tokenizer(folder)("the river is cold", "a tree")["input_ids"]
        never = offline.call(RESOLVE, name="someone/never-asked-for")
        one_sentence(never, "NotFound", "someone/never-asked-for", "HF_HUB_OFFLINE", "local folder")
    assert shelf.requests == []


def test_a_fine_tuned_classifier_keeps_its_head(made, shelf, user):
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(made["tuned"]).eval()
    value = user.call(CLASSIFIER, name="someone/tuned", num_labels=3).value
    assert torch.allclose(torch.tensor(value), torch.tensor(logits(stock)), atol=1e-5)
    assert user.call(CLASSIFIER, name="someone/tuned", num_labels=2).value != value  # another task, a head of its own


def logits(model: torch.nn.Module) -> list[list[float]]:
    ids = torch.tensor([[5, 7, 9, 11, 13], [6, 8, 1, 1, 1]])
    with torch.no_grad():
        return model(ids, (ids != 1).long()).logits.tolist()


def test_a_revision_is_a_tag_a_commit_or_a_pull_request(shelf, user, small):
    commit = shelf.add("someone/tagged", small | {"config.json": b'{"old": 1}'}, revision="v1")
    shelf.add("someone/tagged", small)
    old = user.call(RESOLVE, name="someone/tagged@v1")
    assert Path(old.value).name == commit and old.value == user.call(RESOLVE, name=f"someone/tagged@{commit}").value
    assert Path(user.call(RESOLVE, name="someone/tagged").value).name != commit

    pickled = {name: body for name, body in small.items() if name != hub.WEIGHTS}
    shelf.add("someone/pickled", pickled)
    only = user.call(RESOLVE, name="someone/pickled")
    one_sentence(only, "InputError", "only safetensors", "name@refs/pr/N", "SFconvertbot")
    shelf.add("someone/pickled", small, revision="refs/pr/7")
    assert (Path(user.call(RESOLVE, name="someone/pickled@refs/pr/7").value) / hub.WEIGHTS).is_file()


# ---- what is not there -----------------------------------------------------------------------------------------------


def test_what_the_hub_does_not_give_is_said_with_its_reason(shelf, user, small):
    shelf.add("someone/there", small)
    wrong = user.call(RESOLVE, name="someone/there@v9")
    one_sentence(wrong, "InputError", "has someone/there but no revision v9", "40 digits", "local folder")
    missing = user.call(RESOLVE, name="nobody/nothing")
    one_sentence(missing, "NotFound", "nobody/nothing", "no local folder", "no such name", "spelling")
    for status in (401, 403):
        shelf.add(f"someone/gated-{status}", small, gated=status)
        gated = user.call(RESOLVE, name=f"someone/gated-{status}")
        one_sentence(gated, "InputError", f"someone/gated-{status}", "gated", "hf auth login")


def test_data_fail_and_are_tried_again_as_models_do(shelf, user):
    shelf.fault("404", "/api/datasets/", times=1, X_Error_Code="RevisionNotFound")
    answer = user.call(SPLIT, task="BoolQ", split="train", source="hub")
    one_sentence(answer, "InputError", sources.SUPERGLUE, f"no revision {sources.REVISION}", "or set FFLIB_SUPERGLUE")
    shelf.fault("damage", "/cdn/", times=1)
    train, dev = (user.call(SPLIT, task="BoolQ", split=split, source="hub") for split in ("train", "dev"))
    assert len(train.value["labels"]) + len(dev.value["labels"]) == 60
    assert "trying again in 1 s" in train.stderr and len(downloads(shelf)) == 2  # none for dev, the same file


# ---- a bad line ------------------------------------------------------------------------------------------------------


def test_a_download_that_breaks_off_goes_on_where_it_stopped(shelf, user, small):
    filler = save({"filler": torch.arange(6_000_000, dtype=torch.float32)})  # the client keeps pieces of 10 MiB
    shelf.add("someone/large", small | {hub.WEIGHTS: filler})
    shelf.fault("break", "/cdn/", times=1)
    answer = user.call(RESOLVE, name="someone/large")
    assert (Path(answer.value) / hub.WEIGHTS).read_bytes() == filler
    assert "resume" in answer.stderr
    assert [range_ for method, path, range_ in shelf.requests if "/cdn/" in path] == [None, f"bytes={10 * 2**20}-"]


def test_a_download_that_always_breaks_off_is_an_error_and_the_next_call_works(shelf, user, small):
    shelf.add("someone/broken", small)
    shelf.fault("break", "/cdn/")
    answer = user.call(RESOLVE, name="someone/broken")
    one_sentence(answer, "InputError", "someone/broken", "broke off", "run again")
    shelf.heal()
    folder = Path(user.call(RESOLVE, name="someone/broken").value)
    assert (folder / hub.WEIGHTS).read_bytes() == small[hub.WEIGHTS]
    assert len(downloads(shelf)) == 1


def test_a_small_file_that_is_missing_is_fetched_by_the_next_call(shelf, user, small):
    shelf.add("someone/partial", small)
    shelf.fault("reset", "tokenizer.json")
    answer = user.call(RESOLVE, name="someone/partial")
    one_sentence(answer, "InputError", "someone/partial", "broke off")
    shelf.heal()
    folder = Path(user.call(RESOLVE, name="someone/partial").value)
    assert (folder / "tokenizer.json").read_bytes() == small["tokenizer.json"]


@pytest.mark.parametrize("fault", ["reset", "damage"])
def test_a_lost_connection_or_a_damaged_file_is_tried_again(fault, shelf, user, small):
    shelf.add(f"someone/{fault}", small)
    shelf.fault(fault, "/cdn/", times=1)
    answer = user.call(RESOLVE, name=f"someone/{fault}")
    assert (Path(answer.value) / hub.WEIGHTS).read_bytes() == small[hub.WEIGHTS]
    assert "trying again in 1 s" in answer.stderr and len(downloads(shelf)) == 2


def test_damage_that_stays_is_an_error_and_no_file_is_kept(shelf, user, small):
    shelf.add("someone/damaged", small)
    shelf.fault("damage", "/cdn/")
    answer = user.call(RESOLVE, name="someone/damaged")
    one_sentence(answer, "InputError", "someone/damaged", "arrived damaged", "run again")
    assert len(downloads(shelf)) == download.TRIES
    assert not list(user.folder.rglob(f"models--someone--damaged/snapshots/*/{hub.WEIGHTS}"))
    shelf.heal()
    assert user.call(RESOLVE, name="someone/damaged").error == ""


# ---- a busy hub ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/api/models/someone/busy", "/cdn/"])
def test_too_many_requests_are_waited_for(where, shelf, user, small):
    name = f"someone/busy{len(where)}"
    shelf.add(name, small)
    shelf.fault("429", where, times=1, Retry_After=1)
    answer = user.call(RESOLVE, name=name)
    assert (Path(answer.value) / hub.WEIGHTS).is_file()
    assert answer.seconds > 1 and "429" in answer.stderr


def test_a_hub_that_stays_busy_is_an_error_after_some_tries(shelf, user, small):
    shelf.add("someone/jam", small)
    shelf.fault("429", "/api/models/someone/jam", Retry_After=0)
    answer = user.call(RESOLVE, name="someone/jam")
    one_sentence(answer, "InputError", "someone/jam", "429", "run again after that", "hf auth login")
    assert len([path for _, path, _ in shelf.requests if "someone/jam" in path]) == download.TRIES
    shelf.heal()
    shelf.fault("429", "/api/models/someone/jam", RateLimit='"api";r=0;t=3599')
    answer = user.call(RESOLVE, name="someone/jam")
    one_sentence(answer, "InputError", "3600 s of patience")
    assert answer.seconds < 5  # an hour is not waited for


def test_a_hub_with_an_error_is_tried_again(shelf, user, small):
    shelf.add("someone/ill", small)
    shelf.fault("503", "/api/models/someone/ill", times=1)
    assert user.call(RESOLVE, name="someone/ill").error == ""


# ---- no hub ----------------------------------------------------------------------------------------------------------


def test_a_hub_that_does_not_answer_is_given_up_within_seconds(stuck):
    answer = stuck.receive()
    one_sentence(answer, "NotFound", "someone/slow", "within 10 s", "network")
    assert answer.seconds < 15


def test_each_request_of_the_client_gets_a_time_limit(shelf, monkeypatch):
    """It lists files without one; what it does for others is as it was afterwards."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    shelf.fault("hang", "/tree/")
    client = huggingface_hub.get_session()
    with pytest.raises(download.httpx.ReadTimeout), download._time_limit(0.2):
        client.get(f"{shelf.url}/api/models/someone/bert/tree/main", timeout=None)
    assert len(client.event_hooks["request"]) == 1


def test_no_hub_at_all_is_one_sentence(tmp_path):
    with Worker("http://127.0.0.1:9", tmp_path) as alone:
        answer = alone.call(RESOLVE, name="someone/model")
        one_sentence(answer, "NotFound", "someone/model", "ConnectError", "check the name and the network")
        assert answer.seconds < 5


def test_a_data_set_of_the_reader_s_own_comes_once_and_names_its_classes(shelf, user, tmp_path):
    """Laid out as the hub converts it; test has no labels, so validation is reported, offline too."""
    import datasets

    features = datasets.Features(title=datasets.Value("string"), mood=datasets.ClassLabel(names=["sad", "glad"]))
    made = {"train": 61, "validation": 12, "test": 5}
    files = {}
    for split, n in made.items():
        moods = {"train": [*(i % 2 for i in range(n - 1)), -1], "test": [None] * n}.get(
            split, [i % 2 for i in range(n)]
        )
        rows = {"title": [f"{split} day {i}" for i in range(n)], "mood": moods}
        file = io.BytesIO()
        datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
        files[f"default/{split}/0000.parquet"] = file.getvalue()
    shelf.add("someone/moods", files, "datasets", revision="refs/convert/parquet")
    path = tmp_path / "mine.yaml"
    path.write_text("hub: someone/moods\ntext: title\nlabel: mood\nlabels: [glad, sad]\n")
    train, dev, test = (user.call(SPLIT, task=str(path), split=split).value for split in ("train", "dev", "test"))
    assert len(train["texts"]) + len(dev["texts"]) == 60 and dev["texts"], "one row has no label"
    assert test["labels"] == [1, 0] * 6, "the file's order of classes is sad, glad, the reader's glad, sad"
    shelf.heal()
    path.write_text("hub: someone/moods\ntext: title\nlabel: mood\nlabels: [glad, sad, odd]\n")
    one_sentence(user.call(SPLIT, task=str(path), split="train"), "InputError", "has the mood 'odd'; correct 'labels'")
    path.write_text("hub: someone/moods\ntext: title\nlabel: mood\nlabels: [glad, sad]\n")
    with Worker(shelf, user.folder, HF_HUB_OFFLINE="1") as offline:
        assert offline.call(SPLIT, task=str(path), split="test").value == test
    assert not shelf.requests


def test_minus_one_is_a_class_where_the_reader_lists_it(shelf, user, tmp_path):
    import datasets

    files = {}
    for split, n in {"train": 60, "validation": 12}.items():
        rows = {"title": [f"{split} day {i}" for i in range(n)], "mood": [i % 3 - 1 for i in range(n)]}
        file = io.BytesIO()
        datasets.Dataset.from_dict(rows).to_parquet(file)
        files[f"default/{split}/0000.parquet"] = file.getvalue()
    shelf.add("someone/thirds", files, "datasets", revision="refs/convert/parquet")
    path = tmp_path / "mine.yaml"
    path.write_text("hub: someone/thirds\ntext: title\nlabel: mood\nlabels: [-1, 0, 1]\n")
    assert user.call(SPLIT, task=str(path), split="test").value["labels"] == [0, 1, 2] * 4
