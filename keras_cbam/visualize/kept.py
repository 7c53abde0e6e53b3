"""What is built and compiled of a model once, and used again as long as the model is the same."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import keras

from keras_cbam.compiled import compiled
from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.graph import has_graph
from keras_cbam.visualize.probe import Probe


class Kept(NamedTuple):
    """A probe of a model, and a function of it.

    Attributes:
        layers: the model's layers, as their configurations tell, when the probe was made.
        key: what else it was made for.
        probe: the probe.
        function: the compiled function.
    """

    layers: str
    key: Hashable
    probe: Probe
    function: Callable[..., Any]


# For each model, as long as it lives, one probe of each kind.
_KEPT: weakref.WeakKeyDictionary[keras.Model, dict[str, Kept]] = weakref.WeakKeyDictionary()


def kept(
    model: keras.Model, kind: str, key: Hashable, make: Callable[[], tuple[Probe, Callable]]
) -> Kept:
    """Return a model's probe with its weights of now and a compiled function.

    They are those of the last call for this model and kind, if its key and the model's layers, by
    their configurations, were the same; else they are made.

    Args:
        model: the model.
        kind: what the function does.
        key: all that the function depends on besides the model and its arguments.
        make: returns a probe of the model, and the function, of tensors.
    """
    layers = repr([_description(layer) for _, layer in walk(model, has_graph)])
    found = _KEPT.setdefault(model, {}).get(kind)
    if found and (found.layers, found.key) == (layers, key) and found.probe.mirrors(model):
        found.probe.refresh()
        return found
    probe, function = make()
    _KEPT[model][kind] = Kept(layers, key, probe, compiled(function, probe.model.variables))
    return _KEPT[model][kind]


def _description(layer: keras.layers.Layer) -> Any:
    """All of a layer that a compiled function takes for constant."""
    if isinstance(layer, keras.layers.Normalization):
        # It computes with values derived from its weights.
        return layer.get_config(), [keras.ops.convert_to_numpy(w).tolist() for w in layer.weights]
    return layer.get_config()
