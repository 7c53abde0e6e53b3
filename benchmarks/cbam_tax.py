"""The CBAM tax: the time of a network with CBAM over that of the same network without, minus one.

    python benchmarks/cbam_tax.py
    python benchmarks/cbam_tax.py --networks MobileNetV2 --rows onnxruntime litert-int8 --threads 1

All networks of a row run in one process, in turn. Beside the package's CBAM stands the plain
formulation (`plain_cbam.py`) with the same weights, off their start; the two are compared layer by
layer. Its ONNX file is by `model.export`. The floor is what memory allows: each map that attention
refines is read three times and written once (in training nine times and twice), at the bandwidth of
a copy of that map, measured in the same process.

Inference is of one image of 224x224, training of 8 images of 128x128. Prints Markdown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

NETWORKS = ("ResNet50", "MobileNetV2")
NONE, OURS, PLAIN = "none", "cbam", "plain"
Steps = dict[str, Callable[[], object]]

# Of the largest value of a map: what the two formulations may differ by.
LARGEST = 1e-5
# Of the largest score: what images have to differ by.
SPREAD = 100 * LARGEST


def networks(builder: str, size: int) -> dict:
    """The network without attention, with CBAM, and with the plain formulation of the same CBAM."""
    import keras
    import numpy as np
    from plain_cbam import PlainCBAM

    from keras_cbam import CBAM, attach_attention, detach_attention
    from tests.conftest import vary

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    build = getattr(keras.applications, builder)
    attached = attach_attention(
        build(
            weights=None,
            input_shape=(size, size, 3),
            classes=10,
            classifier_activation=None,
        )
    )
    layers = [layer for layer in attached.layers if isinstance(layer, CBAM)]
    for layer in layers:
        excite = layer.channel_attention.excite.kernel
        excite.assign(rng.normal(0, 0.2 / np.sqrt(excite.shape[-2]), excite.shape))
    attached = vary(attached)  # gammas of the spatial gates too
    layers = [layer for layer in attached.layers if isinstance(layer, CBAM)]
    backbone = detach_attention(attached)
    plain = attach_attention(backbone, lambda point: PlainCBAM())
    rivals = [layer for layer in plain.layers if isinstance(layer, PlainCBAM)]
    for rival, layer in zip(rivals, layers, strict=True):
        rival.take(layer)
        _agree(layer, rival)
    found = {NONE: backbone, OURS: attached, PLAIN: plain}
    pixels = images(8, size)
    for kind in (OURS, PLAIN):
        scores = np.asarray(found[kind].predict(pixels, verbose=0))
        spread = np.ptp(scores, axis=0).max() / np.abs(scores).max()
        if not spread >= SPREAD:
            raise SystemExit(
                f"{builder}, {kind}: outputs vary by {spread:.1e} of the largest score"
            )
    return found


def _agree(layer, rival) -> None:
    """Compare the two on one map: through a whole network rounding would grow."""
    import numpy as np
    from keras import ops

    x = np.random.default_rng(0).normal(size=(2, *layer.output.shape[1:])).astype("float32")
    ours, theirs = (ops.convert_to_numpy(each(x)) for each in (layer, rival))
    difference = np.abs(ours - theirs).max() / np.abs(ours).max()
    if not difference <= LARGEST or np.allclose(ours, x, rtol=0.1):
        raise SystemExit(
            f"{layer.name}: the formulations differ by {difference:.1e}, or are nothing"
        )


def images(count: int, size: int):
    """Colored pieces with noise, as float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    pieces = rng.uniform(-1, 1, (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return (0.8 * pieces + 0.2 * rng.uniform(-1, 1, pieces.shape)).astype("float32")


def floor(models: dict, size: int, batch: int, moves: int) -> float:
    """Seconds that the method must take for what it moves, by the bandwidth of a copy."""
    import numpy as np

    from keras_cbam import CBAM

    total = 0.0
    for layer in models[OURS].layers:
        if not isinstance(layer, CBAM):
            continue
        source = np.random.default_rng(0).normal(size=(batch, *layer.output.shape[1:]))
        source = source.astype("float32")
        target = np.empty_like(source)
        best = min(_timed(lambda to=target, of=source: np.copyto(to, of)) for _ in range(20))
        total += best * moves / 2  # a copy reads once and writes once
    return total


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def exported(models: dict, folder: Path, form: str, precision: str) -> dict[str, Path]:
    """The artifact of each network; the ONNX file of the plain one by Keras's own export."""
    from keras_cbam.export import export

    found = {}
    for kind, model in models.items():
        if kind == PLAIN and form == "onnx":
            found[kind] = folder / "plain.onnx"
            model.export(found[kind], format="onnx", opset_version=17, verbose=False)
            continue
        report = export(
            model,
            folder / kind,
            formats=form,
            precisions=precision,
            representative_dataset=images(100, 224) if precision in ("int8", "dynamic") else None,
            target="generic" if kind == PLAIN else "cpu",
            runtimes=(),
            on_mismatch="report",
        )
        found[kind] = Path(report.directory) / report.artifacts[0].name
    return found


def in_onnxruntime(models: dict, folder: Path, threads: int, precision: str) -> Steps:
    """Float32 ONNX files, one image."""
    import onnxruntime

    steps: Steps = {}
    for kind, path in exported(models, folder, "onnx", precision).items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads of one network that spin would run against those of the next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        feeds = {session.get_inputs()[0].name: images(1, 224)}
        steps[kind] = lambda session=session, feeds=feeds: session.run(None, feeds)
    return steps


def in_litert(models: dict, folder: Path, threads: int, precision: str) -> Steps:
    """TFLite files, one image."""
    from ai_edge_litert.interpreter import Interpreter

    steps: Steps = {}
    for kind, path in exported(models, folder, "tflite", precision).items():
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        (entry,) = interpreter.get_input_details()
        scale, zero = entry["quantization"]
        values = images(1, 224)
        if scale:
            values = (values / scale + zero).round().clip(-128, 127).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], values)
        steps[kind] = interpreter.invoke
    return steps


def inference(models: dict, folder: Path, threads: int, precision: str) -> Steps:
    """`predict_on_batch` of one image, in the backend."""
    pixels = images(1, 224)
    return {k: lambda model=m: model.predict_on_batch(pixels) for k, m in models.items()}


def training(models: dict, folder: Path, threads: int, precision: str) -> Steps:
    """`train_on_batch` of 8 images, in the backend, compiled as Keras does by itself."""
    import keras
    import numpy as np

    pixels, labels = images(8, 128), np.arange(8)
    for model in models.values():
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return {k: lambda model=m: model.train_on_batch(pixels, labels) for k, m in models.items()}


# By row: what makes its steps, the precision, the backend, pixels, batch, moves of the floor, runs.
ROWS: dict[str, tuple] = {
    "onnxruntime": (in_onnxruntime, "float32", "tensorflow", 224, 1, 4, 30),
    **{
        f"litert-{precision}": (in_litert, precision, "tensorflow", 224, 1, 4, 20)
        for precision in ("float32", "float16", "dynamic", "int8")
    },
    "tensorflow-inference": (inference, "", "tensorflow", 224, 1, 4, 15),
    "tensorflow-training": (training, "", "tensorflow", 128, 8, 11, 10),
    "jax-inference": (inference, "", "jax", 224, 1, 4, 15),
    "jax-training": (training, "", "jax", 128, 8, 11, 10),
}
THREADED = (in_onnxruntime, in_litert)


def measure(builder: str, row: str, threads: int) -> None:
    """In a process of its own: one row of the table."""
    from alternate import alternate, tax

    make, precision, _, size, batch, moves, runs = ROWS[row]
    models = networks(builder, size)
    with tempfile.TemporaryDirectory() as folder:
        seconds = alternate(make(models, Path(folder), threads, precision), runs)
    least = floor(models, size, batch, moves) / seconds[NONE].min()
    cells = [f"{of:+.1%}" for kind in (OURS, PLAIN) for of in tax(seconds, kind, NONE)]
    print(f"| {builder} | {row} | {threads} | {' | '.join(cells)} | {least:+.1%} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a process for each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=tuple(ROWS))
    # Backends share one pool of threads, of all processors.
    parser.add_argument(
        "--threads",
        help="of onnxruntime and LiteRT",
        nargs="+",
        type=int,
        default=(1, os.cpu_count() or 1),
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        measure(given.networks[0], given.rows[0], given.threads[0])
        return
    print("| network | runtime | threads | CBAM, min | median | plain, min | median | floor |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for builder in given.networks:
        for row in given.rows:
            make, _, backend, *_ = ROWS[row]
            for threads in given.threads if make in THREADED else (os.cpu_count(),):
                done = subprocess.run(
                    [
                        *(sys.executable, __file__, "--measure", "--networks", builder),
                        *("--rows", row, "--threads", str(threads)),
                    ],
                    env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                # What converters print stands before it.
                print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
