"""freeze_backbone: train the attention and the head, and keep the weights of the backbone."""

from __future__ import annotations

from collections.abc import Collection

import keras

from keras_cbam.layers.base import Refinement
from keras_cbam.surgery.addresses import check_head, own_weights, walk, within


def freeze_backbone(model: keras.Model, *, head: Collection[str] = ()) -> None:
    """Freeze all layers of `model` except its attention layers and its head, in place.

    The function also freezes layers inside nested models, wrappers, and custom blocks that hold
    attention. Frozen batch normalization runs in inference mode, as always in Keras.

    Args:
        model: a `keras.Model`, such as `attach_attention` returns.
        head: names of further layers that stay trainable, such as a new classifier. The name of a
            nested model stands for all of its layers. Address one layer inside a nested model as
            `<model>/<layer>`.

    Raises:
        ValueError: if `head` names a layer that is not in the model.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(16, 3)(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D()(CBAM(name="cbam")(x))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="classifier")(x))
        >>> freeze_backbone(model, head=["classifier"])
        >>> [layer.name for layer in model.layers if layer.trainable and layer.weights]
        ['cbam', 'classifier']
    """
    layers = list(walk(model))
    check_head(model, [address for address, _ in layers], head)
    # A model passes its own setting on to all of its layers, so set it first.
    model.trainable = True
    for address, layer in layers:
        layer.trainable = isinstance(layer, Refinement) or within(address, head)
    for address, weight in own_weights(model):
        weight.trainable = within(address, head)
