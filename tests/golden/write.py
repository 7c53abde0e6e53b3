"""Writes the files of this version, once: `python -m tests.golden.write`.

A folder for each version, with a model of each attention layer, a compiled model, what they make of
`inputs.npy`, and an export. `test_golden.py` reads them all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_cbam
from keras_cbam import CBAM
from keras_cbam.export import export_model
from keras_cbam.training.group_rates import GroupAdam
from keras_cbam.training.recipe import SmoothedCrossentropy, WarmUp
from tests.layers.registry import SHAPE, VARIANTS

FOLDER = Path(__file__).parent
COMPILED, INPUTS, OUTPUTS, EXPORT = "compiled.keras", "inputs.npy", "outputs.npz", "export"


def classifier() -> keras.Model:
    """A compiled model with all that fine-tuning puts into one."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE[1:])
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = CBAM(reduction_ratio=4, kernel_size=3)(layers.BatchNormalization()(x))
    x = layers.Dense(2, "softmax")(layers.Flatten()(x))
    model = keras.Model(inputs, x)
    rate = WarmUp(keras.optimizers.schedules.CosineDecay(1e-3, 10), steps=2)
    model.compile(GroupAdam(rate), SmoothedCrossentropy(0.1))
    return model


def write(folder: Path) -> None:
    """Write the models, what they compute, and an export."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.normal(size=SHAPE).astype("float32")
    np.save(folder / INPUTS, images)
    outputs = {}
    for name, variant in VARIANTS.items():
        inputs = keras.Input(SHAPE[1:])
        layer = variant.built(SHAPE)
        model = keras.Model(inputs, layer(inputs))
        model.save(folder / f"{name}.keras")
        outputs[name] = model.predict(images, verbose=0)
    model = classifier()
    model.fit(images, np.array([0, 1, 0]), epochs=2, verbose=0)
    model.save(folder / COMPILED)
    outputs[Path(COMPILED).stem] = model.predict(images, verbose=0)
    np.savez_compressed(folder / OUTPUTS, **outputs)
    many = rng.normal(size=(100, *SHAPE[1:])).astype("float32")
    # Rounding to 8 bits turns an answer that is nearly a tie.
    sure = np.argsort(np.ptp(model.predict(many, verbose=0), axis=1))[-24:]
    export_model(
        model,
        folder / EXPORT,
        formats=("tflite", "onnx"),
        representative_dataset=many,
        verification_data=many[sure],
    )


if __name__ == "__main__":
    target = FOLDER / keras_cbam.__version__
    if target.exists():
        sys.exit(f"{target} is there: what a version wrote stays as it is.")
    write(target)
