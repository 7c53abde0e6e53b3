"""Whether decoding photographs holds training up.

    python benchmarks/input.py --data $KERAS_CBAM_DATA/imagenette_subset

ResNet18 with CBAM, batches of 32, 64x64 pixels, by default: seconds of a training step when `fit`
takes `ImageBatches`, which read, decode, crop and resize JPEG files, over those when it takes the
same arrays from memory. Both in turn in one process, epochs of the same batches. Prints Markdown.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.alternate import alternate, tax
from keras_cbam.studies import build_network
from keras_cbam.training import ImageBatches, Recipe, compile_model, read_image_folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default="ResNet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--runs", type=int, default=5, help="epochs of each kind")
    arguments = parser.parse_args()
    size, batch, steps = arguments.image_size, arguments.batch_size, arguments.steps
    folder = read_image_folder(arguments.data, selection_split=None)
    some = folder.train.take(
        np.random.default_rng(0).permutation(len(folder.train))[: batch * steps]
    )
    read = ImageBatches(
        some, size, batch, training=True, augmentations=("crop", "flip"), crop_area=0.5
    )
    images, labels = (
        np.concatenate(each) for each in zip(*(read[i] for i in range(steps)), strict=True)
    )
    model = build_network(arguments.network, "cbam", len(folder.classes), image_size=size)
    compile_model(model, Recipe(learning_rate=1e-3), 1000)
    seconds = alternate(
        {
            "cached": lambda: model.fit(images, labels, batch_size=batch, shuffle=False, verbose=0),
            "read": lambda: model.fit(read, verbose=0, shuffle=False),
        },
        arguments.runs,
        warm=1,
    )
    least, middle = tax(seconds, "read", "cached")
    step = {name: 1000 * np.median(each) / steps for name, each in seconds.items()}
    print(
        f"{arguments.network} with CBAM, {size}x{size}, batches of {batch}, {arguments.runs} "
        f"epochs of {steps} steps each, {keras.config.backend()}:\n"
    )
    print("| from memory, ms a step | from JPEG files | slower by, minimum | median |")
    print("|---|---|---|---|")
    print(f"| {step['cached']:.0f} | {step['read']:.0f} | {least:+.1%} | {middle:+.1%} |")


if __name__ == "__main__":
    main()
