# make demo     install, train a credit model across four companies on real data, show the result
# make test     the test suite               make test-all   with the slow ones
# make check    formatting, types, import directions      make bench   benchmarks, docs/benchmarks.md
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
ROUND  := $(BIN)/python -m pytest -n 2 --dist worksteal

# Tests start many processes: without byte code on disk each of them would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check vectors bench docs install clean

demo: install
	rm -rf runs/demo runs/demo.partial
	$(BIN)/tallystick run pos-loan --out runs/demo

install: $(VENV)/.product

$(VENV)/.product: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	sed '/^# ---- for tests only/,$$d' requirements.lock > $(VENV)/product.txt
	$(PIP) --require-hashes --only-binary :all: -r $(VENV)/product.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.tests: $(VENV)/.product
	$(PIP) --require-hashes --only-binary :all: -r requirements.lock
	touch $@

test: $(VENV)/.tests check
	$(ROUND) -m "not slow" --cov --cov-fail-under=97

test-all: $(VENV)/.tests check
	$(ROUND) --hypothesis-profile thorough --cov --cov-fail-under=97

check: $(VENV)/.tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --config pyproject.toml

docs: $(VENV)/.product
	$(BIN)/python -m docs.generate

bench: $(VENV)/.tests
	$(BIN)/python -m benchmarks all --out docs/benchmarks.json
	$(BIN)/python -m benchmarks page

clean:
	rm -rf $(VENV) build runs *.egg-info
