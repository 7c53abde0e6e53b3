"""Folders of images: what is found, skipped, split, refused; and batches that repeat."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_cbam.errors import InputError
from keras_cbam.image_reader import read_image
from keras_cbam.training import ImageBatches, ImageSet, find_images, read_image_folder
from keras_cbam.training.image_folder import _split
from keras_cbam.training.scores import scores
from tests.drawn import write_images


def test_one_folder_is_split_by_class(image_folder):
    found = read_image_folder(image_folder, selection_split=0.25, val_split=0.25)
    assert found.classes == ("blue", "red")
    sizes = [np.bincount(s.labels).tolist() for s in (found.train, found.selection, found.val)]
    # Of 12 a class a quarter is 3; of the 9 left a quarter is 2, rounded.
    assert sizes == [[7, 7], [2, 2], [3, 3]]
    paths = [p for s in (found.train, found.selection, found.val) for p in s.paths]
    assert len(set(paths)) == 24
    assert all(
        p.parent.name == found.classes[label]
        for p, label in zip(found.train.paths, found.train.labels, strict=True)
    )


def test_train_and_val_folders(tmp_path, rng):
    write_images(tmp_path / "train", rng, count=10)
    write_images(tmp_path / "val", rng, count=4)
    found = read_image_folder(tmp_path, selection_split=0.1)
    assert (len(found.train), len(found.selection), len(found.val)) == (18, 2, 8)
    assert all("val" in p.parts for p in found.val.paths)


def test_split_depends_on_the_seed_alone(image_folder):
    splits = [read_image_folder(image_folder, val_split=0.5, seed=s).val.paths for s in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_corrupt_files_are_named_and_left_out(image_folder):
    truncated = image_folder / "red" / "0.jpg"
    truncated.write_bytes(truncated.read_bytes()[:300])
    (image_folder / "blue" / "notes.jpg").write_text("not an image")
    found = read_image_folder(image_folder, val_split=0.25)
    assert {p.name for p in found.skipped} == {"0.jpg", "notes.jpg"}
    assert truncated not in found.train.paths + found.selection.paths + found.val.paths
    images, skipped = find_images(image_folder, ["red", "blue"])
    assert set(skipped) == set(found.skipped)
    assert np.bincount(images.labels).tolist() == [11, 12]


def spoil_missing(folder):
    return folder / "nowhere"


def spoil_empty(folder):
    empty = folder / "empty"
    empty.mkdir()
    return empty


def spoil_class(folder):
    (folder / "green").mkdir()
    return folder


def spoil_class_corrupt(folder):
    for path in (folder / "red").iterdir():
        path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "No folder at: .*nowhere"),
        (spoil_empty, "at least 2 classes in .*empty. Found: 0"),
        (spoil_class, "Class folder .*green has no image"),
        (spoil_class_corrupt, "Class folder .*red has no image that can .* Left out: 12, such as"),
    ],
)
def test_unusable_folders(spoil, message, image_folder):
    with pytest.raises(InputError, match=message):
        read_image_folder(spoil(image_folder), val_split=0.25)


def test_split_must_be_stated_and_sensible(image_folder):
    with pytest.raises(InputError, match="--val-split"):
        read_image_folder(image_folder)
    with pytest.raises(InputError, match=r"between 0 and 1. Received: 1.5"):
        read_image_folder(image_folder, val_split=1.5)
    with pytest.raises(InputError, match="no training image of class blue, which has 12"):
        read_image_folder(image_folder, val_split=0.99)


def test_batches_repeat_from_any_position(image_folder):
    images = read_image_folder(image_folder, val_split=0.25).train
    settings = {"training": True, "augmentations": ("crop", "flip", "color"), "seed": 3, "epoch": 5}
    whole = ImageBatches(images, 16, 4, **settings)
    rest = ImageBatches(images, 16, 4, **settings, first_batch=1)
    assert len(whole) == 4
    assert len(rest) == 3
    for index in range(3):
        for a, b in zip(whole[index + 1], rest[index], strict=True):
            assert np.array_equal(a, b)
    other = ImageBatches(images, 16, 4, **{**settings, "epoch": 6})
    assert not np.array_equal(whole[0][0], other[0][0])


@pytest.mark.parametrize("name", ["crop", "flip", "color"])
def test_every_augmentation_changes_pixels(name, tmp_path, rng):
    pixels = rng.integers(60, 190, (16, 16, 3)).astype("uint8")
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "x.png")
    images, _ = find_images(tmp_path)
    plain = ImageBatches(images, 16, 1)[0][0][0]
    assert np.array_equal(plain, pixels)
    changed = [
        ImageBatches(images, 16, 1, training=True, augmentations=(name,), epoch=e)[0][0][0]
        for e in range(8)
    ]
    assert any(not np.array_equal(image, plain) for image in changed)
    if name == "flip":
        assert all(np.array_equal(i, plain) or np.array_equal(i, plain[:, ::-1]) for i in changed)


def test_balanced_classes_count_alike(image_folder):
    """For 12 and 4 images the weights are 16 / (2 * 12) and 16 / (2 * 4)."""
    for index in range(4, 12):
        (image_folder / "red" / f"{index}.jpg").unlink()
    images = find_images(image_folder, ["blue", "red"])[0].balanced()
    expected = {0: 16 / 24, 1: 2.0}
    whole = ImageBatches(images, 16, 16, training=True)
    _, labels, weights = whole[0]
    assert len(set(labels)) == 2
    assert np.allclose(weights, [expected[label] for label in labels])
    halves = [ImageBatches(images, 16, 16, training=True, shard=(i, 2))[0] for i in (0, 1)]
    assert sorted(np.concatenate([half[2] for half in halves])) == sorted(weights)
    probabilities = np.tile([0.75, 0.25], (16, 1))
    found = scores(probabilities, images.labels, images.weights)
    assert found == pytest.approx({"accuracy": 0.5, "loss": -np.log([0.75, 0.25]).mean()})
    assert scores(probabilities, images.labels)["accuracy"] == 0.75


def test_evaluation_takes_the_central_square(tmp_path):
    pixels = np.zeros((8, 16, 3), "uint8")
    pixels[:, 4:12] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    images, _ = find_images(tmp_path)
    assert (ImageBatches(images, 8, 1)[0][0] == 200).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_gray_values_of_more_than_8_bits_are_scaled(mode, image_folder):
    """By the lowest and the highest of the image, whatever its range: 0..255 of 1000..3550."""
    steps = np.arange(256).reshape(16, 16)
    values = (1000 + 10 * steps).astype({"I;16": "uint16", "I": "int32", "F": "float32"}[mode])
    suffix = "png" if mode == "I;16" else "tiff"
    deep = image_folder / "red" / f"deep.{suffix}"
    Image.fromarray(values).save(deep)
    with Image.open(deep) as file:
        assert file.mode == mode
    found = read_image_folder(image_folder, val_split=0.25)
    assert found.skipped == ()
    assert found.deep == (deep,)
    images, _ = find_images(image_folder)
    (pixels,) = ImageBatches(images.take([images.paths.index(deep)]), 16, 1)[0][0]
    assert np.array_equal(pixels, np.repeat(steps[..., None], 3, -1))


def test_values_that_are_no_numbers_are_left_out(image_folder):
    bad = image_folder / "red" / "nan.tiff"
    Image.fromarray(np.array([[0.0, np.nan]], "float32")).save(bad)
    assert read_image_folder(image_folder, val_split=0.25).skipped == (bad,)


@pytest.mark.parametrize("others", [[], ["val"], ["test"]])
def test_a_split_alone_is_no_class(others, tmp_path, rng):
    name = "train" if not others else others[0]
    write_images(tmp_path / name, rng, count=10)
    expected = rf"Expected train/ and val/, or train/ and test/, in .* Found only: {name}/"
    with pytest.raises(InputError, match=expected):
        read_image_folder(tmp_path, val_split=0.2)


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"),
        ("Train", "Val"),
        ("train", "valid"),
        ("train", "test"),
        ("TRAINING SET", "validation-set"),
        ("training_data", "testing_data"),
        ("trainDataset", "test-images"),
    ],
)
def test_splits_have_many_names(names, tmp_path, rng):
    """In any case they are never classes, even where a share for val is stated."""
    for name, count in zip(names, (10, 4), strict=True):
        write_images(tmp_path / name, rng, count=count)
    found = read_image_folder(tmp_path)
    assert found.classes == ("blue", "red")
    assert (len(found.train), len(found.selection), len(found.val)) == (18, 2, 8)
    with pytest.raises(InputError, match=f"has {names[0]}/ and {names[1]}/, so no val split"):
        read_image_folder(tmp_path, val_split=0.2)


def test_folders_called_as_splits_are_no_classes(tmp_path, rng):
    write_images(tmp_path, rng, count=4)
    (tmp_path / "blue").rename(tmp_path / "Train")
    (tmp_path / "red").rename(tmp_path / "Test")
    with pytest.raises(InputError, match=r"at least 2 classes in .*Train. Found: 0"):
        read_image_folder(tmp_path, val_split=0.25)


def test_two_folders_of_one_split_are_refused(tmp_path, rng):
    for name in ("train", "val", "valid"):
        write_images(tmp_path / name, rng, count=1)
    with pytest.raises(InputError, match=r"one folder for val in .* \['val', 'valid'\]"):
        read_image_folder(tmp_path)


def test_images_that_are_scored_may_be_called_test(tmp_path, rng):
    write_images(tmp_path / "train", rng, count=10)
    write_images(tmp_path / "test", rng, count=4)
    found = read_image_folder(tmp_path)
    assert {path.parent.parent.name for path in found.val.paths} == {"test"}
    with pytest.raises(InputError, match="has train/ and test/, so no val split"):
        read_image_folder(tmp_path, val_split=0.2)
    write_images(tmp_path / "val", rng, count=2)
    assert len(read_image_folder(tmp_path).val) == 4


def test_a_class_may_be_called_train(image_folder):
    (image_folder / "red").rename(image_folder / "train")
    assert read_image_folder(image_folder, val_split=0.25).classes == ("blue", "train")


@pytest.mark.parametrize("suffix", ["avif", "jfif", "JPE", "pgm", "ppm", "tif", "TIFF", "webp"])
def test_suffixes_that_are_read(suffix, image_folder):
    color = Image.new("RGB", (24, 24), (200, 40, 40))
    image = color.convert("L") if suffix == "pgm" else color
    kind = {"jfif": "jpeg", "JPE": "jpeg", "tif": "tiff", "pgm": "ppm"}.get(suffix, suffix)
    image.save(image_folder / "red" / f"photo.{suffix}", format=kind)
    found = read_image_folder(image_folder, val_split=0.25)
    assert found.skipped == ()
    assert len(found.train) + len(found.selection) + len(found.val) == 25
    assert len(find_images(image_folder)[0]) == 25


def test_suffixes_that_are_not_read_are_named(image_folder):
    for name in ("photo.heic", "photo.CR2", "photo.svg"):
        (image_folder / "red" / name).write_bytes(b"")
    (image_folder / "red" / "notes.txt").write_text("no image")
    for skipped in (
        read_image_folder(image_folder, val_split=0.25).skipped,
        find_images(image_folder)[1],
    ):
        assert [p.name for p in skipped] == ["photo.CR2", "photo.heic", "photo.svg"]
    for path in (image_folder / "red").glob("*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match=r"Class folder .*red .* Left out: 3, such as photo"):
        read_image_folder(image_folder, val_split=0.25)


def test_what_systems_put_beside_images_is_no_image_and_no_class(image_folder):
    photo = (image_folder / "red" / "0.jpg").read_bytes()
    for name in ("red/.ipynb_checkpoints/0-checkpoint.jpg", "red/._0.jpg", "__MACOSX/red/._0.jpg"):
        path = image_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)
    found = read_image_folder(image_folder, val_split=0.25)
    assert found.classes == ("blue", "red")
    assert len(found.train) + len(found.selection) + len(found.val) == 24
    images, skipped = find_images(image_folder)
    assert (len(images), skipped) == (24, ())


@pytest.mark.parametrize("name", ["red\u2028", "re\nd", "r\x85ed", b"r\xe9d"])
def test_names_of_classes_that_no_text_file_holds(name, image_folder):
    name = os.fsdecode(name)
    (image_folder / "red").rename(image_folder / name)
    expected = "names of classes without line breaks in .* Received: 'r|in UTF-8. Received: b'"
    with pytest.raises(InputError, match=expected) as refused:
        read_image_folder(image_folder, val_split=0.25)
    str(refused.value).encode()


def test_names_of_images_that_are_not_utf_8(image_folder):
    image = image_folder / "red" / "0.jpg"
    image.rename(image_folder / "red" / os.fsdecode(b"caf\xe9.jpg"))
    for read in (lambda folder: read_image_folder(folder, val_split=0.25), find_images):
        with pytest.raises(InputError, match=r"Expected names in UTF-8. .*caf\\xe9.jpg") as refused:
            read(image_folder)
        str(refused.value).encode()


@pytest.mark.parametrize("place", ["", "red", "red/inside"])
def test_folders_that_cannot_be_read(place, image_folder, monkeypatch):
    (image_folder / "red" / "inside").mkdir()
    listed = os.scandir

    def scandir(path):
        if os.fspath(path) == os.fspath(image_folder / place):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    # To root every folder can be read.
    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "listdir", lambda path: [each.name for each in scandir(path)])
    with pytest.raises(InputError, match=r"Cannot read folder .*: Permission denied"):
        read_image_folder(image_folder, val_split=0.25)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("detail", [1, 2])
def test_a_crop_of_a_jpeg_is_that_of_its_pixels(orientation, detail, tmp_path):
    """Whatever the scale that it is decoded at, and whichever way it lies."""
    across, down = np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 320))
    pixels = np.stack([across, down, 255 - across], -1).astype("uint8")
    upright = Image.fromarray(pixels)
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "image.jpg", quality=95, exif=exif)
    box = (200, 40, 360, 240)
    decoded = []

    def crop(width, height):
        decoded.append((width, height))
        return box

    found = np.asarray(read_image(tmp_path / "image.jpg", (20, 20), crop, detail), "float64")
    assert decoded == [(400, 320)]
    expected = upright.resize((20, 20), Image.Resampling.BILINEAR, box=box)
    assert np.abs(found - np.asarray(expected, "float64")).max() < 4


def test_the_share_of_each_class_is_drawn_from_its_images_in_order():
    labels = np.random.default_rng(1).integers(0, 9, 200).astype("int32")
    images = ImageSet(tuple(Path(f"{index}.jpg") for index in range(200)), labels)
    rest, taken = _split(images, 0.3, np.random.default_rng(0), "split", tuple("abcdefghi"))
    rng, expected = np.random.default_rng(0), []
    for label in range(9):
        members = [index for index in range(200) if labels[index] == label]
        expected += rng.choice(members, round(0.3 * len(members)), replace=False).tolist()
    assert [path.stem for path in taken.paths] == [str(index) for index in sorted(expected)]
    assert len(rest) + len(taken) == 200
    assert not {*rest.paths} & {*taken.paths}
