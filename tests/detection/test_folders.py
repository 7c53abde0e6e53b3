"""Folders as VOC and COCO have them are read alike; what cannot be used is left out and named."""

import json

import numpy as np
import pytest

from keras_cbam.detection import read_detection_folder
from keras_cbam.errors import InputError
from tests.backend import BACKEND
from tests.detection.data import (
    BOXES,
    CLASSES,
    SIZE,
    add,
    annotation,
    coco_record,
    draw,
    write_coco,
    write_voc,
)

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")

SPLITS = {"train": ["a", "b", "empty"], "val": ["c", "d"]}


def beside(root, splits):
    """COCO's JSON beside the images, as those who annotate on the web export it."""
    for split, names in splits.items():
        folder = root / {"val": "valid"}.get(split, split)
        for name in names:
            draw(folder / f"{name}.png", BOXES[name])
        (folder / "_annotations.coco.json").write_text(json.dumps(coco_record(names)))
    return root


def record(names, rename=str):
    """COCO's file of images that are called otherwise."""
    found = coco_record(names)
    for image in found["images"]:
        image["file_name"] = rename(image["file_name"])
    return json.dumps(found)


def one_each(folder, path, *, rename=str, named=None):
    """Each split's JSON file and its images, in a folder each, by patterns of its name."""

    def write(root, splits):
        for split, names in splits.items():
            split = (named or {}).get(split, split)
            for name in names:
                draw(root / folder.format(split) / f"{name}.png", BOXES[name])
            target = root / path.format(split)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(record(names, rename))
        return root

    return write


CVAT = {"train": "Train", "val": "Validation"}
LAYOUTS = {
    "VOC": write_voc,
    "COCO": write_coco,
    "beside": beside,
    "CVAT": one_each("images/{}", "annotations/instances_{}.json", named=CVAT),
    "short": one_each("images", "annotations/{}.json"),
    "at the root": one_each("images", "{}.json"),
    "at the root, beside": one_each("", "{}.json", named={"train": "TRAIN", "val": "valid"}),
    "one in each folder": one_each("{}", "{}/labels.json"),
    "one above images": one_each("{}/images", "{}/result.json"),
    "backslashes": one_each("images", "{}.json", rename=lambda name: f"images\\{name}"),
    "a path of Windows": one_each("images", "{}.json", rename=lambda name: f"C:\\my\\{name}"),
    "a path of Linux": one_each("images", "{}.json", rename=lambda name: f"/home/me/{name}"),
}


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
def test_every_format_gives_the_same(write, tmp_path):
    folder = read_detection_folder(write(tmp_path, SPLITS))
    assert folder.classes == CLASSES
    for split, names in SPLITS.items():
        part = folder[split]
        assert part.left_out == ()
        assert [image.path.stem for image in part.photographs] == names
        for image, name in zip(part.photographs, names, strict=True):
            assert image.size == SIZE
            assert image.boxes.tolist() == [list(box[1:]) for box in BOXES[name]]
            assert [CLASSES[label] for label in image.labels] == [box[0] for box in BOXES[name]]
            assert not image.crowd.any()
    assert [path.stem for path in folder["train"].empty] == ["empty"]
    assert folder["train"].boxes == 3


def test_what_voc_says_wrong_is_named(tmp_path):
    root = write_voc(tmp_path, SPLITS)
    draw(root / "JPEGImages" / "odd.png", BOXES["a"])
    wrong = [
        ("red", 9, 9, 9, 9),
        ("red", 30, 30, 20, 40),
        ("blue", 70, 10, 90, 20),
        ("green", 1, 1, 9, 9),
        ("red", float("nan"), 1, 9, 9),
        # Counted from 1, a box at the edge reaches a pixel over it.
        ("red", 61, 29, 81, 49),
    ]
    add(root, "train", "odd", annotation(wrong))
    add(root, "train", "gone", annotation(BOXES["a"]))
    add(root, "train", "torn", "<annotation><object>")
    add(root, "train", "words", annotation([("red", "left", 1, 2, 3)]))
    add(root, "train", "unknown", None)
    draw(root / "JPEGImages" / "words.PNG", [])
    (root / "JPEGImages" / "noise.png").write_bytes(b"no image")
    add(root, "train", "noise", annotation(BOXES["b"]))
    part = read_detection_folder(root, classes=CLASSES)["train"]
    assert [image.path.stem for image in part.photographs] == ["a", "b", "empty", "odd", "words"]
    assert part.photographs[3].boxes.tolist() == [[61, 29, 80, 48]]
    said = [f"{where}: {what}" for where, what in part.left_out]
    for sentence in (
        "odd.xml: box (9, 9, 9, 9) of red: zero area",
        "odd.xml: box (30, 30, 20, 40) of red: zero area",
        "odd.xml: box (70, 10, 90, 20) of blue: outside of the image of 80x48 pixels",
        "odd.xml: box (1, 1, 9, 9) of green: unknown class",
        "odd.xml: box (nan, 1, 9, 9) of red: not numbers",
        "gone.xml: image gone.jpg: missing",
        "unknown.xml: image unknown: its annotation is missing",
        "noise.xml: image noise.png: cannot be decoded",
    ):
        assert sentence in said
    assert sum("torn.xml: image torn: malformed XML, " in each for each in said) == 1
    assert "words.xml: box (left, 1, 2, 3) of red: not four numbers" in said
    assert len(said) == 10
    # The class of a box that is never used is none that one could learn.
    assert "green" in read_detection_folder(root).classes


def test_difficult_boxes_and_crowds_are_neither_learned_nor_counted(tmp_path):
    voc, coco = tmp_path / "voc", tmp_path / "coco"
    write_voc(voc, SPLITS)
    add(voc, "train", "c", annotation(BOXES["c"], difficult=1))
    crowd = {"image_id": 100, "category_id": 9, "bbox": [0, 0, 30, 30], "iscrowd": 1}
    write_coco(coco, SPLITS, [crowd])
    for image in (
        read_detection_folder(voc)["train"].photographs[-1],
        read_detection_folder(coco)["train"].photographs[0],
    ):
        assert image.crowd.tolist()[-1]
        assert len(image.single[1]) == len(image.boxes) - 1


def test_what_coco_says_wrong_is_named(tmp_path):
    extra = [
        {"image_id": 100, "category_id": 9, "bbox": [1, 2, 0, 5]},
        {"image_id": 100, "category_id": 4, "bbox": [1, 2, 5, 5]},
        {"image_id": 100, "category_id": 9, "bbox": [1, 2]},
        {"image_id": 3, "category_id": 9, "bbox": [1, 2, 5, 5]},
    ]
    write_coco(tmp_path, SPLITS, extra)
    (tmp_path / "train2017" / "b.png").unlink()
    part = read_detection_folder(tmp_path)["train"]
    assert [image.path.stem for image in part.photographs] == ["a", "empty"]
    said = {f"{where}: {what}" for where, what in part.left_out}
    assert said == {
        "a.png: box (1, 2, 1, 7) of red: zero area",
        "a.png: box (1, 2, 6, 7) of number 4: unknown class",
        "annotation 6: box [1, 2] of red: not four numbers",
        "image 3: 1 boxes of an image not listed",
        "b.png: image b.png: missing",
    }


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: None, "Expected a folder with ImageSets"),
        (lambda root: write_voc(root, {"train": ["a"]}), "Expected a split of train"),
        (lambda root: write_coco(root, {"train": ["a"]}), "Expected a split of train"),
        (lambda root: write_voc(root, {"train": ["a"], "val": ["empty"]}), "has no box"),
        (
            lambda root: (
                write_coco(root, SPLITS) / "annotations" / "instances_train2017.json"
            ).write_text("{"),
            "malformed",
        ),
        (
            lambda root: (
                write_coco(root, SPLITS) / "annotations" / "instances_train2014.json"
            ).write_text("{}"),
            "Expected one file of split train",
        ),
        (
            lambda root: (
                write_coco(root, SPLITS) / "annotations" / "instances_train2017.json"
            ).write_text('{"images": [3], "annotations": [], "categories": []}'),
            "malformed",
        ),
    ],
)
def test_folders_that_are_none(break_it, message, tmp_path):
    break_it(tmp_path)
    with pytest.raises(InputError, match=message):
        read_detection_folder(tmp_path)


def undivided(path, images="images"):
    """COCO's one file of all images."""

    def write(root):
        for name, boxes in BOXES.items():
            draw(root / images / f"{name}.png", boxes)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(coco_record(list(BOXES))))
        return root

    return write


def without_lists(root):
    write_voc(root, {"train": list(BOXES)})
    (root / "ImageSets" / "Main" / "train.txt").unlink()


WHOLES = {
    "CVAT": (undivided("annotations/instances_default.json", "images/default"), "default"),
    "result.json": (undivided("result.json"), "default"),
    "beside": (undivided("any name.json", ""), "default"),
    "train.json": (undivided("train.json", ""), "train"),
    "VOC without lists": (without_lists, "default"),
    "VOC of one list": (lambda root: write_voc(root, {"train": list(BOXES)}), "train"),
    "VOC of CVAT": (lambda root: write_voc(root, {"default": list(BOXES)}), "default"),
    "VOC of trainval": (lambda root: write_voc(root, {"trainval": list(BOXES)}), "default"),
}


@pytest.mark.parametrize(("write", "name"), WHOLES.values(), ids=WHOLES)
def test_what_is_not_divided_is_by_a_share(write, name, tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match=rf"a split of {name} in .* such as --val-split 0.2"):
        read_detection_folder(tmp_path)
    whole = read_detection_folder(tmp_path, [name])
    assert [image.path.stem for image in whole[name].photographs] == list(BOXES)
    folder = read_detection_folder(tmp_path, val_split=0.4)
    assert folder.classes == whole.classes == CLASSES
    names = [{image.path.stem for image in folder[split].photographs} for split in ("train", "val")]
    assert [len(each) for each in names] == [3, 2]
    assert names[0] | names[1] == set(BOXES)
    again = read_detection_folder(tmp_path, ["val"], val_split=0.4)
    assert {image.path.stem for image in again["val"].photographs} == names[1]


@pytest.mark.parametrize(
    ("share", "splits", "message"),
    [
        (0.5, {"train": ["a"], "val": ["b"]}, "has .*val.txt, so no val split can be stated"),
        (0.0, {"train": ["a", "b"]}, "Expected a val split between 0 and 1. Received: 0"),
        (float("nan"), {"train": ["a", "b"]}, "Expected a val split between 0 and 1"),
        (0.9, {"train": ["a", "b"]}, "leaves no image to train on. Images: 2"),
        (0.5, {"test": ["a", "b"]}, "Expected a split of test in .* Received: default"),
    ],
)
def test_shares_that_cannot_be_taken(share, splits, message, tmp_path):
    write_voc(tmp_path, splits)
    with pytest.raises(InputError, match=message):
        read_detection_folder(tmp_path, val_split=share)


def test_what_is_left_out_goes_with_its_image(tmp_path):
    write_voc(tmp_path, {"train": list(BOXES)})
    for name in BOXES:
        boxes = [*BOXES[name], ("red", 5, 5, 5, 5), ("red", "left", 5, 5, 5)]
        (tmp_path / "Annotations" / f"{name}.xml").write_text(annotation(boxes))
    folder = read_detection_folder(tmp_path, val_split=0.4)
    for part in folder.splits.values():
        names = {f"{image.path.stem}.xml" for image in part.photographs}
        assert {each.where for each in part.left_out} == names
        assert len(part.left_out) == 2 * len(part)


ENCODINGS = {"UTF-8 with a mark": "utf-8-sig", "UTF-16": "utf-16", "Latin-1": "latin-1"}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("suffix", ["", ".jpg", ".JPEG", ".xml", "  1", " -1"])
@pytest.mark.parametrize("name", ["plain", "Fahrräder in Köln 3", "v1.5", "sub/a"])
def test_lists_of_voc_are_read_as_people_write_them(name, suffix, encoding, tmp_path):
    draw(tmp_path / "JPEGImages" / f"{name}.png", BOXES["a"])
    xml = tmp_path / "Annotations" / f"{name}.xml"
    xml.parent.mkdir(parents=True, exist_ok=True)
    xml.write_bytes(b"\xef\xbb\xbf" + annotation(BOXES["a"]).encode())
    path = tmp_path / "ImageSets" / "Main" / "Training.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(f"{name}{suffix}\r\n\r\n{name}{suffix}\r\n".encode(encoding))
    (image,) = read_detection_folder(tmp_path, ["train"])["train"].photographs
    assert image.path == tmp_path / "JPEGImages" / f"{name}.png"
    assert len(image.boxes) == 2


@pytest.mark.parametrize("xml", [b"", b" \r\n", b"\xef\xbb\xbf"])
def test_an_empty_annotation_is_of_an_image_without_boxes(xml, tmp_path):
    write_voc(tmp_path, SPLITS)
    (tmp_path / "Annotations" / "b.xml").write_bytes(xml)
    part = read_detection_folder(tmp_path)["train"]
    assert part.left_out == ()
    assert [path.stem for path in part.empty] == ["b", "empty"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_may_have_a_byte_order_mark(encoding, tmp_path):
    write_coco(tmp_path, SPLITS)
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert len(read_detection_folder(tmp_path)["train"]) == 3


def test_blood_cells(data):
    """The real set: two boxes of zero area, and the counts of its authors."""
    folder = read_detection_folder(data / "bccd", ("train", "val", "test"))
    assert folder.classes == ("Platelets", "RBC", "WBC")
    assert {name: len(part) for name, part in folder.splits.items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }
    assert [each.where for part in folder.splits.values() for each in part.left_out] == [
        "BloodImage_00343.xml",
        "BloodImage_00338.xml",
    ]
    labels = np.concatenate([x.labels for part in folder.splits.values() for x in part.photographs])
    assert np.bincount(labels).tolist() == [361, 4155 - 2, 372]
