"""Tensors out of a PyTorch checkpoint file; a file that wants to run code is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.checkpoints.assign import as_array
from keras_cbam.errors import InputError, require

# Where training scripts keep the weights beside the epoch, the optimizer and the like.
WRAPPERS = ("state_dict", "model")
# What `torch.nn.DataParallel` puts before every name.
PARALLEL = "module."


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Return the weights of a checkpoint file by name.

    Args:
        path: a file that `torch.save` wrote: a state dict, alone or under `"state_dict"` or
            `"model"`, its names with or without `module.` before them.

    Raises:
        InputError: if there is no such file, if it holds no weights, or if reading it would run
            code, which it then does not.
        MissingPackageError: if PyTorch is not installed.
    """
    require("torch")
    found = _load(Path(path))
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found.items())):
        raise InputError(
            f"Expected a state dict, alone or under {' or '.join(map(repr, WRAPPERS))}: a "
            f"dictionary of tensors by name. Received: {_sketch(found)} in {path}"
        )
    return {name.removeprefix(PARALLEL): as_array(value) for name, value in found.items()}


def _load(path: Path) -> Any:
    import pickle

    import torch

    if not path.is_file():
        raise InputError(f"Expected a checkpoint file. Received: {path}, which is no file")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        if "GLOBAL" in str(error):
            raise InputError(
                f"Checkpoint {path} holds more than tensors and was not read, since that may run "
                "code of its author's. Save its state dict alone, where you trust it, with "
                "torch.save(model.state_dict(), path)"
            ) from error
        raise InputError(
            f"Expected a file that torch.save wrote. Received: {path}, which PyTorch cannot read"
        ) from error


def _is_weight(item: tuple[Any, Any]) -> bool:
    name, value = item
    return isinstance(name, str) and hasattr(value, "detach")


def _sketch(found: Any) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    others = [f"{name}: {type(value).__name__}" for name, value in found.items()]
    return f"a dictionary of {', '.join(others[:5])}" if others else "an empty dictionary"
