"""`keras-cbam convert`: convert a PyTorch checkpoint to a Keras model with the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import errors, out
from keras_cbam.errors import refused


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="Weights of a ResNet, named as in the authors' code or torchvision."),
    ],
    output: Annotated[Path, typer.Option(help="The .keras file to write.")],
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the images, in pixels; by default 224, or 32 if the stem is 3x3."
        ),
    ] = None,
    include_preprocessing: Annotated[
        bool,
        typer.Option(
            "--include-preprocessing",
            help="Let the model take RGB pixels in 0..255, as keras-cbam export needs.",
        ),
    ] = False,
) -> None:
    """Convert a checkpoint of the authors' PyTorch networks to a Keras model with a softmax."""
    start()
    from keras_cbam.checkpoints.convert import ConversionError
    from keras_cbam.checkpoints.convert import convert as convert_checkpoint

    try:
        with (
            refused("", only=(ValueError,), told=str),
            out.status("converting and comparing with PyTorch"),
        ):
            parity = convert_checkpoint(
                checkpoint,
                output,
                image_size=image_size,
                include_preprocessing=include_preprocessing,
            )
    except ConversionError as error:
        errors.print(f"keras-cbam: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    if not parity.meaningful:
        errors.print(
            f"the logits vary between images by only {parity.variation:.1e} of their range, so "
            "their agreement proves little",
            style="yellow",
        )
    out.print(
        f"{output}: on {parity.images} random images, the logits are within {parity.error:.1e} of "
        "their range of those of the authors' PyTorch network with these weights",
        highlight=False,
        soft_wrap=True,
    )
