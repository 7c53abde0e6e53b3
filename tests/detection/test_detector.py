"""The detector: KerasHub's, on a backbone whose attention changes nothing at the start."""

import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_cbam import CBAM
from keras_cbam.detection import Photograph, build_detector, load_detector
from keras_cbam.detection.anchors import SIZES, choose_anchor_size, coverage
from keras_cbam.detection.detector import PRIOR, anchor_generator, anchors, retinanet
from keras_cbam.detection.letterbox import letterbox
from keras_cbam.errors import InputError
from keras_cbam.training import dtype_policy
from tests.backend import BACKEND, quick_on
from tests.detection.conftest import SIZE, build
from tests.drawn import example, vary
from tests.surgery.proof import assert_agree, assert_varies, call

pytest.importorskip("keras_hub", reason="needs the extra `detection`")


@pytest.mark.backends
@quick_on("tensorflow", "torch")
def test_attention_changes_nothing_at_the_start(rng):
    plain, attached = build("none"), build("cbam")
    vary(plain.backbone.get_layer("backbone"))
    inside = attached.backbone.get_layer("backbone").layers
    assert sum(isinstance(layer, CBAM) for layer in inside) == 8
    copied = {layer.name: layer for layer in plain.backbone.get_layer("backbone").layers}
    for layer in inside:
        if layer.name in copied:
            layer.set_weights(copied[layer.name].get_weights())
    attached.backbone.get_layer("fpn").set_weights(plain.backbone.get_layer("fpn").get_weights())
    images = example(plain, rng)
    expected = call(plain, images)
    assert_varies(expected, 1e-4)
    assert_agree(call(attached, images), expected)


def test_heads_start_as_the_paper_says(rng):
    """Every anchor is of every class with probability 0.01, and no box has moved."""
    model = build()
    outputs = model(example(model, rng))
    scores = keras.ops.convert_to_numpy(keras.ops.sigmoid(outputs["cls_logits"]))
    assert np.abs(scores - PRIOR).max() < 5e-3
    assert np.abs(keras.ops.convert_to_numpy(outputs["bbox_regression"])).max() < 0.5
    again, other = build(), build(seed=1)
    kernels = [head_kernels(each) for each in (model, again, other)]
    for ours, theirs, others in zip(*kernels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(ours, others)
    alike = {kernel.tobytes() for kernel in kernels[0]}
    assert len(alike) == len(kernels[0]) == 4


def head_kernels(model):
    return [
        keras.ops.convert_to_numpy(layer.kernel)
        for head in (model.box_head, model.classification_head)
        for layer in (*head.conv_layers, head.prediction_layer)
    ]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")
def test_saved_and_loaded(detector, rng, tmp_path):
    images = example(detector, rng)
    expected = call(detector, images)
    assert_varies(expected)
    detector.save(tmp_path / "model.keras")
    loaded = load_detector(tmp_path / "model.keras")
    assert_agree(call(loaded, images), expected)
    np.testing.assert_array_equal(
        anchors(loaded.anchor_generator, SIZE), anchors(detector.anchor_generator, SIZE)
    )
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="Expected a KerasHub RetinaNet"):
        load_detector(tmp_path / "other.keras")
    with pytest.raises(InputError, match="No file at"):
        load_detector(tmp_path / "none.keras")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend shows how it is built")
def test_half_precision_does_not_round_boxes():
    """Of bfloat16 neighbours in 64..128 are half a pixel apart."""
    boxes = np.array([[[10.3, 11.7, 65.26, 60.26], [66.27, 3.3, 90.76, 30.1]]], "float32")
    targets = []
    for policy in ("float32", "mixed_bfloat16"):
        with dtype_policy(policy):
            model = build(head_layers=0)
        assert model.box_head.compute_dtype == policy.removeprefix("mixed_")
        found = model.label_encoder(
            images=np.zeros((1, *SIZE, 3), "float32"),
            gt_boxes=boxes,
            gt_classes=np.zeros((1, 2), "float32"),
        )
        targets.append([keras.ops.convert_to_numpy(values) for values in found])
    for ours, expected in zip(*targets, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert (targets[0][1] == 0).sum() > 3


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend shows how it is built")
def test_a_backbone_of_ones_own():
    """KerasHub's, beside those of keras.applications."""
    import keras_hub

    hub = keras_hub.models.ResNetBackbone(
        image_shape=(*SIZE, 3),
        input_conv_filters=[8],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
    )
    # What it computes: of inputs that are no squares KerasHub 0.32 tells its own shapes wrong.
    outputs = retinanet(hub, 3, image_size=SIZE, head_layers=0)(keras.ops.zeros((2, *SIZE, 3)))
    count = len(anchors(anchor_generator(4.0), SIZE))
    assert outputs["cls_logits"].shape == (2, count, 3)
    assert outputs["bbox_regression"].shape == (2, count, 4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="refused alike everywhere")
def test_what_makes_no_detector():
    with pytest.raises(InputError, match=r"multiples of 32.*Received: 100x320"):
        build(image_size=(100, 320))
    with pytest.raises(ValueError, match=r"multiples of 32.*Received: 64x90"):
        retinanet(keras.Sequential([keras.Input((64, 90, 3))]), 2, image_size=(64, 90))
    with pytest.raises(InputError, match="Expected an attention"):
        build("transformer")
    with pytest.raises(InputError, match="backbone Nothing is not known"):
        build_detector("Nothing", 2, weights="none")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy decides")
def test_anchors_are_chosen_by_the_boxes(found_photographs):
    """Worked out box by box: the size whose anchors overlap most boxes by half is chosen."""
    size, share = choose_anchor_size(found_photographs, SIZE)
    every = anchors(anchor_generator(size), SIZE)
    fits = []
    for image in found_photographs:
        for left, top, right, bottom in letterbox(image.size, SIZE).boxes_in(image.boxes):
            width = np.clip(np.minimum(every[:, 2], right) - np.maximum(every[:, 0], left), 0, None)
            height = np.clip(
                np.minimum(every[:, 3], bottom) - np.maximum(every[:, 1], top), 0, None
            )
            shared = width * height
            area = (every[:, 2] - every[:, 0]) * (every[:, 3] - every[:, 1])
            fits.append((shared / (area + (right - left) * (bottom - top) - shared)).max() >= 0.5)
    assert share == pytest.approx(np.mean(fits))
    others = [coverage(found_photographs, SIZE, each) for each in SIZES]
    assert share == max(others) > min(others)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy decides")
def test_anchors_of_many_boxes_are_chosen_by_some():
    """A million boxes took minutes, and memory for each with each anchor."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 40, (100_000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 24, (100_000, 2))], -1)
    labels = np.zeros(len(boxes), "int32")
    image = Photograph(Path("a.png"), SIZE, boxes.astype("float32"), labels, labels.astype(bool))
    start = time.process_time()
    many = coverage([image], SIZE, 2.0)
    assert time.process_time() - start < 3.0
    few = replace(image, boxes=image.boxes[:2000], labels=labels[:2000], crowd=image.crowd[:2000])
    assert many == pytest.approx(coverage([few], SIZE, 2.0), abs=0.03)
