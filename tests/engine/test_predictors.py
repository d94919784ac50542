"""Engines: the same logits from each, sessions set as they should be, several predictors at the same time."""

from __future__ import annotations

import threading
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import examples_of, tiny_classifier
from onnx import TensorProto, helper

from fflib.data import batching
from fflib.engine import export
from fflib.engine import predictors as runtime
from fflib.files import InputError
from fflib.measure import hardware

EXAMPLES = examples_of([5, 9, 12, 7, 3, 11])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model, and the folder of its graph."""
    model, folder = tiny_classifier(num_labels=3), tmp_path_factory.mktemp("served")
    export.save_onnx(model, folder / "model.onnx")
    return model, folder


@pytest.fixture
def graph(served) -> onnx.ModelProto:
    return onnx.load(served[1] / "model.onnx")


def doubling() -> onnx.ModelProto:
    """A graph by hand, x -> 2 x in double precision, that knows one input only."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def operators(options, graph, path) -> set[str]:
    """What the graph consists of once ONNX Runtime has optimised it under ``options``."""
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(path).graph.node}


def test_session_options(graph):
    session = runtime.onnx_session(graph, threads=1)
    options = session.get_session_options()
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_threads_are_always_a_count(graph):
    options = runtime.onnx_session(graph, threads=0).get_session_options()
    assert options.intra_op_num_threads == hardware.available_cores()
    with pytest.raises(InputError, match="threads is"):
        runtime.onnx_session(graph, threads=hardware.available_cores() + 1)


def test_slow_fusions_are_off(graph, tmp_path):
    """ONNX Runtime would fuse this graph if it were not told: else the name of the option has changed."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    ours = runtime.onnx_session(graph, threads=1).get_session_options()
    assert "SkipLayerNormalization" in operators(quiet, graph, tmp_path / "theirs.onnx")
    left = operators(ours, graph, tmp_path / "ours.onnx")
    assert "LayerNormalization" in left
    assert not left & {"SkipLayerNormalization", "EmbedLayerNormalization"}


def test_session_from_file_bytes_or_graph(served, graph):
    inputs = batching.collate(EXAMPLES, range(3)).inputs
    path = served[1] / "model.onnx"
    first, *others = (
        runtime.onnx_predictor(runtime.onnx_session(source, 1))(inputs)
        for source in (path, str(path), path.read_bytes(), graph)
    )
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("content", [None, b"", b"this is no graph " * 9, "half"])
def test_no_session_without_a_graph(served, tmp_path, capfd, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        whole = (served[1] / "model.onnx").read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
        with pytest.raises(InputError, match="the graph is missing or is no readable ONNX model"):
            runtime.onnx_session(path.read_bytes(), 1)
    with pytest.raises(InputError, match="model.onnx is missing or is no readable ONNX model") as error:
        runtime.onnx_session(path, 1)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_predictor_feeds_what_the_graph_has():
    predict = runtime.onnx_predictor(runtime.onnx_session(doubling(), 1))
    answer = predict({"x": np.array([1.5, 2.0]), "y": np.zeros(3), "token_type_ids": np.zeros((2, 2), np.int64)})
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, [3.0, 4.0])


def test_in_parallel_equals_one_after_the_other(graph):
    predictors = [runtime.onnx_predictor(runtime.onnx_session(graph, 1)) for _ in range(2)]
    batches = [batching.collate(EXAMPLES, [i % 6, (i + 1) % 6]).inputs for i in range(20)]
    answers, wall, seconds = runtime.in_parallel(predictors, batches)
    for answer, inputs in zip(answers, batches, strict=True):
        np.testing.assert_array_equal(answer, predictors[0](inputs))
    assert len(seconds) == 20
    assert max(seconds) <= wall <= sum(seconds) + 1


def test_in_parallel_shares_the_queue():
    """The slow one keeps its one batch while the other answers the rest; neither order nor times are mixed up."""
    others_done = threading.Event()
    left = list(range(1, 6))

    def predict(inputs):
        if inputs["x"][0] == 0:
            assert others_done.wait(30)
        else:
            left.remove(inputs["x"][0])
            if not left:
                others_done.set()
        return inputs["x"] * 10

    answers, wall, seconds = runtime.in_parallel([predict, predict], [{"x": np.array([i])} for i in range(6)])
    assert np.concatenate(answers).tolist() == [0, 10, 20, 30, 40, 50]
    assert max(seconds) == seconds[0] > sum(seconds[1:])
    assert seconds[0] <= wall


def test_in_parallel_raises_what_a_predictor_raises():
    failed, taken = threading.Event(), []

    def fails(inputs):
        failed.set()
        raise RuntimeError("out of order")

    def waits(inputs):
        taken.append(inputs)
        assert failed.wait(30)
        time.sleep(0.05)
        return np.zeros(1)

    with pytest.raises(RuntimeError, match="out of order"):
        runtime.in_parallel([waits, fails], [{}] * 1000)
    assert len(taken) < 500  # not all the rest


def test_in_parallel_with_nothing_to_do():
    assert runtime.in_parallel([lambda inputs: np.zeros(1)] * 3, []) == ([], 0.0, [])


def test_together_pads_each_batch_and_keeps_the_order(graph):
    predict = runtime.onnx_predictor(runtime.onnx_session(graph, 1))
    plan = [np.array(group) for group in ([3, 1], [0], [5, 2, 4], [1])]
    answers, wall, seconds = runtime.together([predict, predict])(EXAMPLES, plan)
    for answer, group in zip(answers, plan, strict=True):
        np.testing.assert_array_equal(answer, predict(batching.collate(EXAMPLES, group).inputs))
    assert len(seconds) == 4 and wall >= max(seconds)


def test_a_session_for_each_length(served, graph):
    path = served[1] / "model.onnx"
    predict, whole = runtime.sessions_by_length(path, 1, EXAMPLES.lengths, step=4), runtime.onnx_session(graph, 1)
    for i in range(6):
        inputs = batching.collate(EXAMPLES, [i]).inputs
        assert np.abs(predict(inputs) - runtime.onnx_predictor(whole)(inputs)).max() < 1e-4
    with pytest.raises(InputError, match="1 x 13 tokens fit no bucket; give one text of at most 12 tokens"):
        predict(batching.collate(examples_of([13]), [0]).inputs)
    with pytest.raises(InputError, match="2 x 9 tokens"):
        predict(batching.collate(EXAMPLES, [0, 1]).inputs)


def test_in_turn_answers_batch_by_batch_in_the_callers_thread():
    seen = []

    def predict(inputs):
        seen.append((threading.get_ident(), inputs["input_ids"].shape))
        time.sleep(0.002)
        return inputs["attention_mask"].sum(1, keepdims=True)

    plan = [np.array([2, 0]), np.array([1])]
    answers, wall, seconds = runtime.in_turn(predict)(EXAMPLES, plan)
    assert [answer.ravel().tolist() for answer in answers] == [EXAMPLES.lengths[group].tolist() for group in plan]
    assert wall == pytest.approx(sum(seconds)) and min(seconds) >= 0.002
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert [shape for _, shape in seen] == [(len(group), EXAMPLES.lengths[group].max()) for group in plan]
    padded = runtime.in_turn(predict, pad_to=40)(EXAMPLES, plan)[0]
    assert [shape for _, shape in seen[2:]] == [(2, 40), (1, 40)]
    assert [answer.ravel().tolist() for answer in padded] == [answer.ravel().tolist() for answer in answers]
