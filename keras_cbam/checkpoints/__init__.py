"""Loading checkpoints of the authors' PyTorch code, and the weights of their modules."""

from keras_cbam.checkpoints.modules import load_reference_module
from keras_cbam.checkpoints.networks import load_reference

__all__ = ["load_reference", "load_reference_module"]
