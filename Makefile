# Every target does all its own set-up, from a fresh clone on a machine with Python, git and make.

VENV ?= .venv
ARGS ?=
# TensorFlow has no build for Pythons after 3.13.
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for each in python3.11 python3 python3.12 python3.13; do \
    $$each -c '$(SUITABLE)' 2>/dev/null && echo $$each && break; done)

BIN := $(VENV)/bin
BENCH_VENV ?= .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin
BENCH_STAMP := $(BENCH_VENV)/.installed
STAMP := $(VENV)/.installed
MEMBERS := core $(sort $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
MANIFESTS := pyproject.toml $(MEMBERS:%=%/pyproject.toml)

export UV_SYSTEM_CERTS ?= 1
export UV_PYTHON_DOWNLOADS ?= never
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# It is installed here to be tested, not to record what is trained meanwhile.
export BATCHLOOM_DISABLE_PLUGINS ?= batchloom-mlflow

.PHONY: help setup demo test test-all stress lint format format-check types contracts docs check bench bench-env \
    constraints clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: $(STAMP) ## make the environment in .venv (every target below does it when it has to)

# constraints.txt lists everything, so nothing has to be resolved: uv and pip install the same.
# The stamp is touched last: a set-up that broke off is done again. uv leaves bytecode to whoever imports first,
# and where PYTHONDONTWRITEBYTECODE is set every process would compile TensorFlow anew.
$(STAMP): $(MANIFESTS) constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUITABLE)' || { \
	    echo >&2 "Python 3.11, 3.12 or 3.13 is needed: install one, or name it:" \
	        "make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q -c constraints.txt uv || echo >&2 "uv cannot be had here: pip does its work"
	@install() { \
	    $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python "$$@" || { \
	        echo >&2 "installing with pip instead"; $(BIN)/python -m pip install -q "$$@"; }; }; \
	echo "installing what constraints.txt lists" && install --no-deps -r constraints.txt && \
	echo "installing $(MEMBERS)" && install --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

demo: $(STAMP) ## run the main job: the same template pipeline with models of every backend
	$(BIN)/python examples/demo.py $(ARGS)

# A worker that dies ends the run: with one in its place pytest-xdist can wait for ever.
XDIST := --numprocesses=2 --dist=loadfile --max-worker-restart=0

test: $(STAMP) ## run the whole test suite (ARGS="-k prefetch" for a part)
	$(BIN)/python -m pytest $(XDIST) $(ARGS)

test-all: $(STAMP) ## the same with the long soaks and every case, which takes half an hour
	$(BIN)/python -m pytest $(XDIST) -o faulthandler_timeout=0 -m "slow or not slow" $(ARGS)

stress: $(STAMP) ## make pipelines up at random and hold them against a serial run, for STRESS_SECONDS (3600)
	$(BIN)/python -m pytest -o faulthandler_timeout=0 -m slow tests/faults/test_faults_random.py $(ARGS)

lint: $(STAMP) ## ruff
	$(BIN)/ruff check $(ARGS)

format: $(STAMP) ## bring every file into ruff's format
	$(BIN)/ruff check --fix-only -q
	$(BIN)/ruff format

format-check: $(STAMP) ## is every file in ruff's format?
	$(BIN)/ruff format --check

types: $(STAMP) ## mypy
	$(BIN)/mypy $(ARGS)

contracts: $(STAMP) ## import-linter: who may import whom
	$(BIN)/lint-imports --no-logo

docs: $(STAMP) ## the pages of docs/ and the API as a site, in build/docs
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/docs $(ARGS)

check: lint format-check types contracts ## everything but the tests

bench: $(BENCH_STAMP) ## measure speed beside the peers, which takes 25 minutes (ARGS="w1 --quick" for a part)
	$(BENCH_BIN)/python -m benchmarks $(ARGS)

bench-env: $(BENCH_STAMP) ## make the environment of the benchmarks in .venv-bench

# Like .venv, and the peers in it, which come one by one: one that cannot be had is left out, and the
# tables say so. Where pip is told to look for wheels besides, uv looks as well; the second try for each peer
# is at the index of the builds of PyTorch without CUDA.
$(BENCH_STAMP): $(STAMP) benchmarks/peers.txt
	$(PYTHON) -m venv --clear $(BENCH_VENV)
	@export UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}"; \
	install() { $(BIN)/uv pip install -q --compile-bytecode --python $(BENCH_BIN)/python "$$@"; }; \
	install --no-deps -r constraints.txt && \
	install --no-deps --no-build-isolation $(addprefix -e ,$(filter-out plugins/mlflow%,$(MEMBERS))) && \
	install -c constraints.txt matplotlib && \
	grep -E '^[a-z]' benchmarks/peers.txt | while read -r peer; do \
	    echo "installing $$peer"; \
	    install -c constraints.txt "$$peer" || install -c constraints.txt --torch-backend=cpu "$$peer" || \
	        echo >&2 "$$peer cannot be had here: the tables will name it as absent"; \
	done
	@touch $@

constraints: $(STAMP) ## pin the newest versions that fit anew in constraints.txt
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	    $(MEMBERS:%=%/pyproject.toml) --group pyproject.toml:dev -o $(VENV)/constraints.txt
	grep -E '^[A-Za-z0-9]' $(VENV)/constraints.txt > constraints.txt

clean: ## remove the environment and what builds and checks leave
	rm -rf $(VENV) $(BENCH_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis demo-output
