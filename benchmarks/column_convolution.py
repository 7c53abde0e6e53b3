"""The 7x7 convolution of the spatial gate in training: for several columns at a time, or as usual.

    export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 PJRT_NPROC=1
    KERAS_BACKEND=jax python benchmarks/column_convolution.py

First the convolution alone, of two maps to one in batches of 32, with its gradients. Then a step of
training of MobileNet 0.25 at 128x128 and of MobileNetV2 at 160x160, with CBAM, in batches of 32, as
the recipe of fine-tuning compiles it. Alternating runs in one process. A ratio below
1 means that columns take less time. Prints Markdown.
"""

from collections.abc import Callable
from unittest import mock

import keras
import numpy as np
from alternate import alternate, tax
from keras import ops

from keras_cbam.layers import spatial_attention
from keras_cbam.layers.columns import convolve_columns
from keras_cbam.training import Recipe, build_classifier, compile_model

BATCH = 32
SIDES = (80, 56, 28, 14, 7)
NETWORKS = {
    "MobileNet 0.25, 128x128": ("MobileNet", {"alpha": 0.25}, 128),
    "MobileNetV2, 160x160": ("MobileNetV2", {}, 160),
}


def usual(x: object, kernel: object) -> object:
    """Convolve each map by itself, as in inference."""
    return sum(
        ops.conv(x[..., i : i + 1], kernel[:, :, i : i + 1], padding="same")
        for i in range(x.shape[-1])
    )


WAYS = {"usual": usual, "columns": convolve_columns}


def gradients(way: Callable, x: np.ndarray, kernel: np.ndarray) -> Callable[[], object]:
    """Return a function that computes both gradients of the sum of the squared outputs."""

    def loss(x: object, kernel: object) -> object:
        return ops.sum(ops.square(way(x, kernel)))

    given = [ops.convert_to_tensor(each) for each in (x, kernel)]
    if keras.backend.backend() == "jax":
        import jax

        both = jax.jit(jax.grad(loss, argnums=(0, 1)))
        return lambda: jax.block_until_ready(both(*given))
    if keras.backend.backend() == "torch":
        import torch

        for each in given:
            each.requires_grad_()
        return lambda: torch.autograd.grad(loss(*given), given)
    import tensorflow as tf

    @tf.function
    def both(*given: object) -> object:
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = loss(*given)
        return tape.gradient(found, given)

    return lambda: both(*given)


def training(way: Callable, builder: str, options: dict, side: int) -> Callable[[], object]:
    """Return a function that does a step of training."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (BATCH, side, side, 3)).astype("float32")
    labels = rng.integers(0, 6, BATCH)
    keras.utils.set_random_seed(0)
    model = build_classifier(builder, 6, weights="none", image_size=side, options=options)
    compile_model(model, Recipe("adam", 1e-3), 1000)
    with mock.patch.object(spatial_attention, "convolve_columns", way):
        # What is compiled here stays.
        model.train_on_batch(images, labels)

    def step() -> object:
        with mock.patch.object(spatial_attention, "convolve_columns", way):
            return model.train_on_batch(images, labels)

    return step


def row(name: str, steps: dict[str, Callable[[], object]], runs: int) -> None:
    """Print the ratios."""
    least, middle = tax(alternate(steps, runs), "columns", "usual")
    print(f"| {name} | {1 + least:.2f} | {1 + middle:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    print(f"| {keras.backend.backend()} | columns / usual, minimum | median |\n|---|---|---|")
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(7, 7, 2, 1)).astype("float32")
    for side in SIDES:
        x = rng.normal(size=(BATCH, side, side, 2)).astype("float32")
        steps = {name: gradients(way, x, kernel) for name, way in WAYS.items()}
        row(f"convolution, {side}x{side}", steps, 30)
    for name, settings in NETWORKS.items():
        row(name, {each: training(way, *settings) for each, way in WAYS.items()}, 12)


if __name__ == "__main__":
    main()
