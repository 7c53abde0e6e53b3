"""Read the graph of a functional model, nested models included, from its public configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

import keras

from keras_cbam.layers import AttentionLayer


@dataclass(eq=False, repr=False)
class Node:
    """One call of one operation: a layer or a `keras.ops` operation.

    Attributes:
        address: name of the operation; inside a nested model, `<model>/<operation>`.
        operation: the operation itself.
        kind: class name of the operation, such as `"Conv2D"` or `"Add"`.
        config: configuration of the operation.
        inputs: the nodes that this node reads, in reading order.
        shared: whether the model that holds the operation calls it more than once.
        arguments: arguments of the call other than tensors, from the configuration of the model.
        order: index of the node in the graph, in the order of computation.
        consumers: the nodes that read this node.
        shape: shape of the output, or of the first output if there are several.
        stride: input pixels per step of the output; `math.inf` if the output has no places.
        attention: address of the attention layer that already refines the output, or `None`.
    """

    address: str
    operation: Any
    kind: str
    config: dict[str, Any]
    inputs: list[Node]
    shared: bool
    arguments: Any
    order: int
    consumers: list[Node] = field(default_factory=list)
    shape: tuple[int | None, ...] = ()
    stride: float = 1
    attention: str | None = None

    @property
    def kernels(self) -> list[tuple[int, ...]]:
        """Shapes of the convolution kernels: one for `Conv2D`, several for a block in one layer."""
        weights = getattr(self.operation, "weights", ())
        shapes = [tuple(w.shape) for w in weights if not w.name.startswith("lora_")]
        kernels: list[tuple[int, ...]] = [shape for shape in shapes if len(shape) == 4]
        if self.kind == "Conv2D":
            return kernels
        # A per-channel scale may have four axes too.
        return [shape for shape in kernels if shape[:3] != (1, 1, 1)]

    @property
    def convolutions(self) -> int:
        """Number of convolution kernels."""
        return len(self.kernels)


def has_graph(model: Any) -> bool:
    """Return whether the graph of `model` is visible and describes all that the model computes."""
    if isinstance(model, keras.Sequential):
        return model.built and type(model).call is keras.Sequential.call
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        return False
    return type(model).call is type(_plain(model)).call


def as_functional(model: keras.Model) -> keras.Model:
    """Return `model` as a plain functional model over the same layers.

    Raises:
        TypeError: if the model has no graph, such as a subclassed or an unbuilt model.
    """
    if not has_graph(model):
        raise TypeError(
            "Expected a functional or a built Sequential Keras model, whose layers and connections "
            f"can be seen; {_reason(model)}. Received: model={model}"
        )
    return _plain(model)


def _plain(model: keras.Model) -> keras.Model:
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def _reason(model: Any) -> str:
    if not isinstance(model, keras.Model):
        return f"this is a {type(model).__name__}"
    if isinstance(model, keras.Sequential) and not model.built:
        return "this Sequential model has not been built: give it an Input first"
    if hasattr(model, "operations") or isinstance(model, keras.Sequential):
        return f"class {type(model).__name__} has its own `call`, which its graph does not show"
    return f"class {type(model).__name__} computes in its own `call`, which has no graph"


def read_graph(model: keras.Model, *, attention: bool = False) -> list[Node]:
    """Return the nodes of a model in the order of computation, nested models opened.

    Args:
        model: a functional or a built Sequential model.
        attention: whether attention layers of keras_cbam become nodes. If not, they are skipped, so
            that a network with attention has the same graph as the network without it.

    Raises:
        TypeError: if the model has no graph, or if a layer has no configuration.
    """
    graph: list[Node] = []
    _read(model, None, "", graph, attention)
    for node in graph:
        node.stride = _stride(node)
        for source in node.inputs:
            source.consumers.append(node)
    return graph


def _read(
    model: keras.Model, fed: list[Node] | None, prefix: str, graph: list[Node], attention: bool
) -> list[Node]:
    """Append the nodes of `model`, called on the nodes `fed`, and return its output nodes."""
    functional = as_functional(model)
    config = _config(functional)
    operations = {operation.name: operation for operation in functional.operations}
    # The result of each call of each operation: one node, or one per output of a nested model.
    computed: dict[tuple[str, int], list[Node]] = {}

    def resolve(history: History) -> Node:
        outputs = computed[history.name, history.call]
        node = outputs[history.index] if len(outputs) > 1 else outputs[0]
        if not node.shape and history.index == 0:
            node.shape = history.shape
        return node

    def compute(entry: dict[str, Any], call: int, sources: list[Node]) -> list[Node]:
        calls = entry["inbound_nodes"]
        arguments = _without_tensors(calls[call]) if calls else None
        operation = operations[entry["name"]]
        address = prefix + entry["name"]
        if isinstance(operation, AttentionLayer) and not attention:
            sources[0].attention = address
            return sources[:1]
        if has_graph(operation):
            return _read(operation, sources, f"{address}/", graph, attention)
        kind, settings, shared = entry["class_name"], entry["config"], len(calls) > 1
        node = Node(address, operation, kind, settings, sources, shared, arguments, len(graph))
        graph.append(node)
        return [node]

    names = [end.name for end in _ends(config["input_layers"])]
    for index, name in enumerate(names):
        entry = next(entry for entry in config["layers"] if entry["name"] == name)
        computed[name, 0] = [fed[index]] if fed else compute(entry, 0, [])
    calls = [
        (entry, call, list(_histories(node)))
        for entry in config["layers"]
        for call, node in enumerate(entry["inbound_nodes"])
    ]
    # Go over the calls in rounds. Each round computes the calls whose inputs are available.
    ready = [(0, place) for place in range(len(calls))]
    # Calls that cannot be computed yet, by their first missing input.
    waiting: dict[tuple[str, int], list[tuple[int, int]]] = {}
    while ready:
        turn, place = heappop(ready)
        entry, call, histories = calls[place]
        reads = [(history.name, history.call) for history in histories]
        if (missing := next((each for each in reads if each not in computed), None)) is not None:
            waiting.setdefault(missing, []).append((turn, place))
            continue
        computed[entry["name"], call] = compute(entry, call, [resolve(each) for each in histories])
        for earlier, waited in waiting.pop((entry["name"], call), []):
            heappush(ready, (max(earlier, turn + (place > waited)), waited))
    if waiting:
        entry, *_ = calls[next(iter(waiting.values()))[0][1]]
        raise TypeError(f"The graph of model {model.name} does not connect at {entry['name']}")
    # Keras counts the calls of a functional model from 1 in the outputs, and only there.
    ends = [
        resolve(replace(end, call=end.call - hasattr(operations[end.name], "operations")))
        for end in _ends(config["output_layers"])
    ]
    for end, tensor in zip(ends, functional.outputs, strict=True):
        end.shape = end.shape or tuple(tensor.shape)
    return ends


def _config(functional: keras.Model) -> dict[str, Any]:
    try:
        return functional.get_config()
    except Exception as error:
        raise TypeError(
            f"Model {functional.name} has a layer that gives no configuration, so it cannot be "
            f"copied: {' '.join(str(error).split())}"
        ) from error


@dataclass(frozen=True)
class History:
    """The origin of a tensor: one output of one call of one operation."""

    name: str
    call: int
    index: int
    shape: tuple[int | None, ...] = ()


def _histories(node: Any) -> Iterator[History]:
    """Yield the origins of the tensors that a call reads, in the order of `keras.tree.flatten`."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            config = node["config"]
            name, call, index = config["keras_history"]
            yield History(name, call, index, tuple(config["shape"]))
            return
        node = [node[key] for key in sorted(node)]
    if isinstance(node, list | tuple):
        for item in node:
            yield from _histories(item)


def _without_tensors(arguments: Any) -> Any:
    """Return the arguments of a call with `"tensor"` in place of each tensor."""
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            return "tensor"
        return {name: _without_tensors(value) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_without_tensors(value) for value in arguments]
    return arguments


def _ends(structure: Any) -> list[History]:
    """Return the inputs or outputs in a model's configuration, in the same order."""
    # Each of them is a name, a call and an index.
    parts = keras.tree.flatten(structure)
    return [History(*parts[start : start + 3]) for start in range(0, len(parts), 3)]


# Kinds besides `Global...` that reduce a feature map to no places.
REDUCTIONS = {"Amax", "Max", "Mean"}
# Kinds that can make a map finer or coarser.
RESIZINGS = {"Repeat", "Resize", "Resizing"}


def _stride(node: Node) -> float:
    # A gate without places may join a feature map, as in squeeze-and-excitation. The map counts.
    before = min((source.stride for source in node.inputs), default=1)
    extents = [size for size in node.shape[1:] if size != 1]
    if before == math.inf and node.kind == "Reshape" and len(extents) > 1:
        return 1  # a vector becomes a feature map, as in generators
    return before * _step(node)


def _step(node: Node) -> float:
    if len(node.shape) == 2 or _pools_globally(node):
        return math.inf
    if node.kind.startswith("UpSampling") or node.kind.endswith("Transpose"):
        return 1 / _first(node.config.get("size", node.config.get("strides", 1)))
    strides = node.config.get("strides")
    return _first(strides) if strides else _ratio(node)


def _pools_globally(node: Node) -> bool:
    built_in = type(node.operation).__module__.startswith("keras.")
    return node.kind in REDUCTIONS or (built_in and node.kind.startswith("Global"))


def _ratio(node: Node) -> float:
    """Return the step that follows from the shapes, for kinds without strides in their config."""
    source = min(node.inputs, key=lambda source: source.stride, default=node)
    if len(source.shape) != 4 or len(node.shape) != 4:
        return 1
    # Axis 2 is a spatial axis in both data formats.
    before, after = source.shape[2], node.shape[2]
    if not before or not after:
        return 1
    if before > after == 1:
        return math.inf
    if before < after:
        return 1 / round(after / before) if node.kind in RESIZINGS else 1  # or it is padding
    return round(before / after)


def _first(value: Any) -> int:
    return value[0] if isinstance(value, list | tuple) else value
