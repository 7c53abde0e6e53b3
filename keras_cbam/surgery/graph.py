"""The graph of a functional model, read from its public configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras


@dataclass
class Node:
    """One operation of the graph: a layer, or a `keras.ops` operation.

    Attributes:
        name: the operation's name in the model.
        kind: its class name, such as `"Conv2D"` or `"Add"`.
        config: its own configuration.
        inputs: names of the operations it reads, in the order it reads them.
        consumers: names of the operations that read it.
        calls: how often the model calls it; a shared layer is called more than once.
        stride: input pixels to one step of its output, `math.inf` once there are no places left.
    """

    name: str
    kind: str
    config: dict[str, Any]
    inputs: list[str]
    calls: int
    consumers: list[str] = field(default_factory=list)
    stride: float = 1


def as_functional(model: keras.Model) -> keras.Model:
    """Return `model` as a functional model over the same layers.

    Raises:
        TypeError: if the model has no graph to read, as a subclassed or an unbuilt model has not.
    """
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    config = model.get_config() if isinstance(model, keras.Model) else {}
    if "input_layers" not in config:
        raise TypeError(
            "Expected a functional or a built Sequential Keras model, whose layers can be seen. "
            f"Received: model={model} of class {type(model).__name__}"
        )
    return model


def read_graph(model: keras.Model) -> dict[str, Node]:
    """Return the nodes of a functional model by name, in the order they are computed."""
    entries = model.get_config()["layers"]
    nodes = {
        entry["name"]: Node(
            name=entry["name"],
            kind=entry["class_name"],
            config=entry["config"],
            inputs=list(_histories(entry["inbound_nodes"])),
            calls=len(entry["inbound_nodes"]),
        )
        for entry in entries
    }
    order = [operation.name for operation in model.operations]
    nodes = {name: nodes[name] for name in order}
    for node in nodes.values():
        for name in node.inputs:
            nodes[name].consumers.append(node.name)
        # A gate of no extent may join a feature map, as in squeeze-and-excitation: the map counts.
        before = min((nodes[name].stride for name in node.inputs), default=1)
        node.stride = before * _stride(node)
    return nodes


def _histories(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
            return
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        yield from _histories(item)


def _stride(node: Node) -> float:
    if node.kind.startswith("Global") or node.kind == "Flatten":
        return math.inf
    if node.kind.startswith("UpSampling") or node.kind.endswith("Transpose"):
        scale = node.config.get("size", node.config.get("strides", 1))
        return 1 / _first(scale)
    return _first(node.config.get("strides") or 1)


def _first(value: Any) -> int:
    return value[0] if isinstance(value, list | tuple) else value
