"""Loading a `.keras` file from an untrusted source."""

from __future__ import annotations

from pathlib import Path

import keras

from keras_cbam.errors import InputError, refused
from keras_cbam.foreign_files import is_archive, read_bounded
from keras_cbam.keras_archive import check_keras_archive
from keras_cbam.text import first_line

# The largest file of labels that is read, in bytes.
LARGEST_LABELS = 16 * 2**20


def load_model(path: str | Path) -> keras.Model:
    """Load a Keras model in safe mode: no code in the file is run.

    Args:
        path: a `.keras` file. `.h5` models and SavedModels are refused, since loading them is not
            safe.

    Raises:
        InputError: if the file does not exist, or is not a Keras model that can be loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a .keras model. No file at: {path}")
    if path.suffix != ".keras":
        raise InputError(
            "Expected a .keras file, since others cannot be loaded without running their code. "
            f"Received: {path}; save the model again, as model.save('{path.stem}.keras')"
        )
    with refused(f"Cannot read {path}: ", only=(OSError,), told=lambda error: f"{error.strerror}."):
        path.open("rb").close()
    if not is_archive(path):
        raise InputError(f"Expected a .keras model. Received a file that is not one: {path}")
    with refused(f"{path} ", passing=(InputError,), told=_why):
        check_keras_archive(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def labels_beside(model: Path) -> list[str] | None:
    """Return the labels in `labels.txt` beside a model, or `None` if there is no such file.

    Raises:
        InputError: if the labels are not in UTF-8.
    """
    path = model.with_name("labels.txt")
    if not path.is_file():
        return None
    what = f"Expected labels in UTF-8. Received: {path}, "
    with refused(what, only=(UnicodeDecodeError,), told=str):
        return read_bounded(path, LARGEST_LABELS).decode().rstrip("\r\n").splitlines()


def _why(error: Exception) -> str:
    """Return why a file is not loaded, as the end of a sentence."""
    if "of a `Lambda` layer" in str(error):
        return (
            "has a Lambda layer, whose code is not run. Put what it computes into a layer of your "
            "own, registered by keras.saving.register_keras_serializable, or use keras.ops in the "
            "functional API, and save the model again."
        )
    return f"is not a Keras model that can be loaded: {first_line(error)}"
