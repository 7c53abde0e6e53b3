"""All networks of the paper's tables 4 and 5: as built here, and as printed in the paper."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import keras

from keras_cbam import models
from keras_cbam.errors import InputError
from keras_cbam.surgery.multiply_adds import multiply_adds
from keras_cbam.surgery.summary import count_parameters

TABULATED = (None, "se", "cbam", "bam")
# Arguments of builders that the factor after the name of a network can set.
FACTORS = ("width", "alpha")


class Published(NamedTuple):
    """A row of the paper's tables.

    Attributes:
        parameters: parameters in millions.
        multiply_adds: multiply-adds in billions, which the paper calls GFLOPs.
        top1_error: single-crop top-1 error on ImageNet's validation set, in %.
        top5_error: single-crop top-5 error on the same images, in %.
    """

    parameters: float
    multiply_adds: float
    top1_error: float
    top5_error: float


def _rows(*rows: tuple[float, float, float, float]) -> dict[str | None, Published]:
    return {attention: Published(*row) for attention, row in zip(TABULATED, rows, strict=False)}


# Plain, with squeeze-and-excitation and with CBAM. The paper has no rows with BAM.
PUBLISHED: dict[str, dict[str | None, Published]] = {
    "ResNet18": _rows(
        (11.69, 1.814, 29.60, 10.55), (11.78, 1.814, 29.41, 10.22), (11.78, 1.815, 29.27, 10.09)
    ),
    "ResNet34": _rows(
        (21.80, 3.664, 26.69, 8.60), (21.96, 3.664, 26.13, 8.35), (21.96, 3.665, 25.99, 8.24)
    ),
    "ResNet50": _rows(
        (25.56, 3.858, 24.56, 7.50), (28.09, 3.860, 23.14, 6.70), (28.09, 3.864, 22.66, 6.31)
    ),
    "ResNet101": _rows(
        (44.55, 7.570, 23.38, 6.88), (49.33, 7.575, 22.35, 6.19), (49.33, 7.581, 21.51, 5.69)
    ),
    "WideResNet18-1.5": _rows(
        (25.88, 3.866, 26.85, 8.88), (26.07, 3.867, 26.21, 8.47), (26.08, 3.868, 26.10, 8.43)
    ),
    "WideResNet18-2.0": _rows(
        (45.62, 6.696, 25.63, 8.20), (45.97, 6.696, 24.93, 7.65), (45.97, 6.697, 24.84, 7.63)
    ),
    "ResNeXt50": _rows(
        (25.03, 3.768, 22.85, 6.48), (27.56, 3.771, 21.91, 6.04), (27.56, 3.774, 21.92, 5.91)
    ),
    "ResNeXt101": _rows(
        (44.18, 7.508, 21.54, 5.75), (48.96, 7.512, 21.17, 5.66), (48.96, 7.519, 21.07, 5.59)
    ),
    "MobileNet-0.7": _rows(
        (2.30, 0.283, 34.86, 13.69), (2.71, 0.283, 32.50, 12.49), (2.71, 0.289, 31.51, 11.48)
    ),
    "MobileNet-1.0": _rows(
        (4.23, 0.569, 31.39, 11.51), (5.07, 0.570, 29.97, 10.63), (5.07, 0.576, 29.01, 9.99)
    ),
}


def builder_of(name: str) -> Callable[..., keras.Model]:
    """Return the builder of a network by name.

    Args:
        name: name of a builder of `keras_cbam.models`. If the builder takes a factor for the width,
            the factor can follow after a hyphen, such as `"WideResNet18-0.5"`.

    Raises:
        InputError: if the builder is not in `keras_cbam.models`, or the factor is not valid.
    """
    builder, hyphen, factor = name.partition("-")
    if builder not in models.__all__:
        raise InputError(
            f"Expected a network of {', '.join(models.__all__)}, followed by a hyphen and a factor "
            f"for its width if it takes one, such as WideResNet18-0.5. Received: {name}"
        )
    build = getattr(models, builder)
    if not hyphen:
        return build
    taken = [argument for argument in FACTORS if argument in inspect.signature(build).parameters]
    try:
        number = float(factor)
    except ValueError:
        number = 0.0
    if not taken or not number > 0:
        raise InputError(
            f"Expected a factor above 0 after a network that takes one. Received: {name}"
        )
    return functools.partial(build, **{taken[0]: number})


VARIANTS = {name: builder_of(name) for name in PUBLISHED}


class Entry(NamedTuple):
    """The costs of a network with its attention, and the paper's row.

    Attributes:
        network: a key of `VARIANTS`.
        attention: `None`, `"se"`, `"cbam"` or `"bam"`.
        parameters: number of trainable parameters.
        multiply_adds: multiply-adds for one image of 224x224 pixels.
        published: the row of the paper, `None` if it has no such row.
    """

    network: str
    attention: str | None
    parameters: int
    multiply_adds: int
    published: Published | None


def catalogue(
    variants: Collection[str] = tuple(VARIANTS),
    attentions: Collection[str | None] = TABULATED,
) -> Iterator[Entry]:
    """Build each network with each attention in turn, and return an iterator of their entries.

    Args:
        variants: keys of `VARIANTS`.
        attentions: one or several of `None`, `"se"`, `"cbam"` and `"bam"`.

    Raises:
        ValueError: if a name is unknown.
    """
    for argument, given, known in (
        ("variants", variants, VARIANTS),
        ("attentions", attentions, TABULATED),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(
                f"Argument `{argument}` must contain only {tuple(known)}. Received: {unknown}"
            )
    return (
        measure(VARIANTS[variant](attention), variant, attention)
        for variant in variants
        for attention in attentions
    )


def measure(model: keras.Model, variant: str, attention: str | None) -> Entry:
    """Return the entry of a built network."""
    return Entry(
        variant,
        attention,
        count_parameters(model.trainable_weights),
        sum(multiply_adds(model).values()),
        PUBLISHED[variant].get(attention),
    )
