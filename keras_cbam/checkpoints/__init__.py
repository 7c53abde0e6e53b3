"""Weights of the authors' PyTorch code, for the layers of keras_cbam."""

from keras_cbam.checkpoints.modules import load_reference_module

__all__ = ["load_reference_module"]
