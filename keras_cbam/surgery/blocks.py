"""Open blocks that are a single layer, so that attention fits inside, before their addition."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.surgery.copying import Copier
from keras_cbam.surgery.graph import as_functional, read_graph

# Layers of KerasHub whose `call` only calls layers and operations, and does the same in training
# and inference. A functional model can therefore replace each of them.
BLOCKS = {
    "CBABlock",
    "DepthwiseConvBlock",
    "FusedMBConvBlock",
    "InvertedResidualBlock",
    "MBConvBlock",
    "SqueezeAndExcite2D",
}


def open_blocks(model: keras.Model) -> keras.Model:
    """Return `model`, or a copy with its `BLOCKS` as nested models if it has any.

    Args:
        model: a functional or a built Sequential model.

    Raises:
        TypeError: if the model has no graph, or if a layer cannot be copied.
    """
    as_functional(model)
    if not any(_is_block(node.operation) for node in read_graph(model)):
        return model
    return Copier(_open).copy(model)


def _is_block(operation: Any) -> bool:
    kind = type(operation)
    return kind.__name__ in BLOCKS and kind.__module__.startswith("keras_hub.")


def _open(original: Any, operation: Any, /, *args: Any, **kwargs: Any) -> Any:
    outputs = operation(*args, **kwargs)
    if not _is_block(operation):
        return outputs
    inputs = keras.Input(batch_shape=args[0].shape, dtype=args[0].dtype)
    closed = keras.Model(inputs, operation.call(inputs), name=operation.name)
    # The layers stay the same. Only blocks inside this block are opened too, in its graph.
    opened = keras.models.clone_model(
        closed, inputs, clone_function=lambda inner: inner, call_function=_call_inside
    )
    return opened(args[0])


def _call_inside(operation: Any, /, *args: Any, **kwargs: Any) -> Any:
    call = operation.call if _is_block(operation) else operation
    return call(*args, **kwargs)
