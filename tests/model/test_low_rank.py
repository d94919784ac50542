"""Low-rank differences: what is attached, merged, kept and read back is the same model, as far as its bits allow."""

import pytest
import torch
from random_models import model_of

from fflib.files import InputError
from fflib.model import low_rank

SHAPES = (2, 8, 24), (2, 8, 24)


@pytest.fixture
def base():
    return model_of(*SHAPES)


def trained(rank, seed=1):
    """A model whose pairs, norms and head have moved, as training would move them."""
    model = model_of(*SHAPES)
    low_rank.attach(model, rank)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


def logits(model):
    ids = torch.arange(1, 25).reshape(2, 12)
    with torch.inference_mode():
        return model.eval()(ids, torch.ones_like(ids)).logits


def test_training_begins_at_the_model_itself(base):
    before = logits(base)
    low_rank.attach(base, 4)
    assert torch.equal(logits(base), before)


def test_the_matrices_and_word_embeddings_are_frozen(base):
    low_rank.attach(base, 2)
    frozen = {name for name, parameter in base.named_parameters() if not parameter.requires_grad}
    matrices = {f"{part}.linear.weight" for part in ("query", "key", "value", "output", "intermediate")}
    assert {name.split(".", 4)[-1] for name in frozen if ".layers." in name} == matrices
    assert {name for name in frozen if ".layers." not in name} == {
        "encoder.embeddings.word.weight",
        "encoder.embeddings.position.weight",
        "encoder.pooler.linear.weight",
    }


def test_merged_it_computes_the_same(base):
    model = trained(3)
    expected = logits(model)
    assert not torch.allclose(expected, logits(base), atol=0.1)
    low_rank.merge(model)
    assert [*model.state_dict()] == [*base.state_dict()]
    assert torch.allclose(logits(model), expected, atol=1e-5)
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "layers" in name)


def test_what_is_kept_is_read_back_within_eight_bits(base, tmp_path):
    model = trained(3)
    low_rank.merge(model)
    file = tmp_path / "difference.safetensors"
    low_rank.save(model, base, file, rank=3)
    start = base.state_dict()
    moved = {name: (tensor - start[name]).abs().max() for name, tensor in model.state_dict().items()}
    low_rank.apply(base, file)
    for name, tensor in base.state_dict().items():  # two factors of a 254th each, or a half number's 11 bits
        assert (tensor - model.state_dict()[name]).abs().max() <= 0.03 * moved[name] + 1e-3, name


def test_a_smaller_rank_is_the_best_there_is(base, tmp_path):
    model = trained(6)
    low_rank.merge(model)
    name = "encoder.layers.0.feed_forward.intermediate.weight"
    difference = model.state_dict()[name] - base.state_dict()[name]
    values = torch.linalg.svdvals(difference)
    low_rank.save(model, base, tmp_path / "d.safetensors", rank=2)
    low_rank.apply(base, tmp_path / "d.safetensors")
    missed = torch.linalg.matrix_norm(model.state_dict()[name] - base.state_dict()[name])
    assert missed == pytest.approx(values[2:].square().sum().sqrt().item(), rel=0.01)  # Eckart and Young, 1936


def test_what_does_not_fit_is_refused(base, tmp_path):
    model = trained(2)
    low_rank.merge(model)
    file = tmp_path / "d.safetensors"
    low_rank.save(model, base, file, 2)
    other = model_of((2, 4, 24), (2, 8, 8))
    with pytest.raises(InputError, match="made for another model"):
        low_rank.apply(other, file)
    file.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read"):
        low_rank.apply(base, file)
    with torch.no_grad():
        model.encoder.embeddings.word.weight += 1
    with pytest.raises(InputError, match="freeze it"):
        low_rank.save(model, base, file, 2)
    with pytest.raises(InputError, match="rank=0"):
        low_rank.attach(base, 0)
