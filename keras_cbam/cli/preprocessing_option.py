"""The option for the preprocessing that a network expects."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_cbam.config.names import PIXEL_RULES

Preprocessing = Annotated[
    str | None,
    typer.Option(
        help="Preprocessing of RGB pixels in 0..255 that the network expects: its builder's name "
        f"in keras.applications, or {', '.join(PIXEL_RULES)}; by default none."
    ),
]
