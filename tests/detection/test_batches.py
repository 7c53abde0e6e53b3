"""Boxes stay on what they are drawn around, and a batch is the same each time."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_cbam.detection import DetectionBatches, read_detection_folder
from keras_cbam.detection.augmentation import AUGMENTATIONS, NO_BOX, augment
from keras_cbam.detection.folder import unannotated
from keras_cbam.detection.letterbox import letterbox, letterboxed
from keras_cbam.errors import InputError
from tests.backend import BACKEND
from tests.detection.data import BOXES, CLASSES, COLORS, draw, write_voc

SIZE = (64, 96)


@pytest.fixture
def photographs(tmp_path):
    root = write_voc(tmp_path, {"train": ["a", "b", "c", "d", "empty"]})
    return read_detection_folder(root, ["train"])["train"].photographs


def extent(pixels, color):
    """Left, top, right and bottom of the pixels of a color."""
    near = (np.abs(pixels - np.array(color)) < 45).all(-1)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy and Pillow alone")
def test_gray_values_of_16_bits_are_scaled(tmp_path):
    values = np.linspace(1000, 3550, 256).reshape(16, 16).astype("uint16")
    Image.fromarray(values).save(tmp_path / "x.png")
    (found,) = unannotated([tmp_path / "x.png"])
    pixels, _ = letterboxed(found, (16, 16))
    assert np.array_equal(pixels[..., 0], np.arange(256).reshape(16, 16))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy and Pillow alone")
@pytest.mark.parametrize("image_size", [(48, 80), (200, 90), (30, 300)])
def test_an_image_is_made_to_fit(image_size, tmp_path):
    height, width = image_size
    box = np.array([[width // 4, height // 4, width // 2, height // 2]], "float32")
    draw(tmp_path / "x.png", [("red", *(int(value) for value in box[0]))], image_size)
    pixels, fit = letterboxed(*unannotated([tmp_path / "x.png"]), SIZE)
    assert pixels.shape == (*SIZE, 3)
    assert fit == letterbox(image_size, SIZE)
    assert min(SIZE[0] - fit.inside[0], SIZE[1] - fit.inside[1]) == 0
    assert not pixels[fit.inside[0] :].any()
    assert not pixels[:, fit.inside[1] :].any()
    assert pixels[fit.inside[0] - 1, fit.inside[1] - 1].all()
    assert np.abs(fit.boxes_in(box) - extent(pixels, COLORS["red"])).max() <= 1.5
    np.testing.assert_allclose(fit.boxes_out(fit.boxes_in(box)), box, rtol=1e-5)
    beyond = fit.boxes_out(np.array([[-9, -9, 999, 999]], "float32"))
    np.testing.assert_allclose(beyond, [[0, 0, width, height]], rtol=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_boxes_move_with_their_images(name, photographs):
    """Each box stays around its rectangle; what it changes is another each time."""
    image = next(x for x in photographs if x.path.stem == "b")
    pixels, fit = letterboxed(image, SIZE)
    batch = np.stack([pixels] * 8)
    boxes = np.full((8, 3, 4), NO_BOX, "float32")
    labels = np.full((8, 3), NO_BOX, "float32")
    boxes[:, 0], labels[:, 0] = fit.boxes_in(image.boxes)[0], image.labels[0]
    before = [values.copy() for values in (batch, boxes, labels)]
    images, moved, kept = augment(batch, boxes, labels, [name], seed=3)
    for given, copy in zip((batch, boxes, labels), before, strict=True):
        np.testing.assert_array_equal(given, copy)
    assert images.min() >= 0
    assert images.max() <= 255
    assert (kept[:, 0] == image.labels[0]).all()
    assert (kept[:, 1:] == NO_BOX).all()
    assert (moved[:, 1:] == NO_BOX).all()
    assert len(np.unique(images.reshape(8, -1), axis=0)) > 1
    if name == "color":
        np.testing.assert_array_equal(moved, boxes)
        return
    assert len(np.unique(moved[:, 0], axis=0)) > 1
    for each, box in zip(images, moved[:, 0], strict=True):
        found = extent(each, COLORS["blue"])
        assert np.abs(box - found).max() <= 2.5, (box, found)


def test_a_box_that_has_left_is_none(photographs):
    images = np.zeros((1, *SIZE, 3), "float32")
    boxes = np.array([[[2, 2, 2.5, 30], [4, 4, 40, 40]]], "float32")
    _, moved, labels = augment(images, boxes, np.ones((1, 2), "float32"), ["color"], 0)
    assert labels.tolist() == [[NO_BOX, 1]]
    assert (moved[0, 0] == NO_BOX).all()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="augmentation is tried on each backend above")
def test_batches_are_the_same_each_time(photographs):
    settings = {"seed": 4, "epoch": 2, "augmentations": tuple(AUGMENTATIONS)}
    batches = DetectionBatches(photographs, SIZE, 2, **settings)
    later = DetectionBatches(photographs, SIZE, 2, first_batch=1, **settings)
    assert (len(batches), len(later), later.batches_per_epoch) == (2, 1, 2)
    images, targets = batches[1]
    again, same = later[0]
    np.testing.assert_array_equal(images, again)
    for name in ("boxes", "labels"):
        np.testing.assert_array_equal(targets[name], same[name])
    other = DetectionBatches(photographs, SIZE, 2, **{**settings, "epoch": 3})[1]
    assert not np.array_equal(images, other[0])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_targets_are_the_boxes(photographs):
    batches = DetectionBatches(photographs, SIZE, len(photographs))
    assert batches.most == 3
    images, targets = batches[0]
    assert images.shape == (5, *SIZE, 3)
    for pixels, boxes, labels, index in zip(
        images, targets["boxes"], targets["labels"], batches.order, strict=True
    ):
        expected = BOXES[photographs[index].path.stem]
        assert (labels[len(expected) :] == NO_BOX).all()
        assert (boxes[len(expected) :] == NO_BOX).all()
        for box, label, (name, *_) in zip(boxes, labels, expected, strict=False):
            assert CLASSES[int(label)] == name
            left, top, right, bottom = (round(float(value)) for value in box)
            inside = pixels[top + 2 : bottom - 2, left + 2 : right - 2]
            assert np.abs(inside - np.array(COLORS[name])).max() < 12


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_crowds_are_no_targets(photographs):
    crowded = [replace(image, crowd=np.arange(len(image.boxes)) == 0) for image in photographs]
    batches = DetectionBatches(crowded, SIZE, len(crowded))
    assert batches.most == 2
    _, targets = batches[0]
    left = [max(len(BOXES[photographs[index].path.stem]) - 1, 0) for index in batches.order]
    assert (targets["labels"] != NO_BOX).sum(-1).tolist() == left


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_what_cannot_be_a_batch(photographs):
    with pytest.raises(InputError, match="at least as many images as a batch has, 9"):
        DetectionBatches(photographs, SIZE, 9)
    with pytest.raises(InputError, match="Expected augmentations of flip, zoom, color"):
        DetectionBatches(photographs, SIZE, 2, augmentations=["mosaic"])
