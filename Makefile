PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
BENCH := results/bench.csv
PEERS := nearest monte_carlo optimisers steps private denoising workers busy

# Tests start dozens of processes: each would compile this project anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test slow lint bench clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Create .venv with the tested versions of everything

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,slurm]'
	@touch $@

demo: $(INSTALLED) ## Train a DCGAN on real digits, attack it, print the table and where the page is
	@echo "the first time this takes about 4 minutes on 2 cores, then 2 seconds"
	$(BIN)/python -m benchmark

test: $(INSTALLED) ## Run the fast test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

slow: $(INSTALLED) ## Run the slow tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(INSTALLED) ## Measure speed against the peers, as ratios: one table, kept in results/bench.csv
	for script in $(PEERS); do BENCH=$(BENCH) $(BIN)/python bench/$$script.py || exit 1; done
	$(BIN)/python bench/goals.py $(BENCH)

clean: ## Delete the store and the outputs of earlier runs
	rm -rf store outputs
