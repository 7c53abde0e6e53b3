"""Folders of images: what is found, skipped, split, refused; and batches that repeat."""

import numpy as np
import pytest
from PIL import Image

from keras_cbam.errors import InputError
from keras_cbam.training import ImageBatches, find_images, read_image_folder
from keras_cbam.training.image_batches import read_image
from tests.conftest import write_images


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
        (spoil_class_corrupt, "Class red has no image that can be decoded"),
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
    with pytest.raises(InputError, match="leaves no training image"):
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


def test_evaluation_takes_the_central_square(tmp_path):
    pixels = np.zeros((8, 16, 3), "uint8")
    pixels[:, 4:12] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    images, _ = find_images(tmp_path)
    assert (ImageBatches(images, 8, 1)[0][0] == 200).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_images_of_more_than_8_bits_are_named_and_left_out(mode, image_folder):
    suffix = "png" if mode == "I;16" else "tiff"
    deep = image_folder / "red" / "deep.png"
    Image.new(mode, (24, 24), 30000).save(deep, format=suffix)
    assert [p.name for p in read_image_folder(image_folder, val_split=0.25).skipped] == ["deep.png"]


def test_train_without_val_is_no_class(tmp_path, rng):
    write_images(tmp_path / "train", rng, count=10)
    expected = r"Expected train/ and val/, or train/ and test/, in .* Found only: train/"
    with pytest.raises(InputError, match=expected):
        read_image_folder(tmp_path, val_split=0.2)


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

    found = np.asarray(read_image(tmp_path / "image.jpg", 20, crop, detail), "float64")
    assert decoded == [(400, 320)]
    expected = upright.resize((20, 20), Image.Resampling.BILINEAR, box=box)
    assert np.abs(found - np.asarray(expected, "float64")).max() < 4
