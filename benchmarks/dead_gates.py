"""Count the hidden units of channel gates that are on, or off, for all images: before and after.

    python benchmarks/dead_gates.py

Two networks with CBAM, before and after `start_gates`, on 128 images of `seedlings` in
`$KERAS_CBAM_DATA/transfer` that it has not seen. A unit is off, or on, for all images if its ReLU
lets through nothing, or everything, of each image and each pool. A step of Adam moves each weight
by about its rate; the last column has the move of the mean pool in standard deviations.
"""

import os
from pathlib import Path

import keras
import numpy as np

from keras_cbam.layers import ChannelAttention
from keras_cbam.surgery import start_gates
from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.training import ImageBatches, read_image_folder
from keras_cbam.training.classifier import build_classifier

NETWORKS = {
    "MobileNet 0.25, 128x128": (
        ("MobileNet", {"alpha": 0.25}, 128),
        "mobilenet_v1_0.25_128_float.h5",
    ),
    "MobileNetV2, 160x160": (("MobileNetV2", {}, 160), "mobilenet_v2_1.0_224_dequant.h5"),
}
BATCHES = 4
RATE = 3e-3


def main() -> None:
    """Print the table."""
    keras.utils.set_random_seed(0)
    data = Path(os.environ["KERAS_CBAM_DATA"])
    folder = read_image_folder(data / "transfer" / "seedlings" / "train", val_split=0.25, seed=0)
    print("| network | start | units | off for all images | on for all | a step moves a unit by |")
    print("|---|---|---|---|---|---|")
    for name, ((backbone, options, size), weights) in NETWORKS.items():
        model = build_classifier(
            backbone,
            len(folder.classes),
            weights=str(data / "weights" / weights),
            attention="cbam",
            image_size=size,
            seed=0,
            options=options,
        )
        batches = ImageBatches(folder.train, size, training=True, augmentations=("crop", "flip"))
        images = [batches[index][0] for index in range(2 * BATCHES)]
        seen, images = (np.concatenate(part) for part in (images[:BATCHES], images[BATCHES:]))
        print(f"| {name} | at random | {row(model, images)} |", flush=True)
        start_gates(model, seen)
        print(f"| {name} | `start_gates` | {row(model, images)} |", flush=True)


def row(model: keras.Model, images: np.ndarray) -> str:
    """The cells of a table: units, those off and on, and the median step in standard deviations."""
    found = [gate for gate in model_gates(model) if isinstance(gate.owner, ChannelAttention)]
    inputs = [model.get_layer(gate.layer).input for gate in found]
    pools = [
        [keras.ops.squeeze(gate.owner._pool(name, each), (1, 2)) for name in gate.owner.pools]
        for gate, each in zip(found, inputs, strict=True)
    ]
    features = keras.Model(model.inputs, pools).predict(images, verbose=0)
    units, steps = [], []
    for gate, pooled in zip(found, features, strict=True):
        kernel, bias = gate.owner.squeeze.get_weights()
        values = [each @ kernel.reshape(kernel.shape[-2:]) + bias for each in pooled]
        units += list(np.concatenate(values).T)
        steps += list(RATE * np.abs(pooled[0]).sum(1).mean() / (values[0].std(0) + 1e-9))
    off = sum((unit <= 0).all() for unit in units)
    on = sum((unit > 0).all() for unit in units)
    return f"{len(units)} | {off} | {on} | {np.median(steps):.2f} standard deviations"


if __name__ == "__main__":
    main()
