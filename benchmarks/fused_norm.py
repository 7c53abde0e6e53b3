"""The command line, with TensorFlow's fused kernel where batch normalization trains.

    python benchmarks/fused_norm.py finetune photos --output run

Keras 3 makes batch normalization of simple operations, so that a step of training reads and writes
each map many times. The fused kernel computes the same, but for rounding. Long studies run through
this, since a step of MobileNetV2 takes 0.6 of the time; nothing in the package needs it.

    python benchmarks/fused_norm.py --compare

prints the time of a step with and without it. TensorFlow, float32, channels last.
"""

import statistics
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

plain_call = keras.layers.BatchNormalization.call


def fused_call(layer, inputs, training=None, mask=None):
    """What stands in for `keras.layers.BatchNormalization.call`."""
    simple = (
        len(inputs.shape) == 4
        and layer.axis in (3, -1)
        and inputs.dtype == "float32"
        and layer.scale
        and layer.center
        and not (layer.renorm or layer.synchronized)
    )
    if not (training and layer.trainable and simple and mask is None):
        return plain_call(layer, inputs, training=training, mask=mask)
    scale, offset = (tf.convert_to_tensor(each) for each in (layer.gamma, layer.beta))
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, scale, offset, epsilon=layer.epsilon, is_training=True
    )
    # The kernel divides by one less than the count, Keras by the count.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    variance *= (count - 1) / count
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return outputs


def fuse() -> None:
    """Give the layers of Keras the fused kernel, in this process."""
    if keras.config.backend() != "tensorflow":
        raise SystemExit("Expected the TensorFlow backend.")
    keras.layers.BatchNormalization.call = fused_call


def step(call: Callable, size: int = 160, batch: int = 32) -> Callable[[], object]:
    """A step of training of MobileNetV2 of random weights."""
    keras.layers.BatchNormalization.call = call
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((size, size, 3), weights=None, classes=10)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (batch, size, size, 3)), "float32")
    labels = tf.constant(rng.integers(0, 10, batch))
    model.train_on_batch(images, labels)
    return lambda: model.train_on_batch(images, labels)


def compare(runs: int = 10) -> None:
    """Time steps with and without the kernel by turns."""
    steps = {"Keras": step(plain_call), "fused": step(fused_call)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, run in steps.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    for name, found in times.items():
        ratio = min(found) / min(times["Keras"])
        middle = statistics.median(found) / statistics.median(times["Keras"])
        print(f"{name}: {ratio:.2f} of Keras's time (minimum), {middle:.2f} (median)")


COMPARES = sys.argv[1:] == ["--compare"]
# The workers of a study import this file under the second name.
if __name__ in ("__main__", "__mp_main__") and not COMPARES:
    fuse()
if __name__ == "__main__":
    if COMPARES:
        compare()
    else:
        from keras_cbam.cli import main

        main()
