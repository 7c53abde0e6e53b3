# `make demo` and `make test` set everything up on a machine with Python 3.11.
PYTHON ?= python3.11
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: all demo test test-all lint types clean

all: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

demo: .venv/installed
	$(BIN)/keras-cbam demo --output demo

# Each backend wants a process of its own; what trains is proven on all three.
test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m "not slow and backends"
	KERAS_BACKEND=torch $(BIN)/python -m pytest -m "not slow and backends"

test-all: .venv/installed
	$(BIN)/python -m pytest
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m backends
	KERAS_BACKEND=torch $(BIN)/python -m pytest -m backends

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info demo
