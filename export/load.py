"""Loading a `.keras` file that somebody else may have made."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras

from keras_cbam.errors import InputError

# An archive may unpack to far more than it weighs; no vision model comes near this.
LARGEST_UNPACKED = 8 * 2**30


def load_model(path: str | Path) -> keras.Model:
    """Load a Keras model, in safe mode: nothing in the file is run as code.

    Args:
        path: a `.keras` file. `.h5` models are refused, since loading them is not safe.

    Raises:
        InputError: if there is no such file, or it is not a Keras model that can be loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a .keras model. No file at: {path}")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(f"Expected a .keras model. Received a file that is not one: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if unpacked > LARGEST_UNPACKED:
        raise InputError(f"{path} would unpack to {unpacked / 2**30:.0f} GiB; it is not loaded.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{path} is not a Keras model that can be loaded: {first}") from error
