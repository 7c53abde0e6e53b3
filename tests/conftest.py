"""Shared by all tests: the data folder, images, models whose outputs vary."""

import contextlib
import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.short_mobilenet import short_mobilenet_is_known

BACKEND = keras.config.backend()
ROOT = Path(__file__).parents[1]

if BACKEND == "jax":
    import jax

    # What was compiled is used again by other tests, and by the next run. Each worker has a folder
    # of its own, because JAX reads files that another process is still writing.
    WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".pytest_cache" / "jax" / WORKER))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
    keras.utils.set_random_seed(0)


def quick(cases, chosen):
    """Parameters of a test: `make test` runs the chosen cases, `make test-all` all of them."""
    return [pytest.param(case, marks=() if case in chosen else pytest.mark.slow) for case in cases]


def quick_on(*backends):
    """Mark for a test that shows the same on every backend, beside the mark `backends`.

    `make test` runs the test on these backends alone, `make test-all` on all of them.
    """
    return pytest.mark.backends if BACKEND in backends else pytest.mark.slow


@pytest.fixture
def short_mobilenet():
    """Lets `SHORT` name a backbone."""
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
    return write_images(tmp_path / "images", rng, count=12)


def write_images(folder, rng, *, count, size=24):
    from PIL import Image

    for name, color in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = rng.integers(-30, 30, (size, size, 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{index}.jpg")
    return folder


def vary(model, seed=0):
    """Give a model random normalization and layer scale, with statistics that fit its activations.

    A fresh network answers nearly the same to every image, and agreement would prove nothing.
    """
    rng = np.random.default_rng(seed)
    layers = list(model._flatten_layers())  # those inside blocks and nested models too
    for variable in {id(v): v for layer in layers for v in layer.variables}.values():
        if variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "beta":
            variable.assign(rng.normal(0, 0.5, variable.shape))
    normalizations = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(example(model, rng, count=8), training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
        # To divide by the small variance of a nearly constant channel would amplify rounding, layer
        # after layer, until agreement to rounding proves nothing either.
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        layer.moving_variance.assign(np.maximum(variance, 0.7 * variance.mean()))
    return model


def example(model, rng, count=4):
    """Random inputs of a model, pixels in 0..255, in the structure that it takes."""

    def draw(tensor):
        shape = [size or 64 for size in tensor.shape[1:]]
        return rng.uniform(0, 255, (count, *shape)).astype(tensor.dtype)

    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(draw, model.inputs[0] if sequential else model.input)
