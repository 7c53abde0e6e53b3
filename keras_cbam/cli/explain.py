"""`keras-cbam explain`: show what a classifier attends to, in pictures and on a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out, progress_bar
from keras_cbam.config.names import HEATS
from keras_cbam.errors import refused, require
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
    import numpy as np

    from keras_cbam.cli import explain_page as page
    from keras_cbam.cli.model_images import model_pixels, pixel_function
    from keras_cbam.model_file import load_model
    from keras_cbam.visualize.explanation import explain as explain_images
    from keras_cbam.visualize.explanation import probabilities

    require("matplotlib", "PIL")
    check_writable(output)
    paths = [model, *(compare or [])]
    models = {name: load_model(path) for name, path in page.models_by_name(paths).items()}
    labels = page.labels_of_all(paths, list(models.values()))
    found = page.labelled_images(images, labels)
    chosen = page.chosen_class(class_name, labels)
    classes = None if chosen is None else np.full(len(found), chosen)
    explained = {}
    with progress_bar() as bar:
        task = bar.add_task("explaining", total=len(models), note="")
        for name, each in models.items():
            rule = pixel_function(preprocessing, each)
            pixels = model_pixels(found, each)
            if classes is None:
                # The class of the image's folder, or the prediction of the first model.
                predicted = probabilities(each, pixels if rule is None else rule(pixels)).argmax(-1)
                classes = np.where(found.labels >= 0, found.labels, predicted)
            with refused("", only=(TypeError, ValueError), told=str):
                explained[name] = explain_images(
                    each,
                    pixels,
                    labels=labels,
                    class_index=classes,
                    layer=layer,
                    method=method,
                    preprocess=rule,
                )
            bar.update(task, advance=1, note=name)
    page.draw(explained, found, labels, output, method)
    out.print(f"open {output / page.PAGE}")
