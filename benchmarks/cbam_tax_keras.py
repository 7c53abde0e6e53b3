"""The rows of `cbam_tax.py` whose networks are Keras's: exported, in TensorFlow and in JAX.

Beside the package's CBAM stands the plain formulation (`plain_cbam.py`) with the same weights, off
their start; the two are compared layer by layer. Its ONNX file is by `model.export`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from agreement import LARGEST, TIMES, images, require_agreement, require_spread
from cbam_tax_row import NONE, OURS, PLAIN, Networks, Row, Steps, onnx_step

if TYPE_CHECKING:
    import keras

Models = dict[str, "keras.Model"]


def networks(builder: str, size: int) -> Networks:
    """The network without attention, with CBAM, and with the plain formulation of the same CBAM."""
    import keras
    from plain_cbam import PlainCBAM

    from keras_cbam import CBAM, attach_attention, detach_attention
    from tests.drawn import vary

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
        require_spread(f"{builder}, {kind}", scores, TIMES * LARGEST)
    return Networks(found, [tuple(layer.output.shape[1:]) for layer in layers])


def _agree(layer: keras.Layer, rival: keras.Layer) -> None:
    """Compare the two on one map: through a whole network rounding would grow."""
    from keras import ops

    x = np.random.default_rng(0).normal(size=(2, *layer.output.shape[1:])).astype("float32")
    ours, theirs = (ops.convert_to_numpy(each(x)) for each in (layer, rival))
    require_agreement(f"{layer.name}, the plain formulation", theirs, ours, LARGEST)
    if np.allclose(ours, x, rtol=0.1):
        raise SystemExit(f"{layer.name}: attention is near the identity")


def exported(models: Models, folder: Path, form: str, precision: str) -> dict[str, Path]:
    """The artifact of each network; the ONNX file of the plain one by Keras's own export."""
    from keras_cbam.export import export_model

    found = {}
    for kind, model in models.items():
        if kind == PLAIN and form == "onnx":
            found[kind] = folder / "plain.onnx"
            model.export(found[kind], format="onnx", opset_version=17, verbose=False)
            continue
        report = export_model(
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


def in_onnxruntime(models: Models, folder: Path, threads: int) -> Steps:
    """Float32 ONNX files, one image."""
    pixels = images(1, 224)
    files = exported(models, folder, "onnx", "float32")
    return {kind: partial(onnx_step(path, threads), pixels) for kind, path in files.items()}


def in_litert(models: Models, folder: Path, threads: int, precision: str) -> Steps:
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


def inference(models: Models, folder: Path, threads: int) -> Steps:
    """`predict_on_batch` of one image, in the backend."""
    pixels = images(1, 224)
    return {kind: partial(model.predict_on_batch, pixels) for kind, model in models.items()}


def training(models: Models, folder: Path, threads: int) -> Steps:
    """`train_on_batch` of 8 images, in the backend, compiled as Keras does by itself."""
    import keras

    pixels, labels = images(8, 128), np.arange(8)
    for model in models.values():
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return {kind: partial(model.train_on_batch, pixels, labels) for kind, model in models.items()}


LITERT = ("tensorflow", "ai_edge_litert")
ONNX = ("tensorflow", "tf2onnx", "onnx", "onnxruntime")
ROWS = {
    "onnxruntime": Row(networks, in_onnxruntime, "tensorflow", 224, 1, 4, 30, ONNX),
    **{
        f"litert-{precision}": Row(
            networks, partial(in_litert, precision=precision), "tensorflow", 224, 1, 4, 20, LITERT
        )
        for precision in ("float32", "float16", "dynamic", "int8")
    },
    "tensorflow-inference": Row(networks, inference, "tensorflow", 224, 1, 4, 15, ("tensorflow",)),
    "tensorflow-training": Row(networks, training, "tensorflow", 128, 8, 11, 10, ("tensorflow",)),
    "jax-inference": Row(networks, inference, "jax", 224, 1, 4, 15, ("jax",)),
    "jax-training": Row(networks, training, "jax", 128, 8, 11, 10, ("jax",)),
}
