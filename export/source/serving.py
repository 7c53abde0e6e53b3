"""The function from which every format is made, in inference mode, with named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError, refused
from keras_cbam.text import error_reason

from .metadata import Metadata
from .prepare import Prepared, flat_layers


@dataclass(frozen=True)
class Serving:
    """A model that is ready to be written.

    Attributes:
        prepared: the model, and the names of its inputs and outputs.
        scratch: a directory for intermediate files that several formats use.
        representative: calibration data, a list with one array for each input; or `None`.
        options: the export options.
        metadata: the metadata of the artifacts.
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
        """Return the names of the model's layers, and of those of the models inside it."""
        return [layer.name for layer in flat_layers(self.model)]

    def signature(self, batch_size: int | None) -> list[Any]:
        """Return one `tf.TensorSpec` for each input. `None` leaves the batch size free."""
        import tensorflow as tf

        return [
            tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype, name=name)
            for tensor, name in zip(self.model.inputs, self.prepared.inputs, strict=True)
        ]

    def traced(self, batch_size: int | None) -> Any:
        """Return the `tf.function` with that signature. It is traced once for all formats."""
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
    """Trace a function, and return it as a `tf.function`.

    Raises:
        InputError: if it cannot be traced. Some layers cannot be traced with free sizes.
    """
    import tensorflow as tf

    found = tf.function(function, input_signature=signature, autograph=False)
    expected = (
        "Expected a model that TensorFlow can run as a graph. Some layers need inputs with fixed "
        "sizes for that. Received: "
    )
    with refused(expected, passing=(InputError,), told=error_reason):
        found.get_concrete_function()
    return found
