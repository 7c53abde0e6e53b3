"""Annotations that hold anything at all: used where they can be, named or refused where not."""

import json
import os
import time

import pytest

from keras_cbam.detection import read_detection_folder
from keras_cbam.errors import InputError
from tests.backend import BACKEND
from tests.detection.data import BOXES, annotation, coco_record, draw, write_coco, write_voc

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")

LONG = "x" * 5000
DEEP = "[" * 200_000 + "]" * 200_000
BIG = "1" + "0" * 400
TRAIN = {"train": ["a", "b"]}


def row(**changes):
    return {"image_id": 100, "category_id": 9, "bbox": [1, 2, 5, 5]} | changes


def told(root):
    """What is left out of a data set of which a box is left."""
    part = read_detection_folder(root, ["train"])["train"]
    assert part.boxes == 3
    for each in part.left_out:
        for text in each:
            text.encode()
            assert len(text) < 400
            assert text.splitlines() == [text]
    return [f"{where}: {what}" for where, what in part.left_out]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (row(image_id=[100]), "box of image [100], category 9: these are not ids"),
        (row(category_id={"a": 9}), "box of image 100, category {'a': 9}: these are not ids"),
        (row(image_id=None), "box of image None, category 9: these are not ids"),
        (row(category_id=True), "box of image 100, category True: these are not ids"),
        (row(category_id="9"), "box (1, 2, 6, 7) of number 9: unknown class"),
        (row(bbox=[float("inf"), 1, 5, 5]), "box (inf, 1, inf, 6) of red: not numbers"),
        (row(bbox=[1, 1, float("nan"), 5]), "box (1, 1, nan, 6) of red: not numbers"),
        (row(bbox=[1, 1, 1e300, 5]), "box (1, 1, 1e+300, 6) of red: outside of the image"),
        (row(bbox=[1, 1, 10**400, 5]), "of red: not four numbers"),
        (row(bbox="1234"), "box 1234 of red: not four numbers"),
        (row(bbox=[True, "2", 3, 4]), "box [True, '2', 3, 4] of red: not four numbers"),
        (row(bbox=["1"] * 100_000), "of red: not four numbers"),
        (row(bbox=[LONG, 1, 1, 1]), "of red: not four numbers"),
        (row(iscrowd="0"), "box of red: iscrowd is 0, neither 0 nor 1"),
        (row(iscrowd=[1]), "box of red: iscrowd is [1], neither 0 nor 1"),
        (row(image_id=LONG), "1 boxes of an image not listed"),
        (row(image_id="\ud800\n"), "image \\ud800\\n: 1 boxes of an image not listed"),
        (row(category_id="\x1b[31m"), "of number \\x1b[31m: unknown class"),
    ],
)
def test_boxes_of_coco_that_are_none_are_named(wrong, sentence, tmp_path):
    write_coco(tmp_path, TRAIN, [wrong])
    (said,) = told(tmp_path)
    assert sentence in said


@pytest.mark.parametrize("name", [LONG, "../" * 2000, "nul\0.png", "half\ud800.png", "a\nb.png"])
def test_names_of_images_that_no_file_has(name, tmp_path):
    write_coco(tmp_path, TRAIN)
    path = tmp_path / "annotations" / "instances_train2017.json"
    record = json.loads(path.read_text())
    record["images"].append({"id": 5, "file_name": name})
    path.write_text(json.dumps(record))
    (said,) = told(tmp_path)
    assert "missing" in said


def image(**changes):
    return {"id": 5, "file_name": "a.png"} | changes


def category(**changes):
    return {"id": 5, "name": "green"} | changes


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [
        ("images", image(id=[1]), r"images\[2\] is"),
        ("images", image(id=None), r"images\[2\] is"),
        ("images", image(id=float("nan")), r"images\[2\] is"),
        ("images", image(file_name=3), r"images\[2\] is"),
        ("images", image(file_name=""), r"images\[2\] is"),
        ("images", "a.png", r"images\[2\] is a.png"),
        ("annotations", [1, 2], r"annotations\[3\] is \[1, 2\]"),
        ("categories", category(id=[1]), r"categories\[2\] is"),
        ("categories", category(id=float("nan")), r"categories\[2\] is"),
        ("categories", category(name=None), r"categories\[2\] is"),
        ("categories", category(name=["cat"]), r"categories\[2\] is"),
        ("categories", category(name=""), r"categories\[2\] is"),
        ("categories", category(name="a\nb"), r"categories\[2\] is"),
        ("categories", category(name="a\u2028b"), r"categories\[2\] is"),
        ("categories", category(name="half\ud800"), r"categories\[2\] is"),
        ("categories", category(id=9), "Expected one category per id .* red and green"),
    ],
)
def test_lists_of_coco_that_are_malformed_are_refused(name, extra, message, tmp_path):
    write_coco(tmp_path, TRAIN)
    path = tmp_path / "annotations" / "instances_train2017.json"
    record = json.loads(path.read_text())
    record[name].append(extra)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message) as refused:
        read_detection_folder(tmp_path, ["train"])
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"images":' + DEEP + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[]",
        "null",
        '"text"',
        "1" * 10_000,
        '{"images": {}, "annotations": [], "categories": []}',
        '{"images": [], "annotations": null, "categories": []}',
        "\udcff",
        "",
    ],
)
def test_files_of_coco_that_are_none_are_refused(text, tmp_path):
    write_coco(tmp_path, TRAIN)
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="It is malformed: "):
        read_detection_folder(tmp_path, ["train"])


def test_ids_may_be_numbers_and_text(tmp_path):
    """Mixed, they are in the order of the numbers, then of the text."""
    record = coco_record(["a", "d"])
    record["categories"] = [{"id": "7", "name": "blue"}, {"id": 9, "name": "red"}]
    for each in record["annotations"]:
        each["category_id"] = {7: "7", 9: 9}[each["category_id"]]
    for name in ("a", "d"):
        draw(tmp_path / "images" / f"{name}.png", BOXES[name])
    (tmp_path / "train.json").write_text(json.dumps(record))
    folder = read_detection_folder(tmp_path, ["train"])
    assert folder.classes == ("red", "blue")
    assert folder["train"].boxes == 5


def test_a_name_of_two_categories_is_refused_if_both_have_boxes(tmp_path):
    record = coco_record(["a", "d"])
    # A program for the web lists the name of the data set as a category, without a box.
    record["categories"].append({"id": 0, "name": "red"})
    for name in ("a", "d"):
        draw(tmp_path / f"{name}.png", BOXES[name])
    (tmp_path / "train.json").write_text(json.dumps(record))
    assert read_detection_folder(tmp_path, ["train"]).classes == ("blue", "red")
    record["annotations"][0]["category_id"] = 0
    (tmp_path / "train.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"one id per category .* Received: red of ids 0 and 9"):
        read_detection_folder(tmp_path, ["train"])


@pytest.mark.parametrize(
    ("twin", "sentence"),
    [
        ({"id": 101, "file_name": "d.png"}, "its id 101 is listed twice"),
        ({"id": 5, "file_name": "b.png"}, "its file_name b.png is listed twice"),
    ],
)
def test_images_listed_twice_are_left_out(twin, sentence, tmp_path):
    """Nothing says whose the boxes are."""
    write_coco(tmp_path, {"train": ["a", "b"], "val": ["d"]})
    path = tmp_path / "annotations" / "instances_train2017.json"
    record = json.loads(path.read_text())
    record["images"].append(twin)
    path.write_text(json.dumps(record))
    part = read_detection_folder(tmp_path, ["train"])["train"]
    assert [image.path.name for image in part.photographs] == ["a.png"]
    assert len(part.left_out) == 2
    assert all(sentence in what for _, what in part.left_out)


def laughs():
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    return f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><annotation><name>&e12;</name></annotation>'


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "malformed XML, "),
        (b'<?xml version="1.0" encoding="shift_jis"?><annotation/>', "malformed XML, "),
        (b'<?xml version="1.0" encoding="utf-32"?><annotation/>', "malformed XML, "),
        (b"<annotation><name>\xe9</name></annotation>", "malformed XML, "),
        (b"<a>" * 200_000, "malformed XML, "),
        (b"\0" * 100, "malformed XML, "),
        (laughs().encode(), "malformed XML, "),
        (annotation([("", 1, 2, 3, 4)]).encode(), "box (1, 2, 3, 4) has no name of one line"),
        (annotation([("a\nb", 1, 2, 3, 4)]).encode(), "has no name of one line"),
        (annotation([("red", LONG, 2, 3, 4)]).encode(), "box (xxx"),
        (annotation([("red", "1e999", 2, 3, 4)]).encode(), "box (inf, 2, 3, 4) of red: not numb"),
        (annotation([("red", BIG, 2, 3, 4)]).encode(), "box (inf, 2, 3, 4) of red: not numb"),
        (annotation([("red", 1e300, 2, 3, 4)]).encode(), "outside of the image"),
    ],
)
def test_annotations_of_voc_that_are_none_are_named(xml, sentence, tmp_path):
    write_voc(tmp_path, {"train": ["a", "b", "empty"]})
    (tmp_path / "Annotations" / "empty.xml").write_bytes(xml)
    (said,) = told(tmp_path)
    assert sentence in said


def test_deep_xml_is_read(tmp_path):
    write_voc(tmp_path, {"train": ["a", "b", "empty"]})
    deep = f"<annotation>{'<a>' * 200_000}{'</a>' * 200_000}</annotation>"
    (tmp_path / "Annotations" / "empty.xml").write_text(deep)
    assert told(tmp_path) == []


@pytest.mark.parametrize("name", [LONG, "nul\0", "../../" * 1000, "a/b/c"])
def test_names_in_lists_of_voc_that_no_file_has(name, tmp_path):
    write_voc(tmp_path, {"train": ["a", "b"]})
    with (tmp_path / "ImageSets" / "Main" / "train.txt").open("a") as file:
        file.write(f"{name}\n")
    (said,) = told(tmp_path)
    assert "its annotation is missing" in said


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_read(kind, tmp_path):
    voc, coco = tmp_path / "voc", tmp_path / "coco"
    write_voc(voc, {"train": ["a", "b", "empty"]})
    (voc / "Annotations" / "empty.xml").unlink()
    kind(voc / "Annotations" / "empty.xml")
    assert told(voc) == ["empty.xml: image empty: its annotation is not a file"]
    list_path = voc / "ImageSets" / "Main" / "train.txt"
    list_path.unlink()
    kind(list_path)
    with pytest.raises(InputError, match="Expected a file of names"):
        read_detection_folder(voc, ["train"])
    write_coco(coco, TRAIN)
    path = coco / "annotations" / "instances_train2017.json"
    path.unlink()
    kind(path)
    with pytest.raises(InputError, match="Expected a file of annotations"):
        read_detection_folder(coco, ["train"])


def test_time_grows_with_the_number_of_boxes_alone(tmp_path):
    """Each box was looked for among the names of all classes."""
    categories = [{"id": number, "name": f"class {number}"} for number in range(5000)]
    boxes = [row(image_id=n % 2, category_id=n % 5000) for n in range(50_000)]
    draw(tmp_path / "0.png", [])
    draw(tmp_path / "1.png", [])
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(10_000)]
    record = {"images": images, "annotations": boxes, "categories": categories}
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record))
    start = time.process_time()
    part = read_detection_folder(tmp_path, ["train"])["train"]
    assert (part.boxes, len(part.left_out)) == (50_000, 9_998)
    assert time.process_time() - start < 4.0


@pytest.mark.parametrize("form", ["VOC", "COCO"])
def test_a_name_that_is_not_utf_8_is_refused(form, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    if form == "VOC":
        draw(tmp_path / "JPEGImages" / f"{name}.png", BOXES["a"])
        (tmp_path / "Annotations").mkdir()
        (tmp_path / "Annotations" / f"{name}.xml").write_text(annotation(BOXES["a"]))
    else:
        record = coco_record(["a"])
        record["images"][0]["file_name"] = f"{name}.png"
        draw(tmp_path / f"{name}.png", BOXES["a"])
        (tmp_path / "default.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"Expected names in UTF-8\. Received: b'.*caf\\xe9"):
        read_detection_folder(tmp_path, ["default"])
