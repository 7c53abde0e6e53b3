"""The docstring of a builder: its own description, then the arguments that all builders share."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from keras_cbam.models.description import Network

SHARED = """
Names of layers are addresses, such as `{example}`. Strided convolutions are padded
alike on all sides, as in PyTorch. Weights start as in
[the authors' code](https://github.com/Jongchan/attention-module) of ResNets, but for BAM's last
convolution, which starts smaller; depthwise convolutions by He's rule too. Images are RGB, scaled
by `keras.applications.imagenet_utils.preprocess_input(x, mode="torch")`.

Args:
    attention: `"cbam"`, `"se"`, `"channel"` or `"spatial"`, which stand
        {places};
        `"bam"`, which stands behind the stages {bam_stages};
        `None`, the plain network; or a factory of your own, a function that receives an
        `AttentionPoint` and returns a layer, for the places of `"cbam"`. Names stand for the
        paper's form, which does not start as the identity. Defaults to `"cbam"`.
    include_top: whether the network ends in a classifier. Defaults to `True`.
    weights: `None`, or the path of a weights file, for `load_weights`. Defaults to `None`.
    input_tensor: a Keras tensor of images to build on, in place of an `Input` of its own.
        Defaults to `None`.
    input_shape: shape of the images without the batch, height and width `None` or at least
        {smallest[imagenet]}, with `stem="cifar"` {smallest[cifar]}. Defaults to 224x224x3 with the
        classifier, with `stem="cifar"` 32x32x3, and to open height and width without.
    pooling: of the features, without a classifier: `"avg"`, `"max"`, or `None` for a feature
        map. Defaults to `None`.
    classes: integer of at least 1, how many classes the classifier tells apart. Defaults to
        `1000`.
    classifier_activation: activation of the classifier; `None` gives logits. Defaults to
        `"softmax"`.
    name: name of the model. Defaults to that of the network and, where it is given by name, of
        its attention: `"{model}_cbam"`.
    stem: `"imagenet"`, {stem};
        or `"cifar"`, a 3x3 convolution at full size, for small images. Defaults to `"imagenet"`.
{own}
Input shape:
    `(batch, height, width, channels)`, or `(batch, channels, height, width)` where Keras's data
    format is `channels_first`.

Output shape:
    `(batch, classes)`; without the classifier `(batch, features)` if pooled, else a feature map
    in the format of the input, {smallest[imagenet]} times smaller, {smallest[cifar]} times with
    `stem="cifar"`.

Returns:
    A functional `keras.Model`, not compiled.

Raises:
    ValueError: on an unknown attention, pooling or stem, or an invalid input shape, number of
        classes or weights file.
    TypeError: if `attention` is a layer or a class, a factory returns no layer, or `input_tensor`
        is no Keras tensor.

Example:
    >>> model = {name}("se", input_shape=(64, 64, 3), classes=10)
    >>> model.name, tuple(model.output.shape)
    ('{model}_se', (None, 10))
"""


def document(describe: Callable[..., Network]) -> str:
    """Return the docstring of the builder of what `describe` describes."""
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
