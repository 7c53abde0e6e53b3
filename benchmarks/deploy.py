"""A fine-tuned network in the runtimes that people deploy with, and what an NPU maps of it.

    python benchmarks/deploy.py runs/MobileNetV2 --data $KERAS_CBAM_DATA

For the directory of a `keras-cbam finetune` on `imagenette_subset`: OpenVINO, and onnxruntime-web
where node finds it, with the int8 file for `--target cpu` and `npu`; MediaPipe's `ImageClassifier`
on 100 val photographs at the input's size, in float32 and in int8 with uint8 inputs. And the int8
file of ResNet50 with CBAM, which was never trained, for both targets. Prints Markdown.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from varied import varied_images, varied_network

from keras_cbam.cli.model_images import calibration_pixels, verification_pixels
from keras_cbam.export import export_model
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.runtimes.placement import delegations
from keras_cbam.export.runtimes.table import run_artifact

COUNT = 100


def mediapipe_labels(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The labels that MediaPipe, given the path alone, finds."""
    import mediapipe
    from mediapipe.tasks.python.vision import ImageClassifier

    found = []
    with ImageClassifier.create_from_model_path(str(path)) as classifier:
        for image in pixels:
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            best = classifier.classify(picture).classifications[0].categories[0]
            found.append(best.category_name)
    return np.array(found)


def in_runtimes(run: Path, data: Path, folder: Path) -> None:
    """MediaPipe, OpenVINO and onnxruntime-web."""
    model = keras.saving.load_model(run / "model.keras")
    labels = (run / "labels.txt").read_text().splitlines()
    pixels, truth = verification_pixels(data / "imagenette_subset/val", model, labels)
    calibration = calibration_pixels(data / "imagenette_subset/train", model, 200)
    chosen = np.random.default_rng(0).permutation(len(pixels))
    pixels, truth = pixels[chosen], truth[chosen]
    for target in ("cpu", "npu"):
        report = export_model(
            model,
            folder / target,
            precisions=["float32", "float16", "dynamic", "int8"],
            representative_dataset=calibration,
            verification_data=(pixels, truth),
            labels=labels,
            integer_io="uint8",
            target=target,
            write_report=True,
        )
        print(f"## {run.name}, for {target}\n\n{report.markdown()}", flush=True)
    images = np.rint(pixels[:COUNT]).astype("uint8")
    named = np.array(labels)
    expected = named[model.predict(images.astype("float32"), verbose=0).argmax(-1)]
    save_arrays(folder / "pixels.npz", {report.inputs[0]["name"]: images.astype("float32")})
    print("## MediaPipe ImageClassifier\n")
    print(f"| file | of {COUNT} labels the same as Keras's | the same as LiteRT's |\n|---|---|---|")
    for name in ("model_float32.tflite", "model_int8.tflite"):
        path = folder / "cpu" / name
        found = mediapipe_labels(path, images)
        (scores,) = run_artifact("litert", path, folder / "pixels.npz")[0].values()
        same = (found == expected).sum(), (found == named[scores.argmax(-1)]).sum()
        print(f"| {name} | {same[0]} | {same[1]} |", flush=True)


def on_an_npu(builder: str, folder: Path) -> None:
    """The int8 file of a varied network for both targets."""
    model = varied_network(builder)
    answers = {}
    for target in ("cpu", "npu"):
        report = export_model(
            model,
            folder / builder / target,
            formats="tflite",
            precisions="int8",
            preprocessing=builder,
            representative_dataset=varied_images(),
            target=target,
            runtimes=(),
        )
        (found,) = (
            each
            for each in delegations(Path(report.directory), ["model_int8.tflite"])
            if each.accelerator == "Ethos-U55"
        )
        inputs = folder / "inputs.npz"
        save_arrays(inputs, {report.inputs[0]["name"]: varied_images()})
        path = Path(report.directory) / "model_int8.tflite"
        (answers[target],) = run_artifact("litert", path, inputs)[0].values()
        sqnr = report.artifacts[0].parity[0].sqnr
        print(f"| {builder} | {target} | {found.inside} | {found.outside} | {sqnr:.1f} |")
    same = np.mean(answers["cpu"].argmax(-1) == answers["npu"].argmax(-1))
    print(f"\nTop-1 of both is the same on {same:.0%} of {len(answers['cpu'])} images.")


def main() -> None:
    """Print what the runtimes give, and what an NPU maps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        in_runtimes(arguments.run, arguments.data, Path(folder))
        print("\n## Never trained\n")
        print(
            "| network | target | on Ethos-U55 | not, and why | SQNR (dB) |\n|---|---|---|---|---|"
        )
        on_an_npu("ResNet50", Path(folder))


if __name__ == "__main__":
    main()
