"""scikit-learn's handwritten digits as a folder of class folders, without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_cbam.errors import require


def write_digits(folder: Path) -> None:
    """Write the 1,797 digits of 8x8 pixels as PNG files, one folder for each of the ten classes."""
    require("PIL", "sklearn")
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        directory = folder / str(label)
        directory.mkdir(parents=True, exist_ok=True)
        # The original pixels are in 0..16.
        levels = np.clip(pixels * 16, 0, 255).astype("uint8")
        Image.fromarray(levels).save(directory / f"{index:04d}.png")
