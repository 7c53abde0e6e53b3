"""Fine-tune image classifiers on folders of images."""

from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.config.recipe import Recipe
from keras_cbam.training.adapter import adapter_labels, load_adapter, save_adapter
from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.fine_tune import FineTuneResult, fine_tune
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.image_archive import read_image_archive
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import (
    ImageFolder,
    ImageSet,
    decodable,
    find_images,
    read_image_folder,
)
from keras_cbam.training.loop import Stage, TrainingLoop
from keras_cbam.training.processes import Processes, join_processes
from keras_cbam.training.recalibrate import recalibrate
from keras_cbam.training.recipe import compile_model, dtype_policy

__all__ = [
    "FineTuneConfig",
    "FineTuneResult",
    "ImageBatches",
    "ImageFolder",
    "ImageSet",
    "Processes",
    "Recipe",
    "Stage",
    "TrainingLoop",
    "adapter_labels",
    "build_classifier",
    "compile_model",
    "decodable",
    "dtype_policy",
    "find_images",
    "fine_tune",
    "group_variables",
    "join_processes",
    "load_adapter",
    "read_image_archive",
    "read_image_folder",
    "recalibrate",
    "save_adapter",
]
