"""Read the graph of a functional model, nested models included, from its public configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import keras

from keras_cbam.layers import AttentionLayer

# One call of an operation: the name of the operation, and the index among its calls.
Call = tuple[str, int]


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
    computed: dict[Call, list[Node]] = {}

    def resolve(history: History) -> Node:
        outputs = computed[history.made_by]
        node = outputs[history.output] if len(outputs) > 1 else outputs[0]
        if not node.shape and history.output == 0:
            node.shape = history.shape
        return node

    def compute(entry: dict[str, Any], arguments: Any, sources: list[Node]) -> list[Node]:
        operation = operations[entry["name"]]
        address = prefix + entry["name"]
        if isinstance(operation, AttentionLayer) and not attention:
            sources[0].attention = address
            return sources[:1]
        if has_graph(operation):
            return _read(operation, sources, f"{address}/", graph, attention)
        kind, settings = entry["class_name"], entry["config"]
        shared = len(entry["inbound_nodes"]) > 1
        node = Node(address, operation, kind, settings, sources, shared, arguments, len(graph))
        graph.append(node)
        return [node]

    entries = {entry["name"]: entry for entry in config["layers"]}
    for index, (name, *_) in enumerate(_ends(config["input_layers"])):
        computed[name, 0] = [fed[index]] if fed else compute(entries[name], None, [])
    calls: dict[Call, tuple[Any, list[History]]] = {}
    for name, entry in entries.items():
        for index, arguments in enumerate(entry["inbound_nodes"]):
            histories: list[History] = []
            calls[name, index] = _without_tensors(arguments, histories), histories
    reads = {call: [each.made_by for each in histories] for call, (_, histories) in calls.items()}
    for call in _in_rounds(reads):
        arguments, histories = calls[call]
        computed[call] = compute(entries[call[0]], arguments, [resolve(each) for each in histories])
    # Keras counts the calls of a functional model from 1 in the outputs, and only there.
    ends = [
        resolve(end._replace(call=end.call - hasattr(operations[end.name], "operations")))
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


def _in_rounds(reads: dict[Call, list[Call]]) -> list[Call]:
    """Return calls in the order of computation, in rounds over the calls as they are listed.

    Each round makes the calls whose inputs are available.

    Args:
        reads: the calls, and the calls that each one reads.
    """
    places = {call: place for place, call in enumerate(reads)}
    order: dict[Call, tuple[int, int]] = {}
    for call in TopologicalSorter(reads).static_order():
        # The inputs of the model come before all calls. A call that reads one listed after it waits
        # for the next round.
        place = places.get(call, -1)
        rounds = [order[read][0] + (order[read][1] > place) for read in reads.get(call, [])]
        order[call] = max(rounds, default=0), place
    return sorted(reads, key=order.__getitem__)


class History(NamedTuple):
    """The origin of a tensor: one output of one call of one operation."""

    name: str
    call: int
    output: int
    shape: tuple[int | None, ...] = ()

    @property
    def made_by(self) -> Call:
        """The call that the tensor comes from."""
        return self.name, self.call


def _without_tensors(arguments: Any, histories: list[History]) -> Any:
    """Return the arguments of a call with `"tensor"` in place of each tensor.

    The origins of the tensors are added to `histories`, in the order of `keras.tree.flatten`.
    """
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            config = arguments["config"]
            name, call, output = config["keras_history"]
            histories.append(History(name, call, output, tuple(config["shape"])))
            return "tensor"
        return {name: _without_tensors(arguments[name], histories) for name in sorted(arguments)}
    if isinstance(arguments, list | tuple):
        return [_without_tensors(value, histories) for value in arguments]
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
