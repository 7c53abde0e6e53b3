"""Networks written by hand, of the shapes that users write, with the points worked by hand."""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import layers


class Graph(NamedTuple):
    """A network and the addresses of its attention points."""

    build: Callable[[], keras.Model]
    points: list[str]


def conv(filters, name, size=3, strides=1, activation="relu"):
    """Convolution, batch normalization and ReLU, as a function on tensors."""

    def call(x):
        x = layers.Conv2D(filters, size, strides, padding="same", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        return layers.Activation(activation, name=f"{name}_act")(x) if activation else x

    return call


def residual(filters, name, strides=1):
    """A basic block, with a projection where the shape changes."""

    def call(x):
        y = conv(filters, f"{name}_1", strides=strides)(x)
        y = conv(filters, f"{name}_2", activation=None)(y)
        if strides > 1 or x.shape[-1] != filters:
            x = conv(filters, f"{name}_proj", 1, strides, activation=None)(x)
        return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))

    return call


def unet():
    def double(filters, name):
        return lambda x: conv(filters, f"{name}_2")(conv(filters, f"{name}_1")(x))

    def up(filters, name):
        return layers.Conv2DTranspose(filters, 2, 2, padding="same", name=name)

    inputs = keras.Input((32, 32, 3))
    fine = double(8, "down1")(inputs)
    middle = double(16, "down2")(layers.MaxPooling2D()(fine))
    coarse = double(32, "bottom")(layers.MaxPooling2D()(middle))
    x = layers.Concatenate()([up(16, "up2")(coarse), middle])
    x = layers.Concatenate()([up(8, "up1")(double(16, "merge2")(x)), fine])
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(double(8, "merge1")(x))
    return keras.Model(inputs, mask, name="unet")


def two_inputs():
    image = keras.Input((32, 32, 3), name="image")
    depth = keras.Input((32, 32, 1), name="depth")
    age = keras.Input((4,), name="age")
    x = layers.Concatenate()([conv(8, "color")(image), conv(8, "range")(depth)])
    x = residual(16, "block1", 2)(x)
    x = residual(16, "block2")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, layers.Dense(4, activation="relu")(age)])
    return keras.Model(
        {"image": image, "depth": depth, "age": age}, layers.Dense(3)(x), name="two_inputs"
    )


def shared_layers():
    """One block on an image and on its half, the same weights for both."""
    inputs = keras.Input((32, 32, 3))
    first = layers.Conv2D(8, 3, padding="same", name="shared_conv1")
    bn = layers.BatchNormalization(name="shared_bn1")
    second = layers.Conv2D(8, 3, padding="same", name="shared_conv2")
    relu = layers.ReLU(name="relu")

    def block(x):
        return layers.Add()([x, second(relu(bn(first(x))))])

    stem = layers.Conv2D(8, 1, name="stem")(inputs)
    fine = layers.GlobalMaxPooling2D()(relu(block(stem)))
    coarse = layers.GlobalMaxPooling2D()(relu(block(layers.AveragePooling2D(2)(stem))))
    return keras.Model(inputs, layers.Dense(3)(layers.Concatenate()([fine, coarse])), name="shared")


def nested_twice():
    # 16 channels or more into a strided 1x1 convolution, as this network is trained: with fewer,
    # oneDNN, which PyTorch uses, writes past the end of a buffer (uxlfoundation/oneDNN#6035).
    inputs = keras.Input((None, None, 3), name="inner_pixels")
    x = residual(16, "block1", 2)(conv(16, "stem")(inputs))
    x = residual(32, "block2", 2)(x)
    backbone = keras.Model(inputs, x, name="backbone")
    inputs = keras.Input((32, 32, 3), name="middle_pixels")
    x = backbone(layers.Rescaling(1 / 255)(inputs))
    features = keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="features")
    inputs = keras.Input((32, 32, 3), name="pixels")
    return keras.Model(inputs, layers.Dense(3, name="scores")(features(inputs)), name="nested")


def sequential():
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", name="one"),
            layers.Conv2D(8, 3, activation="relu", name="two"),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Conv2D(16, 3, activation="relu", name="three"),
            layers.Flatten(),
            layers.Dense(3),
        ],
        name="sequence",
    )


def siamese():
    """One encoder for two images, and the distance of their codes."""
    encoder = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv2"),
            layers.GlobalAveragePooling2D(),
        ],
        name="encoder",
    )
    left, right = keras.Input((32, 32, 3), name="left"), keras.Input((32, 32, 3), name="right")
    difference = keras.ops.square(encoder(left) - encoder(right))
    distance = keras.ops.sqrt(keras.ops.mean(difference, axis=-1, keepdims=True))
    return keras.Model([left, right], distance, name="siamese")


def detector():
    """A feature pyramid with heads for scores and boxes, the same for both of its levels."""
    inputs = keras.Input((64, 64, 3))
    x = residual(8, "block1", 2)(conv(8, "stem", strides=2)(inputs))
    c3 = residual(16, "block2", 2)(x)
    c4 = residual(32, "block3", 2)(c3)
    p4 = layers.Conv2D(16, 1, name="lateral4")(c4)
    p3 = layers.Add(name="merge3")(
        [layers.Conv2D(16, 1, name="lateral3")(c3), layers.UpSampling2D()(p4)]
    )
    tower = layers.Conv2D(16, 3, padding="same", activation="relu", name="tower")
    scores = layers.Conv2D(6, 3, padding="same", activation="sigmoid", name="scores")
    boxes = layers.Conv2D(4, 3, padding="same", name="boxes")
    levels = {"P3": tower(p3), "P4": tower(p4)}
    outputs = {level: {"boxes": boxes(x), "scores": scores(x)} for level, x in levels.items()}
    return keras.Model(inputs, outputs, name="detector")


def with_lambda():
    inputs = keras.Input((32, 32, 3))
    x = layers.Lambda(lambda pixels: pixels / 127.5 - 1, name="scale")(inputs)
    x = residual(8, "block1", 2)(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="with_lambda")


def mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((32, 32, 3))
        x = layers.Rescaling(1 / 255)(inputs)
        x = layers.GlobalAveragePooling2D()(residual(8, "block1", 2)(x))
        outputs = layers.Dense(3, dtype="float32")(x)
        return keras.Model(inputs, outputs, name="mixed_precision")
    finally:
        keras.config.set_dtype_policy("float32")


GRAPHS = {
    # Each pair of convolutions, down and up; the transposed ones only resize.
    "unet": Graph(unet, [f"{n}_2_act" for n in ("down1", "down2", "bottom", "merge2", "merge1")]),
    # The end of each residual branch, whatever else goes in.
    "two_inputs": Graph(two_inputs, ["block1_2_bn", "block2_2_bn"]),
    # Once, where the shared block ends, as its weights are there once.
    "shared_layers": Graph(shared_layers, ["shared_conv2"]),
    "nested_twice": Graph(
        nested_twice, ["features/backbone/block1_2_bn", "features/backbone/block2_2_bn"]
    ),
    "sequential": Graph(sequential, ["two", "three"]),
    "siamese": Graph(siamese, ["encoder/conv1", "encoder/conv2"]),
    # The residual branches of its backbone; the sum in its pyramid joins levels, and is no block.
    "detector": Graph(detector, ["block1_2_bn", "block2_2_bn", "block3_2_bn"]),
    "with_lambda": Graph(with_lambda, ["block1_2_bn"]),
    "mixed_precision": Graph(mixed_precision, ["block1_2_bn"]),
}
