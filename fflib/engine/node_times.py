"""Where the time of a graph goes, node by node, by ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from fflib.engine import sessions

KERNEL = "_kernel_time"  # how the profiler's entries of the nodes themselves end
IDLE = 64  # nodes, and runs, that tell what the profiler costs


def node_ms(
    model: sessions.Graph,
    options: onnxruntime.SessionOptions,
    inputs: dict[str, np.ndarray],
    repeats: int = 20,
    by: str = "name",
) -> dict[str, float]:
    """Return the time in ms of each node of the graph as ONNX Runtime runs it.

    From its own profiler, less what that adds to each node, see `profiler_ms`. It counts whole microseconds, so the
    mean of the middle half of ``repeats`` runs is taken. ``by`` is "name" or "operator": then the nodes of each kind
    are added up.
    """
    added = profiler_ms(options.intra_op_num_threads)
    times: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for event in _profiled(model, options, inputs, repeats):
        name = event["name"].removesuffix(KERNEL)
        times.setdefault(name, []).append(event["dur"] / 1e3)
        kinds[name] = event["args"]["op_name"] if by == "operator" else name
    total = dict.fromkeys(kinds.values(), 0.0)
    for name, taken in times.items():
        total[kinds[name]] += max(0.0, _middle(taken[1:]) - added)
    return total


@lru_cache
def profiler_ms(threads: int) -> float:
    """Return by how many ms ONNX Runtime's profiler lengthens a node: it writes its notes while its clock still runs.

    Measured on nodes that do next to nothing, with the profiler and without. That is some microseconds, which count
    where the nodes of a small model take not many more.
    """
    one = {"x0": np.ones(1, np.float32)}
    profiled = [event["dur"] / 1e3 for event in _profiled(_idle(IDLE), sessions.session_options(threads), one, IDLE)]
    runs = [sessions.onnx_session(_idle(count), threads) for count in (1, 1 + IDLE)]
    few_ms, many_ms = (1e3 * _middle(_seconds(run, one)) for run in runs)
    return max(0.0, _middle(profiled) - (many_ms - few_ms) / IDLE)


def _profiled(
    model: sessions.Graph, options: onnxruntime.SessionOptions, inputs: dict[str, np.ndarray], repeats: int
) -> list[dict[str, Any]]:
    """Return the profiler's entries of the nodes in ``repeats`` runs and one before them, which warms up."""
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = sessions.load(model, options)
        predict = sessions.onnx_predictor(session)
        for _ in range(repeats + 1):
            predict(inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(KERNEL)]


def _idle(count: int) -> onnx.ModelProto:
    """Return a graph of ``count`` nodes in a row, each of which turns the sign of one number."""
    nodes = [helper.make_node("Neg", [f"x{i}"], [f"x{i + 1}"]) for i in range(count)]
    ends = (helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1]) for i in (0, count))
    graph = helper.make_graph(nodes, "idle", *([end] for end in ends))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _seconds(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray], repeats: int = 100) -> list[float]:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(None, inputs)
        taken.append(time.perf_counter() - start)
    return taken


def _middle(values: Sequence[float]) -> float:
    """The mean of the values without the lowest and the highest quarter."""
    quarter = len(values) // 4
    return float(np.mean(sorted(values)[quarter : len(values) - quarter]))
