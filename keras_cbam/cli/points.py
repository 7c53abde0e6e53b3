"""`keras-cbam points`: show where attention goes in a network, and how much it adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out, table_of
from keras_cbam.config.forms import read_arguments
from keras_cbam.config.names import ATTENTIONS, NAMED_POINTS
from keras_cbam.errors import InputError, refused

if TYPE_CHECKING:
    import keras

    from keras_cbam.surgery import AddedParameters

IMAGE_SIZE = 224
COLUMNS = ("layer", "stage", "block", "shape", "added parameters")


def points(
    backbone: Annotated[
        str, typer.Argument(help="A builder of keras.applications, or the path of a .keras file.")
    ],
    attention: Annotated[str, typer.Option(help=f"One of {', '.join(ATTENTIONS)}.")] = "cbam",
    points: Annotated[
        str | None,
        typer.Option(
            help="Names of layers, separated by commas; or last_stage or stage_ends. By default "
            "all points, for bam the stage ends."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help=f"Side of the images, in pixels.  [default: {IMAGE_SIZE}]"),
    ] = None,
    backbone_option: shared.BackboneOptions = None,
    as_json: shared.AsJson = False,
) -> None:
    """Show where attention goes in a network, with shapes and added parameters."""
    start()
    from keras_cbam.surgery import added_parameters

    chosen: str | list[str] | None = points
    if points is not None and points not in NAMED_POINTS:
        chosen = [name.strip() for name in points.split(",")]
    with out.status("reading the network"):
        model = _model(backbone, image_size, read_arguments(backbone_option))
        with refused("", only=(TypeError, ValueError), told=str):
            added = added_parameters(model, attention, points=chosen)
    summary = {
        "model": model.name,
        "parameters": model.count_params(),
        "attention": attention,
        "added_parameters": sum(row.parameters for row in added),
        "added_trainable": sum(row.trainable for row in added),
    }
    if as_json:
        rows = [
            {**point._asdict(), "added_parameters": parameters, "added_trainable": trainable}
            for point, parameters, trainable in added
        ]
        typer.echo(json.dumps({**summary, "points": rows}, indent=2))
    else:
        show(added, summary)


def show(added: tuple[AddedParameters, ...], summary: dict[str, Any]) -> None:
    """Print the table of points, and the parameters that they add in total."""
    rows = []
    for point, parameters, _ in added:
        shape = " x ".join("?" if size is None else str(size) for size in point.shape[1:])
        rows.append((point.layer, str(point.stage), str(point.block), shape, f"{parameters:,}"))
    out.print(table_of(COLUMNS, rows, text_columns=1))
    total = summary["added_parameters"]
    share = f" (+{total / summary['parameters']:.1%})" if summary["parameters"] else ""
    out.print(
        f"{summary['attention']} at {len(added)} points of {summary['model']} adds {total:,} "
        f"parameters, {summary['added_trainable']:,} of them trainable, to "
        f"{summary['parameters']:,}{share}",
        highlight=False,
        soft_wrap=True,
    )


def _model(name: str, image_size: int | None, options: dict[str, Any]) -> keras.Model:
    import keras

    from keras_cbam.model_file import load_model
    from keras_cbam.training.backbones import build_backbone

    if Path(name).suffix != ".keras":
        size = image_size or IMAGE_SIZE
        return build_backbone(name, "none", keras.Input((size, size, 3)), options)
    if image_size or options:
        raise InputError("--image-size and --backbone-option go with a builder, not with a file.")
    return load_model(name)
