"""Recognition of the network of a state dict from the names and shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.layers import BAM, CBAM
from keras_cbam.layers.base import hidden_channels
from keras_cbam.models.attention import Attention
from keras_cbam.models.description import STEMS, Network, Unit
from keras_cbam.surgery import AttentionPoint

# How much a block widens, by its number of convolutions: a basic block does not, a bottleneck
# widens by 4.
EXPANSIONS = {2: 1, 3: 4}
# Weights that every ResNet has.
NEEDED = ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight", "fc.weight")
# The first layer of an attention's MLP, of shape (hidden, channels).
CBAM_MLP = r"layer\d+\.\d+\.cbam\.ChannelGate\.mlp\.1\.weight"
BAM_MLP = r"bam(\d+)\.channel_att\.gate_c\.gate_c_fc_0\.weight"
SPATIAL_KERNEL = "layer1.0.cbam.SpatialGate.spatial.conv.weight"

Arrays = Mapping[str, np.ndarray]


class Architecture(NamedTuple):
    """A ResNet of the authors' code or of torchvision.

    Attributes:
        network: the blocks, depths and widths of the network.
        attention: the attention layers and their positions.
        suffix: suffix of the network's name for the attention.
        stem: `"imagenet"` or `"cifar"`.
        classes: number of classes.
        channels: number of channels of the images.
    """

    network: Network
    attention: Attention
    suffix: str
    stem: str
    classes: int
    channels: int

    @property
    def name(self) -> str:
        """The name of the network, which states its depth, such as `resnet50_cbam`."""
        depth = sum(self.network.depths) * len(self.network.block) + 2
        grouped = any(unit.groups != 1 for unit in self.network.block)
        return f"{'resnext' if grouped else 'resnet'}{depth}{self.suffix}"


def read_architecture(arrays: Arrays) -> Architecture:
    """Return the architecture for weights of these names and shapes.

    Raises:
        InputError: if neither the authors' code nor torchvision builds a ResNet with such weights.
    """
    absent = [name for name in NEEDED if name not in arrays]
    if absent:
        raise InputError(
            "Expected the weights of a ResNet, under the names of the authors' code or of "
            f"torchvision. Missing: {', '.join(absent)}. Received: {', '.join(list(arrays)[:5])}"
        )
    stem_filters, channels, kernel_size, _ = _shape(arrays, "conv1.weight", 4)
    stems = {stem.kernel_size: name for name, stem in STEMS.items()}
    if kernel_size not in stems:
        raise InputError(
            f"Expected conv1.weight with a kernel of {' or '.join(map(str, stems))}. Received: "
            f"shape {arrays['conv1.weight'].shape}"
        )
    return Architecture(
        _network(arrays, stem_filters),
        *_attention(arrays),
        stems[kernel_size],
        _shape(arrays, "fc.weight", 2)[0],
        channels,
    )


def _shape(arrays: Arrays, name: str, rank: int) -> tuple[int, ...]:
    shape = arrays[name].shape
    if len(shape) != rank or 0 in shape:
        raise InputError(f"Expected {name} of {rank} axes, none of them 0. Received: shape {shape}")
    return shape


def _network(arrays: Arrays, stem_filters: int) -> Network:
    count = sum(f"layer1.0.conv{i}.weight" in arrays for i in (1, 2, 3))
    blocks: dict[int, set[int]] = {}
    for name in arrays:
        if found := re.match(r"layer(\d+)\.(\d+)\.", name):
            stage, block = map(int, found.groups())
            blocks.setdefault(stage, set()).add(block)
    stages = sorted(blocks)
    last = [f"layer{stage}.0.conv{count}.weight" for stage in stages]
    whole = all(blocks[stage] == set(range(len(blocks[stage]))) for stage in stages)
    if stages != list(range(1, len(stages) + 1)) or not whole or not set(last) <= set(arrays):
        raise InputError(
            f"Expected layer1, layer2 and so on, each of blocks 0, 1 and so on, with {count} "
            "convolutions in every block. Received: "
            + ", ".join(f"layer{stage} of blocks {sorted(blocks[stage])}" for stage in stages)
        )
    outputs_of = [_shape(arrays, name, 4)[0] for name in last]
    if any(outputs % EXPANSIONS[count] for outputs in outputs_of):
        raise InputError(
            f"Expected blocks of {count} convolutions that widen by {EXPANSIONS[count]}. Received: "
            f"outputs of {outputs_of}"
        )
    filters = tuple(outputs // EXPANSIONS[count] for outputs in outputs_of)
    units: list[Unit] = []
    channels = stem_filters
    for index in range(1, count + 1):
        outputs, inputs, size, _ = _shape(arrays, f"layer1.0.conv{index}.weight", 4)
        # The first 3x3 convolution halves the map, both in basic blocks and in bottlenecks.
        strided = size == 3 and not any(unit.strided for unit in units)
        units.append(Unit(size, outputs / filters[0], max(channels // inputs, 1), strided))
        channels = outputs
    if not any(unit.strided for unit in units):
        sizes = [unit.kernel_size for unit in units]
        raise InputError(f"Expected a 3x3 convolution in each block. Received: kernels of {sizes}")
    depths = tuple(len(blocks[stage]) for stage in stages)
    return Network(tuple(units), depths, filters, stem_filters)


def _attention(arrays: Arrays) -> tuple[Attention, str]:
    """Return the attention of a network, and the suffix for the network's name."""
    bams = [int(found[1]) for name in arrays if (found := re.fullmatch(BAM_MLP, name))]
    if bams:
        ratio = _reduction_ratio(arrays, BAM_MLP)
        return Attention(lambda _, address: BAM(ratio, name=f"{address}_bam"), tuple(bams)), "_bam"
    if not any(re.fullmatch(CBAM_MLP, name) for name in arrays):
        return Attention(), ""
    ratio = _reduction_ratio(arrays, CBAM_MLP)
    spatial = SPATIAL_KERNEL in arrays
    kernel_size = _shape(arrays, SPATIAL_KERNEL, 4)[-1] if spatial else 7
    order = "channel_spatial" if spatial else "channel"

    def cbam(_: AttentionPoint, address: str) -> keras.layers.Layer:
        return CBAM(ratio, kernel_size, order, name=f"{address}_cbam")

    return Attention(cbam), "_cbam"


def _reduction_ratio(arrays: Arrays, pattern: str) -> int:
    """Return a ratio that fits all hidden layers of the MLPs under `pattern`; 16 if it fits."""
    shapes = {_shape(arrays, name, 2) for name in arrays if re.fullmatch(pattern, name)}
    widest = max(channels for _, channels in shapes)
    for ratio in (16, *range(1, widest + 1)):
        if all(hidden == hidden_channels(channels, ratio) for hidden, channels in shapes):
            return ratio
    units = ", ".join(f"{hidden} units for {channels} channels" for hidden, channels in shapes)
    raise InputError(
        f"Expected attention of one reduction ratio throughout. Received: hidden layers of {units}"
    )
