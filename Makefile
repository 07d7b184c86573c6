# `make demo` and `make test` each work alone on a fresh machine with Python 3.10 or newer: they make a virtual
# environment in .venv, install the project into it, and then do their job.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint reports clean

demo: $(VENV)/installed
	$(BIN)/bench demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

reports: $(VENV)/installed
	.ci/regenerate_reports $(BIN)/python

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV)
