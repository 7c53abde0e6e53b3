"""Adapters: the attention and head of a classifier in a file, for a backbone that many share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_cbam.errors import InputError, refused
from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import layers_inside, walk
from keras_cbam.surgery.copying import Copier
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.surgery.graph import Node, read_graph
from keras_cbam.training.adapter_file import (
    Adapter,
    describe,
    plain_weights,
    read_adapter,
    rebuild,
    write_adapter,
)
from keras_cbam.training.backbone_digest import node_digests


class Parts(NamedTuple):
    """The parts of a network.

    Attributes:
        graph: its nodes.
        attention: the attention layers, by the id of the node that each follows.
        head: the layers from the pooling to the output; none if the network ends in a feature map.
        digests: the digest of the computation of each node, by the id of the node.
        backbone: the digest of the feature map that the head takes, which identifies the backbone.
    """

    graph: list[Node]
    attention: dict[int, keras.layers.Layer]
    head: list[keras.layers.Layer]
    digests: dict[int, str]
    backbone: str


def save_adapter(model: keras.Model, path: str | Path, *, labels: Sequence[str] = ()) -> None:
    """Save the attention and head of a classifier, without its frozen backbone, to a small file.

    The file holds the attention, the head, the labels and a digest of the backbone, by which
    `load_adapter` refuses another backbone. It is an `.npz` archive of NumPy and is read without
    pickle. Initializers, regularizers and constraints are not saved.

    Args:
        model: a functional classifier with one output, `(batch, classes)`, and a frozen backbone,
            as `freeze_backbone` and `keras-cbam finetune --train adapter` leave it. The head is the
            chain of layers that begins with the one that pools or flattens the feature map.
        path: path of the file.
        labels: names of the classes, in the order of the output. Defaults to none.

    Raises:
        TypeError: if the model has no graph.
        ValueError: if the model is not such a classifier, if its backbone is trainable, if an
            attention layer is not between a layer and all of its consumers, if the head has layers
            or parts that a file cannot hold, or if the numbers of labels and classes differ.

    Example:
        >>> backbone = keras.applications.MobileNetV2(include_top=False, weights=None)
        >>> refined = attach_attention(backbone)
        >>> x = keras.layers.GlobalAveragePooling2D()(refined.output)
        >>> x = keras.layers.Dense(3, activation="softmax", name="scores")(x)
        >>> model = keras.Model(refined.input, x)
        >>> freeze_backbone(model, head=["scores"])
        >>> # ... train it, then
        >>> save_adapter(model, "birds.npz", labels=["finch", "robin", "wren"])
        >>> birds = load_adapter(backbone, "birds.npz")
    """
    _check_places(model)
    parts = _parts(model)
    if not parts.head:
        raise ValueError(
            "Expected a classifier, with a head that pools or flattens a feature map. "
            f"Received: model {model.name}, whose output is {model.output_shape}"
        )
    layers = [*parts.attention.values(), *parts.head]
    adapted = {id(layer) for layer in layers}
    for address, layer in walk(model):
        if layer.trainable_weights and id(layer) not in adapted:
            raise ValueError(
                "Expected a model whose backbone is frozen, as `freeze_backbone` leaves it. "
                f"Received: model {model.name}, whose layer {address} can be trained"
            )
    computed = list(parts.digests.values())
    after = [parts.digests[key] for key in parts.attention]
    if any(computed.count(digest) > 1 for digest in after):
        raise ValueError(
            "Expected attention after a layer that no other layer equals, weights and inputs "
            f"included. Received: model {model.name}"
        )
    classes = model.outputs[0].shape[-1]
    if len(labels) not in (0, classes):
        raise ValueError(f"Expected a label for each of {classes} classes. Received: {len(labels)}")
    adapter = Adapter(
        model=model.name,
        backbone=parts.backbone,
        labels=[str(label) for label in labels],
        after=after,
        attention=[describe(layer) for layer in parts.attention.values()],
        head=[describe(layer) for layer in parts.head],
        weights=[plain_weights(layer) for layer in layers],
    )
    write_adapter(adapter, Path(path))


def load_adapter(backbone: keras.Model, path: str | Path) -> keras.Model:
    """Return the classifier of an adapter on a backbone.

    The classifier uses the layers of `backbone`, not copies, so many adapters share its weights in
    memory. This function freezes these layers in place: training them would change all classifiers.
    The layers hold references to each classifier that uses them, so a classifier stays in memory as
    long as the backbone.

    Args:
        backbone: the network that the adapter was trained on, on any backend. It is a network that
            ends in a feature map, or a classifier, whose own attention and head are left out.
        path: a file of `save_adapter`.

    Returns:
        A functional `keras.Model`, not compiled. `layer.output` of a layer of the backbone is a
        tensor of `backbone`, not of this model.

    Raises:
        TypeError: if the backbone has no graph.
        ValueError: if the backbone has several outputs.
        InputError: a `ValueError`, if the file is not an adapter, or one for another backbone.
    """
    adapter = read_adapter(Path(path))
    parts = _parts(backbone)
    if parts.backbone != adapter.backbone:
        raise InputError(
            f"The adapter {path} was trained on another backbone: other weights, layers or pixels. "
            f"Expected: one of digest {adapter.backbone[:12]}. "
            f"Received: {backbone.name} of digest {parts.backbone[:12]}"
        )
    with refused(f"The adapter {path} does not fit {backbone.name}: "):
        model = _classifier(backbone, parts, adapter)
    freeze_backbone(model, head=[configuration["config"]["name"] for configuration in adapter.head])
    return model


def adapter_labels(path: str | Path) -> list[str]:
    """Return the class names of an adapter, in the order of its output.

    Raises:
        InputError: a `ValueError`, if the file is not an adapter.
    """
    return read_adapter(Path(path)).labels


def _check_places(model: keras.Model) -> None:
    """Raise a `ValueError` unless each attention layer is between a layer and all its consumers.

    An adapter stores only which layer an attention layer follows.
    """
    graph = read_graph(model, attention=True)
    seen = set()
    for node in graph:
        if isinstance(node.operation, AttentionLayer):
            source = node.inputs[0]
            alone = source.consumers == [node] and not node.shared and not source.shared
            again = id(node.operation) in seen
            if not alone or again or isinstance(source.operation, AttentionLayer):
                raise ValueError(
                    "Expected attention that stands once, between a layer and all its consumers. "
                    f"Received: model {model.name} with {node.address}"
                )
            seen.add(id(node.operation))
    for address, layer in walk(model):
        inside = [each for each in layers_inside(layer) if isinstance(each, AttentionLayer)]
        if inside and id(layer) not in seen:
            raise ValueError(
                "Expected attention that stands in the graph of the model. "
                f"Received: model {model.name} with {address}, which holds {inside[0].name}"
            )


def _parts(model: keras.Model) -> Parts:
    """Split a network into its parts.

    Raises:
        TypeError: if it has no graph.
        ValueError: if it has several outputs.
    """
    graph = read_graph(model)
    ends = [node for node in graph if not node.consumers]
    if len(ends) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Expected a model of one output. Received: model {model.name} with "
            f"{len(model.outputs)} outputs"
        )
    layers = dict(walk(model))
    node = ends[0]
    head: list[Any] = []
    while len(node.shape) == 2 and len(node.inputs) == 1 and not node.shared:
        head.insert(0, node.operation)
        node = node.inputs[0]
    attention = {id(each): layers[each.attention] for each in graph if each.attention}
    digests = node_digests(graph)
    return Parts(graph, attention, head, digests, digests[id(node)])


def _classifier(backbone: keras.Model, parts: Parts, adapter: Adapter) -> keras.Model:
    """Build a model of the layers of a backbone with the attention and head of an adapter.

    Raises:
        ValueError: if the adapter does not fit.
    """
    operations = {parts.digests[id(node)]: node.operation for node in parts.graph}
    weights = iter(adapter.weights)
    chosen: dict[int, tuple[keras.layers.Layer, Any]] = {}
    for digest, configuration in zip(adapter.after, adapter.attention, strict=True):
        if digest not in operations:
            raise ValueError("it has attention after a layer that the backbone does not have")
        chosen[id(operations[digest])] = (rebuild(configuration), next(weights))
    removed = {id(layer) for layer in (*parts.attention.values(), *parts.head)}

    def call(original: Any, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        # `original` and `layer` differ only for nested models.
        if id(original) in removed:
            return next(iter((*args, *kwargs.values())))
        outputs = layer(*args, **kwargs)
        if id(original) not in chosen:
            return outputs
        attention, values = chosen[id(original)]
        outputs = attention(outputs)
        attention.set_weights(values)
        return outputs

    features = Copier(call, fresh=False).copy(backbone)
    outputs = features.outputs[0]
    for configuration in adapter.head:
        layer = rebuild(configuration)
        outputs = layer(outputs)
        layer.set_weights(next(weights))
    if len(adapter.labels) not in (0, outputs.shape[-1]):
        raise ValueError(f"it has {len(adapter.labels)} labels for {outputs.shape[-1]} classes")
    return keras.Model(features.input, outputs, name=adapter.model)
