"""A functional model that keeps the feature pyramid of its original backbone."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_cbam")
class FeaturePyramidModel(keras.Model):
    """A functional model with `pyramid_outputs`, as the detectors of KerasHub expect.

    `attach_attention` returns this class for a model that has `pyramid_outputs`. A saved model
    keeps them.
    """

    @property
    def pyramid_outputs(self) -> dict[str, keras.KerasTensor]:
        """Keras tensors of the levels by name; `"P3"` is 2^3 times smaller than the input."""
        return dict(self._pyramid_outputs)

    @pyramid_outputs.setter
    def pyramid_outputs(self, levels: dict[str, keras.KerasTensor]) -> None:
        self._pyramid_outputs = dict(levels)

    @classmethod
    def from_joint(cls, joint: keras.Model) -> FeaturePyramidModel:
        """Build a `FeaturePyramidModel` from a model that `join` returns."""
        model = cls(joint.input, joint.output["output"], name=joint.name)
        model.pyramid_outputs = joint.output["pyramid_outputs"]
        return model

    def get_config(self) -> dict[str, Any]:
        return join(self, self.pyramid_outputs).get_config()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        return cls.from_joint(keras.Model.from_config(config, custom_objects))


def join(model: keras.Model, levels: dict[str, keras.KerasTensor]) -> keras.Model:
    """Return `model` as a plain functional model whose outputs include the levels."""
    outputs = {"output": model.output, "pyramid_outputs": dict(levels)}
    return keras.Model(model.input, outputs, name=model.name)
