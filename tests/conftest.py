"""Fixtures of all tests. Keras is imported where it is used: xdist's controller runs no test."""

import contextlib
import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

# As in tests/backend.py, which imports Keras.
ROOT = Path(__file__).parents[1]

# What JAX compiled is used again by other tests, and by the next run. Each worker has a folder of
# its own, because JAX reads files that another process is still writing.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".pytest_cache" / "jax" / WORKER)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_ignore_collect(collection_path):
    """Off TensorFlow, only files that mention `backends` are collected, or that are named."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        return None
    inside = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    texts = (file.read_text("utf-8") for file in inside if file.match("test_*.py"))
    return None if any(re.search("backends|quick_on", text) for text in texts) else True


@pytest.fixture(scope="session")
def data():
    """The folder of real weights and images."""
    folder = Path(os.environ.get("KERAS_CBAM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            "real data is found at ../shared/data from the project's root, or where "
            "KERAS_CBAM_DATA points"
        )
    return folder


@pytest.fixture(autouse=True)
def _seeded():
    """Initializers without a seed draw the same in every run."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def short_mobilenet():
    """Lets `SHORT` name a backbone."""
    from tests.short_mobilenet import short_mobilenet_is_known

    with short_mobilenet_is_known():
        yield


@pytest.fixture
def full_disk(monkeypatch):
    """Makes `fsync` of files whose names end in a name fail, as on a full disk."""

    @contextlib.contextmanager
    def full_at(name):
        sync = os.fsync

        def full(file):
            if os.readlink(f"/proc/self/fd/{file}").endswith(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(file)

        with monkeypatch.context() as patched:
            patched.setattr("keras_cbam.files.os.fsync", full)
            yield

    return full_at


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def image_folder(tmp_path, rng):
    """Two classes told apart by color, 12 images each, as class folders."""
    from tests.drawn import write_images

    return write_images(tmp_path / "images", rng, count=12)
