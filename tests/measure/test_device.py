"""Which device is in use, why another cannot be, and what of it is in keys; without a card, and with a made-up one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fflib.files import InputError
from fflib.measure import device, hardware
from fflib.model import cache
from fflib.runs import params, provenance

CARD = {"identity": {"name": "A Card", "driver": "1.0"}, "state": {}}


@pytest.fixture(autouse=True)
def _on_the_processor():
    yield
    device.use(device.CPU)


@pytest.fixture
def card(monkeypatch):
    """A card that PyTorch sees, as far as it is only asked about."""
    about = SimpleNamespace(name="A Card", major=9, minor=0, total_memory=80e9, multi_processor_count=100)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: about.name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (about.major, about.minor))
    return about


def sentence(error) -> str:
    text = str(error.value)
    assert "\n" not in text and "leave HARDWARE=gpu out" in text
    return text


def test_the_processor_is_in_use_unless_a_chapter_says_otherwise():
    assert device.in_use() == "cpu" and not device.is_card() and device.lacking("cpu") == ""
    model = torch.nn.Linear(2, 2)
    assert device.placed(model) is model and device.of(model) == "cpu"
    assert device.described() == {} and device.peak_mb() is None and device.identity("cpu") == {}
    assert "device" not in hardware.card(), "a record of the processor is what it always was"
    assert device.of(torch.nn.Linear(2, 2, device="meta")) == "meta"


def test_no_such_device_is_told():
    with pytest.raises(InputError, match="there is no device 'tpu'; there are cpu, cuda"):
        device.use("tpu")
    assert device.in_use() == "cpu"


def test_a_build_without_cuda_says_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError) as error:
        device.use("cuda")
    assert "is a build without CUDA, so it sees none; install a build with CUDA" in sentence(error)
    assert device.in_use() == "cpu", "what cannot be used is not in use"


def test_a_build_with_cuda_but_no_card_says_where_to_look(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError) as error:
        device.check("cuda")
    assert "is built for CUDA 13.0 but sees no card; see whether nvidia-smi lists one" in sentence(error)


def test_a_card_that_the_build_does_not_support_is_told(card, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    monkeypatch.setattr(torch, "ones", fails)
    with pytest.raises(InputError) as error:
        device.check("cuda")
    assert "A Card is of no use to PyTorch" in sentence(error) and "no kernel image is available for" in sentence(error)


def test_keys_of_the_processor_have_nothing_of_a_device_and_those_of_a_card_all_that_decides(card):
    assert device.key_part("cpu") == device.key_part("cpu", CARD) == []
    kind, identity = device.key_part("cuda")
    assert kind == "cuda" and identity["name"] == "A Card" and identity["capability"] == "9.0"
    card.name = "Another Card"
    assert device.key_part("cuda") != [kind, identity]
    assert device.key_part("cuda", CARD) == ["cuda", CARD["identity"]], "a record's own card, wherever it is read"


def test_where_there_is_no_card_what_came_of_one_is_told_from_it_without_asking_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.key_part("cuda") == ["cuda", {}] != device.key_part("cuda", CARD)


def test_a_chapter_on_a_card_has_another_key_than_one_on_the_processor():
    machine, values = hardware.card(), params.load_run("docs-cpu", "smoke").chapter_values("02_batching")
    assert values["device"] == "cpu"
    key = provenance.chapter_key("02_batching", values, machine)
    assert provenance.chapter_key("02_batching", values, machine | {"device": CARD}) == key
    on_card = [
        provenance.chapter_key("02_batching", values | {"device": "cuda"}, machine | {"device": each})
        for each in (CARD, {"identity": {"name": "A Card", "driver": "2.0"}})
    ]
    assert len({key, *on_card}) == 3, "another driver computes anew"


def test_what_a_card_predicted_never_stands_for_the_processor(card, monkeypatch):
    from conftest import examples_of, tiny_classifier

    model, texts = tiny_classifier(), examples_of([3, 4])
    here = cache.outputs_folder(model, texts)
    monkeypatch.setattr(device, "of", lambda model: "cuda")
    assert cache.outputs_folder(model, texts) != here


def test_what_is_trained_or_read_again_is_placed_on_the_device_with_the_weights_of_its_loss(monkeypatch, tmp_path):
    from conftest import examples_of, tiny_classifier

    from fflib.model import training

    placed, moved = [], []
    monkeypatch.setattr(device, "placed", lambda model: placed.append(model) or model)

    class Loss(torch.nn.Module):
        """One with weights of its own, as a projection between unlike widths has."""

        def __init__(self, train):
            super().__init__()
            self.of_labels, self.scale = training.label_loss(train), torch.nn.Parameter(torch.ones(1))

        def forward(self, model, inputs, indices):
            return self.of_labels(model, inputs, indices) * self.scale.sum()

        def _apply(self, *arguments, **options):
            moved.append(True)
            return super()._apply(*arguments, **options)

    train, recipe = examples_of([3, 4, 5, 6]), training.Recipe(epochs=1, evaluations_per_epoch=0, dropout=0.0)
    for read_again in (False, True):
        arguments = train, train, lambda model: Loss(train), lambda logits, gold: 0.0, recipe, "a test"
        model, history = cache.train_or_load(tiny_classifier, tmp_path / "model", *arguments)
        assert placed[-1] is model and len(placed) == (3 if read_again else 1)
    assert moved, "the loss goes where its model is"


@pytest.mark.parametrize(("capability", "has"), [((7, 0), False), ((8, 0), True), ((9, 0), True)])
def test_sixteen_bits_follow_the_device(card, monkeypatch, capability, has):
    card.major, card.minor = capability
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: "asked the processor")
    assert hardware.multiplies_bf16("cuda") is has and hardware.multiplies_bf16("cpu") == "asked the processor"


@pytest.mark.skipif(bool(why := device.lacking("cuda")), reason=why)
def test_on_a_card_a_model_moves_and_is_described():
    device.use("cuda")
    assert device.of(device.placed(torch.nn.Linear(2, 2))) == "cuda"
    told = hardware.card()["device"]
    assert told["identity"]["name"] and told["state"]["peak_memory_mb"] >= 0
