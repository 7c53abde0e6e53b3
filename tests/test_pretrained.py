"""Pretrained MobileNetV2 with CBAM at every point: nothing lost, and gently trained."""

import csv

import keras
import numpy as np
import pytest

from keras_cbam import attach_attention, freeze_backbone
from keras_cbam.training import ImageBatches, find_images
from tests.backend import BACKEND

# Smaller than the published 224, so that ten steps take seconds.
SIZE = 96

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")


def pretrained(data, size):
    weights = data / "weights" / "mobilenet_v2_1.0_224_dequant.h5"
    return keras.applications.MobileNetV2(weights=str(weights), input_shape=(size, size, 3))


@pytest.fixture(scope="module")
def photographs(data):
    """32 to compare bits on, 160 to train on with their labels, 128 to judge by."""
    folder = data / "imagenet_sample_1000"
    found, _ = find_images(folder / "images")
    with (folder / "labels.csv").open() as file:
        index = {row["wnid"]: int(row["class_index"]) for row in csv.DictReader(file)}
    order = np.random.default_rng(0).permutation(len(found))[:320]
    batches = ImageBatches(found.take(order), SIZE, 320)
    images = keras.applications.mobilenet_v2.preprocess_input(batches[0][0])
    labels = np.array([index[found.paths[i].stem] for i in order])
    return images[:32], images[32:192], labels[32:192], images[192:]


@pytest.fixture(scope="module")
def sample(data):
    """All 1000 images, short side 256, center crop 224, and their labels."""
    from PIL import Image

    folder = data / "imagenet_sample_1000"
    with (folder / "labels.csv").open() as file:
        index = {row["wnid"]: int(row["class_index"]) for row in csv.DictReader(file)}
    images = []
    for name in index:
        image = Image.open(folder / "images" / f"{name}.jpg").convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize(
            [round(side * scale) for side in image.size], Image.Resampling.BILINEAR
        )
        left, top = ((side - 224) // 2 for side in image.size)
        images.append(np.asarray(image.crop((left, top, left + 224, top + 224)), "uint8"))
    return np.stack(images), np.array(list(index.values()))


@pytest.mark.slow
def test_keeps_its_accuracy_to_the_last_image(data, sample):
    plain = pretrained(data, 224)
    images, labels = sample
    attached = attach_attention(plain)

    def answer(model, batch):
        inputs = keras.applications.mobilenet_v2.preprocess_input(batch.astype("float32"))
        return np.asarray(model(inputs)), model.predict(inputs, verbose=0)

    right = {"plain": 0, "attached": 0}
    for first in range(0, len(images), 50):
        batch, expected = images[first : first + 50], labels[first : first + 50]
        plain_bits, plain_answers = answer(plain, batch)
        attached_bits, attached_answers = answer(attached, batch)
        assert np.ptp(plain_bits, axis=0).max() > 0.5
        assert np.array_equal(attached_bits, plain_bits)
        assert np.array_equal(attached_answers.argmax(-1), plain_answers.argmax(-1))
        right["plain"] += int((plain_answers.argmax(-1) == expected).sum())
        right["attached"] += int((attached_answers.argmax(-1) == expected).sum())
    print(f"\nright of {len(images)}: {right}")
    assert len(images) == 1000
    assert right["attached"] == right["plain"] >= 870


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def test_bits_before_training_and_agreement_after_ten_steps(data, photographs):
    import tensorflow as tf

    plain = pretrained(data, SIZE)

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
    # Eagerly, Keras holds the maps of all layers, 10 GB of them.
    in_training_mode = tf.function(lambda inputs: attached(inputs, training=True))
    trained = np.asarray(in_training_mode(judged))
    agreement = np.mean(trained.argmax(-1) == answers.argmax(-1))
    print(f"top-1 agreement after 10 steps, in training mode: {agreement:.1%}")
    assert np.abs(trained - answers).max() > 1e-3
    assert agreement >= 0.95
    assert all(np.array_equal(a, b) for a, b in zip(before, plain.get_weights(), strict=True))
