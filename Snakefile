# Which chapter of which run needs which other: for `make book`, `make sweep` and `make plan`; on a cluster by profile
# (params/cluster).
#   snakemake --cores all --rerun-triggers mtime params input --config run=docs-cpu size=smoke
#   snakemake --cores all --rerun-triggers mtime params input --keep-going --config sweep=superglue; the same, -- tables
# A chapter runs again when its code, the fflib modules it uses, its parameters, the packages or the processor changed
# (all in `key`), or when a chapter before it ran again.
import re
import shlex
import sys

sys.path.insert(0, workflow.basedir)
from fflib import files  # noqa: E402
from fflib.book import cluster, vendor  # noqa: E402
from fflib.measure import hardware  # noqa: E402
from fflib.runs import nodes, params, provenance, sweep_plan  # noqa: E402

NEEDS = {
    "00_introduction": ["09_story"],  # it opens with the result of the run
    "01_baseline": [],
    "02_batching": ["01_baseline"],
    "03_distillation": ["01_baseline", "02_batching"],
    "04_pruning": ["01_baseline", "02_batching", "03_distillation"],
    "05_quantization": ["01_baseline", "02_batching", "03_distillation", "04_pruning"],
    "06_runtime": ["01_baseline", "02_batching", "03_distillation", "04_pruning", "05_quantization"],
}
NEEDS["07_serving"] = sorted({*NEEDS} - {"00_introduction"})
NEEDS["08_beyond"] = sorted({*NEEDS} - {"00_introduction"})
NEEDS["09_story"] = sorted({*NEEDS} - {"00_introduction"})
NEEDS[params.CARD] = sorted({*params.ON_CARD} - {params.CARD})
TIMED = {*NEEDS} - {"00_introduction"}

for name in ("run", "sweep", "size", "hardware", "set", "cluster"):
    if not isinstance(config.get(name) or "", str):
        raise files.InputError(f"snakemake reads {name}={config[name]} as no text; write it as {name}=' \"{config[name]}\" '")
WANTED = {name: config.get(name) or "" for name in ("run", "sweep", "size", "hardware")}
OVERRIDES = (config.get("set") or "").strip()
CLUSTER = (config.get("cluster") or "").strip()
cluster.enter(CLUSTER)
NODE = dict.fromkeys(nodes.DECISIVE, "a node") if CLUSTER else {}  # which one is known when a job runs there
CHANGES = (WANTED["size"], WANTED["hardware"], params.split_overrides(OVERRIDES))
SWEEP = sweep_plan.load(WANTED["sweep"], *CHANGES) if WANTED["sweep"] else None
BOOKS = SWEEP.runs if SWEEP else [params.load_run(WANTED["run"] or "docs-cpu", *CHANGES)]
CLOSING = [SWEEP.closing] if SWEEP else []
FIRST = params.before(BOOKS)  # of these, the one chapter that the others begin after
RUNS = {files.shown(run.folder): run for run in [*FIRST, *BOOKS, *CLOSING]}


def result(folder, chapter):
    return f"{folder}/results/{chapter}.json"


def results(folder):
    if RUNS[folder] in CLOSING:
        return [result(folder, params.TABLES)]
    on_card = RUNS[folder].on_card
    there = [chapter for chapter in NEEDS if (chapter in params.ON_CARD if on_card else chapter != params.CARD)]
    return [result(folder, chapter) for chapter in there]


def needs(folder, chapter):
    before = RUNS[folder].before if chapter == params.BASELINE else None
    first = [result(files.shown(before.folder), params.BASELINE)] if before else []
    return first + [result(folder, earlier) for earlier in NEEDS.get(chapter, [])]


def books(runs):
    return [f"{files.shown(run.folder)}/book/index.html" for run in runs]


def key(folder, chapter):
    card = (hardware.card() | NODE,) if NODE else ()
    own = provenance.chapter_key(chapter, RUNS[folder].chapter_values(chapter), *card)
    # The tables take the runs as they stand, whole or failed; they wait for none of their files.
    return files.content_hash(own, sweep_plan.standing(SWEEP)) if chapter == params.TABLES else own


def command(folder, chapter):
    run = RUNS[folder]
    options = {"run": run.name, "size": WANTED["size"], "hardware": WANTED["hardware"], "set": OVERRIDES}
    options |= {"size": run.size, "hardware": run.hardware, "set": ""} if run in FIRST else {}
    options |= {"book": BOOKS[0].name} if run in FIRST and not SWEEP else {}
    options |= {"sweep": SWEEP.name} if SWEEP else {}
    options |= {"cluster": CLUSTER} if CLUSTER else {}
    caller = "fflib.book.sweep" if SWEEP else "fflib.book.execute"
    return shlex.join(["-m", caller, "chapter", chapter, *(f"--{name}={value}" for name, value in options.items())])


def threads_of(folder, chapter):
    if CLUSTER:  # a chapter that is alone on its node asks for no number of processors
        return max(1, RUNS[folder].values.get("threads") or 1)
    return workflow.cores if SWEEP or chapter in TIMED else 1


def turn(wildcards):
    return len(RUNS) - [*RUNS].index(wildcards.folder)  # run by run, in the order of the sweep


wildcard_constraints:
    folder="|".join(re.escape(folder) for folder in RUNS),
    chapter="[0-9]{2}_[a-z_]+",


# Every result is asked for by name: one that is missing is made again, even if the book that was made of it is still there.
rule all:
    input:
        [result(files.shown(run.folder), params.BASELINE) for run in FIRST],
        [file for run in BOOKS for file in results(files.shown(run.folder))],
        books(BOOKS),


# Of a sweep, after `all`: a target of its own, so that it is made although runs failed.
rule tables:
    input:
        books(CLOSING),


rule book:
    input:
        lambda wildcards: results(wildcards.folder),
    output:
        "{folder}/book/index.html",
    params:
        # With the front-end files a book has a page that it lacks without them.
        key=files.content_hash(provenance.page_key(), [vendor.there(package) for package in vendor.PINS]),
    priority: turn
    shell:
        f"{shlex.quote(sys.executable)} -m fflib.book.render {{wildcards.folder:q}}"


rule chapter:
    input:
        lambda wildcards: needs(wildcards.folder, wildcards.chapter),
    output:
        "{folder}/results/{chapter}.json",
    params:
        key=lambda wildcards: key(wildcards.folder, wildcards.chapter),
        # Snakemake does not compare what follows from `output` with the last time: all that counts is in `key`.
        command=lambda wildcards, output: command(wildcards.folder, wildcards.chapter),
    priority: turn
    # A chapter takes every core, so nothing runs beside it; on a cluster it asks for a node of its own.
    threads: lambda wildcards: threads_of(wildcards.folder, wildcards.chapter)
    resources:
        slurm_extra=lambda wildcards: "--exclusive" if CLUSTER and wildcards.chapter in TIMED else "",
        cpus_per_task=lambda wildcards, threads: -1 if CLUSTER and wildcards.chapter in TIMED else threads,
    shell:
        f"{shlex.quote(sys.executable)} {{params.command}}"
