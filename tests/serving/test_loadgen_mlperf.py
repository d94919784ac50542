"""The load generator beside MLPerf's own, on the same server: the server scenario, Poisson arrivals and percentiles.

MLPerf's is an oracle that may be missing: `pip install mlcommons-loadgen` brings it, and nothing in the book needs it.
"""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from conftest import examples_of
from scipy import stats

from fflib.serving import loadgen, scheduling
from fflib.serving.server import Server

mlperf = pytest.importorskip(
    "mlperf_loadgen", reason="MLPerf's load generator is not installed; pip install mlcommons-loadgen brings it"
)

EXAMPLES = examples_of(np.random.default_rng(0).integers(3, 60, 100))
RATE_PER_S, COUNT, SERVICE_S = 200.0, 600, 2e-3


def model(inputs):
    """A stub that takes as long for every batch."""
    time.sleep(SERVICE_S)
    return np.zeros((len(inputs["input_ids"]), 2), np.float32)


def server():
    return Server([model], scheduling.one_by_one, queue_limit=10_000)


def mlperfs_load(folder):
    """Run MLPerf's server scenario; return when it sent each query in s, and its percentiles in ms."""
    sent_s = []

    def issue(queries):
        for query in queries:
            sent_s.append(time.perf_counter())
            ids, types = EXAMPLES.input_ids[query.index], EXAMPLES.token_type_ids[query.index]
            answered = [mlperf.QuerySampleResponse(query.id, 0, 0)]
            under_test.submit(ids, types).add_done_callback(lambda _, told=answered: mlperf.QuerySamplesComplete(told))

    settings, logs, output = mlperf.TestSettings(), mlperf.LogSettings(), mlperf.LogOutputSettings()
    settings.scenario, settings.mode = mlperf.TestScenario.Server, mlperf.TestMode.PerformanceOnly
    settings.server_target_qps, settings.server_target_latency_ns = RATE_PER_S, 10**9
    settings.min_query_count = settings.max_query_count = COUNT
    settings.min_duration_ms = 1
    output.outdir, output.copy_summary_to_stdout = str(folder), False
    logs.log_output, logs.enable_trace = output, False
    with server() as under_test:
        samples = mlperf.ConstructQSL(len(EXAMPLES), len(EXAMPLES), lambda indices: None, lambda indices: None)
        system = mlperf.ConstructSUT(issue, lambda: None)
        mlperf.StartTestWithLogSettings(system, samples, settings, logs, "")
        mlperf.DestroySUT(system)
        mlperf.DestroyQSL(samples)
    summary = (folder / "mlperf_log_summary.txt").read_text()
    said = re.findall(r"^(\d+\.\d+) percentile latency \(ns\)\s*: (\d+)", summary, re.MULTILINE)
    return np.array(sent_s), {float(q): int(ns) / 1e6 for q, ns in said}


def test_arrivals_and_percentiles_are_those_of_mlperfs_generator(tmp_path):
    """Two Poisson streams of other seeds: gaps by the Kolmogorov-Smirnov test, percentiles within what they vary by."""
    sent_s, theirs_ms = mlperfs_load(tmp_path)
    order, rng = np.arange(COUNT) % len(EXAMPLES), np.random.default_rng(0)
    with server() as under_test:
        ours = loadgen.poisson(under_test, EXAMPLES, order, RATE_PER_S, rng)
    assert len(sent_s) == ours.answered == COUNT
    gaps_s, our_gaps_s = np.diff(sent_s), np.diff(ours.due_s)
    for own_s in (gaps_s, our_gaps_s):
        assert own_s.mean() == pytest.approx(1 / RATE_PER_S, rel=4 / COUNT**0.5)  # four standard errors
        assert stats.kstest(own_s, "expon", args=(0, 1 / RATE_PER_S)).pvalue > 1e-3
    assert stats.ks_2samp(gaps_s, our_gaps_s).pvalue > 1e-3
    for q in (50.0, 90.0, 95.0):
        assert ours.percentile_ms(q) == pytest.approx(theirs_ms[q], rel=0.35, abs=1.0)
