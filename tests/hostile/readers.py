"""What the package reads that others may have written: how to make it, mutate it and read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.text import sentence
from tests.hostile.mutants import Rng, of_bytes, of_json, of_zip


class Reader(NamedTuple):
    """A reader under attack.

    Attributes:
        make: writes whole files to a folder, and returns those to mutate.
        mutate: a mutant of the bytes of one of them.
        read: reads the folder as a user would. It may refuse with an `InputError`.
        starts: whether it may start a process.
        seconds: how long it may take for one small file; longer is a hang.
    """

    make: Callable[[Path], list[Path]]
    mutate: Callable[[bytes, Rng], bytes]
    read: Callable[[Path], Any]
    starts: bool = False
    seconds: float = 20.0


def _picture(size: tuple[int, int] = (24, 18)) -> Any:
    from PIL import Image

    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), "uint8"))


def _make_images(root: Path) -> list[Path]:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    options: dict[str, dict[str, Any]] = {
        "a.jpg": {"exif": exif},
        "b.png": {"exif": exif},
        "c.gif": {},
        "d.bmp": {},
        "e.webp": {"exif": exif},
        "f.tif": {},
        "g.ppm": {},
    }
    for name, more in options.items():
        _picture().save(root / name, **more)
    return [root / name for name in options]


def _read_images(root: Path) -> None:
    from keras_cbam.training import ImageBatches, find_images

    found, _ = find_images(root)
    for training in (False, True):
        batches = ImageBatches(
            found, 16, 8, training=training, augmentations=("crop", "flip", "color")
        )
        images, _ = batches[0]
        assert np.isfinite(images).all()


def _make_coco(root: Path) -> list[Path]:
    for split in ("train", "val"):
        (root / split).mkdir(exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        images, annotations = [], []
        for number in range(3):
            _picture().save(root / split / f"{number}.jpg")
            images.append({"id": number, "file_name": f"{number}.jpg", "width": 24, "height": 18})
            box = [2, 3, 8, 9]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0}
            )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        }
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
    return sorted((root / "annotations").iterdir())


VOC = """<annotation><filename>{name}.jpg</filename>
<size><width>24</width><height>18</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>10</xmax><ymax>12</ymax></bndbox></object></annotation>
"""


def _make_voc(root: Path) -> list[Path]:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in "abcd":
        (root / "Annotations" / f"{name}.xml").write_text(VOC.format(name=name))
        _picture().save(root / "JPEGImages" / f"{name}.jpg")
    for split, names in (("train", "ab"), ("val", "cd")):
        (root / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(names))
    return [*sorted((root / "Annotations").iterdir()), root / "ImageSets/Main/train.txt"]


def _read_detection(root: Path) -> None:
    from keras_cbam.detection import read_detection_folder

    read_detection_folder(root)


def _backbone() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, keras.layers.Conv2D(8, 3, activation="relu")(inputs))


def _network() -> keras.Model:
    from keras_cbam import CBAM

    backbone = _backbone()
    x = CBAM(reduction_ratio=4)(backbone.output)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(backbone.inputs, keras.layers.Dense(2, activation="softmax")(x))


def _make_keras(root: Path) -> list[Path]:
    _network().save(root / "model.keras")
    return [root / "model.keras"]


def _read_keras(root: Path) -> None:
    from keras_cbam.export import load_model

    load_model(root / "model.keras")


def _make_export(root: Path) -> list[Path]:
    from keras_cbam.export import export_model

    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    if not (root / "manifest.json").exists():
        export_model(_network(), root, formats=["onnx"], verification_data=images)
    return [root / "manifest.json", root / "reference.npz"]


def _mutate_export(data: bytes, rng: Rng) -> bytes:
    return of_zip(data, rng) if data.startswith(b"PK") else of_json(data, rng)


def _read_export(root: Path) -> None:
    from keras_cbam.export.proof.manifest import read_manifest
    from keras_cbam.export.proof.reference import read_reference

    read_reference(root / "reference.npz", read_manifest(root))


def _make_files(root: Path, kind: str) -> None:
    """Export the network as one format, with the inputs to run it on."""
    from keras_cbam.export import export_model
    from keras_cbam.export.children.arrays import save_arrays

    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    network = _network()
    report = export_model(
        network, root / "out", formats=[kind], verification_data=images, runtimes=()
    )
    save_arrays(root / "inputs.npz", {report.inputs[0]["name"]: images})


def _make_saved_model(root: Path) -> list[Path]:
    _make_files(root, "saved_model")
    return [root / "out" / "saved_model" / "saved_model.pb"]


def _read_saved_model(root: Path) -> None:
    from keras_cbam.export.children.process import Refused
    from keras_cbam.export.runtimes.saved_model_operations import check_operations

    try:
        check_operations(str(root / "out" / "saved_model"))
    except Refused as error:
        raise InputError(sentence(error)) from error


def _make_tflite(root: Path) -> list[Path]:
    _make_files(root, "tflite")
    return [root / "out" / "model_float32.tflite"]


def _make_onnx(root: Path) -> list[Path]:
    _make_files(root, "onnx")
    return [root / "out" / "model.onnx"]


def _reading_in(runtime: str) -> Callable[[Path], None]:
    """Runs the one file of an export, and asks where its operations run, as `verify` does."""

    def read(root: Path) -> None:
        from keras_cbam.export.children.process import Limits, RuntimeFailure
        from keras_cbam.export.runtimes.placement import delegations
        from keras_cbam.export.runtimes.table import run_artifact

        limits = Limits(10, 4)
        (path,) = (root / "out").glob("model*.*")
        try:
            run_artifact(runtime, path, root / "inputs.npz", limits)
        except RuntimeFailure as error:
            raise InputError(sentence(error)) from error
        delegations(path.parent, [path.name], limits)

    return read


def _make_adapter(root: Path) -> list[Path]:
    from keras_cbam.surgery import freeze_backbone
    from keras_cbam.training import save_adapter

    network = _network()
    freeze_backbone(network)
    save_adapter(network, root / "adapter.npz", labels=["cat", "dog"])
    return [root / "adapter.npz"]


def _read_adapter(root: Path) -> None:
    from keras_cbam.training import load_adapter

    load_adapter(_backbone(), root / "adapter.npz")


def _make_archive(root: Path) -> list[Path]:
    pictures = []
    for number in range(4):
        _picture().save(root / f"{number}.jpg")
        pictures.append((root / f"{number}.jpg").read_bytes())
        (root / f"{number}.jpg").unlink()
    for split in ("train", "test"):
        np.savez(
            root / f"all_{split}.npz",
            jpeg=np.frombuffer(b"".join(pictures), "uint8"),
            offsets=np.cumsum([0, *map(len, pictures)]),
            labels=np.array([0, 1, 0, 1], "uint8"),
            classes=np.array(["blue", "red"]),
        )
    return sorted(root.glob("*.npz"))


def _read_archive(root: Path) -> None:
    from keras_cbam.training import read_image_archive

    read_image_archive(root)


def _make_state(root: Path) -> list[Path]:
    from keras_cbam.training.run_state import save_arrays

    arrays = [np.arange(6, dtype="float32").reshape(2, 3), np.zeros(4)]
    save_arrays(root / "state.npz", arrays, {"stage": 0, "epoch": 1})
    return [root / "state.npz"]


def _read_state(root: Path) -> None:
    from keras_cbam.training.run_state import load_arrays

    load_arrays(root / "state.npz")


def _make_checkpoint(root: Path) -> list[Path]:
    import torch

    rng = np.random.default_rng(0)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "bn1.weight": (4,),
        "fc.weight": (2, 4),
        "fc.bias": (2,),
    }
    state = {name: torch.tensor(rng.normal(size=shape)) for name, shape in shapes.items()}
    torch.save({"state_dict": state}, root / "a.pth")
    return [root / "a.pth"]


def _read_checkpoint(root: Path) -> None:
    from keras_cbam.checkpoints.torch_file import read_state_dict

    read_state_dict(root / "a.pth")


def _make_outcomes(root: Path) -> list[Path]:
    from keras_cbam.studies.transfer_report import Outcome, write_outcomes

    rows = [Outcome(f"a_{i}", "a", "cbam", i, 50.0, 40.0, 10, 7, 1.0) for i in range(3)]
    write_outcomes(rows, (), root)
    return [root / "transfer.json"]


def _read_outcomes(root: Path) -> None:
    from keras_cbam.studies.transfer_report import read_outcomes

    read_outcomes(root)


READERS = {
    "images": Reader(_make_images, of_bytes, _read_images),
    "COCO": Reader(_make_coco, of_json, _read_detection),
    "VOC": Reader(_make_voc, of_bytes, _read_detection),
    "Keras models": Reader(_make_keras, of_zip, _read_keras),
    "manifests and references": Reader(_make_export, _mutate_export, _read_export),
    "SavedModels": Reader(_make_saved_model, of_bytes, _read_saved_model),
    # A process for each question, of 10 s at most.
    "TFLite": Reader(_make_tflite, of_bytes, _reading_in("litert"), starts=True, seconds=60),
    "ONNX": Reader(_make_onnx, of_bytes, _reading_in("onnxruntime"), starts=True, seconds=60),
    "adapters": Reader(_make_adapter, of_zip, _read_adapter),
    "image archives": Reader(_make_archive, of_zip, _read_archive),
    "states of runs": Reader(_make_state, of_zip, _read_state),
    "PyTorch checkpoints": Reader(_make_checkpoint, of_zip, _read_checkpoint),
    "study results": Reader(_make_outcomes, of_json, _read_outcomes),
}
