"""Digests that identify a backbone by the computation of each node of its graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.surgery.graph import Node

# Entries of a configuration that do not change the output of a layer with given weights.
IGNORED = {"batch_shape", "name", "seed", "trainable"}
IGNORED_ENDS = ("_config", "_constraint", "_initializer", "_regularizer", "momentum")


def node_digests(graph: Sequence[Node]) -> dict[int, str]:
    """Return a digest of the computation of each node, by the id of the node.

    A digest depends on the class of the operation, its weights, bit for bit, its settings, and the
    digests of its inputs, back to the inputs of the graph. It does not depend on names, which Keras
    numbers anew in each process, on the size of the images, or on settings that concern training
    alone. It is the same on all backends.

    Args:
        graph: the nodes in the order of computation.
    """
    own: dict[int, str] = {}
    found: dict[int, str] = {}
    for node in graph:
        key = id(node.operation)
        if key not in own:
            own[key] = _operation(node)
        inputs = [found[id(source)] for source in node.inputs]
        found[id(node)] = _digest(
            json.dumps([own[key], _settings(node.arguments), inputs]).encode()
        )
    return found


def _operation(node: Node) -> str:
    """Return the digest of an operation by itself."""
    parts = [json.dumps([node.kind, _settings(node.config)]).encode()]
    for weight in getattr(node.operation, "weights", ()):
        value = keras.ops.convert_to_numpy(weight)
        parts += [f"{value.dtype} {value.shape}".encode(), np.ascontiguousarray(value).tobytes()]
    return _digest(b" ".join(parts))


def _settings(config: Any) -> Any:
    """Return the settings of a configuration that affect the output, as JSON values.

    Settings that are `None` or `False` are left out: new settings of later Keras versions usually
    default to one of these, and then do not change the digest.
    """
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return config["config"]["name"]
        return [
            [key, _settings(value)]
            for key, value in sorted(config.items())
            if value is not None
            and value is not False
            and key not in IGNORED
            and not key.endswith(IGNORED_ENDS)
        ]
    if isinstance(config, list | tuple):
        return [_settings(value) for value in config]
    if isinstance(config, np.ndarray | np.generic):
        return _settings(config.tolist())
    if isinstance(config, int | float) and not isinstance(config, bool):
        return float(config)
    return config if isinstance(config, str | bool) else str(type(config).__name__)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
