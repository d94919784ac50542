# Taming Transformers: the front door. `make` alone prints what there is.
# Works with GNU make 3.81 (macOS) and newer; on Windows use WSL.

# Not /bin/sh: make then always goes through the shell, which finds `python` by the PATH set below.
SHELL := bash

# What to run: a name in params/; empty SIZE and HARDWARE mean the run's own; SET="name=value name=value".
RUN = docs-cpu
SIZE =
HARDWARE =
SET =
# What to sweep over: a name in params/sweeps/; SIZE, HARDWARE and SET go to each of its runs.
SWEEP =
# What to compare it with; empty means the reference run of that name, else the paper.
WITH =
# The talk: its length, whether demos run live (auto) or from their recordings (no), and where the stage listens.
MINUTES = 40
LIVE = auto
PORT = 8808
# Where the environment is; VENV= (empty) takes the one that is active, e.g. conda's.
VENV = .venv
# What makes the environment, and more options for its pip, e.g. an index that has torch for the CPU only.
PYTHON = python3
PIP_ARGS =

# Recipes read these from their environment, so that the shell never parses a value, however odd.
export RUN SIZE HARDWARE SET SWEEP WITH MINUTES LIVE PORT VENV PYTHON
export PYTHONUNBUFFERED = 1
export PYTHONNOUSERSITE = 1
unexport PYTHONPATH PYTHONHOME

ifneq ($(strip $(VENV)),)
BIN := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin
export PATH := $(BIN):$(PATH)
endif

# `python -m`, since the scripts in bin/ hold absolute paths and break when the project is moved or copied.
# Snakemake keeps its cache here and not under the home folder; Hugging Face's models stay where they always are.
SNAKEMAKE = HF_HOME="$${HF_HOME:-$${XDG_CACHE_HOME:-$$HOME/.cache}/huggingface}" XDG_CACHE_HOME="$$PWD/.cache" \
	python -m snakemake --cores all --nolock --rerun-incomplete --rerun-triggers mtime params input
# The spaces around SET keep snakemake from taking quotes off its ends.
CONFIG = --config "run=$$RUN" $${SIZE:+"size=$$SIZE"} $${HARDWARE:+"hardware=$$HARDWARE"} $${SET:+"set= $$SET "}
sweep plan: CONFIG += $${SWEEP:+"sweep=$$SWEEP"}
OPTIONS = --size "$$SIZE" --hardware "$$HARDWARE" --set "$$SET"
RUN_OPTIONS = --run "$$RUN" $(OPTIONS)
TALK_OPTIONS = $(RUN_OPTIONS) --minutes "$$MINUTES" --live "$$LIVE"
SWEEP_OPTIONS = --sweep "$$SWEEP" $(OPTIONS)
# `--quiet all` leaves the chapters' own lines and errors, but would hide a wrong RUN, SIZE or SET: hence a dry run first.
PREVIEW = mkdir -p .cache && { $(SNAKEMAKE) --dry-run --quiet host progress $(CONFIG) >.cache/plan.txt 2>&1 \
	|| { sed -e '/^  File "/d' -e '/^InputError in file/{N;s/.*\n/error: /;}' .cache/plan.txt >&2; exit 1; }; }

.DEFAULT_GOAL := help
.PHONY: help book sweep compare export talk talk-check test setup plan lab sync clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Choose with RUN=docs-cpu SIZE=smoke|standard|full HARDWARE=name SET="name=value name=value",'
	@echo 'e.g. make book SIZE=smoke, make sweep SWEEP=superglue. README.md says what each run takes and leaves.'

book: setup ## run what RUN still lacks, render it, and print the ladder and where the book is
	@$(PREVIEW)
	@python -m fflib.book.execute check $(RUN_OPTIONS)
	@$(SNAKEMAKE) --quiet all $(CONFIG) || { echo >&2; \
	  echo "make: the book stopped at the error above; what is done is kept: mend it and run make again." >&2; exit 1; }
	@python -m fflib.book.execute show $(RUN_OPTIONS)

# Ctrl-C ends it here, and not with the next command; each command has ended by itself by then.
sweep: setup ## run every run of SWEEP, one after another, then the tables over them; a run that fails stops no other
	@$(PREVIEW)
	@trap 'echo "make: the sweep was stopped; what is done is kept: run make again to go on" >&2; exit 130' INT; \
	  python -m fflib.book.sweep check $(SWEEP_OPTIONS) || exit; \
	  $(SNAKEMAKE) --quiet all --keep-going $(CONFIG); $(SNAKEMAKE) --quiet all $(CONFIG) -- tables; \
	  python -m fflib.book.sweep show $(SWEEP_OPTIONS)

compare: setup ## set RUN beside WITH=paper, a reference run, another run, or a folder of another machine
	@python -m fflib.book.compare $(RUN_OPTIONS) --with "$$WITH"

export: setup ## write the model that RUN chose as a folder that needs nothing of this project
	@python -m fflib.book.take_home $(RUN_OPTIONS)

talk: setup ## slides of RUN with live demos, in the browser: MINUTES=20|40, LIVE=auto|no; needs no network
	@python -m fflib.talk show $(TALK_OPTIONS) --port "$$PORT"

talk-check: setup ## the evening before the talk: is everything fit, red or green; takes some minutes
	@python -m fflib.talk check $(TALK_OPTIONS)

test: setup ## check the style, then all tests, with a small book from start to end; needs no network
	@python -m ruff check --quiet .
	@python -m ruff format --quiet --check . || { echo "make: mend the layout with: ruff format ." >&2; exit 1; }
	@# Side by side what is small, in the order of tests/conftest.py; then alone the book, whose chapters take every core.
	@HF_HUB_OFFLINE=1 python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --ignore tests/test_smoke_book.py
	@HF_HUB_OFFLINE=1 python -m pytest tests/test_smoke_book.py

setup: ## make the environment; quick when nothing changed
	@sh .ci/setup $(PIP_ARGS)

plan: setup ## print what `make book`, or with SWEEP `make sweep`, would run, why, and how long that takes
	@$(PREVIEW)
	@python -m fflib.book.plan .cache/plan.txt $(RUN_OPTIONS) --sweep "$$SWEEP"

lab: setup ## open the notebooks in JupyterLab
	@python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

sync: setup ## write notebooks/*.ipynb from notebooks/*.py
	@python -m jupytext --quiet --update --to ipynb notebooks/*.py

clean: ## remove the outputs of RUN (with its HARDWARE, SIZE) and all caches; never outputs/reference
	@folder="$$RUN$${HARDWARE:+-$$HARDWARE}$${SIZE:+-$$SIZE}"; \
	case "$$folder" in ""|.*|-*|*/*|reference) echo "make: '$$folder' is no folder of a run" >&2; exit 1;; esac; \
	echo "removing the outputs of $$folder, and the caches"; rm -rf "$${FFLIB_OUTPUTS:-outputs}/$$folder"
	@rm -rf .cache .snakemake .pytest_cache .ruff_cache notebooks/.ipynb_checkpoints
	@find fflib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
