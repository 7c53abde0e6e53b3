"""Loading a `.keras` file that somebody else may have made."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras

from keras_cbam.errors import InputError

from .keras_archive import check_keras_archive


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
        check_keras_archive(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{path} is not a Keras model that can be loaded: {first}") from error
