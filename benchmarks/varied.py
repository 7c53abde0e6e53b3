"""Networks of `keras.applications` with CBAM that were never trained, but whose outputs vary."""

import keras
import numpy as np

from keras_cbam import CBAM, attach_attention
from keras_cbam.export.proof.warnings import spread_of
from keras_cbam.export.source.prepare import Prepared, prepare
from keras_cbam.export.source.preprocessing import with_preprocessing
from keras_cbam.export.source.random_inputs import draw_inputs
from tests.drawn import vary

SIZE = 128
SEEDS = 20
# Asked of a network: between two images, and between Keras op by op and compiled.
SPREAD = 0.1
DIFFERENCE = 1e-5
# Of a softmax that is always sure small differences would not be seen.
SURE = 0.9


def varied_network(builder: str) -> keras.Model:
    """A network with CBAM whose outputs vary, though it was never trained.

    Of the seeds the first is taken with which the outputs differ between images, without being 0
    or 1, and with which Keras itself, op by op and compiled, answers alike: a network that
    amplifies its own rounding tells nothing about an artifact.
    """
    build = getattr(keras.applications, builder)
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        model = attach_attention(build(weights=None, input_shape=(SIZE, SIZE, 3), classes=10))
        for layer in model.layers:
            if isinstance(layer, CBAM):
                excite = layer.channel_attention.excite.kernel
                excite.assign(rng.normal(0, 0.1 / np.sqrt(excite.shape[-2]), excite.shape))
        model = vary(model, seed)
        prepared, _ = with_preprocessing(prepare(model), builder, True)
        (images,) = draw_inputs(
            prepared.model.inputs, lambda each, of=prepared: spread_of(of.answers(each)), SPREAD
        )
        _soften(model, prepared, images)
        (compiled,) = prepared.answers([images]).values()
        difference = float(np.abs(np.asarray(prepared.model(images[:32])) - compiled[:32]).max())
        spread = float(np.ptp(compiled, axis=0).max())
        sure = float(compiled.max(-1).mean())
        if spread >= SPREAD and difference <= DIFFERENCE and sure <= SURE:
            print(f"{builder}, seed {seed}: spread {spread:.2f}, Keras itself {difference:.1e}\n")
            return model
    raise SystemExit(f"{builder}: no seed below {SEEDS} gives outputs that vary and are stable")


def _soften(model: keras.Model, prepared: Prepared, images: np.ndarray) -> None:
    """Scale a dense head so that its scores are neither all alike nor all but one 0."""
    head = model.layers[-1]
    if isinstance(head, keras.layers.Dense):
        (answers,) = prepared.answers([images]).values()
        scores = np.log(np.maximum(answers, 1e-30))
        head.kernel.assign(head.kernel * (2 / (scores - scores.mean(-1, keepdims=True)).std()))


def varied_images() -> np.ndarray:
    """Pixels to calibrate on, colored pieces with noise as those that exports are compared on."""
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (100, 4, 4, 3)).repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
    return (0.8 * images + 0.2 * rng.uniform(0, 255, images.shape)).astype("float32")
