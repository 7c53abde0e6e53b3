"""Every format and precision of a network with CBAM: size, error, SQNR, agreement, accuracy.

    python benchmarks/export.py runs/MobileNetV2 runs/MobileNet --data $KERAS_CBAM_DATA
    python benchmarks/export.py EfficientNetB0 MobileNetV3Small ConvNeXtTiny ResNet50

For the directory of a `keras-cbam finetune` on `imagenette_subset`, artifacts are calibrated on
200 of the train images and compared with Keras on all val images. For a builder of
`keras.applications`, CBAM is attached, and weights and statistics are made to vary; artifacts are
compared on drawn images, on which only float32 is judged. Prints Markdown.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
from varied import varied_images, varied_network

from keras_cbam.cli.model_images import calibration_pixels, verification_pixels
from keras_cbam.errors import InputError
from keras_cbam.export import Report, export_model
from keras_cbam.export.formats import PRECISIONS


def trained(run: Path, data: Path, output: str) -> Report:
    """Export a fine-tuned network."""
    model = keras.saving.load_model(run / "model.keras")
    labels = (run / "labels.txt").read_text().splitlines()
    return export_model(
        model,
        output,
        precisions=PRECISIONS,
        representative_dataset=calibration_pixels(data / "imagenette_subset/train", model, 200),
        verification_data=verification_pixels(data / "imagenette_subset/val", model, labels),
        on_mismatch="report",
        labels=labels,
    )


def varied(builder: str, output: str) -> Report:
    """Export a network that was never trained."""
    model = varied_network(builder)

    def exported(precisions: tuple[str, ...]) -> Report:
        return export_model(
            model,
            output,
            precisions=precisions,
            preprocessing=builder,
            representative_dataset=varied_images(),
            on_mismatch="report",
        )

    try:
        return exported(PRECISIONS)
    except InputError as error:
        print(f"{builder} without int16x8: {error}\n")
        return exported(tuple(each for each in PRECISIONS if each != "int16x8"))


def main() -> None:
    """Export each, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    for network in arguments.networks:
        run = Path(network)
        with tempfile.TemporaryDirectory() as folder:
            if run.is_dir():
                report = trained(run, arguments.data, folder)
            else:
                report = varied(network, folder)
        print(f"## {run.name}\n\n{report.markdown()}", flush=True)


if __name__ == "__main__":
    main()
