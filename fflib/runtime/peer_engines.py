"""Engines beside this book's served file, each in its best settings: an adapter an engine, all of the same form.

An adapter is given the `Field` and yields `Way`s. Each of them answers one request with all threads, and all batches
of a plan with the same threads, in whatever way the engine does that best. Packages are imported when one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, predictors
from fflib.measure import hardware
from fflib.measure.timing import Predictor, Together
from fflib.quantization import half_precision, recipes
from fflib.runtime import ctranslate2, engines, executorch, openvino, served
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.peer import STEP
from fflib.runtime.peer_race import OURS
from fflib.runtime.peer_run import Field, Subject, Way

DEFAULT = "library's default"  # the recipe of ONNX Runtime's `quantize_dynamic` with nothing set
INSTANCE_A_CORE = "an instance a core, of one thread each"


def onnx_runtime(field: Field) -> Iterator[Way]:
    """This book's file; its graph in fp32; the student that is not pruned, alike; the teacher as by default."""
    recipe = field.recipe or "fp32"
    yield _onnx(field, OURS, field.final, field.file, f"{field.graph}, {recipe}", exact=not field.recipe)
    if field.recipe:
        plain = _first_token_file(field, field.final)
        yield _onnx(field, "ONNX Runtime fp32", field.final, plain, "first-token graph", exact=True)
    if field.student is not field.final:
        whole = _first_token_file(field, field.student)
        path = served.in_integers(whole, field.recipe, field.student.calibration, field.threads)
        name = f"ONNX Runtime {'int8' if field.recipe else 'fp32'}"
        note = "this book's graph and recipe, before pruning"
        yield _onnx(field, name, field.student, path, f"first-token graph, {recipe}", not field.recipe, note)
    whole = export.save_onnx(field.teacher.model, field.folder / "teacher" / "model.onnx")
    with export.quiet():
        path = recipes.quantize(whole, whole.with_name("default.onnx"), recipes.get_recipe(DEFAULT))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = field.threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    predict = predictors.onnx_predictor(session)
    yield Way(
        "ONNX Runtime int8, all by default", _version("onnxruntime"), "quantize_dynamic and a session, nothing set",
        field.teacher, False, predict, predictors.in_turn(predict), "what a user gets who exports and reads no further",
    )  # fmt: skip


def pytorch(field: Field) -> Iterator[Way]:
    """Eager PyTorch: the served model and the teacher in fp32, the former also in bf16 where the processor has that."""
    for kind, model in _by_precision(FirstTokenClassifier(field.final.model)):
        predict = predictors.torch_predictor(model)
        yield _torch(field, f"PyTorch eager {kind}", "last layer for the first token", field.final, predict)
    if field.teacher is field.final:
        return
    stock, _ = predictors.eager(field.teacher.model)
    note = "where the book begins, less the padding"
    settings = "the stock transformers class"
    yield _torch(field, "PyTorch eager fp32", settings, field.teacher, predictors.torch_predictor(stock), note)


def compiled(field: Field) -> Iterator[Way]:
    """The compiler of PyTorch, with weights as constants and products that are tuned for this machine.

    One model alone: PyTorch keeps eight programs of the same code at most, then computes eagerly without a word, and
    this one needs a program for one text and one for several, each for all threads and for one.
    """
    model = FirstTokenClassifier(field.final.model).eval()
    program = torch.compile(model, dynamic=True, options={"freezing": True, "max_autotune": True})
    settings = "last layer for the first token, dynamic shapes, freezing, max_autotune"
    yield _torch(field, "torch.compile fp32", settings, field.final, predictors.torch_predictor(program))


def open_vino(field: Field) -> Iterator[Way]:
    """OpenVINO on the same graph: fp32 and NNCF's static int8; both also with the rest in bf16, where that is fast."""
    plain, subject = _first_token_file(field, field.final), field.final
    int8 = openvino.quantize(plain, subject.calibration, len(subject.calibration))
    buckets = sorted({-(-int(length) // STEP) * STEP for length in subject.requests.lengths})
    for kind, graph in {"fp32": plain, "int8": int8}.items():
        for precision in [openvino.FP32] + [openvino.BF16] * hardware.has_fast_bf16():
            rest = precision == openvino.BF16
            name = f"OpenVINO {'bf16' if rest and kind == 'fp32' else kind}"
            yield Way(
                name + (" and bf16" if rest and kind == "int8" else ""), _version("openvino"),
                "first-token graph; alone a graph a length, together a queue with a stream a core", subject,
                kind == "fp32" and not rest,
                openvino.bucketed(graph, field.threads, buckets, precision=precision),
                openvino.in_flight(graph, field.threads, field.threads, precision),
            )  # fmt: skip


def c_translate(field: Field) -> Iterator[Way]:
    """CTranslate2's int8, on the served model if it can hold that, else on the student before pruning."""
    note = ctranslate2.cannot_hold(field.final.model)
    subject = field.student if note else field.final
    folder = ctranslate2.convert(subject.model, field.folder / "ctranslate2")
    alone = ctranslate2.predictor(folder, subject.model, "int8", field.threads)
    each = ctranslate2.predictor(folder, subject.model, "int8", 1, instances=field.threads)
    together = predictors.together([each] * field.threads)
    note = note and f"{note}; so it has the student before pruning"
    settings = f"dynamic int8, all tokens of the last layer, {INSTANCE_A_CORE}"
    yield Way("CTranslate2 int8", _version("ctranslate2"), settings, subject, False, alone, together, note)


def execu_torch(field: Field) -> Iterator[Way]:
    """ExecuTorch with XNNPACK's dynamic int8; its programs share their threads, so all of them serve one batch."""
    program = executorch.program(FirstTokenClassifier(field.final.model), *field.largest)
    predict = executorch.predictor(program, field.threads)
    settings = "last layer for the first token, dynamic int8, one instance with all threads"
    together = predictors.in_turn(predict)
    yield Way("ExecuTorch int8", _version("executorch"), settings, field.final, False, predict, together)


@dataclass(frozen=True)
class Engine:
    """An engine: its ways, and a function that says '' where it can be used and else why not."""

    ways: Callable[[Field], Iterator[Way]]
    missing: Callable[[], str] = str


ENGINES = {
    "onnxruntime": Engine(onnx_runtime),
    "pytorch": Engine(pytorch),
    "torch.compile": Engine(compiled, lambda: engines.missing("torch.compile")),
    "openvino": Engine(open_vino, openvino.missing),
    "ctranslate2": Engine(c_translate, ctranslate2.missing),
    "executorch": Engine(execu_torch, executorch.missing),
}


def _onnx(field: Field, engine: str, subject: Subject, path: Path, graph: str, exact: bool, note: str = "") -> Way:
    alone, *each = (
        predictors.onnx_predictor(predictors.onnx_session(path, threads))
        for threads in (field.threads, *[1] * field.threads)
    )
    together, settings = predictors.together(each), f"{graph}, {INSTANCE_A_CORE}"
    return Way(engine, _version("onnxruntime"), settings, subject, exact, alone, together, note)


def _torch(field: Field, engine: str, settings: str, subject: Subject, predict: Predictor, note: str = "") -> Way:
    together, exact = _one_thread_each(predictors.together([predict] * field.threads)), engine.endswith("fp32")
    return Way(engine, _version("torch"), f"{settings}, {INSTANCE_A_CORE}", subject, exact, predict, together, note)


def _one_thread_each(way: Together) -> Together:
    """PyTorch's threads are those of the process: set one for each instance, and give them back."""

    def run(examples: TokenizedSplit, plan: batching.Plan) -> tuple[list[np.ndarray], float, list[float]]:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return way(examples, plan)
        finally:
            torch.set_num_threads(before)

    return run


def _by_precision(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield "fp32", model
    if hardware.has_fast_bf16():
        yield "bf16", half_precision.converted(model, "bf16")


def _first_token_file(field: Field, subject: Subject) -> Path:
    path = field.folder / subject.name / "first token" / "model.onnx"
    return export.save_onnx(FirstTokenClassifier(subject.model), path)


def _version(package: str) -> str:
    return f"{package} {metadata.version(package)}"
