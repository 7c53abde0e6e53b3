"""Trains a small network in a process of its own, which may kill itself.

python -m tests.training.child DIRECTORY HOSTS PROCESS_ID KILL_AFTER: `-` for no hosts; killed after
so many batches of this process, never by 0. Writes the losses and the weights to
DIRECTORY/PROCESS_ID.npz.
"""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_cbam import CBAM
from keras_cbam.errors import LostProcessError
from keras_cbam.training import (
    ImageBatches,
    ImageSet,
    Recipe,
    Stage,
    TrainingLoop,
    compile_model,
    join_processes,
)
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.scores import Scorer

CLASSES = 4
LOST = 3


class KillAfter(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def images(count, seed):
    """Noise on colors that tell the class, as the bytes of PNG files."""
    from io import BytesIO

    from PIL import Image

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype("int32")
    data = []
    for label in labels:
        pixels = rng.integers(0, 160, (20, 20, 3)) + 30 * np.array([label, 3 - label, 1])
        file = BytesIO()
        Image.fromarray(pixels.astype("uint8")).save(file, "png")
        data.append(file.getvalue())
    return ImageSet(tuple(map(Path, map(str, range(count)))), labels, tuple(data))


def network():
    """Everything that has a state: normalization, dropout, attention."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    x = layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(CBAM()(layers.BatchNormalization(momentum=0.9)(x)))
    x = layers.Dropout(0.2, seed=0)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, "softmax")(x))


def main(directory, hosts, process_id, kill_after):
    alone = hosts == "-"
    processes = join_processes(None if alone else hosts, None if alone else int(process_id))
    train, held_out = images(72, 0), images(27, 1)
    model = network()
    scorer = Scorer(model, network, 16, 8, processes)
    recipe = Recipe(
        group_rates={"attention": 0.05, "head": 0.2},
        warmup=0.1,
        weight_decay=1e-3,
        label_smoothing=0.1,
        clip_norm=1.0,
        ema=0.9,
    )

    @contextmanager
    def start():
        model.set_weights(processes.first_of([1.01 * value for value in model.get_weights()]))
        yield

    def compile_groups(model, scores):
        assert set(scores) == {"accuracy", "loss"}
        compile_model(model, recipe, 18, group_variables(model, [model.layers[-1].name]))

    def batches(stage, epoch, first_batch):
        return ImageBatches(
            train,
            16,
            8,
            training=True,
            augmentations=("crop", "flip"),
            epoch=10 * stage + epoch,
            first_batch=first_batch,
            shard=(processes.index, processes.count),
        )

    loop = TrainingLoop(
        model,
        [
            Stage("first", 1, lambda model, _: compile_model(model, Recipe("adam", 1e-3), 9)),
            Stage("second", 2, compile_groups),
        ],
        batches,
        Path(directory) / "state",
        {"seed": 0},
        start=start,
        score=lambda: scorer.scores(held_out),
        checkpoint_seconds=0,
        processes=processes,
    )
    try:
        history = loop.run([KillAfter(int(kill_after))])
    except LostProcessError as error:
        print(error, flush=True)
        # At its exit JAX would wait for the process that is gone.
        os._exit(LOST)
    named = {f"weight_{i}": value for i, value in enumerate(model.get_weights())}
    losses = np.array([[row["loss"], row["selection_loss"]] for row in history])
    np.savez(Path(directory) / f"{process_id}.npz", losses=losses, **named)


if __name__ == "__main__":
    main(*sys.argv[1:])
