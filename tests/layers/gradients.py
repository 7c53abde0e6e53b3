"""Gradients of a layer on the current backend."""

from tests.backend import BACKEND
from tests.layers.registry import numpy


def gradients(layer, x, loss, training=False):
    """Return the gradients of `loss(outputs)` by x, and by each trainable weight in order."""
    values = [weight.value for weight in layer.trainable_variables]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            found = loss(layer(x, training=training))
        by_x, *by_weights = tape.gradient(found, [x, *values])
    elif BACKEND == "jax":
        import jax

        others = [weight.value for weight in layer.non_trainable_variables]

        def run(x, values):
            outputs, _ = layer.stateless_call(values, others, x, training=training)
            return loss(outputs)

        by_x, by_weights = jax.jit(jax.grad(run, argnums=(0, 1)))(x, values)
    else:
        x = x.detach().requires_grad_()
        layer.zero_grad()
        loss(layer(x, training=training)).backward()
        by_x, by_weights = x.grad, [value.grad for value in values]
    return numpy(by_x), [numpy(g) for g in by_weights]
