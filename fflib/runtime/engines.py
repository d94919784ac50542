"""One call from a model to a predictor, whatever the engine: the same inputs, the same logits, the same threads."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from fflib import spent
from fflib.data.splits import TokenizedSplit
from fflib.engine import predictors
from fflib.engine.export import save_onnx
from fflib.files import InputError, check_known
from fflib.measure import cores, hardware
from fflib.measure.race import Race
from fflib.measure.timing import Predictor
from fflib.quantization import recipes
from fflib.runtime import openvino

ENGINES = ("pytorch", "torch.compile", "onnxruntime", "onnxruntime int8", "openvino")
INT8 = "dynamic"  # the recipe that needs no calibration texts


def missing(engine: str) -> str:
    """Return '' where ``engine`` can be used here, else a sentence that says what is missing.

    InputError: there is no such engine.
    """
    check_known("engine", [engine], ENGINES)
    if engine == "openvino":
        return openvino.missing()
    compilers = (os.environ.get("CXX", ""), "g++", "clang++")
    if engine == "torch.compile" and not any(shutil.which(name) for name in compilers):
        return "torch.compile needs a C++ compiler, which this machine lacks; install g++ or clang"
    return ""


def serve(model: nn.Module, engine: str, threads: int, folder: str | Path) -> tuple[Predictor, str]:
    """Return a predictor for ``model`` on ``engine``, one of `ENGINES`, and the name of the engine for records.

    Args:
        model: a `Classifier`, or another module that `export.save_onnx` takes.
        threads: of this engine; 0 takes all cores.
        folder: keeps what the engine reads, made once per weights: model.onnx, and for int8 dynamic.onnx.

    Raises:
        InputError: no such engine, it is missing here, or PyTorch, whose threads the whole process shares, is set to
            another count.
    """
    if reason := missing(engine):
        raise InputError(reason)
    if engine in ("pytorch", "torch.compile"):
        return _pytorch(model, threads, compiled=engine == "torch.compile")
    path = save_onnx(model, Path(folder) / "model.onnx")
    if engine == "openvino":
        return openvino.predictor(path, threads), f"OpenVINO {metadata.version('openvino')}"
    if engine == "onnxruntime int8":
        path = recipes.quantize(path, path.with_name(f"{INT8}.onnx"), recipes.get_recipe(INT8))
    session = predictors.onnx_session(path, threads)
    return predictors.onnx_predictor(session), f"ONNX Runtime {onnxruntime.__version__}"


@dataclass(frozen=True)
class Loaded:
    """A model on an engine, and the seconds it took to load or compile it there; None where that was not timed."""

    predict: Predictor
    seconds: float | None = None


@spent.on("export")
def load_all(
    model: nn.Module, engines: Sequence[str], threads: int, folder: str | Path
) -> tuple[dict[str, Loaded], dict[str, str]]:
    """Load ``model`` on each of ``engines`` that is here, see `serve`; the second dict says why others are not."""
    loaded, absent = {}, {}
    for engine in engines:
        if reason := missing(engine):
            absent[engine] = reason
            continue
        start = time.perf_counter()
        predict, _ = serve(model, engine, threads, folder)
        loaded[engine] = Loaded(predict, time.perf_counter() - start)
    return loaded, absent


def openvino_graphs(whole: Path, first_token: Path, texts: TokenizedSplit, folder: Path) -> dict[str, Path]:
    """Return the files that OpenVINO is given: both graphs in fp32, and its own int8 of the second, made here.

    Args:
        whole, first_token: ONNX files of a model.
        texts: what calibrates int8, all of them.
        folder: keeps the int8 graph.
    """
    int8 = openvino.save(openvino.quantize(first_token, texts, len(texts)), folder / "openvino-int8.xml")
    return {
        "OpenVINO fp32, whole graph": whole,
        "OpenVINO fp32, first token graph": first_token,
        "OpenVINO int8, first token graph": int8,
    }


def rows(race: Race, loaded: Mapping[str, Loaded]) -> list[dict[str, object]]:
    """Return a row an engine: its times, the labels it keeps, and what it took to load."""
    return [
        {
            "engine": name,
            "ms": 1e3 / timing.throughput_per_s,
            "p50 ms": timing.latency_p50_ms,
            "p95 ms": timing.latency_p95_ms,
            "labels kept %": 100 * timing.checked.label_agreement,
            "largest change": timing.checked.max_abs_difference,
            "to load or compile, s": loaded[name].seconds,
        }
        for name, timing in race.items()
    ]


def shown(rows: Sequence[Mapping[str, object]], verdicts: Mapping[str, str] | None = None) -> list[dict[str, object]]:
    """Return `rows`, of this run or a kept one, as a table shows them; ``verdicts`` say who may be served."""
    return [
        {
            "engine": row["engine"],
            "mean ms": row["ms"],
            "p50 ms": row["p50 ms"],
            "p95 ms": row["p95 ms"],
        }
        | ({"answers": verdicts[row["engine"]]} if verdicts else {})
        | {
            "labels kept %": row["labels kept %"],
            "largest logit change": f"{row['largest change']:.0e}",
            "load, s": row["to load or compile, s"],
        }
        for row in rows
    ]


def _pytorch(model: nn.Module, threads: int, compiled: bool) -> tuple[Predictor, str]:
    if cores.resolve_threads(threads) != hardware.threads_in_use():
        raise InputError(f"PyTorch runs on {hardware.threads_in_use()} threads; call hardware.set_threads({threads})")
    if not compiled:
        served, name = predictors.eager(model)
        return predictors.torch_predictor(served), name
    # One program for any batch and length; without `dynamic` each new shape would be compiled anew.
    program = torch.compile(model.eval(), dynamic=True)
    return predictors.torch_predictor(program), f"PyTorch {torch.__version__}, torch.compile"
