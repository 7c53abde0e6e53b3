"""Image folders in, a fine-tuned classifier out."""

from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.fine_tune import FineTuneResult, fine_tune
from keras_cbam.training.fine_tune_config import FineTuneConfig
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import (
    ImageFolder,
    ImageSet,
    decodable,
    find_images,
    read_image_folder,
)

__all__ = [
    "FineTuneConfig",
    "FineTuneResult",
    "ImageBatches",
    "ImageFolder",
    "ImageSet",
    "build_classifier",
    "decodable",
    "find_images",
    "fine_tune",
    "read_image_folder",
]
