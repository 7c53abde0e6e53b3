"""Lists of names have the names of their tables."""

import pytest

from keras_cbam.config import names, recipe
from keras_cbam.detection import augmentation
from keras_cbam.export import formats
from keras_cbam.export.onnx import lowering
from keras_cbam.export.proof import judging
from keras_cbam.export.tflite import targets
from keras_cbam.models import catalogue
from keras_cbam.pixels import PIXEL_RULES
from keras_cbam.studies import scales, tables, transfer_rows
from keras_cbam.surgery import plan
from keras_cbam.training import image_batches
from keras_cbam.training import recipe as carried_out
from keras_cbam.visualize import explanation


@pytest.mark.parametrize(
    ("listed", "table"),
    [
        (names.ATTENTIONS, plan.ATTENTIONS),
        (names.AUGMENTATIONS, image_batches.AUGMENTATIONS),
        (names.BOX_AUGMENTATIONS, augmentation.AUGMENTATIONS),
        (names.HEATS, explanation.METHODS),
        (names.NETWORKS, catalogue.VARIANTS),
        (names.TABULATED_ATTENTIONS, [name or "none" for name in catalogue.TABULATED]),
        (names.TABLES, tables.STUDIES),
        (names.TRANSFER_ROWS, transfer_rows.ROWS),
        (names.SCALES, scales.SCALES),
        (names.FORMATS, formats.FORMATS),
        (names.PRECISIONS, formats.PRECISIONS),
        (names.FURTHER_RUNTIMES, formats.ALSO),
        (names.TARGETS, targets.LOWERINGS),
        (names.TARGETS, lowering.LOWERINGS),
        (names.JUDGES, judging.JUDGES),
        (names.PIXEL_RULES, PIXEL_RULES),
        (recipe.OPTIMIZERS, carried_out.OPTIMIZERS),
    ],
)
def test_names_are_those_of_the_table(listed, table):
    assert listed == tuple(table)
