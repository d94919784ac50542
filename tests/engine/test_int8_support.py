"""The processor check: every class of flags, and the engine's integer products against exact and clipped sums."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from fflib.engine import int8_support
from fflib.engine.int8_support import Int8Support
from fflib.files import InputError
from fflib.measure import hardware

OLD = {"sse4_1", "avx", "fma"}
AVX2 = OLD | {"avx2"}
AVX512 = AVX2 | {"avx512f", "avx512bw"}


def exact(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return activations.astype(np.int32) @ weights.astype(np.int32)


def clipped(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What vpmaddubsw makes of it: neighbours along the inner dimension are added in pairs, cut to 16 bits."""
    products = activations.astype(np.int32)[:, :, None] * weights.astype(np.int32)
    rows, inner, columns = products.shape
    pairs = products.reshape(rows, inner // 2, 2, columns).sum(2)
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(1)


def operands(weight: int) -> tuple[np.ndarray, np.ndarray]:
    """Large activations, u8 [4, 64], and weights of either sign, s8 [64, 16]: many pairs, not all, pass 16 bits."""
    rng = np.random.default_rng(0)
    return rng.integers(100, 256, (4, 64), np.uint8), rng.choice([-weight, weight], (64, 16)).astype(np.int8)


@pytest.mark.parametrize(
    "flags, wanted",
    [
        (set(), Int8Support("none", False, 1.0)),
        (OLD, Int8Support("none", False, 1.0)),
        (AVX2, Int8Support("AVX2", True, 2.0)),
        (AVX2 | {"avx512f"}, Int8Support("AVX2", True, 2.0)),  # without avx512bw there is no arithmetic on bytes
        (AVX512, Int8Support("AVX512", True, 2.0)),
        (AVX2 | {"avx_vnni"}, Int8Support("AVX VNNI", False, 4.0)),
        (AVX512 | {"avx512_vnni"}, Int8Support("AVX512 VNNI", False, 4.0)),
        (AVX512 | {"avx512_vnni", "avx_vnni", "amx_int8"}, Int8Support("AMX", False, 32.0)),
        (["fp", "asimd"], Int8Support("none", False, 1.0)),
        (["fp", "asimd", "asimddp"], Int8Support("Arm dot product", False, 4.0)),
    ],
)
def test_classes(flags, wanted):
    assert int8_support.int8_support(flags) == wanted


def test_flags_must_be_names():
    with pytest.raises(InputError, match=r"flags is the text 'avx2 fma'; give .* \['avx2', 'fma'\]"):
        int8_support.int8_support("avx2 fma")


def test_this_machine_is_asked(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2", "avx_vnni"})
    assert int8_support.int8_support().instructions == "AVX VNNI"
    assert int8_support.int8_support(set()).instructions == "none"  # no flags is an answer, not a question


@pytest.mark.parametrize(
    "system, machine, wanted",
    [("Darwin", "arm64", "Arm dot product"), ("Darwin", "x86_64", "none"), ("Linux", "aarch64", "none")],
)
def test_apple_lists_no_flags(monkeypatch, system, machine, wanted):
    monkeypatch.setattr(hardware, "cpu_flags", set)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert int8_support.int8_support().instructions == wanted


def test_seven_bits_are_the_most_that_fit():
    """The reason for weights of 7 bits: two products fit in 16 bits up to a weight of 64, and not beyond."""
    assert 2 * 255 * 64 < 2**15 <= 2 * 255 * 65
    np.testing.assert_array_equal(clipped(*operands(64)), exact(*operands(64)))
    assert (clipped(*operands(127)) != exact(*operands(127))).any()


def test_engine_is_exact_with_seven_bits():
    np.testing.assert_array_equal(int8_support._engine_product(*operands(64)), exact(*operands(64)))


def test_engine_with_eight_bits_is_what_it_was_found_to_be():
    saturates = int8_support.saturates_here()
    wanted = clipped if saturates else exact
    np.testing.assert_array_equal(int8_support._engine_product(*operands(127)), wanted(*operands(127)))
    assert (
        int8_support.int8_support(int8_support._own_flags()).saturates or not saturates
    )  # so the flags are read rightly


@pytest.mark.parametrize("product, wanted", [(exact, False), (clipped, True)])
def test_saturation_is_found_on_any_machine(monkeypatch, product, wanted):
    """Whatever the flags of this machine say; those that a caller names are taken at their word."""
    monkeypatch.setattr(int8_support, "_engine_product", product)
    monkeypatch.setattr(int8_support, "_own_flags", lambda: {"avx512_vnni"})
    assert int8_support.saturates_here() is wanted and int8_support.int8_support().saturates is wanted
    assert int8_support.int8_support().instructions == "AVX512 VNNI"
    assert not int8_support.int8_support({"avx512_vnni"}).saturates


def test_warnings():
    avx2, vnni = Int8Support("AVX2", True, 2.0), Int8Support("AVX512 VNNI", False, 4.0)
    assert "AVX2 cuts off their sum: take weights of 7 bits (reduce_range)" in int8_support.int8_warning(avx2, 8)
    assert int8_support.int8_warning(avx2, 7) == ""
    assert [int8_support.int8_warning(vnni, bits) for bits in (7, 8)] == ["", ""]
    for bits in (7, 8):
        assert "hardly be faster than fp32" in int8_support.int8_warning(int8_support.int8_support(set()), bits)
    with pytest.raises(InputError, match="weight_bits is 4; give 8, or 7"):
        int8_support.int8_warning(avx2, 4)
