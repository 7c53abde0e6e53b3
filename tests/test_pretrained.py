"""Pretrained MobileNetV2 with CBAM at every point: nothing lost, and gently trained."""

import csv

import keras
import numpy as np
import pytest

from keras_cbam import attach_attention, freeze_backbone
from keras_cbam.training import ImageBatches, find_images
from tests.conftest import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")


@pytest.fixture(scope="module")
def plain(data):
    weights = data / "weights" / "mobilenet_v2_1.0_224_dequant.h5"
    return keras.applications.MobileNetV2(weights=str(weights))


@pytest.fixture(scope="module")
def photographs(data):
    """32 to compare bits on, 160 to train on with their labels, 128 to judge by."""
    folder = data / "imagenet_sample_1000"
    found, _ = find_images(folder / "images")
    with (folder / "labels.csv").open() as file:
        index = {row["wnid"]: int(row["class_index"]) for row in csv.DictReader(file)}
    order = np.random.default_rng(0).permutation(len(found))[:320]
    batches = ImageBatches(found.take(order), 224, 320)
    images = keras.applications.mobilenet_v2.preprocess_input(batches[0][0])
    labels = np.array([index[found.paths[i].stem] for i in order])
    return images[:32], images[32:192], labels[32:192], images[192:]


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def test_bits_before_training_and_agreement_after_ten_steps(plain, photographs):
    keras.utils.set_random_seed(0)
    images, train_images, train_labels, judged = photographs
    before = plain.get_weights()
    attached = attach_attention(plain)
    expected = np.asarray(plain(images))
    assert np.ptp(expected, axis=0).max() > 0.5
    assert np.array_equal(np.asarray(attached(images)), expected)
    # Compiled, the plain network is the one that rounds differently: TensorFlow fuses its
    # convolutions with the additions, which attention stands between.
    compiled = attached.predict(images, verbose=0)
    plain_compiled = plain.predict(images, verbose=0)
    difference = np.abs(compiled - expected).max()
    own = np.abs(plain_compiled - expected).max()
    assert difference < 1e-6
    assert np.abs(compiled - plain_compiled).max() < own + 1e-6
    added = count(attached.trainable_variables) - count(plain.trainable_variables)
    print(
        f"\ntrainable parameters: {count(plain.trainable_variables):,} plain, +{added:,} with CBAM"
        f"\nlargest difference of predict from the plain network's outputs {difference:.2g}, the "
        f"plain network's own {own:.2g}"
    )

    freeze_backbone(attached)
    attached.compile(
        keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", jit_compile=False
    )
    for step in range(10):
        batch = slice(16 * step, 16 * step + 16)
        attached.train_on_batch(train_images[batch], train_labels[batch])
    answers = plain.predict(judged, verbose=0)
    trained = np.asarray(attached(judged, training=True))
    agreement = np.mean(trained.argmax(-1) == answers.argmax(-1))
    print(f"top-1 agreement after 10 steps, in training mode: {agreement:.1%}")
    assert np.abs(trained - answers).max() > 1e-3
    assert agreement >= 0.95
    assert all(np.array_equal(a, b) for a, b in zip(before, plain.get_weights(), strict=True))
