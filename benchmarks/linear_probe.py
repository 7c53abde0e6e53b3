"""Logistic regression on the frozen features of the networks of `fine_tuning.py`.

    python benchmarks/linear_probe.py

What fine-tuning must beat. For each network and each set of `$KERAS_CBAM_DATA/transfer`, it learns
from the features of all training images, standardized, with a penalty of C = 0.1. It prints the
accuracy on `test/`. The images are cut and scaled as `keras-cbam finetune` does where it scores.
"""

import os
from pathlib import Path

import keras
import numpy as np
from fine_tuning import SETS
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_cbam.training import ImageBatches
from keras_cbam.training.backbones import build_backbone, preprocess
from keras_cbam.training.image_folder import ImageSet

MOBILENET = ("MobileNet", {"alpha": 0.25}, 128)
# Name, options and image size of a network, and its weights.
NETWORKS = {
    "MobileNet 0.25 at 128x128": (MOBILENET, "mobilenet_v1_0.25_128_float.h5"),
    "the same, weights for 224x224": (MOBILENET, "mobilenet_2_5_224_tf_no_top.h5"),
    "MobileNetV2 at 160x160": (("MobileNetV2", {}, 160), "mobilenet_v2_1.0_224_dequant.h5"),
}


def read(folder: Path) -> ImageSet:
    """The images of a folder of class folders."""
    paths = sorted(folder.glob("*/*.jpg"))
    names = sorted({path.parent.name for path in paths})
    return ImageSet(tuple(paths), np.array([names.index(path.parent.name) for path in paths]))


def main() -> None:
    """Print the table, a row at a time."""
    data = Path(os.environ["KERAS_CBAM_DATA"])
    print("| network | " + " | ".join(SETS) + " |", "|---" * (len(SETS) + 1) + "|", sep="\n")
    for title, ((name, options, size), weights) in NETWORKS.items():
        inputs = keras.Input((size, size, 3))
        path = str(data / "weights" / weights)
        network = build_backbone(name, path, preprocess(inputs, name), options)
        pooled = keras.layers.GlobalAveragePooling2D()(network.output)
        features = keras.Model(inputs, pooled)
        accuracies = []
        for dataset in SETS:
            train, test = (read(data / "transfer" / dataset / side) for side in ("train", "test"))
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
            probe.fit(features.predict(ImageBatches(train, size, 32), verbose=0), train.labels)
            found = probe.score(
                features.predict(ImageBatches(test, size, 32), verbose=0), test.labels
            )
            accuracies.append(f"{100 * found:.1f}")
        print("| " + " | ".join((title, *accuracies)) + " |", flush=True)


if __name__ == "__main__":
    main()
