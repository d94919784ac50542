"""The device that models run on, the CPU or a graphics card: which one is in use, and what stands beside its numbers.

As `hardware.set_threads` does for threads, a chapter says once which device it uses, and whatever makes or loads a
model asks here. On the CPU nothing is moved, noted or added to a key: a run without a card is what it always was.
PyTorch is imported where it is used, since it takes two seconds to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fflib.files import InputError, check_known
from fflib.measure import nvml

if TYPE_CHECKING:
    from torch import nn

    Model = TypeVar("Model", bound=nn.Module)

CPU, CUDA = KINDS = ("cpu", "cuda")
FIRST = 0  # of several cards the first is used; CUDA_VISIBLE_DEVICES says which one that is
CURE = "or leave HARDWARE=gpu out, which runs the book on the CPU"

_in_use = CPU


def use(kind: str) -> str:
    """Let what is made or loaded from now on be on this device, and return it. InputError: it cannot be used here."""
    global _in_use
    check(kind)
    _in_use = kind
    return kind


def in_use() -> str:
    """Return the device that `use` set; the CPU where nobody did."""
    return _in_use


def is_card(kind: str = "") -> bool:
    """Say whether a device, by default the one in use, is a graphics card."""
    return (kind or _in_use) != CPU


def check(kind: str) -> None:
    """Raise InputError where a device cannot be used here; the sentence says why, and what to install."""
    if why := lacking(kind):
        raise InputError(why)


def lacking(kind: str) -> str:
    """Say in a sentence why a device cannot be used here, and what to do; '' where it can."""
    check_known("device", [kind], KINDS)
    if kind == CPU:
        return ""
    import torch

    if torch.version.cuda is None:
        return (
            f"there is no graphics card to use: PyTorch {torch.__version__} is a build without CUDA, so it sees none; "
            "install a build with CUDA (README, 'CPU-only or CUDA torch'), " + CURE
        )
    if not torch.cuda.is_available():
        return (
            f"there is no graphics card to use: PyTorch {torch.__version__} is built for CUDA {torch.version.cuda} but "
            "sees no card; see whether nvidia-smi lists one, install the driver if it does not, " + CURE
        )
    try:
        (torch.ones(2, device=CUDA) + 1).sum().item()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        return (
            f"the graphics card {torch.cuda.get_device_name(FIRST)} is of no use to PyTorch {torch.__version__}, built "
            f"for CUDA {torch.version.cuda} ({reason}); install a build that supports it, " + CURE
        )
    return ""


def placed(model: Model) -> Model:
    """Return ``model`` on the device in use: itself where it is there already."""
    return model.to(_in_use) if is_card() else model


def of(model: nn.Module) -> str:
    """Name the device that a model's weights are on."""
    return next((parameter.device.type for parameter in model.parameters()), CPU)


def card_has_bf16() -> bool:
    """Say whether the card multiplies bfloat16 itself: NVIDIA's from Ampere on do."""
    import torch

    return torch.cuda.get_device_capability(FIRST) >= (8, 0)


def synchronise() -> None:
    """Wait until the device in use has done all it was asked: a card works on while Python goes on."""
    if is_card():
        import torch

        torch.cuda.synchronize()


def identity(kind: str) -> dict[str, Any]:
    """Return what decides a card's numbers: part of each key of what ran there.

    {} for the CPU, which `hardware.card` names, and where there is no card: what came of one is not of this machine.
    """
    if kind == CPU:
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    about = torch.cuda.get_device_properties(FIRST)
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "memory_gb": round(about.total_memory / 1e9, 1),
        "processors": about.multi_processor_count,
        "driver": nvml.driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def key_part(kind: str, recorded: Mapping[str, Any] | None = None) -> list[Any]:
    """Return what a key of results on a device has more than one of the CPU's has: nothing, for the CPU itself.

    ``recorded`` is what `described` said of the machine where they ran; without it, it is this one.
    """
    if kind == CPU:
        return []
    known = (recorded or {}).get("identity")
    return [kind, known if known is not None else identity(kind)]


def described() -> dict[str, Any]:
    """Describe the card in use for records: what it is, and its clocks, power and memory as they are now."""
    if not is_card():
        return {}
    import torch

    peak = torch.cuda.max_memory_allocated(FIRST) / 1e6
    return {"kind": _in_use, "identity": identity(_in_use), "state": nvml.state() | {"peak_memory_mb": round(peak, 1)}}


def peak_mb() -> float | None:
    """Return the most memory, in MB, that tensors have taken on the card in this process; None for the CPU."""
    if not is_card():
        return None
    import torch

    return torch.cuda.max_memory_allocated(FIRST) / 1e6
