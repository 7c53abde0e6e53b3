"""Reading the tensors of a PyTorch checkpoint file. A file that would run code is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.checkpoints.assign import as_array
from keras_cbam.errors import InputError, refused, require
from keras_cbam.foreign_files import check_archive, is_archive

LARGEST = 16 * 2**30
# Keys under which training scripts store the weights, beside the epoch, the optimizer and so on.
WRAPPERS = ("state_dict", "model")
# The prefix that `torch.nn.DataParallel` puts before every name.
PARALLEL = "module."
# Why PyTorch refuses a file, by a word of its error.
CAUSES = {
    "GLOBAL": "which holds more than tensors and was not read, since reading it may run code. If "
    "you trust the file, save only its state dict, by torch.save(model.state_dict(), path)",
    "TorchScript": "a TorchScript archive. Save its state dict, by torch.save(model.state_dict(), "
    "path)",
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Return the weights of a checkpoint file by name.

    Args:
        path: a file that `torch.save` wrote. It holds a state dict, alone or under `"state_dict"`
            or `"model"`. The names may start with `module.`.

    Raises:
        InputError: if there is no such file, if it holds no weights, or if reading it would run
            code. The code is not run.
        MissingPackageError: if PyTorch is not installed.
    """
    require("torch")
    found = _load(Path(path))
    for _ in WRAPPERS:
        found = _wrapped(found) or found
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found.items())):
        raise InputError(
            f"Expected a state dict, alone or under {' or '.join(map(repr, WRAPPERS))}: a "
            "dictionary of dense tensors of real numbers by name. Received: "
            f"{_sketch(found)} in {path}"
        )
    _check_size(found, Path(path))
    prefix = PARALLEL if all(name.startswith(PARALLEL) for name in found) else ""
    return {name.removeprefix(prefix): as_array(value) for name, value in found.items()}


def _load(path: Path) -> Any:
    import torch

    if not path.is_file():
        raise InputError(f"Expected a checkpoint file. Received: {path}, which is no file")
    with path.open("rb") as file:
        # PyTorch reads a file that begins like an archive as one, even if Python does not.
        begins = file.read(4) == b"PK\x03\x04"
    if begins or is_archive(path):
        check_archive(path, LARGEST)
    what = f"Expected a state dict that torch.save wrote. Received: {path}, "
    with refused(what, told=_cause), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _cause(error: Exception) -> str:
    """Return why PyTorch refused a file."""
    causes = (reason for sign, reason in CAUSES.items() if sign in str(error))
    return next(causes, "which PyTorch cannot read")


def _check_size(found: dict[str, Any], path: Path) -> None:
    """Raise an `InputError` if the tensors are much larger than the file, as expanded ones are.

    Twice the size of the file is allowed, since some weights may be in it under two names.
    """
    size = sum(value.numel() * value.element_size() for value in found.values())
    bound = 2 * path.stat().st_size
    if size > bound:
        raise InputError(
            f"Expected tensors of at most {bound:,} bytes, twice those of the file. Received: "
            f"{size:,} bytes in {path}"
        )


def _wrapped(found: Any) -> dict[str, Any] | None:
    values = [found.get(name) for name in WRAPPERS] if isinstance(found, dict) else []
    return next((value for value in values if isinstance(value, dict)), None)


def _is_weight(item: tuple[Any, Any]) -> bool:
    import torch

    name, value = item
    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and not (value.is_quantized or value.is_complex())
    )


def _sketch(found: Any) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    others = [f"{x[0]}: {type(x[1]).__name__}" for x in found.items() if not _is_weight(x)]
    return f"a dictionary with {', '.join(others[:5])}" if others else "an empty dictionary"
