# `make gate` judges the installed mace, `make test` tests this suite; each sets up its own venv.
VENV ?= .venv
PYTHON ?= python3
export OMP_NUM_THREADS = 1

.PHONY: gate smoke test browser nightly lint clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[mace,cueq,dev]"
	touch $@

gate: $(VENV)/ready
	$(VENV)/bin/python -m pytest suites/ --benchmark-only

smoke: $(VENV)/ready
	$(VENV)/bin/python -m pytest suites/ --benchmark-only --mace-plan smoke

test: $(VENV)/ready
	$(VENV)/bin/python -m pytest

# The reports in a real browser: needs Chromium (Debian: apt-get install chromium).
browser: $(VENV)/ready
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[browser]"
	$(VENV)/bin/python -m pytest tests/browser_check.py

nightly: $(VENV)/ready
	NIGHTLY_PYTHON=$(abspath $(VENV))/bin/python .ci/nightly

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
