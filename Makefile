# From a fresh clone: `make demo` and `make test`; and `make bench`, on a machine that does nothing else for a quarter of an hour.
# Nothing but Python >= 3.10 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that run the tests; each test takes one core.
JOBS ?= 2
PYTEST := $(BIN)/pytest -n $(JOBS) --dist worksteal
# The package is installed, not linked: the tests and the type checker see what a user gets.
SOURCES := $(shell find lfo datasets cli -type f -not -name '*.pyc') pyproject.toml setup.py constraints.txt

.PHONY: demo test coverage lint types docs bench clean soak wheel-test

demo: $(VENV)/.installed
	$(BIN)/d3g-lfo demo -o demo-report --overwrite

test: $(VENV)/.installed-dev lint docs
	$(PYTEST)

coverage: $(VENV)/.installed-dev
	$(PYTEST) --cov --cov-report=term-missing:skip-covered --cov-fail-under=95

lint: $(VENV)/.installed-dev types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	cd / && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p lfo

# The site, into site/; a warning is an error. (Its theme tells of MkDocs 2 at every build unless it is asked not to.)
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The wheel in an empty environment does what the README says. Another Python: `make wheel-test PYTHON=python3.13`.
wheel-test:
	$(PYTHON) tests/try_wheel.py

# Some 12,000 attacks, and a study on a cluster; `make soak SHARE=0.05` makes a twentieth of the attacks.
soak: $(VENV)/.installed-dev
	$(BIN)/python tests/attacks/soak.py --share $(or $(SHARE),1)
	$(BIN)/python tests/attacks/cluster.py

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py --write

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet -c constraints.txt .
	touch $@

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet -c constraints.txt '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build site *.egg-info demo-report .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
