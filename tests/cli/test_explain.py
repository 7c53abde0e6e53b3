"""`keras-cbam explain`: pictures, one page that needs nothing beside it, refusals."""

import os
import resource

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import CBAM
from keras_cbam.cli.explain import explain
from keras_cbam.errors import InputError
from keras_cbam.visualize import Explanation, comparison, overlay, panel
from tests.backend import BACKEND, quick
from tests.cli.running import run_here
from tests.drawn import write_images

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="tried on one backend")


def classifier(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((24, 24, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    for stride in (1, 2):
        x = layers.Conv2D(16, 3, strides=stride, padding="same", activation="relu")(x)
        x = CBAM()(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU(name="act")(x))
    return keras.Model(inputs, layers.Dense(2, "softmax")(x))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, `one` and `two`, beside their labels, and images of their classes."""
    path = tmp_path_factory.mktemp("explain")
    for index, name in enumerate(("one", "two")):
        classifier(index).save(path / f"{name}.keras")
    (path / "labels.txt").write_text("blue\nred")
    write_images(path / "images", np.random.default_rng(0), count=2)
    (path / "images" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    return path


def test_pictures_and_a_page_of_its_own(folder, tmp_path):
    done = run_here(
        *("explain", folder / "one.keras", folder / "images", folder / "images/red/0.jpg"),
        *("--compare", folder / "two.keras", "--output", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    panels = {"000-0.png", "001-1.png", "002-0.png", "003-1.png", "004-0.png"}
    assert names == {"index.html", "comparison-00.png", "channels.png", *panels}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == len(names) - 1
    assert "http" not in page
    assert "one, two on 0.jpg, 1.jpg" in page


def shown(monkeypatch, **arguments):
    """What the command explains, by model."""
    found = {}
    monkeypatch.setattr(
        "keras_cbam.cli.explain_page.draw", lambda explained, *rest: found.update(explained)
    )
    explain(**arguments)
    return found


@pytest.mark.parametrize("method", quick(["grad-cam", "grad-cam++"], {"grad-cam++"}))
def test_the_class_shown(folder, tmp_path, monkeypatch, method):
    image = folder / "images" / "blue" / "0.jpg"
    elsewhere = tmp_path / "0.jpg"
    elsewhere.write_bytes(image.read_bytes())
    given = {
        "model": folder / "one.keras",
        "images": [image, elsewhere],
        "output": tmp_path / "out",
        "compare": [folder / "two.keras"],
        "method": method,
    }
    ours, other = shown(monkeypatch, **given).values()
    assert [each.shown for each in ours] == ["blue", ours[1].predicted]
    assert [each.shown for each in other] == [each.shown for each in ours]
    assert ours[0].heat.shape == (24, 24)
    assert list(ours[0].spatial) == list(ours[0].channel) == list(ours[0].places)
    for name in ("red", "1"):
        assert [e.shown for e in shown(monkeypatch, **given, class_name=name)["one"]] == ["red"] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": ["nowhere"]}, r"Expected images and folders of images. Nothing at: .*nowhere"),
        ({"images": ["images/red/broken.jpg"]}, "None of the images can be decoded"),
        ({"class_name": "green"}, "Expected a class of blue, red, or a number below 2"),
        ({"class_name": "2"}, "Expected a class of blue, red, or a number below 2"),
        ({"method": "saliency"}, r"Expected a method of grad-cam, grad-cam\+\+"),
        ({"layer": "nowhere"}, "`layer` must be a layer of the model with a feature map"),
        ({"preprocessing": "AlexNet"}, "AlexNet"),
        ({"compare": ["one.keras"]}, "Expected models of different names"),
    ],
)
def test_refusals(folder, tmp_path, given, message):
    given = {"images": ["images"], **given}
    for name in ("images", "compare"):
        given[name] = [folder / each for each in given.get(name, [])]
    with pytest.raises(InputError, match=message):
        explain(model=folder / "one.keras", output=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_counted_and_named(folder, tmp_path, monkeypatch, capsys):
    """A pipe would wait for ever, and a few names are enough."""
    for index in range(30):
        (tmp_path / f"{index:02d}.heic").write_bytes(b"")
    write_images(tmp_path, np.random.default_rng(0), count=1)
    os.mkfifo(tmp_path / "pipe.jpg")
    images = [tmp_path, tmp_path / "pipe.jpg"]
    given = {"model": folder / "one.keras", "images": images, "output": tmp_path / "out"}
    (ours,) = shown(monkeypatch, **given).values()
    assert len(ours) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("left out, since they cannot be decoded as AVIF, ")
    assert said[0].endswith(": 32 files")
    assert said[1] == f"  {tmp_path / 'pipe.jpg'}"
    assert said[-1] == "  and 12 more"
    assert len(said) == 22


def test_a_label_may_end_in_a_space(folder, tmp_path, monkeypatch):
    classifier(0).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("blue\nred \n")
    write_images(tmp_path / "images", np.random.default_rng(0), count=1)
    (tmp_path / "images" / "red").rename(tmp_path / "images" / "red ")
    given = {"model": tmp_path / "model.keras", "images": [tmp_path / "images" / "red "]}
    (ours,) = shown(monkeypatch, **given, output=tmp_path / "out").values()
    assert [each.shown for each in ours] == ["red "]


def test_a_name_that_is_not_utf_8_is_refused(folder, tmp_path):
    image = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    image.write_bytes((folder / "images" / "red" / "0.jpg").read_bytes())
    for images in (tmp_path, image):
        done = run_here("explain", folder / "one.keras", images, "--output", tmp_path / "out")
        assert done.returncode == 2
        assert r"Expected names in UTF-8. Received: b'" in done.stderr
        assert not (tmp_path / "out").exists()


def test_files_that_cannot_grow_are_said(folder, tmp_path):
    whole = ("explain", folder / "one.keras", folder / "images", "--output", tmp_path / "out")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        done = run_here(*whole)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 2
    assert done.stderr.count("keras-cbam: ") == 1
    assert "File too large." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_labels_of_another_model_are_refused(folder, tmp_path):
    (tmp_path / "labels.txt").write_text("blue\nred\ngreen\n\n")
    classifier(0).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"Those of .*model\.keras differ"):
        explain(
            folder / "one.keras",
            [folder / "images"],
            tmp_path / "out",
            compare=[tmp_path / "model.keras"],
        )
    with pytest.raises(InputError, match=r"Expected 2 labels, one per class. Received: 3"):
        explain(tmp_path / "model.keras", [folder / "images"], tmp_path / "out")


def test_what_is_no_classifier_is_refused(folder, tmp_path):
    inputs = keras.Input((24, 24, 3))
    keras.Model(inputs, [layers.Flatten()(inputs)] * 2).save(tmp_path / "two.keras")
    keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.ReLU()(inputs)))).save(
        tmp_path / "value.keras"
    )
    for name, message in (("two", "Expected a classifier"), ("value", "one output without")):
        with pytest.raises(InputError, match=message):
            explain(tmp_path / f"{name}.keras", [folder / "images"], tmp_path / "out")


def of_form(shape, units, activation, name="act"):
    keras.utils.set_random_seed(3)
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, padding="same")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.ReLU(name=name)(CBAM()(x)))
    return keras.Model(inputs, layers.Dense(units, activation)(x))


@pytest.mark.parametrize("shape", [(24, 24, 1), (24, 36, 3), (20, 12, 1)])
@pytest.mark.parametrize("preprocessing", [None, "tf"])
def test_gray_and_oblong_images(folder, tmp_path, monkeypatch, shape, preprocessing):
    of_form(shape, 2, "softmax").save(tmp_path / "model.keras")
    given = {"images": [folder / "images"], "output": tmp_path / "out"}
    found = shown(monkeypatch, model=tmp_path / "model.keras", preprocessing=preprocessing, **given)
    for each in found["model"]:
        assert each.image.shape == (*shape[:2], 3)
        assert each.heat.shape == shape[:2]
        assert shape[2] == 3 or np.ptp(each.image, -1).max() == 0
    assert np.ptp(found["model"][0].image) > 0


def test_rules_of_colors_are_refused_of_gray_images(folder, tmp_path):
    of_form((24, 24, 1), 2, "softmax").save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"of RGB images for the preprocessing torch"):
        explain(
            tmp_path / "model.keras", [folder / "images"], tmp_path / "out", preprocessing="torch"
        )


def test_one_sigmoid_stands_for_two_classes(folder, tmp_path, monkeypatch):
    model = of_form((24, 24, 3), 1, "sigmoid")
    model.save(tmp_path / "model.keras")
    given = {
        "model": tmp_path / "model.keras",
        "images": [folder / "images"],
        "output": tmp_path / "out",
    }
    assert {each.shown for each in shown(monkeypatch, **given)["model"]} <= {"0", "1"}
    (tmp_path / "labels.txt").write_text("blue\nred")
    both = [shown(monkeypatch, **given, class_name=name)["model"] for name in ("blue", "red")]
    for blue, red in zip(*both, strict=True):
        assert (blue.shown, red.shown) == ("blue", "red")
        assert blue.shown_probability + red.shown_probability == pytest.approx(1)
        assert blue.predicted == ("blue" if blue.shown_probability > 0.5 else "red")
        assert not np.array_equal(blue.heat, red.heat)
    by_folder = shown(monkeypatch, **given)["model"]
    assert [each.shown for each in by_folder] == ["blue", "blue", "red", "red"]


@pytest.mark.parametrize("name", ["a b", "é"])
def test_names_that_tensorflow_does_not_take(folder, tmp_path, name):
    of_form((24, 24, 3), 2, "softmax", name).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=f"Expected layer names of letters.*'{name}'"):
        explain(tmp_path / "model.keras", [folder / "images"], tmp_path / "out")


@pytest.mark.parametrize("layer", [0, -1], ids=["before a ReLU", "last"])
def test_weights_that_are_no_numbers(folder, tmp_path, layer):
    """A ReLU turns NaN into 0, so that the scores do not always tell."""
    model = of_form((24, 24, 3), 2, "softmax")
    weight = [each for each in model.layers if each.weights][layer].weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    model.save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"Expected finite weights. Received: NaN or infinity in"):
        explain(tmp_path / "model.keras", [folder / "images"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_with_dollars_are_no_mathematics(tmp_path):
    odd = Explanation(
        np.zeros((8, 8, 3), "uint8"), r"us$\cash$", 0.9, "b", 0.1, np.eye(8), {}, {}, {}
    )
    panel(odd).savefig(tmp_path / "panel.png")
    comparison({r"a$\b$": [odd]}, [r"c$\d$.jpg"]).savefig(tmp_path / "comparison.png")


def test_a_panel_without_attention():
    flat = Explanation(np.zeros((8, 8, 3), "uint8"), "a", 0.9, "b", 0.1, np.eye(8), {}, {}, {})
    assert [axes.get_title() for axes in panel(flat).axes] == [
        "a\np = 0.900",
        "heat of b\np = 0.100",
    ]


def test_an_overlay_is_hottest_where_the_heat_is():
    image = np.full((4, 4, 3), 100, "uint8")
    found = overlay(image, np.eye(4)).astype(int)
    away = np.abs(found - image).sum(-1)
    assert found.shape == image.shape
    assert away[np.eye(4) == 1].min() > away[np.eye(4) == 0].max()
