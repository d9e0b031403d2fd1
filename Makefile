# make demo and make test work on a fresh machine: they make their own environment in .venv.
#   PYTHON=python3.12 make env    choose the interpreter        EXTRAS=demo,dev,gpu make env    choose what is installed
#   make test ARGS="tests/kernels -k grf"    choose the tests   JOBS=0 make test                run them in one process

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help env env38 demo test test-thorough test-interpreted lint bench bench-record clean distclean

VENV ?= .venv
EXTRAS ?= demo,dev
PYTHON ?= python3.11 python3.12 python3
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(EXTRAS)
# The worker of Isaac Gym is tested under the Python that it is for.
PYTHON38 ?= python3.8 $(wildcard $(HOME)/.pyenv/versions/3.8*/bin/python3.8)
VENV38 := .venv38

# One more than the two cores of the machine that this must pass on: tests of clusters mostly wait.
JOBS ?= 3
ARGS ?=
PYTEST = timeout $(TEST_LIMIT) $(PY) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --benchmark-disable --durations 12
# Whole run of `make test` [s]; a single test has its own limit in pyproject.toml.
TEST_LIMIT ?= 1200

# Simulation threads do the work: a spinning OpenMP pool beside them costs more than it gives.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

help:
	@echo "make demo   motion capture -> simulated dynamics -> solver -> forces of a trial, with a report"
	echo "make test   the tests (not the slow ones)   make test-thorough   gates of benchmarks, interpreted GPU code, more of clusters"
	echo "make lint   ruff, pyright, import contracts"
	echo "make bench  replay-and-record beside bare physics"
	echo "make env    only the environment (.venv); the targets above call it"
	echo "make clean  remove caches; make distclean also removes .venv"

env: $(STAMP)

demo: $(STAMP)
	@$(PY) -m bench.demo $(ARGS)

test: $(STAMP) env38
	@$(PYTEST) -m "not slow and not thorough" $(ARGS)

test-thorough: $(STAMP)
	@$(PYTEST) -m "thorough and not slow" $(ARGS)

test-interpreted: $(STAMP)
	@NUMBA_DISABLE_JIT=1 timeout $(TEST_LIMIT) $(PY) -m pytest -q -m "not slow" -n $(JOBS) --benchmark-disable tests/kernels $(ARGS)

lint: $(STAMP)
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet . || { echo "run: $(VENV)/bin/ruff format ."; exit 1; }
	$(VENV)/bin/pyright --pythonpath $(PY)
	$(VENV)/bin/lint-imports

bench: $(STAMP)
	@$(PY) -m bench.run $(ARGS)

bench-record: $(STAMP)
	@$(PY) -m bench.bench_record $(ARGS)

# Where there is no Python 3.8 those tests are skipped, and say so.
env38:
	@if [ -e $(VENV38)/.installed ]; then exit 0; fi
	for python in $(PYTHON38); do
	  if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 8))' 2>/dev/null; then
	    echo "Installing numpy and mujoco for Python 3.8 into $(VENV38), to test the worker of Isaac Gym"
	    "$$python" -m venv --clear $(VENV38)
	    $(VENV38)/bin/python -m pip install --quiet --disable-pip-version-check numpy==1.24.4 mujoco==3.2.3
	    touch $(VENV38)/.installed
	    exit 0
	  fi
	done
	echo "No Python 3.8 among: $(PYTHON38). The tests of the worker of Isaac Gym are skipped."

clean:
	@rm -rf .pytest_cache .ruff_cache .import_linter_cache .benchmarks build *.egg-info MUJOCO_LOG.TXT
	find . \( -path ./.venv -o -path ./$(VENV38) \) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean
	@rm -rf $(VENV) $(VENV38)

# Python 3.11 has a CPU build of torch pinned in constraints.txt. On 3.12 and later the torch that the interpreter already
# has is used instead (it must match the driver of the machine), so its packages are made visible inside the environment.
$(PY):
	@chosen=""
	for python in $(PYTHON); do
	  if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen="$$python"; break; fi
	done
	if [ -z "$$chosen" ]; then
	  echo "No Python 3.11 or later with venv among: $(PYTHON)."
	  echo "Install python3.11 and python3.11-venv, or name an interpreter: make env PYTHON=/path/to/python3.11"
	  exit 1
	fi
	sites=""
	if "$$chosen" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
	  if ! "$$chosen" -c 'import torch' 2>/dev/null; then
	    echo "$$chosen is newer than Python 3.11 and has no torch; the pinned CPU build exists for 3.11 only."
	    echo "Install python3.11, or install the torch build for this machine into $$chosen, then run make again."
	    exit 1
	  fi
	  sites=$$("$$chosen" -c 'import sys; print(*[p for p in sys.path if p.endswith(("site-packages", "dist-packages"))], sep="\n")')
	fi
	"$$chosen" -m venv --clear $(VENV)
	if [ -n "$$sites" ]; then
	  echo "$$sites" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/parent_site_packages.pth"
	fi

$(STAMP): pyproject.toml constraints.txt | $(PY)
	@echo "Installing into $(VENV) (a few minutes and 3.5 GB the first time)"
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@
