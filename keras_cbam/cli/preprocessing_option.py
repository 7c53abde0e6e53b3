"""The option that says what a network expects of pixels."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_cbam.config.names import PIXEL_RULES

Preprocessing = Annotated[
    str | None,
    typer.Option(
        help="What the network expects of RGB pixels in 0..255: its builder's name in "
        f"keras.applications, or {', '.join(PIXEL_RULES)}; by default nothing."
    ),
]
