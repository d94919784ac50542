"""The time of each node: names and operators of the graph that runs, less what the profiler itself takes."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, node_times, sessions

EXAMPLES = examples_of([5, 9, 12, 7])


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export.save_onnx(tiny_classifier(num_labels=3), path)
    return onnx.load(path)


def test_the_time_of_each_node(graph, capfd):
    """Names and operators are those of the graph that runs; times are those of single nodes."""
    inputs = batching.collate(EXAMPLES, range(4)).inputs
    start = time.perf_counter()
    spent = node_times.node_ms(graph, sessions.session_options(1), inputs, repeats=5)
    wall_ms = 1e3 * (time.perf_counter() - start)
    constants = {tensor.name for tensor in graph.graph.initializer}
    products = {node.name for node in graph.graph.node if node.op_type == "MatMul" and constants & {*node.input}}
    assert products <= spent.keys() and all(ms >= 0 for ms in spent.values())
    assert 0 < 3 * sum(spent.values()) < wall_ms  # at least three runs took their median or longer
    assert not list(Path.cwd().glob("*profile*")) and capfd.readouterr() == ("", "")


def test_operators_add_up_the_nodes(graph):
    """With one kind of node the sums are those of the nodes; kinds are those of the optimised graph."""
    inputs = batching.collate(EXAMPLES, range(4)).inputs
    spent = node_times.node_ms(graph, sessions.session_options(1), inputs, repeats=3, by="operator")
    assert {"LayerNormalization", "Softmax", "BiasGelu", "MatMul"} <= spent.keys()
    assert "SkipLayerNormalization" not in spent and min(spent.values()) >= 0


def test_what_the_profiler_adds_is_taken_off():
    """Nodes that do next to nothing take next to nothing, though the profiler says some microseconds of each."""
    node_times.profiler_ms.cache_clear()  # measured now, under the load of now
    added, one = node_times.profiler_ms(1), {"x0": np.ones(1, np.float32)}
    count = 200
    graph = node_times._idle(count)
    spent = node_times.node_ms(graph, sessions.session_options(1), one, repeats=50)
    assert len(spent) == count and added > 0
    assert sum(spent.values()) < 0.8 * count * added


def test_the_middle_half_counts():
    assert node_times._middle([100.0, 1.0, 2.0, 0.0]) == 1.5 and node_times._middle([3.0]) == 3.0
