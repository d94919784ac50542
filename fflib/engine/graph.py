"""The ONNX graph of the encoder, written operator by operator: what `encoder` computes, in the words of a runtime.

PyTorch's exporter comes to this graph by running a model on stand-ins for tensors and translating what it saw, which
takes seconds each time. The graph is known beforehand; here it stands, to be read beside `encoder`. Products, weights
and the order of the operators are the exporter's; it stays in `export.to_onnx`, for any other model.
(Longer than 200 lines: the whole graph is here.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from fflib.data.task import SEGMENTS
from fflib.model import encoder
from fflib.model.config import EncoderConfig
from fflib.model.encoder import MASKED, Classifier

if TYPE_CHECKING:  # else imported where a graph is begun: onnxscript takes a second or two, and few processes write one
    from onnxscript.ir import Value  # in a graph: what an operator returns, a weight, or an input

OPSET, IR_VERSION = 20, 10  # those that PyTorch's exporter writes
INTEGERS, FLOATS, TRUTHS = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
ROWS = ("batch", "length")
GELUS = {"gelu": "none", "gelu_new": "tanh"}  # activations of a config, and ONNX's names of their approximations
Shape = tuple[str | int, ...]


class Graph:
    """A graph while it is written: ``op.Name(inputs)`` adds an operator; a weight is added where it is read.

    Attributes:
        config: of the encoder.
        op: ONNX's operators; a number among their inputs becomes a constant.
        inputs: of the graph, by name.
    """

    def __init__(
        self, module: nn.Module, config: EncoderConfig, inputs: Mapping[str, Shape], kind: int = INTEGERS
    ) -> None:
        from onnxscript import GraphBuilder, ir

        self._ir = ir
        self._builder = GraphBuilder(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="encoder"))
        self._names = {parameter: name for name, parameter in module.named_parameters()}
        self.config, self.op = config, self._builder.op
        self.inputs = {name: self._builder.input(name, ir.DataType(kind), shape) for name, shape in inputs.items()}

    def weight(self, parameter: Tensor, transposed: bool = False) -> Value:
        """Add a parameter of the module under its name there; a matrix [outputs, inputs] may be turned."""
        array, name = parameter.detach().cpu().numpy(), self._names[parameter]
        if transposed:
            array, name = array.T, f"{name}.T"
        return self._builder.initializer(self._ir.tensor(array, name=name))

    def computed(self, array: np.ndarray, name: str) -> Value:
        """Add what was computed from the module's parameters beforehand."""
        return self._builder.initializer(self._ir.tensor(np.ascontiguousarray(array), name=name))

    def name_of(self, parameter: Tensor) -> str:
        """Return what the module calls a parameter."""
        return self._names[parameter]

    def as_long_as(self, value: Value, shape: Shape) -> Value:
        """Note the shape of a value, where the builder cannot know it (it notes 0)."""
        value.shape = self._ir.Shape(shape)
        return value

    def linear(self, states: Value, part: nn.Linear) -> Value:
        """[batch, length, inputs] -> [batch, length, outputs]."""
        return self.op.Add(self.op.MatMul(states, self.weight(part.weight, transposed=True)), self.weight(part.bias))

    def linear_of_rows(self, rows: Value, part: nn.Linear) -> Value:
        """[texts, inputs] -> [texts, outputs]: for a single matrix the product and its bias are one operator."""
        return self.op.Gemm(rows, self.weight(part.weight), self.weight(part.bias), transB=1)

    def norm(self, states: Value, part: nn.LayerNorm) -> Value:
        """[..., hidden] -> the same shape."""
        return self.op.LayerNormalization(states, self.weight(part.weight), self.weight(part.bias), epsilon=part.eps)

    def finished(self, output: Value, name: str) -> onnx.ModelProto:
        """Return the graph with one output, which gets a name."""
        self._builder.add_output(output, name)
        for node in self._builder.graph:
            node.metadata_props.clear()  # the builder's notes on Python modules, of which there are none
        return self._ir.to_proto(self._ir.Model(self._builder.graph, ir_version=IR_VERSION))


def whole(model: Classifier) -> onnx.ModelProto:
    """Write what `Classifier` computes: input_ids, attention_mask, token_type_ids [batch, length] -> logits."""
    return _classifier(model, only_first=False)


def first_token(model: nn.Module) -> onnx.ModelProto:
    """Write what `first_token.FirstTokenClassifier` computes, from the same inputs."""
    return _classifier(model, only_first=not model.encoder.config.spans)


def _classifier(model: nn.Module, only_first: bool) -> onnx.ModelProto:
    """Write a classifier whose last layer is computed for the first token alone, or for all."""
    graph = Graph(model, model.encoder.config, dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ROWS))
    op, (ids, is_token, types) = graph.op, graph.inputs.values()
    embed = embeddings_in_two if only_first else embeddings
    hidden = embed(graph, model.encoder.embeddings, ids, numbered(graph, ids), types)
    padding = op.Sub(1.0, op.Cast(op.Unsqueeze(is_token, [1, 2]), to=FLOATS))
    mask = op.Mul(padding, MASKED)  # [batch, 1, 1, length], for all heads and queries
    for number, part in enumerate(model.encoder.layers, start=1):
        if only_first and number == len(model.encoder.layers):
            hidden = last_layer(graph, part, hidden, mask)
        else:
            hidden, mask = layer(graph, part, hidden, mask)
    if graph.config.spans:
        return head(graph, model, words(graph, hidden, types))
    return head(graph, model, pooled(graph, model.encoder.pooler, op.Gather(hidden, 0, axis=1)))


def packed(model: nn.Module) -> onnx.ModelProto:
    """Write what `packing.PackedClassifier` computes, from the ``inputs`` of a `packing.PackedBatch`."""
    rows = dict.fromkeys(("input_ids", "token_type_ids", "segments", "positions"), ROWS)
    graph = Graph(model, model.encoder.config, rows | {"firsts": ("requests", 2)})
    op, (ids, types, segments, positions, firsts) = graph.op, graph.inputs.values()
    if graph.config.position_offset:
        positions = op.Add(positions, graph.config.position_offset)
    hidden = embeddings(graph, model.encoder.embeddings, ids, positions, types)
    seen = op.Equal(op.Unsqueeze(segments, [1, 3]), op.Unsqueeze(segments, [1, 2]))
    mask = op.Mul(op.Cast(op.Not(seen), to=FLOATS), MASKED)  # [batch, 1, length, length], for all heads
    for part in model.encoder.layers:
        hidden, mask = layer(graph, part, hidden, mask)
    if not graph.config.spans:
        return head(graph, model, pooled(graph, model.encoder.pooler, op.GatherND(hidden, firsts)))
    row = op.Gather(firsts, 0, axis=1)  # of each request
    is_own = op.Equal(op.Gather(segments, row), op.Unsqueeze(op.GatherND(segments, firsts), [1]))
    own_types = op.Mul(op.Gather(types, row), op.Cast(is_own, to=INTEGERS))  # no marks of others in its row
    return head(graph, model, words(graph, op.Gather(hidden, row), own_types))


def numbered(graph: Graph, ids: Value) -> Value:
    """Number the tokens as `encoder.Embeddings.positions`: [length] for BERT, [batch, length] for RoBERTa."""
    op, offset = graph.op, graph.config.position_offset
    if offset:
        is_token = op.Cast(op.Not(op.Equal(ids, graph.config.pad_token_id)), to=INTEGERS)
        return op.Add(op.Mul(op.CumSum(is_token, 1), is_token), offset - 1)
    return graph.as_long_as(op.Range(0, op.Squeeze(op.Shape(ids, start=1, end=2)), 1), ROWS[1:])


def embeddings(graph: Graph, part: encoder.Embeddings, ids: Value, positions: Value, types: Value) -> Value:
    """Word + position + token type, then LayerNorm: [batch, length] each -> [batch, length, hidden]."""
    op = graph.op
    if part.has_marks:
        types = op.Mod(types, SEGMENTS)
    word = op.Gather(graph.weight(part.word.weight), ids)
    position = op.Gather(graph.weight(part.position.weight), positions)
    token_type = op.Gather(graph.weight(part.token_type.weight), types)
    return graph.norm(op.Add(op.Add(word, position), token_type), part.norm)


def embeddings_in_two(graph: Graph, part: encoder.Embeddings, ids: Value, positions: Value, types: Value) -> Value:
    """`embeddings` with two look-ups: a table has a row for each pair of a position and a token type, their sum."""
    op, places = graph.op, part.position.weight.detach().numpy()
    of_types = part.token_type.weight.detach().numpy()
    rows = np.concatenate([places + of_type for of_type in of_types])
    row = op.Add(op.Mul(types, len(places)), positions) if len(of_types) > 1 else positions
    place = op.Gather(graph.computed(rows, f"{graph.name_of(part.position.weight)}.and_types"), row)
    return graph.norm(op.Add(op.Gather(graph.weight(part.word.weight), ids), place), part.norm)


def layer(graph: Graph, part: encoder.Layer, hidden: Value, mask: Value) -> tuple[Value, Value]:
    """Let all states pass a layer: [batch, length, hidden] -> those that go on, and their mask."""
    if part.tokens == 1:
        return rest_of_layer(graph, part, hidden, attention(graph, part.attention, hidden, mask)), mask
    shares = attention_shares(graph, part.attention, hidden, mask)
    attended = attention_by(graph, part.attention, hidden, shares)
    states = graph.norm(graph.op.Add(hidden, attended), part.attention_norm)
    states, mask = go_on(graph, states, mask, shares, part.tokens)
    return feed_forward_half(graph, part, states), mask


def last_layer(graph: Graph, part: encoder.Layer, hidden: Value, mask: Value) -> Value:
    """Let the first token pass a layer, in sight of all: [batch, length, hidden] -> [batch, 1, hidden]."""
    first = graph.op.Gather(hidden, [0], axis=1)
    attended = attention_of_first(graph, part.attention, first, hidden, mask)
    return rest_of_layer(graph, part, first, attended)


def rest_of_layer(graph: Graph, part: encoder.Layer, states: Value, attended: Value) -> Value:
    """What comes after attention: residual, LayerNorm, and the feed-forward half."""
    return feed_forward_half(graph, part, graph.norm(graph.op.Add(states, attended), part.attention_norm))


def attention_half(graph: Graph, part: encoder.Layer, hidden: Value, mask: Value) -> Value:
    """Attention, residual, LayerNorm."""
    return graph.norm(graph.op.Add(hidden, attention(graph, part.attention, hidden, mask)), part.attention_norm)


def feed_forward_half(graph: Graph, part: encoder.Layer, hidden: Value) -> Value:
    """Feed-forward, residual, LayerNorm."""
    return graph.norm(graph.op.Add(hidden, feed_forward(graph, part.feed_forward, hidden)), part.feed_forward_norm)


def attention(graph: Graph, part: encoder.Attention, hidden: Value, mask: Value) -> Value:
    """Eq. 1 of Vaswani et al. (1706.03762): [batch, length, hidden] -> the same shape; without heads, the bias."""
    if part.num_heads == 0:
        return graph.weight(part.output.bias)
    return attention_by(graph, part, hidden, attention_shares(graph, part, hidden, mask))


def attention_shares(graph: Graph, part: encoder.Attention, hidden: Value, mask: Value) -> Value:
    """How much each token attends to each: [batch, length, hidden] -> [batch, heads, length, length]."""
    op, heads = graph.op, [0, 0, part.num_heads, part.head_size]  # 0: as many as there are
    query = op.Transpose(op.Reshape(graph.linear(hidden, part.query), heads), perm=[0, 2, 1, 3])
    key = op.Transpose(op.Reshape(graph.linear(hidden, part.key), heads), perm=[0, 2, 3, 1])
    return op.Softmax(op.Add(op.MatMul(op.Mul(query, part.head_size**-0.5), key), mask), axis=-1)


def attention_by(graph: Graph, part: encoder.Attention, hidden: Value, shares: Value) -> Value:
    """The values that ``shares`` add up, through the output matrix: [batch, length, hidden] -> the same shape."""
    op, heads = graph.op, [0, 0, part.num_heads, part.head_size]
    value = op.Transpose(op.Reshape(graph.linear(hidden, part.value), heads), perm=[0, 2, 1, 3])
    context = op.Transpose(op.MatMul(shares, value), perm=[0, 2, 1, 3])
    return graph.linear(op.Reshape(context, [0, 0, part.num_heads * part.head_size]), part.output)


def go_on(graph: Graph, states: Value, mask: Value, shares: Value, share: float) -> tuple[Value, Value]:
    """`encoder.go_on`, told the ``shares`` of attention: [batch, length, hidden] -> [batch, fewer, hidden] and mask."""
    op = graph.op
    of_batch = op.Squeeze(mask, [1, 2])  # [batch, length]
    is_token = op.Cast(op.Equal(of_batch, 0.0), to=FLOATS)
    by_token = op.MatMul(op.Unsqueeze(is_token, [1, 2]), shares)  # [batch, heads, 1, length]
    received = op.Add(op.ReduceSum(by_token, [1, 2], keepdims=0), of_batch)
    each = op.Ceil(op.Mul(op.ReduceSum(is_token, [1], keepdims=1), share))
    length = op.Cast(op.Shape(of_batch, start=1, end=2), to=FLOATS)
    fewer = op.Cast(op.Ceil(op.Mul(length, share)), to=INTEGERS)
    of_others = op.Slice(received, [1], [np.iinfo(np.int64).max], [1])
    _, others = op.TopK(of_others, op.Sub(fewer, 1), axis=1, _outputs=2)
    places = op.Pad(op.Add(others, 1), [0, 1, 0, 0], 0)  # the first token comes first
    states = op.GatherND(states, op.Unsqueeze(places, [2]), batch_dims=1)
    ended = op.Not(op.Less(op.Cast(op.Range(0, op.Squeeze(fewer), 1), to=FLOATS), each))
    return states, op.Unsqueeze(op.Mul(op.Cast(ended, to=FLOATS), MASKED), [1, 2])


def attention_of_first(graph: Graph, part: encoder.Attention, first: Value, hidden: Value, mask: Value) -> Value:
    """`attention` of one token a text, with no key and no value of any: [batch, 1, hidden] -> the same shape.

    Exact, for products may be regrouped. A score is q.(W_k x + b_k) = (W_k' q).x + q.b_k, whose last term is the same
    for every token x, so that softmax does not see it; and with shares a that add up to 1 the sum of a (W_v x + b_v) is
    W_v (sum of a x) + b_v. Two products of all tokens by [hidden, heads * size] become two by [hidden, heads].
    """
    if part.num_heads == 0:
        return graph.weight(part.output.bias)
    op, heads, size = graph.op, part.num_heads, part.head_size
    by_head = (heads, size, graph.config.hidden_size)
    keys, values = (linear.weight.detach().numpy().reshape(by_head) for linear in (part.key, part.value))
    keys, values = (
        graph.computed(array, f"{graph.name_of(linear.weight)}.by_head")
        for array, linear in ((keys, part.key), (values.transpose(0, 2, 1), part.value))
    )
    query = op.Mul(graph.linear(first, part.query), size**-0.5)
    query = op.Transpose(op.Reshape(query, [-1, heads, size]), perm=[1, 0, 2])  # [heads, batch, size]
    asked = op.Transpose(op.MatMul(query, keys), perm=[1, 2, 0])  # [batch, hidden, heads]
    scores = op.Add(op.Transpose(op.MatMul(hidden, asked), perm=[0, 2, 1]), op.Squeeze(mask, [2]))
    seen = op.Transpose(op.MatMul(op.Softmax(scores, axis=-1), hidden), perm=[1, 0, 2])  # [heads, batch, hidden]
    context = op.Transpose(op.MatMul(seen, values), perm=[1, 0, 2])  # [batch, heads, size]
    joined = op.Add(op.Reshape(context, [-1, 1, heads * size]), graph.weight(part.value.bias))
    return graph.linear(joined, part.output)


def feed_forward(graph: Graph, part: encoder.FeedForward, hidden: Value) -> Value:
    """Two products with the activation between them: [..., hidden] -> the same shape; without neurons, the bias."""
    if part.intermediate.out_features == 0:
        return graph.weight(part.output.bias)
    op, neurons = graph.op, graph.linear(hidden, part.intermediate)
    name = graph.config.activation
    return graph.linear(op.Gelu(neurons, approximate=GELUS[name]) if name in GELUS else op.Relu(neurons), part.output)


def pooled(graph: Graph, part: nn.Linear, first: Value) -> Value:
    """The states of first tokens through the pooler and tanh: [texts, hidden] -> the same shape."""
    return graph.op.Tanh(graph.linear_of_rows(first, part))


def words(graph: Graph, hidden: Value, types: Value) -> Value:
    """Read marked words as `encoder.read_words`: [texts, length, hidden] -> [texts, spans * hidden]."""
    op, numbers = graph.op, list(range(1, graph.config.spans + 1))
    marks = op.Unsqueeze(op.Div(types, SEGMENTS), [1])  # [texts, 1, length]
    inside = op.Unsqueeze(op.Equal(marks, op.Unsqueeze(numbers, [1])), [3])  # [texts, spans, length, 1]
    largest = op.ReduceMax(op.Where(inside, op.Unsqueeze(hidden, [1]), MASKED), [2], keepdims=0)
    occurs = op.Cast(op.ReduceMax(op.Cast(inside, to=INTEGERS), [2], keepdims=0), to=TRUTHS)
    return op.Flatten(op.Where(occurs, largest, 0.0), axis=1)


def head(graph: Graph, model: nn.Module, read: Value) -> onnx.ModelProto:
    """End the graph with the classifier on what it reads, [texts, width]."""
    return graph.finished(graph.linear_of_rows(read, model.classifier), "logits")


# By the very class: one derived from it may compute something else. `first_token` and `packing` add their own.
WRITERS: dict[type[nn.Module], Callable[[nn.Module], onnx.ModelProto]] = {Classifier: whole}
OURS = (encoder.Encoder, encoder.Embeddings, encoder.Layer, encoder.Attention, encoder.FeedForward)
PARTS = (*OURS, nn.ModuleList, nn.Embedding, nn.Linear, nn.LayerNorm, nn.Dropout)


def can_write(model: nn.Module) -> bool:
    """Say whether `WRITERS` know ``model``: one of ours in fp32, each part of which computes what its class does.

    Linear layers within `qat.fake_quantized` do not, nor does what somebody put in the place of a part.
    """
    if type(model) not in WRITERS or {parameter.dtype for parameter in model.parameters()} != {torch.float32}:
        return False
    known = (type(model), *PARTS)
    return all(type(part) in known and "forward" not in vars(part) for part in model.modules())
