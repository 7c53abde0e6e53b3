"""Images as pixels: which files are opened at all, and that what is checked is what is read."""

import ast
import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from keras_cbam.errors import InputError
from keras_cbam.image_reader import central, decodable_mode, open_image, read_image
from tests.backend import ROOT

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype("uint8")


def read(path):
    return np.asarray(read_image(path, (16, 16), central(1.0), 1))


@pytest.mark.parametrize("kind", ["DDS", "ICNS", "JPEG2000", "PCX", "SGI", "TGA"])
def test_other_formats_are_not_opened(kind, tmp_path):
    """Under whatever name."""
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", format=kind)
    assert decodable_mode(tmp_path / "a.jpg") is None
    expected = r"can be decoded, of AVIF, BMP, .*\. Received: .*a.jpg \(cannot identify"
    with pytest.raises(InputError, match=expected):
        read(tmp_path / "a.jpg")


def test_no_other_program_is_started(tmp_path, monkeypatch):
    """Pillow hands EPS to Ghostscript."""
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", format="EPS")
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: started.append(args))
    assert decodable_mode(tmp_path / "a.jpg") is None
    assert not started


def test_no_other_place_opens_images():
    """Each decision about formats, limits and damage is made once."""
    wrong = []
    for path in [*(ROOT / "keras_cbam").rglob("*.py"), *(ROOT / "export").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if call.endswith("Image.open") or "image_dataset_from_directory" in call:
                wrong.append(f"{path.name}: {call}")
    assert wrong == ["image_reader.py: Image.open"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_not_opened(make, tmp_path):
    """A pipe would wait for ever for someone to write to it."""
    make(tmp_path / "x.jpg")
    assert decodable_mode(tmp_path / "x.jpg") is None
    with pytest.raises(InputError, match=r"x.jpg \(no regular file\)"):
        read(tmp_path / "x.jpg")


def with_exif(data):
    file = BytesIO()
    exif = {"exif": b"Exif\0\0" + data} if data else {}
    Image.fromarray(PIXELS).save(file, format="JPEG", **exif)
    return file.getvalue()


def with_chunk(name, data):
    """A PNG with another chunk behind its pixels."""
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, format="PNG")
    whole = file.getvalue()
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return whole[:-12] + struct.pack(">I", len(data)) + name + data + checksum + whole[-12:]


# One entry, the orientation, whose value is text, a number out of range, or anywhere.
HEADER = b"II*\0" + struct.pack("<IH", 8, 1)
DAMAGED = {
    "text": HEADER + struct.pack("<HHI4s", 0x0112, 2, 4, b"abc\0") + bytes(4),
    "out of range": HEADER + struct.pack("<HHIHH", 0x0112, 3, 1, 77, 0) + bytes(4),
    "of a wrong place": HEADER + struct.pack("<HHII", 0x0112, 3, 99, 2**31) + bytes(4),
    "cut off": HEADER[:-1],
    "no EXIF": b"nothing of the kind",
    "turned, beside text": b"II*\0"
    + struct.pack("<IH", 8, 2)
    + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    + struct.pack("<HHI4s", 0x0128, 2, 4, b"abc\0")
    + bytes(4),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_damaged_exif_harms_no_pixels(damage, kind, tmp_path):
    data = DAMAGED[damage]
    path = tmp_path / f"image.{kind}"
    path.write_bytes(with_exif(data) if kind == "jpg" else with_chunk(b"eXIf", data))
    assert decodable_mode(path) == "RGB"
    found = read(path)
    if not damage.startswith("turned"):
        path.write_bytes(with_exif(b"") if kind == "jpg" else with_chunk(b"tEXt", b"a\0b"))
        assert np.array_equal(found, read(path))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_checked_is_what_is_read(tmp_path):
    """Mutants of many formats: whatever passes can be read, whatever does not is one sentence."""
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    turned[0x010F] = "a maker"
    path = tmp_path / "image"
    outcomes = []
    for kind in ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"):
        file = BytesIO()
        Image.fromarray(PIXELS).save(file, format=kind, exif=turned)
        whole = bytearray(file.getvalue())
        for _ in range(60):
            mutant = whole.copy()
            for place in rng.integers(0, min(len(whole), 200), 3):
                mutant[place] = rng.integers(0, 256)
            end = rng.integers(1, len(whole)) if rng.random() < 0.2 else len(whole)
            path.write_bytes(mutant[:end])
            mode = decodable_mode(path)
            outcomes.append(mode)
            if mode:
                assert read(path).shape == (16, 16, 3)
            else:
                with pytest.raises(InputError, match="can be decoded"):
                    read(path)
    assert 0.1 < np.mean([mode is None for mode in outcomes]) < 0.9


@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_format_is_turned_upright(kind, value, tmp_path):
    across, down = np.meshgrid(np.linspace(0, 255, 32), np.linspace(0, 255, 24))
    upright = Image.fromarray(np.stack([across, down, 255 - across], -1).astype("uint8"))
    back = {5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    back |= {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"}
    stored = upright.transpose(Image.Transpose[back[value]]) if value > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = value
    quality = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    stored.save(tmp_path / "image", format=kind, exif=exif, **quality)
    seen = []

    def crop(width, height):
        seen.append((width, height))
        return 0, 0, width, height

    found = np.asarray(read_image(tmp_path / "image", (24, 32), crop, 1), "float64")
    assert seen == [(32, 24)]
    assert np.abs(found - np.asarray(upright, "float64")).mean() < 4


def test_a_photograph_of_two_pictures_is_its_first(tmp_path):
    """As some cameras write them, under `.jpg`."""
    image = Image.fromarray(PIXELS)
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image], quality=95)
    with open_image(tmp_path / "a.jpg") as file:
        assert file.format == "MPO"
    assert read(tmp_path / "a.jpg").shape == (16, 16, 3)
