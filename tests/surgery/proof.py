"""What must hold of any network with attention: nothing lost, nothing shared, and the way back."""

import keras
import numpy as np

from keras_cbam import attach_attention, detach_attention
from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import walk
from tests.backend import BACKEND

# TensorFlow's eager mode runs the same kernels on the same numbers; the others promise less.
EXACT = BACKEND == "tensorflow"


def call(model, inputs):
    """The outputs of a model called eagerly, as a list of arrays."""
    tensors = keras.tree.flatten(model(inputs, training=False))
    return [keras.ops.convert_to_numpy(tensor).astype("float64") for tensor in tensors]


def predict(model, inputs):
    """The outputs of `model.predict`, as a list of arrays."""
    batch = len(keras.tree.flatten(inputs)[0])
    arrays = keras.tree.flatten(model.predict(inputs, batch_size=batch, verbose=0))
    return [array.astype("float64") for array in arrays]


def state(model):
    """All that attaching must leave as it was."""
    return {
        "weights": [weight.copy() for weight in model.get_weights()],
        "layers": [(id(layer), layer.name, layer.trainable) for layer in model.layers],
        "calls": [len(layer._inbound_nodes) for layer in model.layers],
        "variables": [(id(variable), variable.path) for variable in model.variables],
        "compiled": (model.compiled, id(getattr(model, "optimizer", None))),
    }


def interface(model):
    """The names, shapes and types of a model's inputs, the shapes and types of its outputs."""
    functional = keras.Model(model.inputs, model.outputs)
    names = [x.name for x in functional.layers if isinstance(x, keras.layers.InputLayer)]
    shapes = [(x.shape, x.dtype) for x in (*model.inputs, *model.outputs)]
    return model.name, sorted(names), shapes


def assert_same_state(found, expected):
    for kind in found:
        if kind == "weights":
            assert_same_arrays(found[kind], expected[kind])
        else:
            assert found[kind] == expected[kind], kind


def assert_same_arrays(found, expected):
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def assert_agree(found, expected):
    """Equal bit for bit on TensorFlow, to rounding elsewhere."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if EXACT:
            assert np.array_equal(a, b)
        else:
            assert np.abs(a - b).max() <= 1e-5 * np.ptp(b)


def assert_varies(outputs, spread=1e-2):
    """Each output differs between the images, or agreement would prove nothing."""
    for output in outputs:
        assert np.ptp(output, axis=0).max() > spread


def assert_nothing_shared(*models):
    variables = [{id(variable) for variable in model.variables} for model in models]
    assert not set.intersection(*variables)


def attached_layers(model):
    """The attention layers of a model by address."""
    return {a: layer for a, layer in walk(model) if isinstance(layer, AttentionLayer)}


def plain_weights(model):
    """The weights of all layers but the attention, by address."""
    return {
        address: layer.get_weights()
        for address, layer in walk(model)
        if layer.weights and not isinstance(layer, AttentionLayer)
    }


def assert_nothing_lost(model, inputs, folder, *, safe_mode=True, **arguments):
    """Attach to `model`, compare, save, load, detach and compare again; return the attached model.

    Args:
        model: a network whose outputs vary.
        inputs: what it is called on.
        folder: where the attached model is saved.
        safe_mode: whether the saved model is loaded in Keras's safe mode, which refuses Lambda.
        arguments: those of `attach_attention`.
    """
    before = state(model)
    expected = call(model, inputs)
    assert_varies(expected)

    attached = attach_attention(model, **arguments)
    assert attached_layers(attached)
    assert_agree(call(attached, inputs), expected)
    assert_same_state(state(model), before)
    assert_nothing_shared(model, attached)
    assert interface(attached) == interface(model)
    assert_predicts(attached, model, inputs, expected)

    attached.save(folder / "attached.keras")
    loaded = keras.models.load_model(folder / "attached.keras", safe_mode=safe_mode)
    assert_agree(call(loaded, inputs), expected)
    detached = detach_attention(loaded)
    assert not attached_layers(detached)
    assert_agree(call(detached, inputs), expected)
    assert_nothing_shared(loaded, detached)
    assert_same_arrays(detached.get_weights(), before["weights"])
    return attached


def assert_predicts(attached, model, inputs, expected):
    """`predict` is as near to the eager outputs as twice the plain model's own, and 1e-6."""
    own, found = predict(model, inputs), predict(attached, inputs)
    for plain, refined, eager in zip(own, found, expected, strict=True):
        allowed = 2 * np.abs(plain - eager).max() + 1e-6 * np.ptp(eager)
        assert np.abs(refined - eager).max() <= allowed
