# Every target sets itself up: all it needs is make and Python 3.11 or newer (make PYTHON=python3.12 picks one).

PYTHON ?= python3
# 2.13.0 is the version the tests were written against. `make test TORCH=` leaves PyTorch and its tests out.
TORCH ?= torch==2.13.0 onnxscript==0.7.2
# Two processes of one thread each: more threads than cores make every model slower.
WORKERS ?= 2

BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: demo test test-all lint docs clean help

help:
	@echo "make demo      train five models, pack them, serve them, compare the answers with the models'"
	@echo "make test      what a change must pass"
	@echo "make test-all  the slow tests too: before a release"
	@echo "make lint      format, lint and types"
	@echo "make docs      write the pages that are generated from tables"
	@echo "make clean     remove what these targets made"

demo: .venv/demo.stamp
	@$(BIN)/python -m compileall -q src
	$(BIN)/python -m demo

# Compiled once: the tests start hundreds of processes, and an editable installation compiles nothing.
test: .venv/torch.stamp
	@$(BIN)/python -m compileall -q src
	$(PYTEST) -m "not slow"
	@$(MAKE) --no-print-directory lint

test-all: .venv/torch.stamp
	@$(BIN)/python -m compileall -q src
	$(PYTEST)
	@$(MAKE) --no-print-directory lint

lint: .venv/dev.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: .venv/dev.stamp
	$(BIN)/python scripts/docs.py

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests attacks demo benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# -- the environment: a stamp a layer, made again when the packages asked for change ---------------------------------

.venv/base.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "setsail needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.stamp: pyproject.toml | .venv/base.stamp
	@echo "installing setsail with scikit-learn, XGBoost and Pillow into .venv"
	@$(PIP) --editable ".[demo]"
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/base.stamp
	@echo "installing setsail and all that its tests use into .venv"
	@$(PIP) --editable ".[dev]"
	@touch .venv/demo.stamp $@

.venv/torch.stamp: .venv/dev.stamp
	@echo "installing $(or $(TORCH),nothing for PyTorch: its tests are skipped)"
	@$(if $(TORCH),$(PIP) $(TORCH))
	@touch $@
