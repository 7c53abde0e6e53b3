"""Correction of the scales of resize operations in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def resize_to_whole_sizes(proto: Any, shapes_of: Callable[[Any], dict[str, list[int]]]) -> None:
    """Raise scales that tf2onnx has rounded down, which would make the resized map too small.

    For example, tf2onnx writes 33 / 47 in 32 bits, and 47 times that is less than 33. The model is
    changed in place.

    Args:
        proto: the ONNX model.
        shapes_of: function that returns the shapes of a model's tensors by name, with 0 for free
            sizes.
    """
    import onnx

    for node in proto.graph.node:
        scales = _scales(proto, node)
        if scales is None:
            continue
        # The shapes are inferred again each time, because a corrected size changes later shapes.
        sizes = shapes_of(proto).get(node.input[0])
        raised = scales if sizes is None else _raised(scales, np.array(sizes))
        if not np.array_equal(raised, scales):
            node.input[2] = f"{node.name}__scales"
            proto.graph.initializer.append(onnx.numpy_helper.from_array(raised, node.input[2]))


def _scales(proto: Any, node: Any) -> np.ndarray | None:
    """Return the constant scales of a Resize; `None` for other operations."""
    import onnx

    if node.op_type != "Resize" or len(node.input) < 3:
        return None
    found = (each for each in proto.graph.initializer if each.name == node.input[2])
    return next((onnx.numpy_helper.to_array(each) for each in found if each.dims == [4]), None)


def _raised(scales: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the smallest scales >= `scales` that reach the intended sizes in 32 and 64 bits."""
    meant = np.rint(sizes * scales.astype("float64"))
    while True:
        short = np.minimum(sizes.astype("float32") * scales, sizes * scales.astype("float64"))
        if (short >= meant).all():
            return scales
        scales = np.where(short < meant, np.nextafter(scales, np.float32(np.inf)), scales)
