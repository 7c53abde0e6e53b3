"""Boxes lie where a photograph that EXIF turns was annotated: turned, or as it is stored."""

import json

import numpy as np
import pytest

from keras_cbam.detection import Detections, read_detection_folder, side_by_side
from keras_cbam.detection.folder import unannotated
from keras_cbam.detection.letterbox import letterboxed
from keras_cbam.image_reader import TURNS, decodable_mode, turned
from tests.backend import BACKEND
from tests.detection.data import COLORS, GRAY, add

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")

TAG = 0x0112
STORED = (64, 96)  # height, width
BOX = (10, 6, 40, 30)
EMPTY = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))


def photograph(path, orientation, box=BOX, size=STORED):
    """A red rectangle on gray, stored with an orientation."""
    from PIL import Image

    pixels = np.full((*size, 3), GRAY, "uint8")
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = COLORS["red"]
    exif = Image.Exif()
    exif[TAG] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


def extent(pixels):
    """Left, top, right and bottom of what is red."""
    red = (np.abs(pixels - np.array(COLORS["red"])) < 60).all(-1)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return [int(x) for x in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def as_shown(path):
    """The box and size as every viewer shows the photograph."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        pixels = np.asarray(ImageOps.exif_transpose(file).convert("RGB"), "float32")
    return extent(pixels), pixels.shape[:2]


def voc(root, rows):
    """Write a data set of rows `(name, box, annotated size)`, of photographs that are there."""
    for name, (left, top, right, bottom), size in rows:
        said = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
        add(
            root,
            "train",
            name,
            f"<annotation>{said}<object><name>red</name><bndbox><xmin>{left}</xmin>"
            f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            "</annotation>",
        )
    return read_detection_folder(root, ["train"])["train"]


def coco(root, rows):
    record = {
        "images": [
            {"id": number, "file_name": f"{name}.jpg"}
            | ({"height": size[0], "width": size[1]} if size else {})
            for number, (name, _, size) in enumerate(rows)
        ],
        "annotations": [
            {"image_id": i, "category_id": 1, "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]]}
            for i, (_, box, _) in enumerate(rows)
        ],
        "categories": [{"id": 1, "name": "red"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train.json").write_text(json.dumps(record))
    (root / "JPEGImages").rename(root / "images")
    return read_detection_folder(root, ["train"])["train"]


def is_around(image):
    """Whether the box of a photograph is around what is red in what is learned from."""
    pixels, fit = letterboxed(image, (96, 96))
    return np.abs(fit.boxes_in(image.boxes)[0] - extent(pixels)).max() <= 1.5


@pytest.mark.parametrize("write", [voc, coco])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_are_where_the_annotated_size_says(write, orientation, tmp_path):
    path = tmp_path / "JPEGImages" / "a.jpg"
    photograph(path, orientation)
    photograph(path.with_name("b.jpg"), orientation)
    box, size = as_shown(path)
    assert size == STORED[::-1]
    part = write(tmp_path, [("a", box, size), ("b", BOX, STORED)])
    assert part.left_out == ()
    assert [image.size for image in part.photographs] == [size, STORED]
    assert all(is_around(image) for image in part.photographs)


@pytest.mark.parametrize("write", [voc, coco])
def test_a_size_that_is_neither_is_named_and_left_out(write, tmp_path):
    for name, orientation in (("a", 6), ("b", 1), ("c", 6)):
        photograph(tmp_path / "JPEGImages" / f"{name}.jpg", orientation)
    rows = [("a", BOX, (32, 48)), ("b", BOX, STORED[::-1]), ("c", BOX, STORED)]
    part = write(tmp_path, rows)
    assert [image.path.stem for image in part.photographs] == ["c"]
    assert [what for _, what in part.left_out] == [
        "image a.jpg: annotated as 48x32 pixels, but it has 96x64",
        "image b.jpg: annotated as 64x96 pixels, but it has 96x64",
    ]


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("others", ["turned", "stored", "none"])
def test_what_the_size_does_not_tell_the_others_do(orientation, others, tmp_path):
    """An image upside down has one size, turned or not."""
    path = tmp_path / "JPEGImages" / "a.jpg"
    photograph(path, orientation)
    photograph(path.with_name("b.jpg"), 6)
    rows = {
        "turned": [("b", *as_shown(path.with_name("b.jpg")))],
        "stored": [("b", BOX, STORED)],
        "none": [],
    }[others]
    box = BOX if others == "stored" else as_shown(path)[0]
    part = voc(tmp_path, [("a", box, STORED), *rows])
    assert len(part) == 1 + len(rows)
    assert all(is_around(image) for image in part.photographs)


@pytest.mark.parametrize("size", [None, (0, 0), ("high", "wide"), ("nan", "inf")])
def test_a_size_that_is_none_says_nothing(size, tmp_path):
    photograph(tmp_path / "JPEGImages" / "a.jpg", 1)
    assert len(voc(tmp_path, [("a", BOX, size)])) == 1


def test_images_without_annotations_are_turned_and_drawn_so(tmp_path):
    path = tmp_path / "a.jpg"
    photograph(path, 6)
    (image,) = unannotated([path])
    assert image.size == STORED[::-1]
    drawn = side_by_side([image], [EMPTY], ["red"], truth=False).axes[0].images[0].get_array()
    assert drawn.shape == (*STORED[::-1], 3)
    assert extent(drawn) == pytest.approx(as_shown(path)[0], abs=1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_is_none(tmp_path):
    path = tmp_path / "JPEGImages" / "a.jpg"
    photograph(path, 6)
    whole = path.read_bytes()
    start = whole.index(b"Exif\0\0") + 6
    rng = np.random.default_rng(0)
    for _ in range(200):
        torn = bytearray(whole)
        for place in rng.integers(start, start + 26, 3):
            torn[place] = rng.integers(256)
        path.write_bytes(torn)
        photographs = unannotated([path])
        assert len(photographs) == (decodable_mode(path) is not None)
        for image in photographs:
            letterboxed(image, (96, 96))


@pytest.mark.parametrize("orientation", TURNS)
def test_turns_are_those_of_pillow(orientation):
    from PIL import Image, ImageOps

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 7, 3), "uint8"))
    image.getexif()[TAG] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(np.asarray(turned(image, orientation)), expected)
