# Taming Transformers: the front door. `make` alone prints what there is.
# Works with GNU make 3.81 (macOS) and newer; on Windows use WSL.

# Not /bin/sh: make then always goes through the shell, which finds `python` by the PATH set below.
SHELL := bash

# Each may stand behind make, `make book SIZE=smoke`, or in front of it, `SIZE=smoke make book`.
# What to run: a name in params/; empty SIZE and HARDWARE mean the run's own; SET="name=value name=value".
RUN ?= docs-cpu
SIZE ?=
HARDWARE ?=
SET ?=
# What to sweep over: a name in params/sweeps/; SIZE, HARDWARE and SET go to each of its runs.
SWEEP ?=
# Where chapters run: a folder in params/cluster/, empty for this machine; and for the plan, on how many nodes.
CLUSTER ?=
NODES ?=
# What to compare it with; empty means the reference run of that name, else the paper.
WITH ?=
# The talk: its length, whether demos run live (auto) or from their recordings (no), and where the stage listens.
MINUTES ?= 40
LIVE ?= auto
PORT ?= 8808
# Where the environment is; VENV= (empty) takes the one that is active, e.g. conda's.
VENV ?= .venv
# What makes the environment, and more options for its pip, e.g. an index that has torch for the CPU only.
PYTHON ?= python3
PIP_ARGS ?=

# With -e a variable of the shell such as PATH would win over this file's, and another Python than VENV's would run.
ifneq ($(findstring e,$(firstword -$(MAKEFLAGS))),)
$(error make -e lets every variable of the shell win over this Makefile; leave -e out, and say RUN, SIZE, SET behind make)
endif

# What a target heeds; anything else that is set behind make is refused, not ignored. All heed VENV, PYTHON, PIP_ARGS.
HEEDS.book = RUN SIZE HARDWARE SET CLUSTER
HEEDS.export = RUN SIZE HARDWARE SET
HEEDS.compare = RUN SIZE HARDWARE SET WITH
HEEDS.plan = RUN SIZE HARDWARE SET SWEEP CLUSTER NODES
HEEDS.sweep = SIZE HARDWARE SET SWEEP CLUSTER
HEEDS.talk = RUN SIZE HARDWARE SET MINUTES LIVE PORT
HEEDS.talk-check = RUN SIZE HARDWARE SET MINUTES LIVE
HEEDS.clean = RUN SIZE HARDWARE
HEEDS.test =
HEEDS.lab =
HEEDS.setup =
HEEDS.sync =
ASKED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
KNOWN := $(sort $(foreach name,$(filter HEEDS.%,$(.VARIABLES)),$($(name))) VENV PYTHON PIP_ARGS)
ODD := $(filter-out $(KNOWN) MAKE%,$(ASKED)) $(foreach name,run size hardware set sweep cluster nodes,$(if $(filter env%,$(origin $(name))),$(name)))
ifneq ($(strip $(ODD)),)
$(error there is no variable $(firstword $(ODD)); the variables are $(KNOWN), in capitals)
endif
HEEDED := $(foreach goal,$(MAKECMDGOALS),$(HEEDS.$(goal)))
UNHEEDED := $(filter-out $(HEEDED) VENV PYTHON PIP_ARGS MAKE%,$(ASKED))
UNDECLARED := $(filter undefined,$(foreach goal,$(or $(MAKECMDGOALS),all),$(origin HEEDS.$(goal))))
ifeq ($(UNDECLARED),)
ifneq ($(strip $(UNHEEDED)),)
$(error make $(MAKECMDGOALS) does not heed $(firstword $(UNHEEDED)); it heeds $(or $(HEEDED),VENV PYTHON PIP_ARGS))
endif
endif

# Recipes read these from their environment, so that the shell never parses a value, however odd.
export RUN SIZE HARDWARE SET SWEEP CLUSTER NODES WITH MINUTES LIVE PORT VENV PYTHON
export PYTHONUNBUFFERED = 1
export PYTHONNOUSERSITE = 1
export PYTHONUTF8 = 1
# The rest that must stay outside fflib/environment.py drops; these count before a line of Python has run.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONSTARTUP PYTHONWARNINGS PYTHONIOENCODING \
	PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX BASH_ENV ENV CDPATH PYTHONHASHSEED PYTHONMALLOC PYTHONTRACEMALLOC \
	PYTHONDEVMODE PYTHONVERBOSE PYTHONDEBUG PYTHONPROFILEIMPORTTIME PYTHONINTMAXSTRDIGITS PYTHONPLATLIBDIR \
	PYTHON_CPU_COUNT PYTHON_GIL PYTHON_JIT PYTHON_COLORS

ifneq ($(strip $(VENV)),)
BIN := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin
export PATH := $(BIN):$(PATH)
endif

# `python -m`, since the scripts in bin/ hold absolute paths and break when the project is moved or copied.
OPTIONS = --size "$$SIZE" --hardware "$$HARDWARE" --set "$$SET"
RUN_OPTIONS = --run "$$RUN" $(OPTIONS)
TALK_OPTIONS = $(RUN_OPTIONS) --minutes "$$MINUTES" --live "$$LIVE"
SWEEP_OPTIONS = --sweep "$$SWEEP" $(OPTIONS)

.DEFAULT_GOAL := help
# Of `make -j8 book export` (or MAKEFLAGS=-j8) the second goal would begin before the first has ended.
.NOTPARALLEL:
.PHONY: help book sweep compare export talk talk-check test setup plan lab sync clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Choose with RUN=docs-cpu SIZE=smoke|standard|full HARDWARE=name SET="name=value name=value",'
	@echo 'e.g. make book SIZE=smoke, make sweep SWEEP=superglue. README.md says what each run takes and leaves.'

book: setup ## run what RUN still lacks, render it, and print the ladder and where the book is
	@python -m fflib.book.workflow book $(RUN_OPTIONS) --cluster "$$CLUSTER"

sweep: setup ## run every run of SWEEP, one after another, then the tables over them; a run that fails stops no other
	@python -m fflib.book.workflow sweep $(SWEEP_OPTIONS) --cluster "$$CLUSTER"

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
	@# File by file on every core, in the order of tests/conftest.py: the small book first, beside all else.
	@HF_HUB_OFFLINE=1 python -m pytest --durations 20 --numprocesses auto --dist loadfile --no-loadscope-reorder

setup: ## make the environment; quick when nothing changed
	@sh .ci/setup $(PIP_ARGS)

plan: setup ## print what `make book`, or with SWEEP `make sweep`, would run, why, and how long that takes
	@python -m fflib.book.plan $(RUN_OPTIONS) --sweep "$$SWEEP" --cluster "$$CLUSTER" --nodes "$$NODES"

lab: setup ## open the notebooks in JupyterLab
	@python -m fflib.book.lab

sync: setup ## write notebooks/*.ipynb from notebooks/*.py
	@python -m jupytext --quiet --update --to ipynb notebooks/*.py
	@python -m fflib.book.fold notebooks/*.ipynb

clean: ## remove the outputs of RUN (with its HARDWARE, SIZE) and all caches; never outputs/reference
	@sh .ci/clean "$$RUN" "$$HARDWARE" "$$SIZE"
