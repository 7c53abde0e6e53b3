"""Adapters: attention and head in a file, many of them on one backbone."""

import json
import pickle

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, attach_attention, attention_use, freeze_backbone
from keras_cbam.errors import InputError
from keras_cbam.export import export_model
from keras_cbam.surgery.graph import read_graph
from keras_cbam.training import (
    adapter_labels,
    build_classifier,
    fine_tune,
    load_adapter,
    save_adapter,
)
from keras_cbam.training.backbone_digest import node_digests
from tests.backend import BACKEND, quick_on
from tests.drawn import example, vary
from tests.short_mobilenet import SHORT
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


@pytest.mark.parametrize(
    ("build", "attention"),
    [
        (mobilenet, "cbam"),
        pytest.param(nested_twice, "cbam", marks=pytest.mark.backends),
        pytest.param(nested_twice, "bam", marks=pytest.mark.backends),
        pytest.param(sequential, "se", marks=pytest.mark.backends),
    ],
)
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


@pytest.mark.backends
@quick_on("tensorflow", "torch")
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


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow exports")
def test_a_classifier_of_a_shared_backbone_is_exported(saved, tmp_path, rng):
    backbone, _, path = saved
    load_adapter(backbone, path)
    images = rng.uniform(0, 255, (200, 32, 32, 3)).astype("float32")
    export_model(
        load_adapter(backbone, path), tmp_path, formats=("onnx",), verification_data=images
    )
    assert {"model.onnx", "manifest.json"} <= {file.name for file in tmp_path.iterdir()}


def changed_weight(model):
    kernel = model.get_layer("three").kernel
    value = keras.ops.convert_to_numpy(kernel).copy()
    value[0, 0, 0, 0] = np.nextafter(value[0, 0, 0, 0], 1, dtype="float32")
    kernel.assign(value)


def changed_pixels(model):
    model.layers[0].scale = 1 / 128


def changed_stride(model):
    model.get_layer("two").strides = (2, 2)


def changed_activation(model):
    model.get_layer("two").activation = keras.activations.tanh


@pytest.mark.parametrize(
    "change", [changed_weight, changed_pixels, changed_stride, changed_activation]
)
def test_another_backbone_is_refused(change, saved):
    backbone, _, path = saved
    other = sequential()
    other.set_weights(backbone.get_weights())
    load_adapter(other, path)
    change(other)
    with pytest.raises(InputError, match=r"was trained on another backbone.*of digest"):
        load_adapter(other, path)


def wired(scale=1.0, swapped=False, between=None):
    """Two convolutions of one shape, named by Keras, on a product that is no layer."""
    inputs = keras.Input((12, 12, 4))
    convolutions = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(2)]
    first, second = reversed(convolutions) if swapped else convolutions
    x = first(inputs * scale)
    x = second(between(x) if between else x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    for layer in convolutions:
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.backends
def test_a_backbone_is_known_by_its_wiring_and_not_by_names(tmp_path, rng):
    keras.utils.clear_session()
    refined = wired(between=CBAM())
    freeze_backbone(refined, head=[refined.layers[-1].name])
    for weight in refined.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    save_adapter(refined, tmp_path / "adapter.npz")
    images = example(refined, rng)
    keras.utils.clear_session()
    keras.layers.Conv2D(4, 3)  # The convolution after this is called as the second one was.
    fresh = wired()
    assert refined.get_layer("conv2d_1") is not fresh.get_layer("conv2d_1")
    loaded = load_adapter(fresh, tmp_path / "adapter.npz")
    assert np.array_equal(answers(loaded, images), answers(refined, images))
    for changes in ({"scale": 2.0}, {"swapped": True}):
        with pytest.raises(InputError, match="another backbone"):
            load_adapter(wired(**changes), tmp_path / "adapter.npz")


@pytest.mark.backends
def test_a_digest_is_the_same_everywhere():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(2, 3, kernel_initializer="ones", kernel_regularizer="l2")(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    graph = read_graph(keras.Model(inputs, keras.layers.ReLU()(x)))
    digest = node_digests(graph)[id(graph[-1])]
    assert digest[:16] == "b7ffb8299b4240ca"


def rewritten(path, target, change):
    """A file whose description and arrays have been changed."""
    with np.load(path) as archive:
        arrays = dict(archive)
    description = json.loads(str(arrays.pop("adapter")))
    change(description, arrays)
    np.savez(target, adapter=np.array(json.dumps(description)), **arrays)


def dense(description):
    return description["head"][-1]


def foreign_layer(description, arrays):
    dense(description)["class_name"] = "Lambda"


def foreign_part(description, arrays):
    part = {"module": "os", "class_name": "system", "config": {"command": "true"}}
    dense(description)["config"]["kernel_initializer"] = part


def registered_part(description, arrays):
    dense(description)["config"]["kernel_initializer"] = "tests>Init"


def registered(description, arrays):
    dense(description)["config"]["activation"] = "tests>Init"


def huge(description, arrays):
    dense(description)["config"]["units"] = 10**12


def huge_elsewhere(description, arrays):
    huge(description, arrays)
    arrays["99/0"] = np.zeros((10**12, 0), "float32")


def huge_kernel(description, arrays):
    description["attention"][0]["config"]["kernel_size"] = 4095


def no_config(description, arrays):
    dense(description)["config"] = 5


def odd_policy(description, arrays):
    dense(description)["config"]["dtype"] = "string"


def no_head(description, arrays):
    description["head"] = []


def no_labels(description, arrays):
    del description["labels"]


def one_label(description, arrays):
    description["labels"] = ["a"]


def one_less(description, arrays):
    del arrays[max(arrays)]


def other_shape(description, arrays):
    arrays[max(arrays)] = np.zeros(7, "float32")


def other_kind(description, arrays):
    arrays[max(arrays)] = np.zeros(3, "complex64")


def elsewhere(description, arrays):
    description["after"] = ["0" * 64 for _ in description["after"]]


def other_format(description, arrays):
    description["format"] = "keras_cbam adapter 99"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (foreign_layer, "a layer Lambda is none of"),
        (foreign_part, "its kernel_initializer is no part of an adapter"),
        (registered_part, "its kernel_initializer is no part of an adapter"),
        (registered, "tests>Init is none of Keras's own"),
        (huge, "a number of its configuration is 1000000000000"),
        (huge_elsewhere, "a number of its configuration is 1000000000000"),
        (huge_kernel, "a number of its configuration is 4095"),
        (no_config, "a layer Dense is none of"),
        (odd_policy, "does not fit"),
        (no_head, "it has no head"),
        (no_labels, "its entry 'labels' is missing"),
        (one_label, "1 labels for 3 classes"),
        (one_less, "does not fit"),
        (other_shape, "does not fit"),
        (other_kind, "are no numbers"),
        (elsewhere, "attention after a layer that the backbone does not have"),
        (other_format, "not of the format"),
    ],
)
def test_a_foreign_file_is_refused_with_a_sentence(change, sentence, saved, tmp_path):
    backbone, _, path = saved
    rewritten(path, tmp_path / "other.npz", change)
    with (
        keras.saving.custom_object_scope({"tests>Init": keras.initializers.Ones}),
        pytest.raises(InputError, match=sentence) as refused,
    ):
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

    assert not any(tmp_path.iterdir())


def in_a_wrapper(x):
    clip = keras.layers.Reshape((1, 8, 8, 4))(x)
    x = keras.layers.TimeDistributed(CBAM(), name="hidden")(clip)
    return keras.layers.Reshape((8, 8, 4))(x)


def bypassed(x):
    return keras.layers.Add()([x, CBAM(name="hidden")(x)])


def called_twice(x):
    attention, relu = CBAM(name="hidden"), keras.layers.ReLU()
    x = attention(keras.layers.Conv2D(4, 1)(x))
    return attention(keras.layers.Conv2D(4, 1)(relu(x)))


def stacked(x):
    return CBAM(name="hidden")(CBAM(name="first")(x))


@pytest.mark.parametrize("attend", [in_a_wrapper, bypassed, called_twice, stacked])
def test_attention_that_a_layer_does_not_tell_the_place_of_is_refused(attend, tmp_path):
    inputs = keras.Input((8, 8, 4))
    x = attend(keras.layers.Conv2D(4, 1)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    with pytest.raises(ValueError, match=r"Expected attention that stands .* with hidden"):
        save_adapter(model, tmp_path / "adapter.npz")
    assert not any(tmp_path.iterdir())


def test_attention_after_one_of_two_equal_layers_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.Add()([CBAM()(keras.layers.ReLU()(x)), keras.layers.ReLU()(x)])
    x = keras.layers.Dense(2, name="scores")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    freeze_backbone(model, head=["scores"])
    with pytest.raises(ValueError, match="after a layer that no other layer equals"):
        save_adapter(model, tmp_path / "adapter.npz")


def test_a_layer_of_backbone_and_head_is_of_the_backbone(tmp_path, rng):
    inputs = keras.Input((8, 8, 3))
    relu = keras.layers.ReLU(name="relu")
    x = relu(keras.layers.Conv2D(4, 3)(inputs))
    x = keras.layers.Dense(5, name="dense")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model([inputs], [keras.layers.Dense(2, name="scores")(relu(x))])
    freeze_backbone(model, head=["scores"])
    # Only the last layer is the head's alone. The backbone has all before it.
    save_adapter(model, tmp_path / "adapter.npz")
    loaded = load_adapter(model, tmp_path / "adapter.npz")
    images = example(model, rng)
    assert np.array_equal(answers(loaded, images), answers(model, images))
    freeze_backbone(model, head=["scores", "dense"])
    with pytest.raises(ValueError, match="whose layer dense can be trained"):
        save_adapter(model, tmp_path / "again.npz")


def small_classifier(weights, **settings):
    options = {"alpha": 0.25, "blocks": 2}
    return build_classifier(SHORT, 2, weights=weights, image_size=32, options=options, **settings)


@pytest.fixture
def weights(short_mobilenet, tmp_path):
    """A file of backbone weights."""
    model = vary(small_classifier("none", attention="none"))
    path = tmp_path / "backbone.weights.h5"
    pixels, features = model.get_layer("preprocessing").output, model.get_layer("pool").input
    keras.Model(pixels, features).save_weights(path)
    return str(path)


@pytest.mark.backends
@pytest.mark.skipif(
    BACKEND != "torch", reason="PyTorch, which compiles nothing, shows it in seconds"
)
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
