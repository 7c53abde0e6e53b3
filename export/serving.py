"""The function every format is made from: named inputs, named outputs, inference mode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

# Names that Keras gives to what the user left unnamed.
_AUTOMATIC = re.compile(r"^(keras_tensor|input_layer)(_\d+)?$")


@dataclass(frozen=True)
class Serving:
    """A model ready to be written.

    Attributes:
        model: the Keras model.
        scratch: a directory for what several formats are made from.
        representative: inputs of calibration, a list with one array for each input; or `None`.
    """

    model: keras.Model
    scratch: Path
    representative: list[np.ndarray] | None = None
    _traced: dict[int | None, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def input_names(self) -> list[str]:
        """The inputs' layer names; `input`, or `input_0` and so on, where they have none."""
        names = [tensor.name for tensor in self.model.inputs]
        default = ["input"] if len(names) == 1 else [f"input_{i}" for i in range(len(names))]
        return [
            fallback if _AUTOMATIC.match(name) else name
            for name, fallback in zip(names, default, strict=True)
        ]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs, in their order."""
        return list(self.model.output_names)

    def signature(self, batch_size: int | None) -> list[Any]:
        """One `tf.TensorSpec` for each input, with `batch_size`, or any batch for `None`."""
        import tensorflow as tf

        return [
            tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype, name=name)
            for tensor, name in zip(self.model.inputs, self.input_names, strict=True)
        ]

    def traced(self, batch_size: int | None) -> Any:
        """The `tf.function` of that signature, traced once for all formats that are made of it."""
        import tensorflow as tf

        if batch_size not in self._traced:
            self._traced[batch_size] = tf.function(
                self.function, input_signature=self.signature(batch_size), autograph=False
            )
        return self._traced[batch_size]

    def function(self, *inputs: Any) -> dict[str, Any]:
        """Call the model in inference mode and name its outputs."""
        outputs = self.model(self.pack(inputs), training=False)
        return dict(zip(self.output_names, keras.tree.flatten(outputs), strict=True))

    def pack(self, inputs: Sequence[Any]) -> Any:
        """Put one value for each input into the structure the model was built with."""
        return keras.tree.pack_sequence_as(self.model.input, list(inputs))

    def calibration_samples(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the representative inputs one at a time, by input name."""
        arrays = self.representative or []
        for index in range(len(arrays[0]) if arrays else 0):
            values = [array[index : index + 1] for array in arrays]
            yield dict(zip(self.input_names, values, strict=True))
