"""Bias correction of an ONNX file before quantization. `source.rounding` explains it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..source.rounding import IMAGES, mean_shift


def correct_biases(
    path: Path,
    samples: Iterable[dict[str, np.ndarray]],
    largest: int,
    excluded: Iterable[str] = (),
) -> None:
    """Correct the bias of each 2D convolution for the shift that rounding its weights will cause.

    Args:
        path: a float32 ONNX file, which is changed in place.
        samples: batches of inputs by name.
        largest: largest weight after rounding, with a symmetric scale for each output channel.
        excluded: names of the nodes whose weights will not be rounded.
    """
    import onnx

    model = onnx.load(path)
    weights = {each.name: each for each in model.graph.initializer}
    excluded = set(excluded)
    corrected = [
        node
        for node in model.graph.node
        if node.op_type == "Conv"
        and set(node.input[1:]) <= weights.keys()
        and len(weights[node.input[1]].dims) == 4
        and node.name not in excluded
    ]
    if not corrected:
        return
    means = _channel_means(model, {node.input[0] for node in corrected}, samples)
    changed: dict[str, np.ndarray] = {}
    replaced: set[str] = set()
    for node in corrected:
        kernel, *bias = (onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:])
        error = _rounding(kernel.astype("float64"), largest)
        shift = mean_shift(error.reshape(*error.shape[:2], -1), means[node.input[0]])
        name = f"{node.input[1]}__corrected_{len(changed)}"
        changed[name] = (sum(bias) - shift).astype(kernel.dtype)
        replaced.update(node.input[2:])
        del node.input[2:]
        node.input.append(name)
    inputs = {each.name for each in model.graph.input}
    for name in replaced - inputs - {name for node in model.graph.node for name in node.input}:
        model.graph.initializer.remove(weights[name])
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in changed.items()
    )
    onnx.save(model, path)


def _rounding(kernel: np.ndarray, largest: int) -> np.ndarray:
    """Return the rounding error of a kernel whose output channels each have a scale."""
    ranges = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
    scales = np.where(ranges > 0, ranges, 1) / largest
    return np.rint(kernel / scales) * scales - kernel


def _channel_means(
    model: Any, tensors: set[str], samples: Iterable[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return the mean of each channel of the given NCHW tensors over the samples."""
    import onnx
    import onnxruntime

    watched = copy.deepcopy(model)
    names = sorted(tensors)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    totals: dict[str, Any] = dict.fromkeys(tensors, 0.0)
    count = 0
    for batch in samples:
        for name, value in zip(names, session.run(names, batch), strict=True):
            totals[name] = totals[name] + value.mean((2, 3), dtype="float64").sum(0)
        count += len(value)
        if count >= IMAGES:
            break
    return {name: total / count for name, total in totals.items()}
