"""What the page "try it" reads before it answers: engine, tokenizer and model, each in a script.

From a file system a browser reads no file but scripts: so everything is in scripts, gzipped and in base64, and these
serve as well where the book is on a server.
"""

from __future__ import annotations

import base64
import copy
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from transformers import PreTrainedTokenizerBase

from fflib.book import vendor
from fflib.data.splits import TokenizedSplit
from fflib.engine import int8_graph
from fflib.files import InputError
from fflib.pruning import vocabulary
from fflib.pruning.vocabulary import Vocabulary

TEMPLATES = Path(__file__).with_name("template") / "try_it"
PACKED = {  # name on the page -> package and path of what is imported by its text
    "ort-wasm-simd-threaded.mjs": (vendor.ONNXRUNTIME, "dist/ort-wasm-simd-threaded.mjs"),
    "ort-wasm-simd-threaded.wasm": (vendor.ONNXRUNTIME, "dist/ort-wasm-simd-threaded.wasm"),
    "tokenizers.mjs": (vendor.TOKENIZERS, "dist/tokenizers.min.mjs"),
}
ENGINE = "ort.wasm.min.js"  # a script as it comes
TABLES = (f"{vocabulary.WORD}.codes", f"{vocabulary.WORD}.scales")


def scripts_of(tokenizer: PreTrainedTokenizerBase, graph: onnx.ModelProto) -> dict[str, bytes]:
    """Return what the page reads before it answers, by name."""
    scripts = {f"{name}.js": packed(name, vendor.file(*where).read_bytes()) for name, where in PACKED.items()}
    scripts["tokenizer.json.js"] = packed("tokenizer.json", tokenizer.backend_tokenizer.to_str().encode())
    scripts["model.onnx.js"] = packed("model.onnx", graph.SerializeToString())
    engine = vendor.file(vendor.ONNXRUNTIME, f"dist/{ENGINE}").read_bytes()
    return scripts | {ENGINE: engine, "model.js": (TEMPLATES / "model.js").read_bytes()}


def packed(name: str, content: bytes) -> bytes:
    """Return a script that brings ``content`` into a page under ``name``; the same content gives the same bytes."""
    text = base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()
    return f'TryIt.take("{name}", "{text}");\n'.encode()


def frame(tokenizer: PreTrainedTokenizerBase, n_texts: int) -> list[Any]:
    """Return what stands where in a request: [id, type] of a special token, or the number of a text and its type."""
    encoded = tokenizer(*["a"] * n_texts, return_token_type_ids=True)
    rows = encoded.sequence_ids(), encoded["input_ids"], encoded["token_type_ids"]
    parts: list[Any] = []
    for text, token, kind in zip(*rows, strict=True):
        part = [token, kind] if text is None else {"text": text, "type": kind}
        if text is None or part not in parts:  # a text may be several tokens
            parts.append(part)
    return parts


def with_small_rows(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``graph`` with its embeddings in eight bits; one whose recipe rounded them already stays as it is."""
    tables = {tensor.name: tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    read = [tables[node.input[0]] for node in graph.graph.node if node.op_type == "Gather" and node.input[0] in tables]
    rounded = any(table.data_type != onnx.TensorProto.FLOAT for table in read)
    return graph if rounded else int8_graph.with_int8_embeddings(graph)


def words_of(train: TokenizedSplit, tokenizer: PreTrainedTokenizerBase, graph: onnx.ModelProto) -> Vocabulary:
    """Choose the words of the training texts, and all special tokens. InputError: the graph has no such table."""
    sizes = [tensor.dims[0] for tensor in graph.graph.initializer if tensor.name in TABLES]
    if not sizes:
        raise InputError("the words of a graph in this recipe cannot be taken out, and with all it is too large")
    return Vocabulary.of(train, sizes[0], tokenizer.all_special_ids)


def with_words(graph: onnx.ModelProto, words: Vocabulary) -> onnx.ModelProto:
    """Return ``graph``, whose embeddings have eight bits, with the rows of ``words`` alone: for renumbered ids."""
    small = copy.deepcopy(graph)
    for tensor in small.graph.initializer:
        if tensor.name in TABLES:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[words.kept], tensor.name))
    return small


def licences() -> bytes:
    """Name whose work is on the page, in which version, under which licence, with its text where it came with one."""
    parts = []
    for package in (vendor.ONNXRUNTIME, vendor.TOKENIZERS):
        pin = vendor.PINS[package]
        own = vendor.file(package, "LICENSE").read_text(encoding="utf-8") if "LICENSE" in pin.sha256 else ""
        parts.append(f"{package} {pin.version}, licence {pin.licence}\n\n{own}")
    return "\n\n".join(parts).encode()


def megabytes(files: Mapping[str, bytes]) -> float:
    """Return the size of all ``files`` together."""
    return sum(map(len, files.values())) / 1e6
