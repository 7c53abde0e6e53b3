"""Each network learns real digits, is saved and loaded, and on TensorFlow exported."""

import keras
import numpy as np
import pytest

from keras_cbam.models.catalogue import TABULATED, VARIANTS
from tests.backend import BACKEND
from tests.layers.registry import numpy

SIZE = 64
# One with each kind of block on PyTorch. On the others, the tests of `training` train.
# `make test-all` tries all of them.
QUICK = {("ResNet18", "cbam"), ("MobileNet-0.7", "se")} if BACKEND == "torch" else set()
CASES = [
    pytest.param(
        variant, attention, marks=() if (variant, attention) in QUICK else pytest.mark.slow
    )
    for variant in VARIANTS
    for attention in TABULATED
]


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, enlarged, as images of three channels in -1..1."""
    from sklearn.datasets import load_digits

    found = load_digits()
    factor = SIZE // found.images.shape[1]
    images = np.kron(found.images[:600] / 8 - 1, np.ones((factor, factor)))
    return images[..., None].repeat(3, -1).astype("float32"), found.target[:600]


def compiled(variant, attention, size, run_eagerly):
    model = VARIANTS[variant](attention, input_shape=(size, size, 3), classes=10)
    model.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=run_eagerly,
    )
    return model


@pytest.mark.backends
@pytest.mark.parametrize(("variant", "attention"), CASES)
def test_learns_and_is_saved(variant, attention, digits, tmp_path):
    images, labels = (values[:16] for values in digits)
    # Operations one by one take less time than compiling four steps, but on JAX.
    model = compiled(variant, attention, SIZE, run_eagerly=BACKEND != "jax")
    before = {weight.path: numpy(weight) for weight in model.trainable_weights}
    losses = [float(model.train_on_batch(images, labels)[0]) for _ in range(4)]
    assert losses[-1] < 0.95 * losses[0]
    still = [w.path for w in model.trainable_weights if np.array_equal(numpy(w), before[w.path])]
    # An MLP of one hidden unit, as narrow stages have, can be dead from the start.
    assert all(f"_{attention}/" in path for path in still)
    assert len(still) < 0.1 * len(before)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(numpy(loaded(images)), numpy(model(images)))


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")
@pytest.mark.parametrize(
    ("variant", "attention"),
    [
        *((variant, "cbam") for variant in VARIANTS),
        *(("ResNet18", attention) for attention in TABULATED if attention != "cbam"),
    ],
)
def test_is_exported(variant, attention, digits, tmp_path):
    from keras_cbam.export import ARTIFACTS, export_model
    from keras_cbam.export.formats import PRECISIONS

    images, labels = digits
    # TensorFlow takes long for gradients of grouped convolutions; MobileNet needs more places.
    size = SIZE if "MobileNet" in variant else SIZE // 2
    images = images[:, :: SIZE // size, :: SIZE // size]
    learned, calibration = slice(0, 240), slice(240, 400)
    model = compiled(variant, attention, size, run_eagerly=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # so few steps would not settle the published 0.9
    for _ in range(60):
        model.fit(images[learned], labels[learned], 24, verbose=0)
        if model.evaluate(images[learned], labels[learned], verbose=0)[0] < 0.005:
            break
    # Rounding decides where the network is in doubt, so it is asked what it has learned.
    report = export_model(
        model,
        tmp_path / "export",
        precisions=PRECISIONS,
        representative_dataset=images[calibration],
        verification_data=(images[learned], labels[learned]),
    )
    assert report.verified
    assert report.accuracy > 0.95
    assert len(report.artifacts) == len(ARTIFACTS)
    assert report.spread > 0.9
