"""The whole book in `smoke` size, through the commands a reader types; then what a reader may do to it.

On one thread: other tests run at the same time, and threads that wait for one another take several times as long then.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import browser_model
import links
import nbformat
import pandas as pd
import papermill
import psutil
import pytest

from fflib.book import compare, reference
from fflib.book import execute as execute_module
from fflib.data import splits as data
from fflib.engine import sessions
from fflib.files import ROOT
from fflib.measure import fitness
from fflib.model import checkpoints, encoder
from fflib.runs import params
from fflib.runs.ladder import COLUMNS
from fflib.story import leave_one_out
from fflib.story.factors import AGAINST

RUNGS = ["reference padded", "reference unpadded", "teacher padded", "teacher unpadded"]
FLOORS = ["floor: one answer for all", "floor: words", "floor: untrained encoder", "floor: static embeddings"]
RUNGS += [*FLOORS, "best batching", "distilled student", "ONNX Runtime", "pruned 33/50"]
RUNGS += ["pruned to 1 of 3 layers", "pruned to 50% of the tokens", "pruned for latency"]
RUNGS += ["int8 dynamic", "int8 static, smoothed"]
RUNGS += ["first token", "one thread", "instances"]
RUNGS += ["system: read little first", "system: the model, from text", "system: the cascade, from text"]
SERVING = "results/07_serving.json"
ONE_THREAD = "threads=1"
SMOKE = ["--size", "smoke", "--set", ONE_THREAD]  # behind a command: the run of this file
SNAKEMAKE = [
    *(sys.executable, "-m", "snakemake", "--cores", "all", "--nolock", "--rerun-incomplete"),
    *("--rerun-triggers", "mtime", "params", "input", "--quiet", "all"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Outputs and snakemake's notes go to a folder of their own, so that the user's results stay as they are."""
    folder = tmp_path_factory.mktemp("outputs")
    return os.environ | {"FFLIB_OUTPUTS": str(folder), "HF_HUB_OFFLINE": "1"}


def snakemake(environment, *options, **config):
    said = {"run": "docs-cpu", "size": "smoke", "set": ONE_THREAD} | config
    settings = [f"{name}={value}" for name, value in said.items()]
    command = [*SNAKEMAKE, "--directory", environment["FFLIB_OUTPUTS"], *options, "--config", *settings]
    command[3:3] = ["--snakefile", str(ROOT / "Snakefile")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


def execute(environment, *arguments):
    command = [sys.executable, "-m", "fflib.book.execute", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def book(environment):
    """Run the book once; return its folder."""
    done = snakemake(environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(environment["FFLIB_OUTPUTS"]) / "docs-cpu-smoke"


def test_the_ladder_has_its_columns_and_rungs(book):
    ladder = pd.read_csv(book / "ladder.csv")
    assert tuple(ladder.columns) == COLUMNS
    assert ladder["rung"].tolist() == RUNGS
    fit = ladder["status"] == "ok"
    assert ladder.loc[~fit, "rung"].str.startswith("int8").all(), "a model that hardly learned anything flips easily"
    assert ladder.loc[~fit, "status"].str.startswith("failed: not served, only").all()
    timed = ladder[fit & (ladder["rung"] != FLOORS[0])]  # to give one answer is no work
    assert (timed["throughput_per_s"] > 0).all() and ladder.loc[~fit, "throughput_per_s"].isna().all()
    assert (timed["latency_p95_ms"] >= timed["latency_p50_ms"]).all() and len(timed) == fit.sum() - 1
    reference = ladder["rung"].str.startswith("reference")
    assert ladder.loc[reference, "accuracy"].isna().all(), "untrained weights have no accuracy"
    assert ladder.loc[fit & ~reference, "accuracy"].between(0.2, 1).all()


def test_every_rung_was_checked_before_it_was_timed(book):
    for path in sorted((book / "results").glob("0[1-8]*.json")):
        record = json.loads(path.read_text())
        for rung in [rung for rung in record["rungs"] if rung["status"] == "ok" and rung["rung"] != FLOORS[0]]:
            check, rule = rung["evidence"]["check"], record["parameters"].get("min_agreement")
            is_rounded = rung["precision"].startswith("int8")
            least = fitness.least(rule, check["n"], fitness.NEARLY_NEVER) if is_rounded else 0.999
            assert check["label_agreement"] >= least and (not is_rounded or check["n"] == 96)
            assert rung["evidence"]["batch_seconds"]
        assert record["machine"]["versions"]["torch"] and record["key"] and record["parameters"]["size"] == "smoke"


def test_the_notebooks_ran_without_an_error_and_fill_in_their_summary(book):
    for path in sorted(book.glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not any(output.output_type == "error" for output in outputs), path.name
        noise = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
        assert not noise, f"{path.name}: {noise[0][:300]}"
        if "01" < path.name < "09":
            summaries = [str(output.get("data", {})) for output in outputs[:3]]
            assert any("teacher unpadded" in summary for summary in summaries), "the table on top is empty"


def test_the_rendered_book_is_there(book):
    page = (book / "book" / "index.html").read_text()
    assert "Taming Transformers" in page
    assert (book / "book" / "01_baseline.html").exists()
    assert links.broken(book / "book") == []


def test_the_chosen_model_can_be_taken_home(book, environment):
    """As `make export` does, then the script alone, on a pair of texts."""
    command = [sys.executable, "-m", "fflib.book.take_home", *SMOKE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    script = [sys.executable, str(book / "take_home" / "classify.py"), "Return the sum.\tAdd two numbers."]
    answer = subprocess.run(script, capture_output=True, text=True, cwd="/")
    label, probability = answer.stdout.split()
    assert label in ("no", "yes") and 0.5 <= float(probability) <= 1


@pytest.mark.skipif(bool(browser_model.lacking()), reason=browser_model.lacking())
def test_the_chosen_model_answers_in_javascript_as_in_python(book):
    told = browser_model.settings((book / "book" / "try_it.html").read_text())
    folder, served = book / "book" / "_static" / "try_it", json.loads((book / SERVING).read_text())["facts"]["served"]
    dev = data.load_split("docs", "dev", limit=1000).texts
    ids, types = data.encode(dev, checkpoints.load_tokenizer(ROOT / served["tokenizer"]), told["maxLength"])
    found = browser_model.ask(folder, told, [{"fields": pair, "logits": i < 200} for i, pair in enumerate(dev)])
    assert [row["ids"] for row in found] == [row.tolist() for row in ids]
    assert [row["types"] for row in found] == [row.tolist() for row in types]
    session = sessions.onnx_session(browser_model.unpacked(folder / "model.onnx.js"), 0)
    browser_model.assert_same_answers(session, found[:200])


def test_the_story_leaves_each_technique_out_and_says_against_what(book):
    facts = json.loads((book / "results" / "09_story.json").read_text())["facts"]
    assert {row["technique"].partition(",")[0] for row in facts["leave_one_out"]} <= set(leave_one_out.TECHNIQUES)
    assert len(facts["leave_one_out"]) >= 5 and all(row["factor"] > 0 for row in facts["leave_one_out"])
    assert len(facts["speedups"]["throughput"]) == 5 and min(facts["speedups"]["latency"].values()) > 1
    ladder = pd.read_csv(book / "ladder.csv")
    kept = facts["retention"]
    assert kept["low"] <= kept["value"] <= kept["high"] and kept["n"] == 96 and kept["verdict"] == "held"
    assert ladder.set_index("rung").loc[facts["speedups"]["rung"], "keeps_rule"] == "yes"
    against = facts["headline"]["against"]
    padded, unpadded = (against[name] for name in AGAINST[:2])
    assert facts["factors"][-1]["total"] == pytest.approx(padded["product"])
    last = ladder.set_index("rung").loc[facts["headline"]["rung"]]
    assert last["speedup_vs_padded"] == pytest.approx(padded["factor"]) == pytest.approx(facts["speedup_vs_padded"])
    assert last["speedup_vs_unpadded"] == pytest.approx(unpadded["factor"])
    assert all(row["low"] <= row["factor"] <= row["high"] for row in against.values()) and len(against) == 5
    moved = math.prod(row["moves the factor by"] for row in facts["timed_again"])
    assert moved == pytest.approx(padded["factor"] / padded["product"], rel=0.5), "two rounds of a few requests"
    others = ladder[~ladder["rung"].isin([facts["headline"]["rung"]]) & (ladder["stacks_on"].fillna("") != "")]
    below = ladder.set_index("rung")["speedup_vs_padded"].reindex(others["stacks_on"]).to_numpy()
    products = pd.Series(below * others["speedup_step"].to_numpy())
    assert products.dropna().tolist() == pytest.approx(others["speedup_vs_padded"].dropna().tolist())
    ladder = ladder[(ladder["status"] == "ok") & (ladder["rung"] != FLOORS[0])]
    assert (ladder["energy_wh_per_1k"] > 0).all() and ladder["energy_source"].str.contains("measured|estimated").all()


def test_a_system_is_never_the_headline_and_its_frontier_has_every_level(book):
    facts = json.loads((book / "results" / "08_beyond.json").read_text())["facts"]
    story = json.loads((book / "results" / "09_story.json").read_text())["facts"]
    served = json.loads((book / SERVING).read_text())["facts"]["goes_on_from"]
    assert facts["goes_on_from"] == story["headline"]["rung"] == served
    ladder = pd.read_csv(book / "ladder.csv").set_index("rung")
    systems = ladder[ladder.index.str.startswith("system: ")]
    assert (systems["stacks_on"] == served).all() and (systems["status"] == "ok").all()
    assert facts["holds"] and facts["on_test"]["as_composed"] > 0.9
    by_name = {row["system"]: row for row in facts["systems"]}
    assert by_name["cascade, all hard"]["sent on test"] >= by_name["cascade"]["sent on test"]
    assert by_name["cascade, all hard"]["predicted"] < 1, "who reads everything twice does more"
    assert [row["at least %"] for row in facts["frontier"]] == [90, 95, 97, 98, 99, 100]
    assert sum(facts["budget"]["parts_ms"].values()) == pytest.approx(facts["budget"]["sum_ms"])
    assert facts["from_text"]["tokenizing_core_ms"] > 0 and len(facts["fronts"]) == 4
    assert all(row["low"] <= row["factor"] <= row["high"] for row in facts["limits"])


def test_the_teacher_that_comes_with_the_book_is_clear_of_the_floors(book):
    """Where it is not, `test_all_tasks` looks at what is told."""
    facts = json.loads((book / "results" / "01_baseline.json").read_text())["facts"]
    assert facts["teacher_is_clear"] and facts["floors"]["teacher_above_best_on_dev"]["low"] > 0
    assert facts["teacher"]["shipped"]["scores"]["as kept"]["test"] > 0.65
    ladder = pd.read_csv(book / "ladder.csv").set_index("rung")
    assert ladder.loc["teacher unpadded", "retention"] == 1
    assert "above the best floor" in (book / "01_baseline.ipynb").read_text()
    assert "not clearly above the floors" not in (book / "09_story.ipynb").read_text()


@pytest.mark.parametrize(("other", "says"), [("docs-cpu-smoke", "noise"), ("paper", "several instances")])
def test_a_run_compares_with_itself_and_with_the_paper(book, monkeypatch, capsys, other, says):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(book.parent))
    assert compare.main([*SMOKE, "--with", other]) == 0
    assert says in capsys.readouterr().out


def test_a_finished_run_can_be_kept_as_a_reference(book, tmp_path):
    splits = [data.load_split("docs", name) for name in data.SPLITS]
    kept = reference.keep(book, "small", splits, folder=tmp_path)
    assert reference.read("small", tmp_path).ladder["rung"].tolist() == RUNGS
    assert str(ROOT) not in "".join(path.read_text() for path in kept.rglob("*.json"))


def test_show_prints_the_ladder_and_the_book(book, environment):
    shown = execute(environment, "show", *SMOKE)
    assert shown.returncode == 0 and "teacher unpadded" in shown.stdout and "index.html" in shown.stdout


def test_a_finished_book_has_nothing_left_to_do(book, environment):
    before = (book / "results" / "01_baseline.json").stat().st_mtime_ns
    assert snakemake(environment).returncode == 0
    assert (book / "results" / "01_baseline.json").stat().st_mtime_ns == before


def test_a_changed_parameter_reruns_just_what_depends_on_it(book, environment):
    plan = snakemake(environment, "--dry-run", "--quiet", "progress", set=f"{ONE_THREAD} max_wait_ms=7.0")
    assert plan.returncode == 0, plan.stderr[-2000:]
    lines = (plan.stdout + plan.stderr).splitlines()
    planned = sorted(Path(line.split()[-1]).stem for line in lines if line.strip().startswith("output:"))
    later = ["02_batching", "03_distillation", "04_pruning", "05_quantization", "06_runtime", "07_serving"]
    assert planned == ["00_introduction", *later, "08_beyond", "09_story", "index"]


@pytest.mark.parametrize(
    ("setting", "says"), [("learning_rte=1.0e-4", "did you mean"), ("learning_rate=1e-4", "write 1.0e-4")]
)
def test_wrong_parameters_stop_before_anything_runs(environment, setting, says):
    planned = snakemake(environment, "--dry-run", "--quiet", "progress", set=setting)
    for refused in (planned, execute(environment, "check", "--set", setting)):
        assert refused.returncode != 0 and says in refused.stdout + refused.stderr


def test_a_chapter_that_cannot_start_says_why_and_leaves_its_notebook(tmp_path, environment):
    missing = {"/no/such/folder": "data_source=/no/such/folder task=BoolQ", "nobody/no-such": "teacher=nobody/no-such"}
    running = {}
    for i, (what, settings) in enumerate(missing.items()):  # both at once: most of it is waiting for imports
        command = [sys.executable, "-m", "fflib.book.execute", "chapter", "01_baseline", "--size", "smoke"]
        command += ["--set", settings]
        mine = environment | {"FFLIB_OUTPUTS": str(tmp_path / str(i))}
        running[what] = subprocess.Popen(command, env=mine, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    for i, (what, process) in enumerate(running.items()):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        message = errors.strip().splitlines()[-1]
        assert message.startswith("error: 01_baseline failed:") and what in message
        folder = tmp_path / str(i) / "docs-cpu-smoke"
        assert (folder / "01_baseline.ipynb").exists() and not (folder / "results" / "01_baseline.json").exists()


def test_a_named_student_is_distilled_also_one_of_another_vocabulary(book, environment, tmp_path):
    shutil.copytree(book, tmp_path / "docs-cpu-smoke")
    tokenizer = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    tokenizer.add_tokens(["unheard-of"])
    config = encoder.EncoderConfig.uniform(2, 2, 32, 64, vocab_size=len(tokenizer))
    checkpoints.save(encoder.Classifier(config, 2), tmp_path / "student", tokenizer)
    settings = f"student_from={tmp_path / 'student'} logits_only=true routes_tried=[labels] data_sizes=[]"
    mine = environment | {"FFLIB_OUTPUTS": str(tmp_path)}
    done = execute(mine, "chapter", "03_distillation", *SMOKE[:-1], f"{ONE_THREAD} {settings}")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "docs-cpu-smoke" / "results" / "03_distillation.json").read_text())
    assert record["facts"]["student"]["shape"].endswith("student") and record["rungs"][0]["throughput_per_s"] > 0


def test_a_killed_kernel_is_told_and_a_plain_rerun_succeeds(book, environment):
    result = book / "results" / "00_introduction.json"
    result.unlink()
    command = [sys.executable, "-m", "fflib.book.execute", "chapter", "00_introduction", *SMOKE]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    _kill_kernel_of(running.pid, book)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 138 and "kernel died" in errors
    assert not result.exists()
    assert snakemake(environment).returncode == 0 and result.exists()


def test_a_kernel_that_dies_while_it_starts_is_told_too(monkeypatch, tmp_path):
    def dies(*arguments, **options):
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(papermill, "execute_notebook", dies)
    with pytest.raises(execute_module.ChapterFailed, match="its kernel could not start") as told:
        execute_module.run_chapter(params.load_run("docs-cpu", "smoke"), "09_story")
    assert told.value.code == 138


def _kill_kernel_of(pid, folder, timeout_s=60):
    """Kill the kernel once it has run a cell: one that is killed before is told otherwise."""
    stop = time.time() + timeout_s
    while time.time() < stop:
        is_at_work = any('"execution_count": 1' in path.read_text() for path in folder.glob(".00_introduction*"))
        for child in psutil.Process(pid).children(recursive=True) if is_at_work else ():
            if "fflib.book.kernel" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError("no kernel came up")


def test_two_runs_at_once_are_refused(environment):
    code = "from fflib.book import lock\nwith lock.of_chapter('09_story of another'): input()"
    holder = subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, cwd=ROOT)
    try:
        time.sleep(3)
        refused = execute(environment, "chapter", "09_story", *SMOKE)
        assert refused.returncode == 2 and f"09_story of another, process {holder.pid}, since" in refused.stderr
    finally:
        holder.kill()
