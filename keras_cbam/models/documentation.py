"""The docstring of a builder: its own description, followed by the shared arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from keras_cbam.models.description import Network

SHARED = """
Layer names are addresses, such as `{example}`. Strided convolutions are padded
equally on all sides, as in PyTorch. Weights are initialized as in
[the authors' code](https://github.com/Jongchan/attention-module) of ResNets, except BAM's last
convolution, which starts smaller. Depthwise convolutions use He's rule too. Images are RGB, scaled
by `keras.applications.imagenet_utils.preprocess_input(x, mode="torch")`.

Args:
    attention: a name, `None` or a factory. `"cbam"`, `"se"`, `"channel"` and `"spatial"` stand
        {places}.
        `"bam"` stands after the stages {bam_stages}.
        `None` builds the plain network. A factory is a function that receives an
        `AttentionPoint` and returns a layer; it is called for the positions of `"cbam"`. A name
        gives the paper's form, which does not start as the identity. Defaults to `"cbam"`.
    include_top: whether the network ends in a classifier. Defaults to `True`.
    weights: `None`, or the path of a weights file for `load_weights`. Defaults to `None`.
    input_tensor: Keras tensor of images to use instead of a new `Input`. Defaults to `None`.
    input_shape: shape of the images without the batch axis. Height and width are `None` or at
        least {smallest[imagenet]}, or {smallest[cifar]} with `stem="cifar"`. Defaults to 224x224x3
        with the classifier, or 32x32x3 with `stem="cifar"`. Without the classifier, height and
        width default to `None`.
    pooling: pooling of the features if there is no classifier: `"avg"`, `"max"`, or `None` for a
        feature map. Defaults to `None`.
    classes: integer of at least 1, the number of classes. Defaults to `1000`.
    classifier_activation: activation of the classifier; `None` gives logits. Defaults to
        `"softmax"`.
    name: name of the model. Defaults to the name of the network, followed by the attention if that
        is a name: `"{model}_cbam"`.
    stem: `"imagenet"`, {stem};
        or `"cifar"`, a 3x3 convolution at full size, for small images. Defaults to `"imagenet"`.
{own}
Input shape:
    `(batch, height, width, channels)`, or `(batch, channels, height, width)` if Keras's data
    format is `channels_first`.

Output shape:
    `(batch, classes)` with the classifier. Without it, `(batch, features)` with pooling, or else a
    feature map in the format of the input. The map is {smallest[imagenet]} times smaller than the
    image, or {smallest[cifar]} times with `stem="cifar"`.

Returns:
    A functional `keras.Model`, not compiled.

Raises:
    ValueError: if the attention, pooling or stem is unknown, or the input shape, the number of
        classes or the weights file is invalid.
    TypeError: if `attention` is a layer or a class, a factory does not return a layer, or
        `input_tensor` is not a Keras tensor.

Example:
    >>> model = {name}("se", input_shape=(64, 64, 3), classes=10)
    >>> model.name, tuple(model.output.shape)
    ('{model}_se', (None, 10))
"""


def document(describe: Callable[..., Network]) -> str:
    """Return the docstring of the builder for the network that `describe` describes."""
    network = describe()
    description, _, own = (inspect.getdoc(describe) or "").partition("\n\nArgs:\n")
    name = describe.__name__
    unit = "conv2" if network.residual else "pointwise_conv"
    stem = network.stems["imagenet"]
    pool = ", then a pooling, each" if stem.pool else ""
    return (
        description
        + "\n"
        + SHARED.format(
            example=f"stage2_block1_{unit}",
            places=(
                "on the residual branch of every block, before the addition"
                if network.residual
                else "after the depthwise and the pointwise convolution of every block"
            ),
            bam_stages=" and ".join(
                (", ".join(map(str, network.bam_stages[:-1])), str(network.bam_stages[-1]))
            ),
            smallest={kind: network.stride(kind) for kind in network.stems},
            stem=f"a {stem.kernel_size}x{stem.kernel_size} convolution{pool} of stride 2",
            own=f"{own}\n" if own else "",
            name=name,
            model=name.lower(),
        )
    )
