"""`benchmarks/fused_norm.py`: the kernel that long studies run with computes what Keras does."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a kernel of TensorFlow"
)
PATH = Path(__file__).parents[2] / "benchmarks" / "fused_norm.py"


def trained(call, inputs, upstream):
    """Outputs, gradients and moving statistics of a step."""
    import tensorflow as tf

    layer = keras.layers.BatchNormalization(momentum=0.9)
    layer.build(inputs.shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.5, 2, inputs.shape[-1]) for _ in layer.weights])
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = call(layer, x, training=True)
    sources = [x, layer.gamma.value, layer.beta.value]
    gradients = tape.gradient(outputs, sources, output_gradients=tf.constant(upstream))
    return [np.asarray(each) for each in (outputs, *gradients)] + layer.get_weights()[2:]


def test_a_step_with_the_fused_kernel_is_that_of_keras():
    spec = importlib.util.spec_from_file_location("fused_norm", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rng = np.random.default_rng(0)
    inputs, upstream = rng.normal(1, 3, (2, 4, 3, 2, 5)).astype("float32")
    expected = trained(module.plain_call, inputs, upstream)
    for ours, theirs in zip(trained(module.fused_call, inputs, upstream), expected, strict=True):
        assert np.ptp(theirs) > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
