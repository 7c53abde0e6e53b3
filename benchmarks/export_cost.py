"""Time and memory to convert ResNet50 with CBAM, beside Keras's own `model.export`.

    python benchmarks/export_cost.py [--runs 3]

Each conversion runs in a process of its own, ours and Keras's in turn, verification apart; the last
row is ours in every format and precision. Prints Markdown: ratios of times, and peak memory of each
in sizes of the float32 weights.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# The formats that both write, by our name and by Keras's, and Keras's options.
FORMATS = {
    "saved_model": ("tf_saved_model", {}),
    "tflite": ("litert", {}),
    "onnx": ("onnx", {"opset_version": 17}),
}
SIZE = 224
EVERYTHING = "everything"


def convert(who: str, what: str) -> None:
    """In a child process: convert once; print seconds, and peak memory in sizes of the weights."""
    import keras
    import numpy as np

    from keras_cbam import attach_attention
    from keras_cbam.export.formats import ARTIFACTS
    from keras_cbam.export.source.prepare import prepare
    from keras_cbam.export.source.serving import Serving

    model = attach_attention(keras.applications.ResNet50(weights=None))
    model(np.zeros((1, SIZE, SIZE, 3), "float32"))
    images = np.random.default_rng(0).uniform(-1, 1, (100, SIZE, SIZE, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if who == "keras":
            name, options = FORMATS[what]
            suffix = {"onnx": ".onnx", "tflite": ".tflite"}.get(what, "")
            model.export(Path(folder) / f"model{suffix}", format=name, verbose=False, **options)
        else:
            serving = Serving(prepare(model), Path(folder), [images])
            for artifact in ARTIFACTS:
                if what in (EVERYTHING, artifact.format) and (
                    what == EVERYTHING or artifact.precision == "float32"
                ):
                    artifact.write(serving, Path(folder) / artifact.name)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    weights = sum(4 * int(np.prod(weight.shape)) for weight in model.weights)
    print(json.dumps({"seconds": seconds, "peak": peak / weights}))


def child(who: str, what: str) -> dict[str, float]:
    """Run one conversion in its own process."""
    command = [sys.executable, __file__, "--convert", who, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Run ours and Keras's in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--convert", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(*arguments.convert)
        return
    print("| format | time, ratio of minima | of medians | peak memory, ours | Keras's |")
    print("|---|---|---|---|---|")
    for what in FORMATS:
        found: dict[str, list[dict[str, float]]] = {"ours": [], "keras": []}
        for _ in range(arguments.runs):
            for who, each in found.items():
                each.append(child(who, what))
        times = {who: [run["seconds"] for run in each] for who, each in found.items()}
        peaks = {who: min(run["peak"] for run in each) for who, each in found.items()}
        ratio = min(times["ours"]) / min(times["keras"])
        median = statistics.median(times["ours"]) / statistics.median(times["keras"])
        print(
            f"| {what} | {ratio:.2f} | {median:.2f} | {peaks['ours']:.1f} | {peaks['keras']:.1f} |",
            flush=True,
        )
    print(f"| {EVERYTHING} | | | {child('ours', EVERYTHING)['peak']:.1f} | |")


if __name__ == "__main__":
    main()
