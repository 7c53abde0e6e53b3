"""Studies: what is run, once each whoever does it, and what comes out."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError, LostProcessError
from keras_cbam.models import ResNet18, initializers
from keras_cbam.studies import ATTENTIONS, SCALES, STUDIES, build_network, study
from keras_cbam.studies.grid import describe, grid, read_images
from keras_cbam.studies.run import execute, read_result
from keras_cbam.studies.workers import do_runs
from keras_cbam.surgery.summary import count_parameters
from tests.backend import BACKEND, ROOT, quick
from tests.cli.running import run_here
from tests.drawn import write_images

# TensorFlow starts and compiles soonest.
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="studies run alike everywhere")

TINY = replace(
    SCALES["small"],
    networks=("WideResNet18-0.125", "WideResNet18-0.25"),
    image_size=32,
    batch_size=4,
    images=16,
)
OPTIONS = [
    *("--network", "WideResNet18-0.125", "--image-size", "32", "--batch-size", "4"),
    *("--images", "16", "--seeds", "1", "--checkpoint-seconds", "0"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of train/ and val/, 16 and 8 images of two classes."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        write_images(folder / split, rng, count=count)
    return folder


def archive(path, images):
    """Write images as an archive, and return the bytes of each."""
    data = [source.read_bytes() for source in images.paths]
    np.savez(
        path,
        jpeg=np.frombuffer(b"".join(data), "uint8"),
        offsets=np.cumsum([0, *map(len, data)]),
        labels=images.labels.astype("uint8"),
        classes=np.array(["blue", "red"]),
    )
    return data


def test_each_configuration_is_run_once(images):
    folder = read_images(images)
    runs = grid(list(STUDIES), TINY, (0, 1), folder)
    # Ten attentions on the first network and BAM; four on the second.
    assert len(runs) == len({run.name for run in runs}) == 2 * (11 + 4)
    assert [run.seed for run in runs] == [0] * 15 + [1] * 15
    assert {run.attention for run in runs} == set(ATTENTIONS)
    alone = {run.name for name in STUDIES for run in grid([name], TINY, (0, 1), folder)}
    assert alone == {run.name for run in runs}


def test_a_run_is_known_by_all_that_decides_it(images, tmp_path):
    def name(scale=TINY, count=16, digest="a"):
        return describe("ResNet18", "cbam", 0, scale, count, digest).name

    recipe = replace(TINY.recipe, learning_rate=0.01)
    others = [
        name(replace(TINY, image_size=48)),
        name(replace(TINY, recipe=recipe)),
        name(count=8),
        name(digest="b"),
    ]
    assert len({name(), *others}) == 5
    copied = shutil.copytree(images, tmp_path / "images")
    names = {grid(["order"], TINY, [0], read_images(each))[0].name for each in (images, copied)}
    picture = next(copied.glob("train/*/*"))
    picture.write_bytes(picture.read_bytes() + b" ")
    changed = grid(["order"], TINY, [0], read_images(copied))[0].name
    assert len(names) == 1
    assert changed not in names


def test_archives_are_read_as_folders_are(images, tmp_path):
    folder = read_images(images)
    data = archive(tmp_path / "all_train.npz", folder.train)
    archive(tmp_path / "all_test.npz", folder.val)
    found = read_images(tmp_path)
    assert found.classes == ("blue", "red")
    assert len(found.val) == 8
    assert len(found.selection) == 0
    taken = found.train.take([3, 1])
    assert [taken.source(i).read() for i in range(2)] == [data[3], data[1]]
    assert list(taken.labels) == list(folder.train.labels[[3, 1]])
    np.savez(tmp_path / "all_test.npz", jpeg=np.zeros(3, "uint8"))
    with pytest.raises(InputError, match="Expected arrays jpeg, offsets, labels, classes in"):
        read_images(tmp_path)


ARCHIVES = {
    "offsets that fall": ({"offsets": [0, 5, 3, 12]}, "offsets that rise from 0 to the 12 bytes"),
    "negative offsets": ({"offsets": [-4, 4, 8, 12]}, "offsets that rise from 0"),
    "offsets beyond": ({"offsets": [0, 4, 8, 13]}, "offsets that rise from 0"),
    "float offsets": ({"offsets": [0.0, 4.0, 8.0, 12.0]}, "offsets and labels of integers"),
    "offsets in rows": ({"offsets": [[0, 4], [8, 12]]}, "arrays of one dimension"),
    "labels in rows": ({"labels": [[0], [1], [0]]}, "arrays of one dimension"),
    "too few labels": ({"labels": [0, 1]}, "an offset for each label"),
    "labels of no class": ({"labels": [0, 1, 2]}, "labels from 0 to 1"),
    "negative labels": ({"labels": [0, -1, 1]}, "labels from 0 to 1"),
    "no images": ({"labels": np.zeros(0, "int64"), "offsets": [0]}, "at least one image"),
    "bytes of another type": ({"jpeg": np.zeros(12)}, "jpeg in uint8"),
    "classes as numbers": ({"classes": [1, 2]}, "classes as text"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives_that_do_not_fit_are_refused(case, tmp_path):
    wrong, message = ARCHIVES[case]
    right = {
        "jpeg": np.zeros(12, "uint8"),
        "offsets": [0, 4, 8, 12],
        "labels": [0, 1, 0],
        "classes": ["blue", "red"],
    }
    for split in ("train", "test"):
        np.savez(tmp_path / f"all_{split}.npz", **right)
    assert len(read_images(tmp_path).train) == 3
    np.savez(tmp_path / "all_test.npz", **{**right, **wrong})
    with pytest.raises(InputError, match=message):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("attention", "parameters"),
    [("none", 0), ("se", 89_080), ("channel_max", 89_080), ("cbam", 89_880)],
)
def test_networks_take_pixels(attention, parameters):
    model = build_network("ResNet18", attention, 10, image_size=32)
    plain = count_parameters(ResNet18(None, classes=10).trainable_weights)
    # With CBAM 11,779,392 - 11,689,512, as in the paper's table 4; 8 spatial gates have 100 each.
    added = count_parameters(model.trainable_weights) - plain
    assert model.input.shape == (None, 32, 32, 3)
    assert model.get_layer("preprocessing").get_config()["scale"][0] == pytest.approx(
        1 / 255 / 0.229
    )
    assert added == parameters


def test_factors_of_width():
    narrow = build_network("WideResNet18-0.25", "none", 10, image_size=32)
    assert narrow.get_layer("stage4_block1_conv1").filters == 128
    assert build_network("MobileNet-0.5", "none", 7, image_size=32).output.shape == (None, 7)
    for name in ("ResNet19", "ResNet18-0.5", "MobileNet-x", "MobileNet--1"):
        with pytest.raises(InputError, match="Received: "):
            build_network(name, "none", 10, image_size=32)
    with pytest.raises(InputError, match="Expected an attention of none, se"):
        build_network("ResNet18", "cbma", 10, image_size=32)


def test_attentions_start_as_the_authors_do():
    model = build_network("ResNet18", "parallel", 10, image_size=32)
    layers = [layer for layer in model.layers if type(layer).__name__ == "CBAM"]
    assert len(layers) == 8
    config = layers[0].get_config()
    assert config["order"] == "parallel"
    gamma = keras.saving.deserialize_keras_object(config["gamma_initializer"])
    assert type(gamma).__name__ == "Zeros"
    kernel = config["kernel_initializer"]["config"]
    assert kernel == initializers.default().get_config() | {"seed": kernel["seed"]}


def command(images, output, *more):
    arguments = ["study", "order", "--data", images, "--output", output, *OPTIONS, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "keras_cbam.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def test_options_change_the_scale(tmp_path):
    options = {
        "--network": ("ResNet18", ("ResNet18",), "networks"),
        "--image-size": ("48", 48, "image_size"),
        "--batch-size": ("7", 7, "batch_size"),
        "--images": ("99", 99, "images"),
        "--stem": ("cifar", "cifar", "stem"),
    }
    recipe = {
        "--learning-rate": ("0.3", 0.3, "learning_rate"),
        "--dtype-policy": ("mixed_bfloat16", "mixed_bfloat16", "dtype_policy"),
    }
    given = [word for name, (value, *_) in (options | recipe).items() for word in (name, value)]
    with mock.patch("keras_cbam.studies.study", return_value=[]) as called:
        for more in ([], given):
            arguments = ["study", "all", "--data", "d", "--output", tmp_path, "--seeds", "2", *more]
            assert run_here(*arguments).returncode == 0
    (plain, changed) = (call.args[3] for call in called.call_args_list)
    assert plain == SCALES["small"]
    assert called.call_args.args[0] == list(STUDIES)
    assert list(called.call_args.kwargs["seeds"]) == [0, 1]
    expected = {field: value for _, value, field in options.values()}
    trained = replace(plain.recipe, **{field: value for _, value, field in recipe.values()})
    assert changed == replace(plain, **expected, recipe=trained)


def told(said):
    """The runs that a command tells to have done."""
    return [line.split(":")[0] for line in said.splitlines() if "% error" in line]


@pytest.mark.slow
def test_workers_share_runs_and_take_over_from_one_that_is_killed(images, tmp_path):
    output = tmp_path / "study"
    first = command(images, output)
    while not (states := list(output.glob("runs/*/.state/state.npz"))) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    cut = states[0].parents[1]
    lost = told(first.communicate()[0])
    assert cut.exists()
    assert not (cut / "result.json").exists()

    both = command(images, output), command(images, output)
    done = [told(worker.communicate(timeout=600)[0]) for worker in both]
    assert [worker.returncode for worker in both] == [0, 0]
    assert all(done)
    assert len({*lost, *done[0], *done[1]}) == len(lost + done[0] + done[1]) == 4
    assert not list(output.glob("runs/*/.state"))
    # The one that was cut off has ended as if nothing had happened.
    (run,) = [
        run
        for run in grid(
            ["order"], replace(TINY, networks=TINY.networks[:1]), [0], read_images(images)
        )
        if run.name == cut.name
    ]
    whole = execute(run, read_images(images), tmp_path / "whole")
    assert read_result(cut).history == whole.history
    np.testing.assert_array_equal(read_result(cut).correct, whole.correct)
    results = sorted(output.glob("runs/*/result.json"))
    table = (output / "order.md").read_text()
    assert table.count("| WideResNet18-0.125 |") == 4
    assert json.loads((output / "order.json").read_text())["rows"][0]["row"] == "channel alone (SE)"
    assert (output / "order.png").stat().st_size > 10_000

    # What is done is not done again: another study needs two runs more, and this one none.
    times = {path: path.stat().st_mtime_ns for path in results}
    tables = study(
        ["attention", "order"],
        images,
        output,
        replace(TINY, networks=("WideResNet18-0.125",)),
        seeds=[0],
        workers=2,
        checkpoint_seconds=0,
    )
    assert [path.name for path in tables] == ["attention.md", "order.md"]
    assert {path: path.stat().st_mtime_ns for path in results} == times
    assert len(list(output.glob("runs/*/result.json"))) == 6
    assert (output / "order.md").read_text() == table
    assert read_result(results[0].parent).correct.shape == (8,)


def test_a_result_that_no_run_wrote_is_refused(tmp_path):
    for content in ("{", "[]", '{"result": {}}', '{"result": {"correct": "x", "images": 1}}'):
        (tmp_path / "result.json").write_text(content)
        with pytest.raises(InputError, match=r"result.json is not what a run wrote. Remove "):
            read_result(tmp_path)


def test_images_that_are_left_out_are_told(images, tmp_path):
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images" / "train" / "red" / "0.jpg").write_bytes(b"torn")
    told = []
    stopped = mock.patch("keras_cbam.studies.study.grid", side_effect=InterruptedError)
    with stopped, pytest.raises(InterruptedError):
        study(["order"], tmp_path / "images", tmp_path / "out", TINY, tell_skipped=told.extend)
    assert [path.name for path in told] == ["0.jpg"]


def refused(run, directory, error):
    raise error


SAID = {
    "input": (InputError("Expected\none."), "keras-cbam: Expected\\none.\n"),
    "disk": (OSError(errno.ENOSPC, "full"), "keras-cbam: No space is left on the disk."),
}


@pytest.mark.parametrize("case", quick(SAID, {"input"}))
def test_workers_say_one_sentence(case, tmp_path, capfd):
    error, said = SAID[case]
    runs = [SimpleNamespace(name="a")]
    with pytest.raises(LostProcessError, match="1 of 1 runs are not done"):
        do_runs(runs, tmp_path, partial(refused, error=error), "result.json", workers=2)
    printed = capfd.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


def test_what_cannot_be_run(images, tmp_path):
    def refuse(match, names=("order",), scale=TINY, **options):
        with pytest.raises(InputError, match=match):
            study(names, images, tmp_path / "out", scale, **options)
        assert not (tmp_path / "out").exists()

    refuse("Expected studies of channel, spatial, order, attention", names=["chanel"])
    refuse("different seeds", seeds=[1, 1])
    refuse("one worker", workers=0)
    refuse("Expected a network of", scale=replace(TINY, networks=("ResNet19",)))
    refuse("image size of at least 1", scale=replace(TINY, image_size=0))
    refuse("cannot be built: Argument `input_tensor`", scale=replace(TINY, image_size=8), workers=2)
    refuse("cannot be built: Argument `stem`", scale=replace(TINY, stem="cifra"))
    wrong = replace(TINY.recipe, optimizer="sdg")
    refuse("Expected optimizer of adam, adamw, sgd", scale=replace(TINY, recipe=wrong))
    with pytest.raises(InputError, match="No folder at"):
        study(["order"], tmp_path / "none", tmp_path / "out", TINY)
