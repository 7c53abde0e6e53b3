"""The function every format is made from: named inputs, named outputs, inference mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError

from .metadata import Metadata
from .prepare import Prepared, flat_layers


@dataclass(frozen=True)
class Serving:
    """A model ready to be written.

    Attributes:
        prepared: the model, and names of its inputs and outputs.
        scratch: a directory for what several formats are made from.
        representative: inputs of calibration, a list with one array for each input; or `None`.
        options: what the user chose.
        metadata: what the artifacts tell of themselves.
    """

    prepared: Prepared
    scratch: Path
    representative: list[np.ndarray] | None = None
    options: ExportOptions = field(default_factory=ExportOptions)
    metadata: Metadata = field(default_factory=Metadata)
    _traced: dict[int | None, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def model(self) -> keras.Model:
        """The Keras model."""
        return self.prepared.model

    def layer_names(self) -> list[str]:
        """The names of the model's layers, and of those of the models in it."""
        return [layer.name for layer in flat_layers(self.model)]

    def signature(self, batch_size: int | None) -> list[Any]:
        """One `tf.TensorSpec` for each input, with `batch_size`, or any batch for `None`."""
        import tensorflow as tf

        return [
            tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype, name=name)
            for tensor, name in zip(self.model.inputs, self.prepared.inputs, strict=True)
        ]

    def traced(self, batch_size: int | None) -> Any:
        """The `tf.function` of that signature, traced once for all formats that are made of it."""
        if batch_size not in self._traced:
            self._traced[batch_size] = traced(self.function, self.signature(batch_size))
        return self._traced[batch_size]

    def function(self, *inputs: Any) -> dict[str, Any]:
        """Call the model in inference mode and name its outputs."""
        outputs = self.model(self.prepared.pack(inputs), training=False)
        return dict(zip(self.prepared.outputs, keras.tree.flatten(outputs), strict=True))

    def calibration_samples(self, batch_size: int = 1) -> Iterator[dict[str, np.ndarray]]:
        """Yield the representative inputs by input name, `batch_size` at a time."""
        arrays = self.representative or []
        for start in range(0, len(arrays[0]) if arrays else 0, batch_size):
            values = [array[start : start + batch_size] for array in arrays]
            yield dict(zip(self.prepared.inputs, values, strict=True))


def traced(function: Callable[..., Any], signature: list[Any]) -> Any:
    """The `tf.function` of a function, traced.

    Raises:
        InputError: if it cannot be traced, as some layers of free sizes cannot.
    """
    import tensorflow as tf

    found = tf.function(function, input_signature=signature, autograph=False)
    try:
        found.get_concrete_function()
    except InputError:
        raise
    except Exception as error:  # whatever a layer raises
        said = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise InputError(
            "Expected a model that TensorFlow can run as a graph; some layers need an input of "
            f"fixed sizes for that. Received: {said}"
        ) from error
    return found
