"""Take it home: the model that a run chose, as a folder that needs nothing of this project.

python -m fflib.book.take_home --run docs-cpu    writes outputs/docs-cpu/take_home

(Longer than 200 lines: the folder and its card are made in one go.)
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from transformers import PreTrainedTokenizerBase

from fflib.data import batching, registry, retention, splits
from fflib.data.task import Task
from fflib.engine import sessions
from fflib.files import InputError, resolve, shown, swapped_in, write_json, write_text
from fflib.model import checkpoints
from fflib.runs import cli, params, records
from fflib.runs import ladder as rungs
from fflib.story import factors, headline_told

CHAPTER = "07_serving"
TEMPLATES = Path(__file__).parent / "template"
SESSION_ENTRIES = ("session.intra_op.allow_spinning", "optimization.disable_specified_optimizers")
# What classify.py asks for: from the oldest version that was tried with a folder of this book (the newest is the one
# installed here, with which every folder is checked) to the next one that may break what it stands on.
REQUIRED = {"onnxruntime": ("1.20", "2"), "tokenizers": ("0.20", "1"), "numpy": ("1.26", "3")}
LEAST_PYTHON = "3.10"
N_CHECKED, TOLERANCE = 8, 1e-4  # texts, and difference of a logit
SMOKE = "The size of the run is smoke: it was made to try the code, and its numbers mean nothing."
UNCLEAR = """
- Its teacher was not clearly above classifiers that count words or average embeddings: try one of those first."""
SIZED = "The numbers come from one run of size {size} on one machine."


def build(run: params.Run) -> Path:
    """Write the folder ``take_home`` of ``run`` and return it; an earlier one is replaced, as a whole or not at all.

    It holds model.onnx, tokenizer.json, classify.py, config.json, README.md (the model card) and requirements.txt.

    Raises:
        InputError: the run has no current result of chapter 7, or the model or tokenizer it names cannot be read.
        AssertionError: classify.py sees other tokens or gives other logits than this package; nothing is written then.
    """
    run.refuse_card("make export")
    records = _records(run)
    chosen, parameters = records[-1]["facts"]["served"], records[-1]["parameters"]
    task, graph = registry.get_task(parameters["task"]), resolve(chosen["onnx"])
    headline = _headline(run)
    ladder = headline_told.in_ladder(factors.ladder_of(records), headline)
    ladder = ladder.set_index("rung", drop=False).loc[rungs.stack(ladder, chosen["rung"])]
    threads = int(ladder["threads"].iloc[-1])
    session = sessions.onnx_session(graph, threads)
    tokenizer = checkpoints.load_tokenizer(resolve(chosen["tokenizer"]))
    texts = splits.load_split(parameters["task"], "dev", parameters["data_source"], limit=N_CHECKED)
    with swapped_in(run.folder / "take_home") as folder:
        shutil.copyfile(graph, folder / "model.onnx")
        write_text(folder / "tokenizer.json", _tokenizer_json(tokenizer, task.max_length))
        write_json(folder / "config.json", _config(task, session, threads))
        write_text(folder / "README.md", _card(run, task, records, ladder, headline))
        ranges = [f"{name}>={least},<{end}\n" for name, (least, end) in REQUIRED.items()]
        write_text(folder / "requirements.txt", f"# Python {LEAST_PYTHON} or newer\n" + "".join(ranges))
        shutil.copyfile(TEMPLATES / "classify.py", folder / "classify.py")
        every = texts if task.spans else _with_a_long_one(texts, task.max_length)  # of a marked word, nothing is cut
        _assert_same(folder / "classify.py", every, tokenizer, session)
    return run.folder / "take_home"


def _records(run: params.Run) -> list[dict[str, Any]]:
    """Read what the chapters up to chapter 7 left; its own record is the last one."""
    if not (run.folder / "results" / f"{CHAPTER}.json").exists():
        raise InputError(f"run '{run.name}' in {shown(run.folder)} has not chosen a model yet; run make book first")
    return records.all_current(run.folder, before="08")


def _tokenizer_json(tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
    own = copy.deepcopy(tokenizer.backend_tokenizer)  # whose padding and truncation are those of its last call
    own.no_padding()
    own.enable_truncation(max_length, strategy="longest_first", direction=tokenizer.truncation_side)
    return own.to_str()


def _config(task: Task, session: onnxruntime.InferenceSession, threads: int) -> dict[str, Any]:
    options = session.get_session_options()
    return {
        "task": task.name,
        "labels": list(task.labels),
        "text_fields": list(task.text_fields),
        "words_marked": task.spans > 0,
        "max_length": task.max_length,
        "threads": threads,
        "session": {name: options.get_session_config_entry(name) for name in SESSION_ENTRIES},
    }


def _headline(run: params.Run) -> headline_told.Fact | None:
    """Return what the run's story measured; None: it did not run yet, or not with this code."""
    try:
        return headline_told.of_records([records.current(run.folder, "09_story")])
    except InputError:
        return None


def _card(
    run: params.Run,
    task: Task,
    records: Sequence[Mapping[str, Any]],
    ladder: pd.DataFrame,
    headline: headline_told.Fact | None,
) -> str:
    """Fill in the model card; ``ladder`` holds the rungs the model stands on and, last, its own."""
    first, last, row = records[0], records[-1], ladder.iloc[-1]
    machine = last["machine"]
    return (TEMPLATES / "README.md").read_text(encoding="utf-8").format(
        rung=row["rung"],
        task=task.name,
        description=task.description,
        fields=" and ".join(f"a {name}" for name in task.text_fields),
        labels=" or ".join(f"`{label}`" for label in task.labels),
        example=_example(task.text_fields, task.spans > 0),
        asking=task.by_hand and f" {task.by_hand}",
        ladder=rungs.ladder_markdown(ladder),
        headline=headline_told.sentence(headline),
        certificate=retention.certificate(last["facts"]["served"].get("retention")),
        engine=row["engine"],
        precision=row["precision"],
        batch=f"batching: {row['batching']}",
        instances=row["instances"],
        threads=row["threads"],
        cpu=machine["cpu"],
        cores=machine["cores_available"],
        system=machine["system"],
        python=machine["python"],
        least_python=LEAST_PYTHON,
        tried=_tried(),
        versions=", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        run=run.name,
        size=run.size,
        written=last["written"],
        commit=machine["commit"] or "unknown",
        fingerprint=", ".join(f"{name} `{digits}`" for name, digits in first["facts"]["data_fingerprint"].items()),
        steps="\n".join(_step(number, rung) for number, rung in enumerate(ladder.to_dict("records"), start=1)),
        size_limit=(SMOKE if run.size == "smoke" else SIZED.format(size=run.size)) + _warning(first["facts"]),
        max_length=task.max_length,
        pretrained=" and ".join(_pretrained(run, records)),
    )  # fmt: skip


def _tried() -> str:
    newest = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in REQUIRED)
    oldest = ", ".join(f"{name} {least}" for name, (least, _) in REQUIRED.items())
    return f"from {oldest} to {newest}"


def _warning(baseline: Mapping[str, Any]) -> str:
    return "" if records.teacher_is_clear(baseline) else UNCLEAR


def _step(number: int, rung: Mapping[str, Any]) -> str:
    made_of = f"{rung['model']}; {rung['engine']}; {rung['precision']}; batching: {rung['batching']}"
    return f"{number}. {rung['rung']}: {made_of}"


def _pretrained(run: params.Run, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the published models whose weights or answers went into the run's own."""
    named = [record["parameters"].get(key) for record in records for key in ("teacher", "student_from")]
    if run.before:  # its teacher is a folder here, which was trained from a published one
        named = [run.before.values.get("teacher") if name == run.values["teacher"] else name for name in named]
    return list(dict.fromkeys(name for name in named if name and name != "teacher"))


def _example(text_fields: Sequence[str], words_marked: bool) -> str:
    return r"\t".join(f"a *word* of a {name}" if words_marked else f"a {name}" for name in text_fields)


def _with_a_long_one(texts: splits.Split, max_length: int) -> splits.Split:
    """Return ``texts`` and one more, whose fields have ``max_length`` words each, so that it has to be cut."""
    long = tuple(" ".join((text.split() * max_length)[:max_length]) for text in texts.texts[0])
    every = [*texts.texts, long]
    return splits.text_split(texts.task, texts.name, every, texts.gold.take([*range(len(texts)), 0]))


def _assert_same(
    script: Path, texts: splits.Split, tokenizer: PreTrainedTokenizerBase, session: onnxruntime.InferenceSession
) -> None:
    """Raise AssertionError unless ``script`` has this package's tokens and logits for every one of ``texts``."""
    theirs: dict[str, Any] = {"__name__": script.stem, "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), theirs)  # an import would leave a __pycache__
    max_length = theirs["config"]["max_length"]
    ours, predict = splits.tokenize(texts, tokenizer, max_length), sessions.onnx_predictor(session)
    for i, fields in enumerate(texts.texts):
        words = [(span.start, span.end) for span in texts.spans[i]] if texts.spans else []
        seen = theirs["inputs"](fields, words)
        same = all(list(seen[name]) == getattr(ours, name)[i].tolist() for name in ("input_ids", "token_type_ids"))
        assert same, f"classify.py sees other tokens than the book in dev text {i}: {fields[0][:60]!r}"
        off = float(np.abs(theirs["logits"](fields, words) - predict(batching.collate(ours, [i]).inputs)[0]).max())
        assert off <= TOLERANCE, f"the logits of classify.py are off by {off:.2g} in dev text {i}: {fields[0][:60]!r}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fflib.book.take_home", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    return parser.parse_args()


def main() -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    arguments = _arguments()

    def export() -> None:
        folder = build(params.run_of(arguments))
        python, script = (shlex.quote(shown(path)) for path in (sys.executable, folder / "classify.py"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        example = _example(config["text_fields"], config["words_marked"])
        print(f"take home: {shown(folder)}; try: printf '{example}\\n' | {python} {script}")

    return cli.ended(export)


if __name__ == "__main__":
    sys.exit(main())
