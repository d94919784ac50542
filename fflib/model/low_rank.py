"""What fine-tuning changes, as products of thin matrices: small enough to come with the book.

A fine-tuned weight is W + B A with B [out, rank] and A [rank, in], as in LoRA (2106.09685, section 4.1); but here the
weights were trained whole, and B A is the best product of that rank for what they changed (Eckart and Young, 1936: the
first singular values). `save` keeps pairs in eight bits, and what is no matrix in sixteen: under a megabyte for a model
of 43. (2106.09685 adapts attention's matrices alone; here the feed-forward half and the pooler take part.)
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fflib.files import InputError, atomic_path
from fflib.model.encoder import Classifier

WORDS, POSITIONS = "encoder.embeddings.word.weight", "encoder.embeddings.position.weight"
UP, DOWN, SCALE = ".up", ".down", ".scale"  # of a matrix: B, A, and the scales of their rows


def save(model: Classifier, base: Classifier, file: Path, rank: int) -> None:
    """Write how ``model`` differs from ``base``, of the same shape, to ``file``.

    Matrices of the encoder, and position embeddings, are kept as the best pair of ``rank``, with eight bits a number
    and a scale a row; the head, norms and biases whole, in fp16. What is the same in both is left out. Word embeddings
    must be the same. InputError: they are not, or the shapes differ.
    """
    theirs, differences = base.state_dict(), {}
    matrices = _matrices(model)
    for name, tensor in model.state_dict().items():
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise InputError(f"{name} has another shape than in the model it is compared with; compare like with like")
        if torch.equal(tensor, theirs[name]):
            continue
        if name == WORDS:
            raise InputError(f"{name} was trained along; freeze it, for its difference is as large as the model")
        differences |= _packed(name, tensor - theirs[name], rank) if name in matrices else {name: tensor.half()}
    with atomic_path(file) as temporary:
        save_file(differences, temporary)


def apply(model: Classifier, file: Path) -> None:
    """Add the differences in ``file`` to ``model``, in place. InputError: unreadable, or of another model."""
    try:
        kept = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file.name} cannot be read ({error}); make it again, see its record beside it") from error
    parameters = model.state_dict()
    with torch.no_grad():
        for name in sorted({key.removesuffix(UP).removesuffix(DOWN).split(SCALE)[0] for key in kept}):
            change = _unpacked(name, kept) if name + UP in kept else kept[name].float()
            if name not in parameters or parameters[name].shape != change.shape:
                raise InputError(f"{file.name} was made for another model: {name} does not fit")
            here = change.to(parameters[name].device)
            parameters[name].copy_(parameters[name] + here if name + UP in kept else here)


def freeze_matrices(model: Classifier) -> None:
    """Leave only what `save` keeps whole to be trained."""
    whole = whole_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in whole)


def whole_names(model: Classifier) -> set[str]:
    """Return the names of the parameters that `save` keeps whole: the head, norms, biases and token types."""
    return {name for name, _ in model.named_parameters()} - _matrices(model) - {WORDS}


def _packed(name: str, difference: Tensor, rank: int) -> dict[str, Tensor]:
    """The best pair of a matrix [out, in], each row of A and B^T in eight bits with a scale of its own."""
    left, values, right = torch.linalg.svd(difference, full_matrices=False)
    root = values[:rank].sqrt()
    pair = {UP: (left[:, :rank] * root).T, DOWN: root[:, None] * right[:rank]}  # [rank, out], [rank, in]
    packed = {}
    for part, rows in pair.items():
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        packed[name + part] = (rows / scale).round().to(torch.int8).contiguous()
        packed[name + SCALE + part] = scale.squeeze(1)
    return packed


def _unpacked(name: str, kept: dict[str, Tensor]) -> Tensor:
    up, down = (kept[name + part].float() * kept[name + SCALE + part][:, None] for part in (UP, DOWN))
    return up.T @ down


def _matrices(model: Classifier) -> set[str]:
    """Names of what is kept as thin pairs: the weights of the encoder's linear layers, and its position embeddings."""
    linear = (name for name, module in model.encoder.named_modules() if isinstance(module, nn.Linear))
    return {f"encoder.{name}.weight" for name in linear} | {POSITIONS}
