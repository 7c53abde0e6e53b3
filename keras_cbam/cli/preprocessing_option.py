"""The option for the preprocessing that a network expects."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_cbam.config.names import PIXEL_RULES

Preprocessing = Annotated[
    str | None,
    typer.Option(
        help="How to preprocess RGB pixels in 0..255 for the network: its builder's name in "
        f"keras.applications, or {', '.join(PIXEL_RULES)}; by default not at all."
    ),
]
