# Every target does its own set-up: a Python 3.10-3.12 is all it needs.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
export DAGSTER_HOME := $(CURDIR)

.PHONY: demo test ui lint clean

demo: .venv/installed  ## curate the text of this Python environment, from raw to eval_report, and tell the story
	$(BIN)/curate demo

test: .venv/installed-dev  ## lint and run the tests
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

ui: .venv/installed  ## Dagster's UI on http://127.0.0.1:3000
	$(BIN)/dagster dev --host 127.0.0.1 --port 3000

lint: .venv/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:  ## remove the environment; data/ and Dagster's history stay
	rm -rf .venv

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "curation-assets needs Python 3.10, 3.11 or 3.12 on the PATH (or make PYTHON=/path/to/python)."; exit 1; }
	@echo "Installing into .venv with $$($(PYTHON) --version); a few minutes the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@
