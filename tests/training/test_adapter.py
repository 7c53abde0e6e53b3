"""Adapters: attention and head in a file, many of them on one backbone."""

import json
import pickle

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, attach_attention, attention_use, freeze_backbone
from keras_cbam.errors import InputError
from keras_cbam.training import (
    adapter_labels,
    build_classifier,
    fine_tune,
    load_adapter,
    save_adapter,
)
from tests.conftest import example, vary
from tests.surgery.graphs import nested_twice, sequential
from tests.training.test_fine_tune import StopAt, config


def mobilenet():
    return build_classifier(
        "MobileNet",
        3,
        weights="none",
        attention="none",
        image_size=64,
        options={"alpha": 0.25},
    )


def adapted(build, attention="cbam", seed=0):
    """A backbone, and a classifier on a copy of it whose attention does something."""
    backbone = vary(build())
    model = attach_attention(backbone, attention)
    rng = np.random.default_rng(seed)
    freeze_backbone(model, head=[model.layers[-1].name])
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.1, weight.shape))
    return backbone, model


def answers(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small backbone, a classifier on a copy of it, and the file of its adapter."""
    backbone, model = adapted(sequential)
    path = tmp_path_factory.mktemp("adapter") / "adapter.npz"
    save_adapter(model, path, labels=["a", "b", "c"])
    return backbone, model, path


@pytest.mark.parametrize("build", [mobilenet, nested_twice, sequential])
@pytest.mark.parametrize("attention", ["cbam", "bam", "se"])
def test_an_adapter_answers_as_before_on_a_fresh_backbone(build, attention, tmp_path, rng):
    backbone, model = adapted(build, attention)
    save_adapter(model, tmp_path / "adapter.npz")
    fresh = build()
    fresh.set_weights(backbone.get_weights())
    # The head of the backbone given is another one.
    fresh.layers[-1].kernel.assign(0 * fresh.layers[-1].kernel)
    images = example(backbone, rng)
    expected = answers(model, images)
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert not np.allclose(expected, answers(backbone, images), atol=1e-3)
    loaded = load_adapter(fresh, tmp_path / "adapter.npz")
    assert np.array_equal(answers(loaded, images), expected)
    # A network with an adapter is a backbone too, and the file of it is the same.
    again = load_adapter(loaded, tmp_path / "adapter.npz")
    save_adapter(again, tmp_path / "again.npz")
    assert np.array_equal(answers(again, images), expected)
    with np.load(tmp_path / "adapter.npz") as a, np.load(tmp_path / "again.npz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in {*a, *b} - {"adapter"})


def test_adapters_on_one_backbone_share_its_weights(saved, tmp_path, rng):
    backbone, model, path = saved
    assert adapter_labels(path) == ["a", "b", "c"]
    images = example(backbone, rng)
    expected = answers(model, images)
    one, two = load_adapter(backbone, path), load_adapter(backbone, path)
    mine = {id(weight) for weight in backbone.weights}
    for model in (one, two):
        alone = [weight for weight in model.weights if id(weight) not in mine]
        assert sum(np.prod(w.shape) for w in alone) == sum(
            np.prod(w.shape)
            for layer in model.layers
            if isinstance(layer, CBAM | keras.layers.Dense)
            for w in layer.weights
        )
    before = answers(backbone, images)
    two.compile("sgd", "sparse_categorical_crossentropy")
    two.fit(images, np.array([0, 1, 2, 0]), verbose=0)
    assert not np.array_equal(answers(two, images), expected)
    assert np.array_equal(answers(one, images), expected)
    assert np.array_equal(answers(backbone, images), before)
    # A saved model is complete.
    one.save(tmp_path / "one.keras")
    loaded = keras.saving.load_model(tmp_path / "one.keras")
    assert np.array_equal(answers(loaded, images), expected)
    assert len(attention_use(two, images).gates) == 4


def changed_weight(model):
    kernel = model.get_layer("three").kernel
    value = keras.ops.convert_to_numpy(kernel).copy()
    value[0, 0, 0, 0] = np.nextafter(value[0, 0, 0, 0], 1, dtype="float32")
    kernel.assign(value)


def changed_pixels(model):
    model.get_layer(index=0).scale = 1 / 128


def changed_kind(model):
    model.get_layer("two").strides = (2, 2)


@pytest.mark.parametrize("change", [changed_weight, changed_pixels, changed_kind])
def test_another_backbone_is_refused(change, saved):
    backbone, _, path = saved
    other = sequential()
    other.set_weights(backbone.get_weights())
    load_adapter(other, path)
    change(other)
    with pytest.raises(InputError, match=r"was trained on another backbone.*of digest"):
        load_adapter(other, path)


def rewritten(path, target, change):
    """A file whose description and arrays have been changed."""
    with np.load(path) as archive:
        arrays = dict(archive)
    description = json.loads(str(arrays.pop("adapter")))
    change(description, arrays)
    np.savez(target, adapter=np.array(json.dumps(description)), **arrays)


def foreign_layer(description, arrays):
    description["head"][-1]["class_name"] = "Lambda"


def foreign_part(description, arrays):
    config = description["head"][-1]["config"]
    config["kernel_initializer"] = {
        "module": "os",
        "class_name": "system",
        "config": {"command": "true"},
        "registered_name": None,
    }


def function_of_keras(description, arrays):
    description["head"][-1]["config"]["activation"] = {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "function",
    }


def huge(description, arrays):
    description["head"][-1]["config"]["units"] = 10**12


def one_less(description, arrays):
    del arrays[max(arrays)]


def other_shape(description, arrays):
    name = max(arrays)
    arrays[name] = np.zeros(7, "float32")


def elsewhere(description, arrays):
    description["attention"] = {
        f"{address}_gone": layer for address, layer in description["attention"].items()
    }


def other_format(description, arrays):
    description["format"] = "keras_cbam adapter 99"


def no_labels(description, arrays):
    del description["labels"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (foreign_layer, "a layer Lambda is none of"),
        (foreign_part, "system is no class of Keras"),
        (function_of_keras, "function is no class of Keras"),
        (huge, "a number of its configuration is 1000000000000"),
        (one_less, "does not fit"),
        (other_shape, "does not fit"),
        (elsewhere, "attention after a layer .*_gone"),
        (other_format, "not of the format"),
        (no_labels, "labels"),
    ],
)
def test_a_foreign_file_is_refused_with_a_sentence(change, sentence, saved, tmp_path):
    backbone, _, path = saved
    rewritten(path, tmp_path / "other.npz", change)
    with pytest.raises(InputError, match=sentence) as refused:
        load_adapter(backbone, tmp_path / "other.npz")
    assert "\n" not in str(refused.value)


def test_a_damaged_file_is_refused_with_a_sentence(saved, tmp_path):
    backbone, _, path = saved
    whole, damaged = path.read_bytes(), tmp_path / "damaged.npz"
    np.savez(tmp_path / "objects.npz", adapter=np.array([{}], dtype=object))
    kinds = [b"", b"text", whole[:-100], pickle.dumps([1]), (tmp_path / "objects.npz").read_bytes()]
    for content in kinds:
        damaged.write_bytes(content)
        with pytest.raises(InputError, match="Expected an adapter of keras_cbam at"):
            load_adapter(backbone, damaged)
    with pytest.raises(InputError, match="No file at"):
        adapter_labels(tmp_path / "none.npz")


def odd(x):
    return x


class Custom(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def test_what_no_adapter_can_hold_is_refused(tmp_path):
    path = tmp_path / "adapter.npz"
    model = attach_attention(sequential())
    with pytest.raises(ValueError, match=r"backbone is frozen.*whose layer one can be trained"):
        save_adapter(model, path)
    freeze_backbone(model, head=[model.layers[-1].name])
    with pytest.raises(ValueError, match=r"a label for each of 3 classes\. Received: 2"):
        save_adapter(model, path, labels=["a", "b"])
    with pytest.raises(ValueError, match="Expected a classifier"):
        save_adapter(keras.Model(model.inputs, model.get_layer("three").output), path)

    def with_head(*layers):
        x = model.get_layer("three_cbam").output
        for layer in (keras.layers.Flatten(), *layers):
            x = layer(x)
        return keras.Model(model.inputs, x)

    with pytest.raises(ValueError, match="layer custom of class Custom"):
        save_adapter(with_head(Custom(name="custom")), path)
    with pytest.raises(ValueError, match="Layer odd cannot be in an adapter"):
        save_adapter(with_head(keras.layers.Dense(2, odd, name="odd")), path)

    clip = keras.Input((2, 8, 8, 4))
    x = keras.layers.TimeDistributed(CBAM(), name="hidden")(clip)
    hidden = keras.Model(clip, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    with pytest.raises(ValueError, match="stands in the graph of the model"):
        save_adapter(hidden, path)
    assert not any(tmp_path.iterdir())


def small_classifier(weights, **settings):
    return build_classifier(
        "MobileNet", 2, weights=weights, image_size=32, options={"alpha": 0.25}, **settings
    )


@pytest.fixture
def weights(tmp_path):
    """A file of backbone weights."""
    model = vary(small_classifier("none", attention="none"))
    path = tmp_path / "backbone.weights.h5"
    pixels, features = model.get_layer("preprocessing").output, model.get_layer("pool").input
    keras.Model(pixels, features).save_weights(path)
    return str(path)


def test_a_run_trains_an_adapter_and_resumes_to_the_same_end(image_folder, tmp_path, weights, rng):
    settings = {
        "train": "adapter",
        "weights": weights,
        "head_epochs": None,
        "learning_rate": None,
        "attention_learning_rate": 0.01,
        "attention": "channel",
    }
    whole = fine_tune(config(image_folder, tmp_path / "run", **settings))
    record = whole.record
    assert [epoch["phase"] for epoch in record["epochs"]] == ["adapter", "adapter"]
    assert record["rates"]["attention"] == 0.01
    assert "backbone" not in record["rates"]
    # The backbone is that of the file, and the adapter is all that is trained.
    backbone = small_classifier(weights, attention="none")
    loaded = load_adapter(backbone, tmp_path / "run" / "adapter.npz")
    images = rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    assert np.array_equal(answers(loaded, images), answers(whole.model, images))
    assert adapter_labels(tmp_path / "run" / "adapter.npz") == ["blue", "red"]
    attention = sum(layer.count_params() for layer in loaded.layers if "channel" in layer.name)
    assert record["trained"] == attention + loaded.layers[-1].count_params()
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"attention and head, {record['trained']:,} of the parameters" in report
    # The file is complete, and its backbone stays frozen.
    stored = keras.saving.load_model(tmp_path / "run" / "model.keras")
    save_adapter(stored, tmp_path / "again.npz")

    cut = config(image_folder, tmp_path / "cut", **settings)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(cut, callbacks=[StopAt(2)])
    resumed = fine_tune(cut, resume=True)
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "head"}, "Expected train of whole, adapter. Received: head"),
        ({"weights": "none"}, "for a backbone with weights. Received: weights none"),
        ({"learning_rate": 0.1}, "it has no learning rate. Received: 0.1"),
        ({"head_epochs": 1}, "it has no head epochs. Received: 1"),
        ({"batch_norm": "train"}, "it has no batch norm. Received: train"),
    ],
)
def test_what_an_adapter_cannot_have_is_refused(changes, message, image_folder, tmp_path):
    free = {"train": "adapter", "weights": "imagenet", "head_epochs": None, "learning_rate": None}
    with pytest.raises(InputError, match=message):
        fine_tune(config(image_folder, tmp_path / "run", **{**free, **changes}))
    assert not (tmp_path / "run").exists()
