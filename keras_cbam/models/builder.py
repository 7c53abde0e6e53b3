"""Makes builders of networks from their descriptions, with `keras.applications`' arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_cbam.layers.arguments import validate_choice, validate_positive
from keras_cbam.models import initializers
from keras_cbam.models.arguments import image_input, validate_weights, with_channels
from keras_cbam.models.attention import Attention
from keras_cbam.models.blocks import Block, convolve, residual_block, separable_block
from keras_cbam.models.description import Network, Unit
from keras_cbam.surgery.plan import Factory

POOLINGS: dict[str, type[keras.layers.Layer]] = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
}
# Default side of the images of a classifier, by stem.
SIZES = {"imagenet": 224, "cifar": 32}


def builder(describe: Callable[..., Network]) -> Callable[..., keras.Model]:
    """Turn a function that describes a network into one that builds it.

    The builder has the arguments of `keras.applications`, with `attention` before them and `stem`
    after them. The arguments of `describe` follow as keywords. Its docstring is that of `build`,
    filled in for the network.
    """

    def build(
        attention: str | Factory | None = "cbam",
        include_top: bool = True,
        weights: str | Path | None = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str | None = None,
        *,
        stem: str = "imagenet",
        **own: Any,
    ) -> keras.Model:
        # A template. `_document` fills it in for the network.
        """{description}

        Layer names are addresses, such as `{example}`. Strided convolutions are padded
        equally on all sides, as in PyTorch. Weights are initialized as in
        [the authors' code](https://github.com/Jongchan/attention-module) of ResNets, except BAM's
        last convolution, which starts smaller. Depthwise convolutions use He's rule too. Images are
        RGB, scaled by `keras.applications.imagenet_utils.preprocess_input(x, mode="torch")`.

        Args:
            attention: a name, `None` or a factory. `"cbam"`, `"se"`, `"channel"` and `"spatial"`
                stand {places}.
                `"bam"` stands after the stages {stages[0]}, {stages[1]} and {stages[2]}.
                `None` builds the plain network. A factory is a function that receives an
                `AttentionPoint` and returns a layer; it is called for the positions of `"cbam"`. A
                name gives the paper's form, which does not start as the identity. Defaults to
                `"cbam"`.
            include_top: whether the network ends in a classifier. Defaults to `True`.
            weights: `None`, or the path of a weights file for `load_weights`. Defaults to `None`.
            input_tensor: Keras tensor of images to use instead of a new `Input`. Defaults to
                `None`.
            input_shape: shape of the images without the batch axis. Height and width are `None` or
                at least {smallest[imagenet]}, or {smallest[cifar]} with `stem="cifar"`. Defaults to
                224x224x3 with the classifier, or 32x32x3 with `stem="cifar"`. Without the
                classifier, height and width default to `None`.
            pooling: pooling of the features if there is no classifier: `"avg"`, `"max"`, or `None`
                for a feature map. Defaults to `None`.
            classes: integer of at least 1, the number of classes. Defaults to `1000`.
            classifier_activation: activation of the classifier; `None` gives logits. Defaults to
                `"softmax"`.
            name: name of the model. Defaults to the name of the network, followed by the attention
                if that is a name: `"{model}_cbam"`.
            stem: `"imagenet"`, {stem};
                or `"cifar"`, a 3x3 convolution at full size, for small images. Defaults to
                `"imagenet"`.
        {own}
        Input shape:
            `(batch, height, width, channels)`, or `(batch, channels, height, width)` if Keras's
            data format is `channels_first`.

        Output shape:
            `(batch, classes)` with the classifier. Without it, `(batch, features)` with pooling, or
            else a feature map in the format of the input. The map is {smallest[imagenet]} times
            smaller than the image, or {smallest[cifar]} times with `stem="cifar"`.

        Returns:
            A functional `keras.Model`, not compiled.

        Raises:
            ValueError: if the attention, pooling or stem is unknown, or the input shape, the number
                of classes or the weights file is invalid.
            TypeError: if `attention` is a layer or a class, a factory does not return a layer, or
                `input_tensor` is not a Keras tensor.

        Example:
            >>> model = {name}("se", input_shape=(64, 64, 3), classes=10)
            >>> model.name, tuple(model.output.shape)
            ('{model}_se', (None, 10))
        """
        network = describe(**own)
        validate_choice("stem", stem, network.stems)
        validate_positive("classes", classes)
        validate_weights(weights)
        if pooling is not None:
            validate_choice("pooling", pooling, POOLINGS)
        placed = Attention.resolve(attention, network.bam_stages)
        if input_shape is None and input_tensor is None:
            size = SIZES[stem] if include_top else None
            input_shape = with_channels((size, size), 3)
        images = image_input(input_shape, input_tensor, network.stride(stem))
        x = features(images, network, stem, placed)
        if include_top:
            x = classifier(x, int(classes), classifier_activation)
        elif pooling is not None:
            x = POOLINGS[pooling](name=f"{pooling}_pool")(x)
        parts = [describe.__name__.lower(), attention if isinstance(attention, str) else None]
        sources = keras.utils.get_source_inputs(images)
        source = sources[0] if len(sources) == 1 else sources
        model = keras.Model(source, x, name=name or "_".join(filter(None, parts)))
        if weights is not None:
            model.load_weights(weights)
        return model

    shared = inspect.signature(build)
    own = inspect.signature(describe).parameters.values()
    parameters = [p for p in shared.parameters.values() if p.kind is not p.VAR_KEYWORD]
    keywords = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
    functools.update_wrapper(build, describe, ("__module__", "__name__", "__qualname__"))
    vars(build)["__signature__"] = shared.replace(parameters=[*parameters, *keywords])
    build.__doc__ = _document(describe, inspect.getdoc(build) or "")
    return build


def _document(describe: Callable[..., Network], template: str) -> str:
    """Return the docstring of the builder for the network that `describe` describes."""
    network = describe()
    description, _, own = (inspect.getdoc(describe) or "").partition("\n\nArgs:\n")
    name = describe.__name__
    unit = "conv2" if network.residual else "pointwise_conv"
    stem = network.stems["imagenet"]
    pool = ", then a pooling, each" if stem.pool else ""
    return template.format(
        description=description,
        example=f"stage2_block1_{unit}",
        places=(
            "on the residual branch of every block, before the addition"
            if network.residual
            else "after the depthwise and the pointwise convolution of every block"
        ),
        stages=network.bam_stages,
        smallest={kind: network.stride(kind) for kind in network.stems},
        stem=f"a {stem.kernel_size}x{stem.kernel_size} convolution{pool} of stride 2",
        own=f"{own}\n" if own else "",
        name=name,
        model=name.lower(),
    )


def features(images: Any, network: Network, stem: str, attention: Attention) -> Any:
    """Return the last feature map of a network on images."""
    first = network.stems[stem]
    unit = Unit(first.kernel_size, strided=True)
    x = convolve(images, unit, network.stem_filters, first.strides, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    if first.pool:
        # A ReLU's outputs are never below zero, so padding with zeros changes no maximum.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    block: Block = residual_block if network.residual else separable_block
    for stage, (depth, filters) in enumerate(zip(network.depths, network.filters, strict=True), 1):
        refine = functools.partial(attention.in_block, stage=stage)
        for index in range(1, depth + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            x, end = block(x, network, filters, strides, f"stage{stage}_block{index}", refine)
        x = attention.after_stage(x, end, stage=stage)
    return x


def classifier(x: Any, classes: int, activation: Any) -> Any:
    """Return the class scores of a feature map."""
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.layers.Dense(
        classes, activation, kernel_initializer=initializers.classifier(), name="predictions"
    )(x)
