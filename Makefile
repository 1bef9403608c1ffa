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
# The environment of the extra aws3, which cannot be one with that of aws. Other libraries are what
# differs there, so one event loop is enough.
AWS3 ?= .venv-aws3

.PHONY: help demo test test-aws3 test-clients test-all test-live check format bench clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

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

$(AWS3)/.dev: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; run make PYTHON=/path/to/python"; exit 1; }
	@echo "Installing memlane beside current langchain-aws and bedrock-agentcore into $(AWS3) (once)"
	@test -x $(AWS3)/bin/python || $(PYTHON) -m venv $(AWS3)
	@$(AWS3)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev-aws3]"
	@touch $@

test: $(VENV)/.dev ## Every test that needs no cloud, a few minutes
	$(PYTEST) -m "not campaign and not clients and not aws" -n $(JOBS)

test-aws3: $(AWS3)/.dev ## The AWS part again, beside current langchain-aws and bedrock-agentcore
	$(AWS3)/bin/python -m pytest -m "not campaign and not clients and not aws" -k "not trio" -n $(JOBS) \
		tests/core/aws tests/conformance/test_s3vectors_backend.py tests/emulator/test_server.py \
		tests/adapters/plain/test_connection_aws.py tests/adapters/plain/test_settings.py

test-clients: $(VENV)/.dev ## Other libraries, unchanged, against the emulator
	$(PYTEST) -m clients tests/emulator

test-all: $(VENV)/.dev ## The long campaigns too, each time with new random examples
	$(PYTEST) -m "not aws" -n $(JOBS) --hypothesis-profile=search

test-live: $(VENV)/.dev ## Against your AWS account: makes a bucket and deletes it, costs cents
	MEMLANE_LIVE=1 $(PYTEST) -m aws -s tests/live

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
	rm -rf $(VENV) $(AWS3) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
