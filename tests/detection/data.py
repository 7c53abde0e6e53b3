"""Data sets of a few drawn images, in VOC's folders and in COCO's."""

import json

import numpy as np

GRAY = 60
COLORS = {"blue": (40, 40, 220), "red": (220, 40, 40)}
CLASSES = tuple(COLORS)
SIZE = (48, 80)  # height, width

# name of the image -> (class, left, top, right, bottom)
BOXES = {
    "a": [("red", 8, 8, 28, 28), ("blue", 40, 12, 64, 36)],
    "b": [("blue", 10, 6, 40, 30)],
    "c": [("red", 48, 20, 72, 44)],
    "d": [("red", 4, 4, 24, 24), ("red", 44, 4, 76, 36), ("blue", 26, 26, 42, 42)],
    "empty": [],
}


def draw(path, boxes, size=SIZE):
    from PIL import Image

    pixels = np.full((*size, 3), GRAY, "uint8")
    for name, left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = COLORS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def annotation(boxes, difficult=0):
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>"
        for name, left, top, right, bottom in boxes
    )
    return f"<annotation><filename>another.jpg</filename>{objects}</annotation>"


def write_voc(root, splits):
    """Write the images of each split, `{split: names of BOXES}`, with all of their boxes."""
    for split, names in splits.items():
        for name in names:
            draw(root / "JPEGImages" / f"{name}.png", BOXES[name])
            add(root, split, name, annotation(BOXES[name]))
    return root


def add(root, split, name, xml):
    """Add an annotation to a split, `None` for its name alone."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    with (lists / f"{split}.txt").open("a") as file:
        file.write(f"{name}\n")
    if xml is not None:
        (root / "Annotations" / f"{name}.xml").write_text(xml)


def coco_record(names, extra=()):
    """What COCO's file of these images holds; its numbers are not those of our indices."""
    numbers = {name: 100 + index for index, name in enumerate(names)}
    rows = [
        {
            "image_id": numbers[name],
            "category_id": 7 if label == "blue" else 9,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        for name in names
        for label, left, top, right, bottom in BOXES[name]
    ]
    return {
        "images": [
            {"id": number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
            for name, number in numbers.items()
        ],
        "annotations": [{"id": i, **row} for i, row in enumerate([*rows, *extra], start=1)],
        "categories": [{"id": 9, "name": "red"}, {"id": 7, "name": "blue"}],
    }


def write_coco(root, splits, extra=()):
    for split, names in splits.items():
        for name in names:
            draw(root / f"{split}2017" / f"{name}.png", BOXES[name])
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(coco_record(names, extra)))
    return root
