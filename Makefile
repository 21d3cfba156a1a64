# `make demo` and `make test` set everything up from Python 3.11+ and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-sglang lint bench table models pictures clean
help:
	@echo "make demo      solve a handful of problems live with the embedded pair"
	@echo "make test      lint, types and tests"
	@echo "make lint      ruff and mypy"
	@echo "make test-sglang  the embedded pair served by the real SGLang on a CPU, three releases, and a real router (5 GB, 10 minutes)"
	@echo "make bench     measure what the budgets promise"
	@echo "make table     measure the README's table of strategies again (12 minutes on 2 cores)"
	@echo "make pictures  draw the README's pictures again"
	@echo "make models    train the embedded pair again from its seed (under 90 minutes on 2 cores)"
	@echo "make clean     remove what these made"

# One stamp for the program, one for the tools of its developers; each is made again when the settings change.
$(VENV)/.program: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "atts needs Python 3.11 or newer; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.program
	@echo "setting up the developers' tools ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.program
	@$(BIN)/atts demo

lint: $(VENV)/.tools
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint
	@$(BIN)/python -m pytest

# SGLANG says more, such as: make test-sglang SGLANG='--release 0.5.23 --faults'
test-sglang: $(VENV)/.tools
	@$(BIN)/python tests/real_sglang/run.py $(SGLANG)

bench: $(VENV)/.tools
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

table: $(VENV)/.program
	@$(BIN)/python tests/tables/strategies.py

pictures: $(VENV)/.tools
	@$(BIN)/python tests/pictures/draw.py

models: $(VENV)/.program
	@$(BIN)/python -m pip install --quiet --editable '.[train]'
	@$(BIN)/python -m atts_core.embedded.training

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
