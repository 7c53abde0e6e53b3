"""Scores are COCO's: worked by hand, and those of pycocotools on files."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from keras_cbam.detection import Detections, Photograph, coco_metrics, read_detection_folder
from keras_cbam.detection.metrics import SUMMARY
from tests.backend import BACKEND
from tests.detection.data import draw

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="scores are the same everywhere")
pytest.importorskip("pycocotools", reason="needs the extra `detection`")

NAMES = ("cat", "dog", "never")


def detections(rows):
    boxes = np.array([row[:4] for row in rows], "float32").reshape(-1, 4)
    return Detections(
        boxes,
        np.array([row[4] for row in rows], "float32"),
        np.array([row[5] for row in rows], "int32"),
    )


def photograph(boxes, labels, crowd=None):
    return Photograph(
        Path("image"),
        (200, 200),
        np.array(boxes, "float32").reshape(-1, 4),
        np.array(labels, "int32"),
        np.zeros(len(boxes), bool) if crowd is None else np.array(crowd),
    )


def test_worked_by_hand():
    """One of two objects is found, then nothing: precision 1 up to recall .5, of 101 points 51."""
    image = photograph([[0, 0, 100, 100], [110, 110, 190, 190]], [0, 0])
    # The second box overlaps its object by 0.6: right at .5, wrong at .75.
    found = detections([[0, 0, 100, 100, 0.9, 0]])
    metrics = coco_metrics([image], [found], NAMES[:1])
    assert metrics["mAP50"] == pytest.approx(51 / 101)
    assert metrics["mAP"] == pytest.approx(51 / 101)
    assert metrics["mAR"] == pytest.approx(0.5)
    overlapping = detections([[0, 0, 100, 100, 0.9, 0], [110, 110, 190, 158, 0.8, 0]])
    metrics = coco_metrics([image], [overlapping], NAMES[:1])
    assert metrics["mAP50"] == pytest.approx(1)
    assert metrics["mAP75"] == pytest.approx(51 / 101)
    # .5, .55 and .6 of ten thresholds.
    assert metrics["mAP"] == pytest.approx((3 + 7 * 51 / 101) / 10)


def test_crowds_are_not_counted():
    """What is found within a crowd is neither right nor wrong."""
    image = photograph([[0, 0, 50, 50], [60, 60, 190, 190]], [0, 0], [False, True])
    found = [[0, 0, 50, 50, 0.5, 0], [70, 70, 100, 100, 0.9, 0], [110, 110, 150, 150, 0.8, 0]]
    assert coco_metrics([image], [detections(found)], NAMES[:1])["mAP"] == pytest.approx(1)


def scene(rng, images, folder):
    """Random objects, crowds and images without any, and what a poor detector finds of them."""
    record = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3 + 2 * index, "name": name} for index, name in enumerate(NAMES)],
    }
    results = []
    for number in range(1, images + 1):
        name = f"{number}.png"
        draw(folder / "val" / name, [], (200, 200))
        record["images"].append({"id": number, "file_name": name, "height": 200, "width": 200})
        for _ in range(0 if number % 4 == 0 else rng.integers(1, 8)):
            left, top = (int(value) for value in rng.integers(0, 70, 2))
            width, height = (int(value) for value in rng.integers(8, 125, 2))
            category = int(rng.choice([3, 5]))
            record["annotations"].append(
                {
                    "id": len(record["annotations"]) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
            if rng.random() < 0.8:
                moved = np.array([left, top, width, height]) + rng.normal(0, 4, 4)
                results.append(result(number, category, moved, rng))
        if number % 5 == 0:
            continue  # nothing is found
        for _ in range(rng.integers(0, 4)):
            results.append(result(number, 5, rng.uniform(5, 90, 4), rng))
    return record, results


def result(number, category, box, rng):
    left, top, width, height = (float(np.float32(value)) for value in box)
    score = float(np.float32(rng.random()))
    bbox = [max(left, 0.0), max(top, 0.0), max(width, 1.0), max(height, 1.0)]
    return {"image_id": number, "category_id": category, "bbox": bbox, "score": score}


@pytest.mark.parametrize("empty", [False, True])
def test_agrees_with_pycocotools_on_files(empty, tmp_path):
    record, results = scene(np.random.default_rng(1), 24, tmp_path)
    truth = tmp_path / "annotations" / "instances_val.json"
    truth.parent.mkdir()
    truth.write_text(json.dumps(record))
    found_path = tmp_path / "found.json"
    found_path.write_text(json.dumps(results))

    folder = read_detection_folder(tmp_path, ["val"], classes=NAMES)
    assert folder["val"].left_out == ()
    assert folder["val"].empty
    assert any(image.crowd.any() for image in folder["val"].photographs)
    found = []
    for entry in record["images"]:
        rows = [row for row in results if row["image_id"] == entry["id"] and not empty]
        found.append(
            detections(
                [
                    [x, y, x + w, y + h, row["score"], (row["category_id"] - 3) // 2]
                    for row in rows
                    for x, y, w, h in [row["bbox"]]
                ]
            )
        )
    metrics = coco_metrics(folder["val"].photographs, found, NAMES)
    if empty:
        # pycocotools itself refuses a file of no results.
        assert metrics["mAP"] == metrics["mAP50"] == metrics["mAR"] == 0
        return
    expected = scored_by_pycocotools(truth, found_path)
    assert 0.1 < expected[0] < 0.9
    for name, place in SUMMARY.items():
        assert metrics[name] == pytest.approx(expected[place], abs=1e-6), name
    # Of a class without an object there is nothing to score.
    assert metrics["AP50 never"] is None
    assert np.mean([metrics["AP50 cat"], metrics["AP50 dog"]]) == pytest.approx(expected[1])


def scored_by_pycocotools(truth, found):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        evaluation = COCOeval(coco, coco.loadRes(str(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
