# `make demo` and `make test` set everything up on a machine with Python 3.11.
PYTHON ?= python3.11
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
# TensorFlow leaves oneDNN off on x86 processors without VNNI. It has the convolutions for
# channels_first.
export TF_ENABLE_ONEDNN_OPTS ?= 1

.PHONY: all demo test test-all fuzz kills lint types clean

all: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

demo: .venv/installed
	$(BIN)/keras-cbam demo --output demo

# Each backend wants processes of its own; what trains is proven on all three.
# One thread a process: more would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --durations 25
# What JAX compiled is used again by other tests, and by the next run.
JAX_CACHE := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.pytest_cache/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
test: .venv/installed
	$(PYTEST) -m "not slow"
	KERAS_BACKEND=jax $(JAX_CACHE) $(PYTEST) -m "not slow and backends"
	KERAS_BACKEND=torch $(PYTEST) -m "not slow and backends"

test-all: .venv/installed
	$(PYTEST)
	KERAS_BACKEND=jax $(JAX_CACHE) $(PYTEST) -m backends
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
