# `make demo` and `make test` set everything up on a machine with Python 3.11.
PYTHON ?= python3.11
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
# TensorFlow leaves oneDNN off on x86 processors without VNNI. It has the convolutions for
# channels_first.
export TF_ENABLE_ONEDNN_OPTS ?= 1

# pip compiles nothing (--no-compile), because few of 18,000 modules are imported. Python compiles
# these at their first import, and must be allowed to keep the result.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all demo test quick test-all fuzz kills lint types clean

all: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[all]'
	touch $@

demo: .venv/installed
	$(BIN)/keras-cbam demo --output demo

# Each backend wants processes of its own; what trains is proven on all three.
# One thread a process: more would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --durations 25
# Tests run compiled code once or twice, so XLA's optimizations cost more than they save. Level 0
# is faster still, but computes NaN in a gradient (jaxlib 0.10).
test quick: export XLA_FLAGS ?= --xla_backend_optimization_level=1
test: .venv/installed
	$(PYTEST) -m "not slow"
	KERAS_BACKEND=jax $(PYTEST) -m "not slow and backends"
	KERAS_BACKEND=torch $(PYTEST) -m "not slow and backends"

# Layers, attaching and options, in under three minutes: for the hand.
quick: .venv/installed
	$(PYTEST) -m "not slow" tests/config tests/layers tests/surgery/test_attach.py tests/surgery/test_detach.py \
		tests/surgery/test_freeze.py tests/surgery/test_wrappers.py tests/test_packaging.py tests/test_docstrings.py

test-all: .venv/installed
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m backends
	KERAS_BACKEND=torch $(PYTEST) -m backends

MINUTES ?= 30
fuzz: .venv/installed
	$(BIN)/python -m tests.hostile.fuzz --minutes $(MINUTES)

KILLS ?= 300
kills: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile.kills --kills $(KILLS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info demo
