"""Adapters: attention and head of a classifier in a file, on a backbone that many share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_cbam.errors import InputError
from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import layers_inside, walk
from keras_cbam.surgery.copying import rewire_model
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.surgery.graph import Node, read_graph
from keras_cbam.training.adapter_file import (
    Adapter,
    describe,
    read_adapter,
    rebuild,
    write_adapter,
)
from keras_cbam.training.backbone_digest import backbone_digest


class Parts(NamedTuple):
    """What a network consists of.

    Attributes:
        attention: the attention layers, by the address of the layer that each follows.
        head: the layers from the pooling to the output; none if it ends in a feature map.
        backbone: all other layers.
    """

    attention: dict[str, AttentionLayer]
    head: list[keras.layers.Layer]
    backbone: list[keras.layers.Layer]

    def digest(self) -> str:
        """What tells the backbone from another."""
        return backbone_digest(self.backbone)


def save_adapter(model: keras.Model, path: str | Path, *, labels: Sequence[str] = ()) -> None:
    """Write what a classifier has beside its frozen backbone to one small file.

    The file holds attention, head, labels and a digest of the backbone, by which `load_adapter`
    refuses another one. It is an `.npz` archive of NumPy and is read without pickle.

    Args:
        model: a functional classifier of one output, `(batch, classes)`, whose backbone is frozen,
            as `freeze_backbone` and `keras-cbam finetune --train adapter` leave it. The head is
            what follows the feature map, one layer after the other, from the layer that pools or
            flattens it.
        path: of the file.
        labels: names of the classes, in the order of the output. Defaults to none.

    Raises:
        TypeError: if the model has no graph.
        ValueError: if the model is no such classifier, if the backbone can be trained, if attention
            stands inside other layers, if the head has layers or parts that a file cannot hold, or
            if the number of labels is not that of the classes.

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
    parts = _parts(model)
    if not parts.head:
        raise ValueError(
            "Expected a classifier, with a head that pools or flattens a feature map. "
            f"Received: model {model.name}, whose output is {model.output_shape}"
        )
    for layer in parts.backbone:
        if layer.trainable_weights:
            raise ValueError(
                "Expected a model whose backbone is frozen, as `freeze_backbone` leaves it. "
                f"Received: model {model.name}, whose layer {layer.name} can be trained"
            )
    classes = model.output_shape[-1]
    if len(labels) not in (0, classes):
        raise ValueError(f"Expected a label for each of {classes} classes. Received: {len(labels)}")
    adapter = Adapter(
        model=model.name,
        backbone=parts.digest(),
        labels=[str(label) for label in labels],
        attention={address: describe(layer) for address, layer in parts.attention.items()},
        head=[describe(layer) for layer in parts.head],
        weights=[layer.get_weights() for layer in (*parts.attention.values(), *parts.head)],
    )
    write_adapter(adapter, Path(path))


def load_adapter(backbone: keras.Model, path: str | Path) -> keras.Model:
    """Return the classifier that an adapter makes of a backbone.

    The classifier has the layers of `backbone`, not copies, so that many adapters share its weights
    in memory. They are frozen, in place: training them would change all classifiers.

    Args:
        backbone: the network that the adapter was trained on, on any backend: one that ends in a
            feature map, or a classifier, whose own attention and head are left out.
        path: a file of `save_adapter`.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        TypeError: if the backbone has no graph.
        InputError: a `ValueError`, if the file is no adapter, or one of another backbone.
    """
    adapter = read_adapter(Path(path))
    parts = _parts(backbone)
    if parts.digest() != adapter.backbone:
        raise InputError(
            f"The adapter {path} was trained on another backbone: other weights, layers or pixels. "
            f"Expected: one of digest {adapter.backbone[:12]}. "
            f"Received: {backbone.name} of digest {parts.digest()[:12]}"
        )
    try:
        attention = [rebuild(each) for each in adapter.attention.values()]
        head = [rebuild(each) for each in adapter.head]
        refined = dict(zip(adapter.attention, attention, strict=True))
        model = _classifier(backbone, parts, refined, head, adapter.model)
        for layer, weights in zip((*attention, *head), adapter.weights, strict=True):
            layer.set_weights(weights)
    except (TypeError, ValueError) as error:
        sentence = " ".join(str(error).split())
        raise InputError(f"The adapter {path} does not fit {backbone.name}: {sentence}") from error
    freeze_backbone(model, head=[layer.name for layer in head])
    return model


def adapter_labels(path: str | Path) -> list[str]:
    """Return the names of the classes that an adapter tells apart, in the order of its output.

    Raises:
        InputError: a `ValueError`, if the file is no adapter.
    """
    return read_adapter(Path(path)).labels


def _parts(model: keras.Model) -> Parts:
    """Take a network apart.

    Raises:
        TypeError: if it has no graph.
        ValueError: if attention stands inside other layers, or several times after one layer.
    """
    graph = read_graph(model)
    layers = dict(walk(model))
    attention = {node.address: layers[node.attention] for node in graph if node.attention}
    head = [node.operation for node in _head(graph)]
    known = {id(layer) for layer in (*attention.values(), *head)}
    backbone = [layer for layer in layers.values() if id(layer) not in known]
    hidden = [x for each in backbone for x in layers_inside(each) if isinstance(x, AttentionLayer)]
    if hidden:
        raise ValueError(
            "Expected attention that stands in the graph of the model, once after a layer. "
            f"Received: model {model.name} with {hidden[0].name}"
        )
    return Parts(attention, head, backbone)


def _head(graph: list[Node]) -> list[Node]:
    """The nodes from the pooling of the feature map to the output, in order."""
    ends = [node for node in graph if not node.consumers]
    nodes: list[Node] = []
    if len(ends) != 1:
        return nodes
    node = ends[0]
    while len(node.shape) == 2 and len(node.inputs) == 1:
        nodes.insert(0, node)
        node = node.inputs[0]
    return nodes


def _classifier(
    backbone: keras.Model,
    parts: Parts,
    attention: dict[str, keras.layers.Layer],
    head: list[keras.layers.Layer],
    name: str,
) -> keras.Model:
    """The layers of a backbone with other attention and another head.

    Raises:
        ValueError: if the backbone has no layer at an address.
    """
    layers = dict(walk(backbone))
    if missing := sorted(set(attention) - set(layers)):
        raise ValueError(f"it has attention after a layer {missing[0]}")
    refined = {id(layers[address]): layer for address, layer in attention.items()}
    removed = {id(layer) for layer in (*parts.attention.values(), *parts.head)}

    def call(original: Any, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The two differ only where they are nested models.
        if id(original) in removed:
            return next(iter((*args, *kwargs.values())))
        outputs = layer(*args, **kwargs)
        return refined[id(original)](outputs) if id(original) in refined else outputs

    features = rewire_model(backbone, call)
    outputs = features.output
    for layer in head:
        outputs = layer(outputs)
    return keras.Model(features.input, outputs, name=name)
