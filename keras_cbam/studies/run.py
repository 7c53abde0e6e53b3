"""Reproduction of the paper's tables: one run of a study.

A run trains a network from random weights and scores it once, at the end.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import keras
import numpy as np

from keras_cbam.config.recipe import Recipe
from keras_cbam.errors import refused
from keras_cbam.files import write_text
from keras_cbam.foreign_files import read_bounded
from keras_cbam.schema import decode
from keras_cbam.studies.networks import build_network
from keras_cbam.surgery.multiply_adds import multiply_adds
from keras_cbam.surgery.summary import count_parameters
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import ImageFolder
from keras_cbam.training.loop import Stage, TrainingLoop
from keras_cbam.training.measure_use import measure_use
from keras_cbam.training.output import STATE_DIRECTORY
from keras_cbam.training.processes import ALONE, Processes
from keras_cbam.training.recipe import compile_model, dtype_policy
from keras_cbam.training.scores import Scorer, scores, told_right

# Largest size of a file written by a run, in bytes.
LARGEST = 2**30

# The file that a run writes last.
RESULT = "result.json"


@dataclass(frozen=True)
class Run:
    """Complete description of a run: the same description gives the same run.

    Attributes:
        network: name of a network that `build_network` knows.
        attention: a name in `ATTENTIONS`.
        seed: seed of weights, order and augmentation. Runs with the same seed see the same images.
        epochs: number of passes over the training images.
        image_size: side of the images, in pixels.
        stem: stem of the network, as for the builders.
        batch_size: images per step, for all processes together.
        recipe: training recipe.
        augmentations: names from `training.AUGMENTATIONS`.
        crop_area: smallest share of an image that a random crop keeps.
        backend: Keras backend.
        data: digest of the images.
    """

    network: str
    attention: str
    seed: int
    epochs: int
    image_size: int
    stem: str
    batch_size: int
    recipe: Recipe
    augmentations: tuple[str, ...]
    crop_area: float
    backend: str
    data: str

    @property
    def name(self) -> str:
        """Name of the run's directory, unique to the run."""
        text = json.dumps(self.described(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.network}_{self.attention}_{self.seed}_{digest}"

    def described(self) -> dict[str, Any]:
        """Return the run as values for JSON, without the rates of groups.

        Earlier runs had no such rates, so names of their directories stay valid.
        """
        found = json.loads(json.dumps(asdict(self)))
        del found["recipe"]["group_rates"]
        return found


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        accuracy: share of the test images that are classified correctly.
        loss: mean cross-entropy on the test images.
        correct: whether each test image is classified correctly, `(images,)` bool.
        parameters: number of trainable parameters.
        multiply_adds: number of multiply-adds per image.
        seconds: time of the last process, for its part of the run.
        history: loss and accuracy in training, by epoch.
        attention: `AttentionUse.record` for the test images; `None` without attention, or for an
            older run without this measurement.
    """

    accuracy: float
    loss: float
    correct: np.ndarray
    parameters: int
    multiply_adds: int
    seconds: float
    history: list[dict[str, Any]]
    attention: dict[str, Any] | None = None


# A `Result` in its file: `correct` is packed to bits and written in hexadecimal digits, and the
# loss may not be a number.
_STORED = {**get_type_hints(Result), "loss": Any, "correct": str, "images": int}
_Stored = make_dataclass("_Stored", _STORED.items())


def execute(
    run: Run,
    folder: ImageFolder,
    directory: Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_seconds: float = 30.0,
    processes: Processes = ALONE,
) -> Result:
    """Do a run, or resume it if it was interrupted, and write its result to `directory`.

    Raises:
        InputError: if the directory holds the state of another run.
        LostProcessError: if another process is gone.
    """
    start = time.monotonic()
    build = partial(_build, run, len(folder.classes))
    model = build()
    scorer = Scorer(model, build, run.image_size, run.batch_size, processes)
    batches = partial(_batches, run, folder, (processes.index, processes.count))
    steps = run.epochs * batches(0, 0, 0).batches_per_epoch
    stage = Stage("train", run.epochs, lambda model, _: compile_model(model, run.recipe, steps))
    loop = TrainingLoop(
        model,
        [stage],
        batches,
        directory / STATE_DIRECTORY,
        run.described(),
        checkpoint_seconds=checkpoint_seconds,
        processes=processes,
    )
    history = loop.run(callbacks)
    probabilities = scorer.probabilities(folder.val)
    attention = measure_use(scorer, folder.val, steps)
    result = Result(
        **scores(probabilities, folder.val.labels),
        correct=told_right(probabilities, folder.val.labels),
        parameters=count_parameters(model.trainable_weights),
        multiply_adds=sum(multiply_adds(scorer.model).values()),
        seconds=time.monotonic() - start,
        history=history,
        attention=attention,
    )
    if processes.first:
        _write(run, result, directory / RESULT)
    loop.drop_state()
    return result


def read_result(directory: Path) -> Result:
    """Return the result of the run in a directory, which must be done."""
    path = directory / RESULT
    content = read_bounded(path, LARGEST)
    with refused_if_damaged(path):
        found = {"attention": None, **json.loads(content)["result"]}
        found = vars(decode(_Stored, found, "result"))
        bits = np.frombuffer(bytes.fromhex(found.pop("correct")), "uint8")
        correct = np.unpackbits(bits)[: found.pop("images")].astype(bool)
        return Result(correct=correct, **found)


def refused_if_damaged(path: Path) -> AbstractContextManager[None]:
    """Return a context that turns errors from a damaged file of a run into an `InputError`."""
    return refused(
        f"{path} is not what a run wrote. Remove {path.parent}, and the run is done again. "
        "Received: ",
        only=(AttributeError, KeyError, RecursionError, TypeError, ValueError),
    )


def _write(run: Run, result: Result, path: Path) -> None:
    packed = np.packbits(result.correct).tobytes().hex()
    found = {**asdict(result), "correct": packed, "images": len(result.correct)}
    text = json.dumps({"run": run.described(), "result": found}, indent=1)
    write_text(path, f"{text}\n")


def _build(run: Run, classes: int) -> keras.Model:
    keras.utils.set_random_seed(run.seed)
    with dtype_policy(run.recipe.dtype_policy):
        return build_network(
            run.network, run.attention, classes, image_size=run.image_size, stem=run.stem
        )


def _batches(
    run: Run, folder: ImageFolder, shard: tuple[int, int], stage: int, epoch: int, first_batch: int
) -> ImageBatches:
    return ImageBatches(
        folder.train,
        run.image_size,
        run.batch_size,
        training=True,
        augmentations=run.augmentations,
        crop_area=run.crop_area,
        seed=run.seed,
        epoch=epoch,
        first_batch=first_batch,
        shard=shard,
    )
