"""`keras-cbam explain`: show what a classifier attends to, in pictures and on a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out
from keras_cbam.config.names import HEATS
from keras_cbam.errors import require
from keras_cbam.files import check_writable


def explain(
    model: Annotated[
        Path, typer.Argument(help="A .keras file, with labels.txt beside it if there is one.")
    ],
    images: shared.Images,
    output: Annotated[Path, typer.Option(help="Directory of the pictures and index.html.")],
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Another .keras file of the same classes to draw beside; repeatable."),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option(
            help="The class whose heat is drawn, by label or number. By default the name of the "
            "image's folder, if that is a label, else the predicted class."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(HEATS)}.")] = HEATS[0],
    layer: Annotated[
        str | None, typer.Option(help="Layer of the heat; by default the last with a feature map.")
    ] = None,
    preprocessing: shared.Preprocessing = None,
) -> None:
    """Draw Grad-CAM, spatial maps and channel gates for images, and compare models."""
    start()
    from keras_cbam.cli.explain_page import explain_models

    require("matplotlib", "PIL")
    check_writable(output)
    page = explain_models(
        [model, *(compare or [])],
        images,
        output,
        class_name=class_name,
        method=method,
        layer=layer,
        preprocessing=preprocessing,
    )
    out.print(f"open {page}")
