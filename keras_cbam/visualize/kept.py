"""A cache of the probes and compiled functions of a model, valid while the model is the same."""

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
    """A probe of a model, and a compiled function that uses it.

    Attributes:
        key: everything that the probe depends on, apart from the model's variables.
        probe: the probe.
        function: the compiled function.
    """

    key: Hashable
    probe: Probe
    function: Callable[..., Any]


# One probe of each kind for each model that is still alive.
_KEPT: weakref.WeakKeyDictionary[keras.Model, dict[str, Kept]] = weakref.WeakKeyDictionary()


def kept(
    model: keras.Model, kind: str, key: Hashable, make: Callable[[], tuple[Probe, Callable]]
) -> Kept:
    """Return a probe with the model's present weights, and a compiled function.

    Both are reused from the last call for this model and kind, if the key, the configurations of
    the model's layers and the model's variables are the same. Otherwise they are made.

    Args:
        model: the model.
        kind: name of what the function does.
        key: everything that the function depends on, apart from the model and its arguments.
        make: returns a probe of the model, and the function of tensors.
    """
    whole_key = (key, repr([_description(layer) for _, layer in walk(model, has_graph)]))
    found = _KEPT.setdefault(model, {}).get(kind)
    if found and found.key == whole_key and found.probe.mirrors(model):
        found.probe.refresh()
        return found
    probe, function = make()
    _KEPT[model][kind] = Kept(whole_key, probe, compiled(function, probe.model.variables))
    return _KEPT[model][kind]


def _description(layer: keras.layers.Layer) -> Any:
    """Return everything of a layer that a compiled function treats as constant."""
    if isinstance(layer, keras.layers.Normalization):
        # This layer computes with values derived from its weights.
        return layer.get_config(), [keras.ops.convert_to_numpy(w).tolist() for w in layer.weights]
    return layer.get_config()
