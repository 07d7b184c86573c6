# `make demo` and `make test` each work alone on a fresh machine with Python 3.11 to 3.14: they make a virtual
# environment in .venv, install the project into it, and then do their job.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Processes that run the tests, each with one thread and up to 4 GiB of memory; a file's tests stay together.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-slow coverage lint docs install-check reports clean

demo: $(VENV)/installed
	$(BIN)/bench demo

test: lint
	$(PYTEST) -m "not slow" --durations=20
	$(BIN)/python .ci/check_install.py

# The tests that are marked as slow, which `make test` leaves out.
test-slow: $(VENV)/installed
	$(PYTEST) -m slow --durations=0

coverage: $(VENV)/installed
	$(PYTEST) --cov=zoo --cov=benchmarks --cov-report=term:skip-covered --cov-report=xml

# Builds the wheel, installs it, and uses it in a folder with modules of the same names.
install-check: $(VENV)/installed
	$(BIN)/python .ci/check_install.py

# The documentation site, in site/; `.venv/bin/mkdocs serve` shows it while it is written.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

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
