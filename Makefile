PYTHON ?= python3
BIN := .venv/bin

.PHONY: install run test coverage check bench definitions clean

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: install
	$(BIN)/predmp demo

test: install
	$(BIN)/python -m pytest -n auto --dist loadfile

# The same, slower by half, with the lines and branches that no test reaches.
coverage: install
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile

bench: install
	$(BIN)/python -m bench

definitions: install
	$(BIN)/python -m tools.definitions

clean:
	rm -rf .venv build *.egg-info
