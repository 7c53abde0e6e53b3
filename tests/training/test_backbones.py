"""What each backbone does to pixels, and weights from files."""

import inspect
import re
import sys

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.pixels import named_rule
from keras_cbam.training.backbones import BACKBONES, build_backbone, preprocess
from tests.drawn import vary


@pytest.mark.parametrize("name", BACKBONES)
def test_pixel_rule_is_the_one_of_keras(name, rng):
    module = sys.modules[inspect.getmodule(getattr(keras.applications, name)).__name__]
    images = rng.uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    expected = np.asarray(module.preprocess_input(images.copy()))
    rule = named_rule(name)
    if rule and rule.reverse_channels:
        expected = expected[..., ::-1]
    inputs = keras.Input((4, 4, 3))
    found = np.asarray(keras.Model(inputs, preprocess(inputs, name))(images))
    assert np.abs(found - expected).max() < 1e-4
    assert (rule is None) == np.array_equal(expected, images)


def build(weights, **settings):
    inputs = keras.Input((96, 96, 3))
    return build_backbone("MobileNet", weights, inputs, {"alpha": 0.25, **settings})


@pytest.mark.parametrize(("name", "size"), [("MobileNet", 128), ("MobileNetV2", 96)])
def test_published_weights_are_those_for_the_size(name, size, monkeypatch):
    asked = []

    def refuse(file, *_, **__):
        asked.append(file)
        raise OSError("no network")

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", refuse)
    for pixels in (size, 224):
        with pytest.raises(InputError, match="no network"):
            build_backbone(name, "imagenet", keras.Input((pixels, pixels, 3)))
    assert f"_{size}_" in asked[0]
    assert "_224_" in asked[1]


def test_weights_from_files_with_and_without_top(data):
    with_top = build(str(data / "weights" / "mobilenet_v1_0.25_128_float.h5"))
    without = build(str(data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"))
    fresh = build("none")
    kernels = [np.asarray(m.get_layer("conv_pw_13").kernel) for m in (with_top, without, fresh)]
    assert not any(np.allclose(kernels[i], kernels[j]) for i, j in ((0, 2), (1, 2), (0, 1)))
    assert all(
        np.ptp(m.get_layer("conv_pw_13_bn").moving_variance.numpy()) > 0
        for m in (with_top, without)
    )


def test_weights_in_keras_own_format(tmp_path):
    saved = build("none")
    saved.save_weights(tmp_path / "some.weights.h5")
    loaded = build(str(tmp_path / "some.weights.h5"))
    for a, b in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_weights_that_do_not_fit(tmp_path, data):
    (tmp_path / "bad.h5").write_bytes(b"not hdf5")
    for weights, message in (
        (str(tmp_path / "none.h5"), r"No file at: .*none.h5"),
        (str(tmp_path / "bad.h5"), r"does not fit mobilenet.* or is damaged"),
        (str(data / "weights" / "mobilenet_v2_1.0_224_dequant.h5"), "another network's file"),
    ):
        with pytest.raises(InputError, match=message):
            build(weights)


def test_unknown_backbone_and_option():
    with pytest.raises(InputError, match=r"MobileNetV2.*Received: MobileNetV9"):
        build_backbone("MobileNetV9", "none", keras.Input((96, 96, 3)))
    with pytest.raises(InputError, match="could not be built"):
        build("none", width=3)


def test_a_network_of_bgr_gives_the_same_features_from_rgb(tmp_path, rng):
    """As `weights="imagenet"` does: the file is loaded into the network that the builder gives."""
    published = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    published.save_weights(tmp_path / "vgg.weights.h5")
    image = keras.Input((32, 32, 3))
    weights = str(tmp_path / "vgg.weights.h5")
    model = build_backbone("VGG16", weights, preprocess(image, "VGG16"))
    images = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = np.asarray(published(keras.applications.vgg16.preprocess_input(images.copy())))
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert np.abs(np.asarray(model([images])) - expected).max() < 1e-4 * np.ptp(expected)


def test_efficientnet_from_a_file_is_the_published_network(tmp_path, rng, monkeypatch):
    """With `weights="imagenet"` Keras builds one Rescaling more than without."""
    builder, where = keras.applications.EfficientNetB0, str(tmp_path / "b0.weights.h5")
    source = builder(include_top=False, weights=None, input_shape=(32, 32, 3))
    normalization = next(x for x in source.layers if isinstance(x, keras.layers.Normalization))
    published_values = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0)
    normalization.set_weights([np.asarray(value) for value in published_values])
    normalization.finalize_state()
    vary(source).save_weights(where)
    module = sys.modules[inspect.getmodule(builder).__name__]
    monkeypatch.setattr(module.file_utils, "get_file", lambda *args, **kwargs: where)
    published = builder(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    images = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    # Random statistics amplify rounding in a deep network, so its beginning is compared.
    expected, found = (
        np.asarray(keras.Model(m.inputs, m.get_layer("block2a_project_bn").output)([images]))
        for m in (published, build_backbone("EfficientNetB0", where, keras.Input((32, 32, 3))))
    )
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_automatic_names_do_not_hide_a_layer(tmp_path):
    import h5py

    path = tmp_path / "b0.h5"
    inputs = keras.Input((32, 32, 3))
    first = keras.applications.EfficientNetB0(include_top=False, weights=None, input_tensor=inputs)
    with h5py.File(path, "w") as file:
        names = []
        for layer in first.layers:
            group = file.create_group(re.sub(r"^(normalization)_\d+$", r"\1", layer.name))
            names.append(group.name[1:])
            stored = [f"{layer.name}/{i}" for i in range(len(layer.weights))]
            group.attrs["weight_names"] = stored
            for name, weight in zip(stored, layer.get_weights(), strict=True):
                group[name] = weight
        file.attrs["layer_names"] = names
        file.attrs["keras_version"] = keras.__version__
        file.attrs["backend"] = "tensorflow"
    loaded = build_backbone("EfficientNetB0", str(path), keras.Input((32, 32, 3)))
    assert any(layer.name == "normalization" for layer in loaded.layers)
    for a, b in zip(first.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)
