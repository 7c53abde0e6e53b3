"""Which network a state dict belongs to, told from the names and shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.layers import CBAM
from keras_cbam.models.description import STEMS, Network, Unit
from keras_cbam.surgery import AttentionPoint
from keras_cbam.surgery.plan import Factory

# A block of three convolutions, a bottleneck, widens by 4; a basic block of two does not.
EXPANSIONS = {2: 1, 3: 4}
# Weights that every ResNet has, and those of its attention.
NEEDED = ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight", "fc.weight")
BAM_NAME = "bam1."
CHANNEL = "layer1.0.cbam.ChannelGate.mlp.1.weight"
SPATIAL = "layer1.0.cbam.SpatialGate.spatial.conv.weight"


class Architecture(NamedTuple):
    """A ResNet of the authors' code, or of torchvision's.

    Attributes:
        network: its blocks, depths and widths.
        attention: that of its builder.
        suffix: what the attention is called.
        stem: `"imagenet"` or `"cifar"`.
        classes: how many classes it tells apart.
        channels: channels of its images.
    """

    network: Network
    attention: str | Factory | None
    suffix: str
    stem: str
    classes: int
    channels: int

    @property
    def name(self) -> str:
        """The network's name by its depth, such as `resnet50_cbam`."""
        depth = sum(self.network.depths) * len(self.network.block) + 2
        grouped = any(unit.groups != 1 for unit in self.network.block)
        return f"{'resnext' if grouped else 'resnet'}{depth}{self.suffix}"


def read_architecture(arrays: Mapping[str, np.ndarray]) -> Architecture:
    """Return the architecture that weights of these names and shapes are of.

    Raises:
        InputError: if they are of no ResNet that the authors' code or torchvision's builds.
    """
    absent = [name for name in NEEDED if name not in arrays]
    if absent:
        raise InputError(
            "Expected the weights of a ResNet, under the names of the authors' code or of "
            f"torchvision. Missing: {', '.join(absent)}. Received: {', '.join(list(arrays)[:5])}, "
            "..."
        )
    classes = arrays["fc.weight"].shape[0]
    stem_filters, channels, kernel_size, _ = arrays["conv1.weight"].shape
    stems = {stem.kernel_size: name for name, stem in STEMS.items()}
    if kernel_size not in stems:
        raise InputError(
            f"Expected conv1.weight with a kernel of {' or '.join(map(str, stems))}. Received: "
            f"shape {arrays['conv1.weight'].shape}"
        )
    attention, suffix = _attention(arrays)
    network = _network(arrays, stem_filters)
    return Architecture(network, attention, suffix, stems[kernel_size], classes, channels)


def _network(arrays: Mapping[str, np.ndarray], stem_filters: int) -> Network:
    count = sum(f"layer1.0.conv{i}.weight" in arrays for i in (1, 2, 3))
    expansion = EXPANSIONS[count]
    stages: dict[int, int] = {}
    for name in arrays:
        if found := re.match(r"layer(\d+)\.(\d+)\.", name):
            stage, block = map(int, found.groups())
            stages[stage] = max(stages.get(stage, 0), block + 1)
    ends = [arrays.get(f"layer{stage}.0.conv{count}.weight") for stage in sorted(stages)]
    if sorted(stages) != list(range(1, len(stages) + 1)) or any(end is None for end in ends):
        raise InputError(
            f"Expected layer1, layer2 and so on, with {count} convolutions in every block. "
            f"Received: {', '.join(f'layer{stage}' for stage in sorted(stages))}"
        )
    filters = tuple(end.shape[0] // expansion for end in ends if end is not None)
    units: list[Unit] = []
    channels = stem_filters
    for index in range(1, count + 1):
        outputs, inputs, size, _ = arrays[f"layer1.0.conv{index}.weight"].shape
        # The first 3x3 convolution halves the map, in basic blocks and in bottlenecks.
        strided = size == 3 and not any(unit.strided for unit in units)
        units.append(Unit(size, outputs / filters[0], max(channels // inputs, 1), strided))
        channels = outputs
    depths = tuple(stages[stage] for stage in sorted(stages))
    return Network(tuple(units), depths, filters, stem_filters)


def _attention(arrays: Mapping[str, np.ndarray]) -> tuple[str | Factory | None, str]:
    """What goes into a network's builder, and what it is called."""
    if any(name.startswith(BAM_NAME) for name in arrays):
        return "bam", "_bam"
    if CHANNEL not in arrays:
        return None, ""
    hidden, channels = arrays[CHANNEL].shape
    kernel_size = arrays[SPATIAL].shape[-1] if SPATIAL in arrays else None

    def cbam(point: AttentionPoint) -> CBAM:
        name = f"{point.layer.rpartition('_')[0]}_cbam"
        if kernel_size is None:
            return CBAM(channels // hidden, order="channel", name=name)
        return CBAM(channels // hidden, kernel_size, name=name)

    return cbam, "_cbam"
