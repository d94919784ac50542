# The sweep: which chapter of a run needs which other. Called by `make book` and `make plan`; on a cluster by profile.
#   snakemake --cores all --rerun-triggers mtime params input --config run=docs-cpu size=smoke
# A chapter runs again when its code, the fflib modules it uses, its parameters, the packages or the processor changed
# (all in `key`), or when a chapter before it ran again.
import shlex
import sys

sys.path.insert(0, workflow.basedir)
from fflib import files, params, provenance  # noqa: E402

NEEDS = {
    "00_introduction": ["07_story"],  # it opens with the result of the run
    "01_baseline": [],
    "02_batching": ["01_baseline"],
    "03_distillation": ["01_baseline", "02_batching"],
    "04_pruning": ["01_baseline", "02_batching", "03_distillation"],
    "05_quantization": ["01_baseline", "02_batching", "03_distillation", "04_pruning"],
    "06_runtime": ["01_baseline", "02_batching", "03_distillation", "04_pruning", "05_quantization"],
}
NEEDS["07_story"] = sorted({*NEEDS} - {"00_introduction"})
TIMED = {*NEEDS} - {"00_introduction"}

WANTED = {name: str(config.get(name, "")) for name in ("run", "size", "hardware")}
OVERRIDES = str(config.get("set", "")).strip()
RUN = params.load_run(
    WANTED["run"] or "docs-cpu", WANTED["size"], WANTED["hardware"], params.split_overrides(OVERRIDES)
)
FOLDER = files.shown(RUN.folder)
OPTIONS = shlex.join([f"--run={RUN.name}", f"--size={RUN.size}", f"--hardware={RUN.hardware}", f"--set={OVERRIDES}"])


def result(chapter):
    return f"{FOLDER}/results/{chapter}.json"


# Every result is asked for by name: one that is missing is made again, even if the book that was made of it is still there.
rule all:
    input:
        [result(chapter) for chapter in NEEDS],
        f"{FOLDER}/book/index.html",


rule book:
    input:
        [result(chapter) for chapter in NEEDS],
    output:
        f"{FOLDER}/book/index.html",
    params:
        key=provenance.page_key(),
    shell:
        f"{shlex.quote(sys.executable)} -m fflib.book {shlex.quote(FOLDER)}"


rule chapter:
    input:
        lambda wildcards: [result(chapter) for chapter in NEEDS[wildcards.chapter]],
    output:
        f"{FOLDER}/results/{{chapter}}.json",
    params:
        key=lambda wildcards: provenance.chapter_key(wildcards.chapter, RUN.chapter_values(wildcards.chapter)),
    # A timed chapter takes every core, so nothing runs beside it; on a cluster `exclusive` asks for a node of its own.
    threads: lambda wildcards: workflow.cores if wildcards.chapter in TIMED else 1
    resources:
        exclusive=lambda wildcards: int(wildcards.chapter in TIMED),
    wildcard_constraints:
        chapter="[0-9]{2}_[a-z]+",
    shell:
        f"{shlex.quote(sys.executable)} -m fflib.execute chapter {{wildcards.chapter}} {OPTIONS}"
