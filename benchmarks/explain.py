"""How well heat maps tell what a classifier looks at, and how fast they are drawn.

    python benchmarks/explain.py runs/none_0 runs/se_0 runs/cbam_0 \\
        --data $KERAS_CBAM_DATA/imagenette_subset/val

For runs of `keras-cbam finetune`: the mean over images, with its standard error, of the true
class's probability and of the areas under the deletion curve (lower is better) and the insertion
curve (higher is better) of Grad-CAM. Then the images a second of `predict`, `attention_maps` and
`grad_cam`, in turn in one process in batches of 32: at the first call, which compiles, and at
later ones, each over those of `predict` at such a call. Prints Markdown.
"""

import argparse
import sys
import time
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from keras_cbam.cli.model_images import model_pixels
from keras_cbam.training import find_images
from keras_cbam.visualize import attention_maps, faithfulness, grad_cam

TURNS = 3


def scores(name: str, model: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> str:
    """The row of a model."""
    found = faithfulness(model, pixels, grad_cam(model, pixels, class_index=classes), classes)
    probability = found.deletion_curves[:, 0]
    cells = [
        f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"
        for values in (probability, found.deletion, found.insertion)
    ]
    return f"| {name} | {len(pixels)} | {' | '.join(cells)} |"


def speeds(model: keras.Model, pixels: np.ndarray) -> dict[str, list[float]]:
    """Images a second at each call, by what is done with them."""
    model.make_predict_function(force=True)
    steps = {
        "predict": lambda: model.predict(pixels, batch_size=32, verbose=0),
        "attention_maps": lambda: attention_maps(model, pixels),
        "grad_cam": lambda: grad_cam(model, pixels),
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 + TURNS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            found[name].append(len(pixels) / (time.perf_counter() - start))
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200, help="of the first table")
    arguments = parser.parse_args()
    print("| run | images | probability | deletion | insertion |\n|---|---|---|---|---|")
    for run in arguments.runs:
        model = keras.saving.load_model(run / "model.keras")
        images, _ = find_images(arguments.data, (run / "labels.txt").read_text().splitlines())
        order = np.random.default_rng(0).permutation(len(images))
        chosen = images.take(order[: arguments.images])
        pixels = model_pixels(chosen, model)
        print(scores(run.name, model, pixels, chosen.labels), flush=True)
    pixels = model_pixels(images, model)
    explained = keras.saving.load_model(run / "model.keras")
    print(
        f"\n| of {run.name}, {len(pixels)} images | first call, images a second | of predict "
        "| later calls | of predict |\n|---|---|---|---|---|"
    )
    found = speeds(explained, pixels)
    for name, each in found.items():
        shares = np.divide(each, found["predict"])
        print(
            f"| {name} | {each[0]:.0f} | {shares[0]:.2f} "
            f"| {np.median(each[1:]):.0f} | {np.median(shares[1:]):.2f} |"
        )


if __name__ == "__main__":
    main()
