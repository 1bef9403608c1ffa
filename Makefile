# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv and installs by itself.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first interpreter that is new enough; PYTHON=python3.13 picks another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Test processes at once; JOBS=0 runs all in one, for a debugger.
JOBS ?= 2

.PHONY: help demo test test-all check format bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or run make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: installed again only when pyproject.toml changes.
$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "Installing memlane into $(VENV) (once, about half a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[local,cli]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "Installing memlane with everything its tests need into $(VENV) (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## Store conversations in a file, ask, isolate, forget: make demo [FILE=mine.jsonl]
	@$(BIN)/memlane demo $(if $(FILE),"$(FILE)")

test: $(VENV)/.dev ## Every test that needs no cloud, a few minutes
	$(PYTEST) -m "not campaign" -n $(JOBS)

test-all: $(VENV)/.dev ## The long campaigns too
	$(PYTEST) -n $(JOBS)

check: $(VENV)/.dev ## ruff, mypy, basedpyright, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## The short form of the benchmarks
	$(BIN)/python -m benchmarks

clean: ## Remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
