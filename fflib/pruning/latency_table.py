"""What each half of a layer costs on this machine: a table of measured latencies, from which a shape's is predicted.

As in ZipLM (2302.04089) attention is timed for every number of heads that may be kept, feed-forward for
numbers of neurons, on the engine that will serve. Time does not follow the operations; a table knows by how much.
(Longer than 200 lines: how a table is read and how it is measured must agree, cell by cell.)
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fflib import progress
from fflib.engine import export, graph, predictors, sessions
from fflib.files import InputError, cache_dir, check_known, content_hash, write_json
from fflib.measure import cores, device, hardware
from fflib.model import encoder, slicing
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.pruning import sublayers
from fflib.pruning.sublayers import KINDS, Kind, Name, Piece

CALLS = 2  # timed at each visit, after one that is not: a server's weights are in the cache as far as they fit
VECTOR = 8  # fp32 numbers in an AVX2 register; a width that is no multiple costs as much as the next one


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds at batch 1 by units kept (``heads``, ``neurons``) and by ``lengths`` in tokens, all ascending.

    ``attention_ms`` [heads, lengths] and ``feed_forward_ms`` [neurons, lengths] are half layers, each with its residual
    and LayerNorm; ``rest_ms`` [lengths] is the model without layers. Those of the unpruned model add up to it. Where a
    model is served by a graph that computes the last layer for the first token alone, ``last_ms`` [lengths] is all of
    that layer, unpruned; what it keeps makes no difference to speak of.
    """

    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    lengths: tuple[int, ...]
    attention_ms: np.ndarray
    feed_forward_ms: np.ndarray
    rest_ms: np.ndarray
    last_ms: np.ndarray | None = None

    @property
    def last_is_free(self) -> bool:
        """Whether a cut in the last layer saves nothing."""
        return self.last_ms is not None

    def priced(self, layers: int) -> range:
        """Return which of so many ``layers`` have a price that depends on what they keep."""
        return range(layers - 1 if self.last_is_free else layers)

    def fixed_ms(self, lengths: np.ndarray) -> float:
        """Mean latency of what no cut saves: the model without layers, and a last layer that is free."""
        return self._mean_ms(self.rest_ms, lengths) + self._last_ms(lengths)

    def half_ms(self, kind: Kind, count: int, lengths: np.ndarray) -> float:
        """Mean latency of a half layer of ``count`` units over requests of ``lengths`` tokens, linear between cells."""
        check_known("half of a layer", [kind], KINDS)
        attention = kind == "attention"
        levels, cells = (self.heads, self.attention_ms) if attention else (self.neurons, self.feed_forward_ms)
        if not levels[0] <= count <= levels[-1]:
            raise InputError(f"{kind} was measured with {levels[0]} to {levels[-1]} units, not {count}; measure it too")
        return float(np.interp(count, levels, [self._mean_ms(row, lengths) for row in cells]))

    def model_ms(self, shapes: Sequence[LayerShape], lengths: np.ndarray) -> float:
        """Predict the mean latency of a request of a model whose layers have ``shapes``.

        Where some tokens end in a layer, all that follows sees shorter texts; choosing them is not counted.
        """
        ms = self._mean_ms(self.rest_ms, lengths)
        for i in self.priced(len(shapes)):
            shape = shapes[i]
            for kind, count in zip(KINDS, (shape.num_heads, shape.intermediate_size), strict=True):
                ms += self.half_ms(kind, count, lengths)
                if kind == "attention":
                    lengths = np.ceil(np.asarray(lengths) * shape.tokens)  # of those that go on
        return ms + (self._last_ms(lengths) if shapes else 0.0)

    def _last_ms(self, lengths: np.ndarray) -> float:
        """Mean latency of a last layer that is free; 0 where it is priced as the others are."""
        return self._mean_ms(self.last_ms, lengths) if self.last_ms is not None else 0.0

    def _mean_ms(self, row: np.ndarray, lengths: np.ndarray) -> float:
        """Mean over requests of ``row`` [lengths], on the line through two buckets, also beyond the outer ones."""
        if len(self.lengths) == 1:
            return float(row[0])
        right = np.clip(np.searchsorted(self.lengths, lengths), 1, len(self.lengths) - 1)
        low, high = np.take(self.lengths, right - 1), np.take(self.lengths, right)
        share = (np.asarray(lengths) - low) / (high - low)
        return float(np.mean(row[right - 1] * (1 - share) + row[right] * share))


def buckets(lengths: np.ndarray, count: int) -> tuple[int, ...]:
    """Return up to ``count`` lengths to measure, quantiles of the requests' as multiples of 8, within 8 to 512."""
    wanted = np.quantile(lengths, np.linspace(0, 1, count) if count > 1 else 0.5)
    return tuple(np.unique(np.clip(np.rint(wanted / 8) * 8, 8, 512)).astype(int).tolist())


def head_levels(num_heads: int) -> tuple[int, ...]:
    """Every number of heads that can be kept, none and all included."""
    return tuple(range(num_heads + 1))


def neuron_levels(size: int, count: int) -> tuple[int, ...]:
    """About ``count`` numbers of neurons from 0 to ``size``, evenly spaced; those between are multiples of `VECTOR`."""
    between = np.rint(np.linspace(0, size, max(count, 2))[:-1] / VECTOR).astype(int) * VECTOR
    return tuple(sorted({*between.clip(max=size).tolist(), size}))


def measure_table(
    model: Classifier,
    engine: str,
    threads: int,
    heads: Sequence[int],
    neurons: Sequence[int],
    lengths: Sequence[int],
    rounds: int,
    seed: int = 0,
) -> LatencyTable:
    """Measure half layers as wide as those of ``model``, or return the table that this machine measured before.

    Args:
        model: the unpruned model: table and measurement agree on it. Its weights decide nothing.
        engine: one of `predictors.ENGINES`, with ``threads`` threads (0: all cores).
        heads: how many may be kept, see `head_levels`; none and all are added. ``neurons`` and ``lengths`` likewise.
    """
    check_known("engine", [engine], predictors.ENGINES)
    threads, config = cores.resolve_threads(threads), model.encoder.config
    if engine == "pytorch" and threads != hardware.threads_in_use():
        raise InputError(f"PyTorch runs on {hardware.threads_in_use()} threads; call hardware.set_threads({threads})")
    if len({shape.head_size for shape in config.layers}) != 1:
        raise InputError("heads differ in size, or there are no layers; measure a model with heads of one size")
    most, longest = config.max_position_embeddings - config.position_offset, max(lengths)
    if min(lengths) < 1 or longest > most:
        raise InputError(
            f"lengths are {min(lengths)} to {longest}, but the model reads 1 to {most} tokens; change them"
        )
    sizes = [(shape.num_heads, shape.intermediate_size) for shape in config.layers]
    heads, neurons = (
        {0, *asked, *have} for asked, have in zip((heads, neurons), zip(*sizes, strict=True), strict=True)
    )
    levels = tuple(tuple(sorted(values)) for values in (heads, neurons, set(lengths)))
    path = cache_dir("latency") / f"{_key(model, engine, threads, levels, rounds, seed)}.json"
    if (table := _read(path, levels)) is None:
        pieces = sublayers.pieces(model, engine, threads, *levels[:2], seed)
        requests = [sublayers.inputs(config, 1, length) for length in levels[2]]
        table = _table(_time(pieces, requests, rounds, seed), config, levels)
        write_json(path, {name: np.asarray(value).tolist() for name, value in asdict(table).items()})
    return table


def _key(model: Classifier, engine: str, threads: int, levels: tuple, *others: int) -> str:
    """Hash all that decides the latencies, the code that makes the pieces and times them included."""
    card, packages = hardware.card(), ("torch", "onnx", "onnxscript", "onnxruntime")
    machine = [card[name] for name in ("cpu", "cores", "cores_available", "instruction_sets", "system")]
    machine += device.key_part(device.in_use())
    versions = [importlib.metadata.version(name) for name in packages]
    config = [model.encoder.config.to_dict(), model.classifier.out_features]
    modules = sublayers, encoder, slicing, graph, export, predictors, sessions
    code = [Path(__file__), *(Path(module.__file__) for module in modules)]
    return content_hash(machine, versions, engine, threads, config, levels, others, *code)


def _read(path: Path, levels: tuple) -> LatencyTable | None:
    """Return the cached table; None where there is none, or it is damaged."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))
        names = ["attention_ms", "feed_forward_ms", "rest_ms", *(["last_ms"] if cells["last_ms"] else [])]
        arrays = [np.array(cells[name], float) for name in names]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    h, n, lengths = map(len, levels)
    whole = [array.shape for array in arrays] == [(h, lengths), (n, lengths), (lengths,), (lengths,)][: len(arrays)]
    return LatencyTable(*levels, *arrays) if whole and all(np.isfinite(array).all() for array in arrays) else None


def _time(
    pieces: Mapping[Name, Piece], requests: Sequence[Mapping[str, np.ndarray]], rounds: int, seed: int
) -> dict[Name, np.ndarray]:
    """Return the median ms of each piece [requests]; all are timed in every round, in an order drawn anew."""
    rng, names = np.random.default_rng(seed), list(pieces)
    seconds = {name: np.empty((len(requests), rounds, CALLS)) for name in names}
    with progress.bar(rounds, "latency table", "round") as bar:
        for i in range(rounds):
            for visit in rng.permutation(len(names) * len(requests)):
                name, at = names[visit // len(requests)], visit % len(requests)
                run, request = pieces[name], requests[at]
                run(request)
                for call in range(CALLS):
                    start = time.perf_counter()
                    run(request)
                    seconds[name][at, i, call] = time.perf_counter() - start
            bar.update()
    return {name: np.median(values, axis=(1, 2)) * 1e3 for name, values in seconds.items()}


def _table(ms: Mapping[Name, np.ndarray], config: EncoderConfig, levels: tuple) -> LatencyTable:
    """Scale the pieces, length by length, such that those of the whole model take as long as it does.

    One factor for all, for timed alone a piece finds its weights nearer than in a model, in proportion to their size. A
    difference in ms instead would be as large for a half layer without units, which takes hardly any time.
    """
    halves = [np.stack([ms[kind, n] for n in counts]) for kind, counts in zip(KINDS, levels[:2], strict=True)]
    parts = [*halves, *(ms[name, 0] for name in ("rest", "last") if (name, 0) in ms)]
    alone = LatencyTable(*levels, *parts)
    sums = np.array([alone.model_ms(config.layers, np.array([n])) for n in levels[2]])
    return LatencyTable(*levels, *(array * ms["whole", 0] / sums for array in parts))
