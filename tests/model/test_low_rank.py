"""Low-rank differences: what is attached, merged, kept and read back is the same model, as far as its bits allow."""

import pytest
import torch
from random_models import model_of
from safetensors.torch import load_file

from fflib.files import InputError
from fflib.model import low_rank

SHAPES = (2, 8, 24), (2, 8, 24)


@pytest.fixture
def base():
    return model_of(*SHAPES)


def trained(rank, seed=1):
    """A model whose matrices have moved by a product of ``rank``, and whose norms and head have moved freely."""
    model = model_of(*SHAPES)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.startswith("classifier"):
                parameter += 0.05 * torch.randn_like(parameter)
            elif "embeddings" not in name:
                out, width = parameter.shape
                parameter += 0.05 * torch.randn(out, rank) @ torch.randn(rank, width)
    return model.eval()


def test_what_is_kept_is_read_back_within_eight_bits(base, tmp_path):
    model = trained(3)
    file = tmp_path / "difference.safetensors"
    low_rank.save(model, base, file, rank=3)
    start = base.state_dict()
    moved = {name: (tensor - start[name]).abs().max() for name, tensor in model.state_dict().items()}
    low_rank.apply(base, file)
    for name, tensor in base.state_dict().items():  # two factors of a 254th each, or a half number's 11 bits
        assert (tensor - model.state_dict()[name]).abs().max() <= 0.03 * moved[name] + 1e-3, name


def test_a_smaller_rank_is_the_best_there_is(base, tmp_path):
    model = trained(6)
    name = "encoder.layers.0.feed_forward.intermediate.weight"
    difference = model.state_dict()[name] - base.state_dict()[name]
    values = torch.linalg.svdvals(difference)
    low_rank.save(model, base, tmp_path / "d.safetensors", rank=2)
    low_rank.apply(base, tmp_path / "d.safetensors")
    missed = torch.linalg.matrix_norm(model.state_dict()[name] - base.state_dict()[name])
    assert missed == pytest.approx(values[2:].square().sum().sqrt().item(), rel=0.01)  # Eckart and Young, 1936


def test_positions_are_kept_as_a_pair_and_what_did_not_move_is_left_out(base, tmp_path):
    model = model_of(*SHAPES)
    with torch.no_grad():
        rows, width = model.encoder.embeddings.position.weight.shape
        model.encoder.embeddings.position.weight += torch.randn(rows, 1) @ torch.randn(1, width)
    file = tmp_path / "d.safetensors"
    low_rank.save(model, base, file, 1)
    assert {name.split(".weight")[0] for name in load_file(file)} == {"encoder.embeddings.position"}
    low_rank.apply(base, file)
    ours, theirs = (each.encoder.embeddings.position.weight.detach() for each in (base, model))
    assert torch.allclose(ours, theirs, atol=0.02 * theirs.abs().max())


def test_what_is_trained_after_the_cut_is_kept_whole(base, tmp_path):
    """A step of training after `freeze_matrices` moves only what costs no bit to keep."""
    low_rank.save(trained(2), base, tmp_path / "d.safetensors", 2)
    model = model_of(*SHAPES)
    low_rank.apply(model, tmp_path / "d.safetensors")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    low_rank.freeze_matrices(model)
    ids = torch.randint(1, 20, (4, 6))
    model(ids).logits.square().sum().backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert "classifier.weight" in moved and "encoder.layers.0.attention_norm.weight" in moved
    assert all(model.get_parameter(name).ndim == 1 or "classifier" in name or "token_type" in name for name in moved)
    with torch.no_grad():
        for name in moved:
            model.get_parameter(name).sub_(0.01 * model.get_parameter(name).grad)
    low_rank.save(model, base, tmp_path / "again.safetensors", 2)
    low_rank.apply(base, tmp_path / "again.safetensors")
    for name, tensor in base.state_dict().items():
        exact = 1e-3 if name in moved else 0.02 * (before[name].abs().max().item())
        assert torch.allclose(tensor, model.state_dict()[name], atol=exact), name


def test_what_does_not_fit_is_refused(base, tmp_path):
    model = trained(2)
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
