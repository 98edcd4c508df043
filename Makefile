# make bench       a first sweep and its report
# make test        lint, types and tests
# make test-matrix the tests under each Python found, lowest and newest versions; TESTS=tests/core
# make test-wheel  the wheel in a bare environment, outside of this folder
# make docs        the documentation as a site, into build/site
# make benchmarks  the timed suites
# make gpu         what a GPU makes of it, under eight minutes; DEVICE=cpu rehearses
# make gate        what no clock has a part in, against the committed baseline
# make baseline    makes that baseline anew, on purpose
# Everything is installed into .venv, nothing outside it.

PYTHON ?= python3
WORKERS ?= 2
SWEEP ?= +experiment=quick
DEVICE ?= gpu

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-input --compile -c constraints.txt

# The pins also hold for the isolated environment that builds the package: pip before 25.3 reads the
# first variable there, later ones the second.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without bytecode every benchmarked process spends three times as long on its imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench test tests test-matrix test-wheel docs benchmarks gpu gate baseline lint types clean

bench: .venv/installed
	$(BIN)/python -m bench $(SWEEP)

# mypy, which has one thread, beside the tests.
test: lint
	$(MAKE) --no-print-directory --jobs=2 types tests

tests: .venv/installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-matrix:
	WORKERS=$(WORKERS) TESTS="$(TESTS)" bash .ci/matrix

test-wheel: .venv/bin/python
	bash .ci/wheel $(PYTHON)

docs: .venv/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

benchmarks: .venv/installed-test
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

# device=gpu needs the extra `cuda`.
gpu: .venv/installed-test
	$(BIN)/python -m tests.benchmarks.gpu --device $(DEVICE)

gate: .venv/installed
	$(BIN)/python .ci/exact_gate.py check

baseline: .venv/installed
	$(BIN)/python .ci/exact_gate.py renew

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: .venv/installed-test
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is younger than pyproject.toml and constraints.txt exactly when what they ask for is there.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[test,peers]'
	touch $@ .venv/installed

.venv/bin/python:
	$(PYTHON) -m venv .venv
