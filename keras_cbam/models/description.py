"""Descriptions of the paper's networks as data: a block, the depth of each stage, a stem."""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """A convolution of a block, with the batch normalization after it.

    Attributes:
        kernel_size: side of the kernel.
        width: number of filters, as a multiple of the stage's filters.
        groups: number of groups; `None` for a depthwise convolution.
        strided: whether this convolution halves the map in the first block of a stage.
    """

    kernel_size: int
    width: float = 1
    groups: int | None = 1
    strided: bool = False


class Stem(NamedTuple):
    """The convolution before the first stage, and whether a pooling of stride 2 follows it."""

    kernel_size: int
    strides: int
    pool: bool


# The stem of the paper's ResNets with its 7x7 convolution, and the stem for small images.
STEMS = {"imagenet": Stem(7, 2, pool=True), "cifar": Stem(3, 1, pool=False)}


class Network(NamedTuple):
    """A network of the paper.

    Attributes:
        block: the convolutions of a block.
        depths: number of blocks of each stage.
        filters: filters of each stage. Every stage except the first halves the map.
        stem_filters: filters of the stem.
        stems: the stem for each kind of image.
        residual: whether each block has a shortcut.
        bam_stages: the stages after which BAM stands.
    """

    block: tuple[Unit, ...]
    depths: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)
    stem_filters: int = 64
    stems: dict[str, Stem] = STEMS
    residual: bool = True
    bam_stages: tuple[int, ...] = (1, 2, 3)

    @property
    def projection(self) -> Unit:
        """The convolution of a shortcut whose ends have different shapes."""
        return Unit(1, self.block[-1].width, strided=True)

    def stride(self, stem: str) -> int:
        """Return the stride of the last feature map, in pixels of the image."""
        first = self.stems[stem]
        return first.strides * (2 if first.pool else 1) * 2 ** (len(self.depths) - 1)


# The authors' code halves the map in the 3x3 convolution of a bottleneck. The paper counted the
# operations of networks that halve it in the 1x1 convolution before that (docs/models.md).
BASIC = (Unit(3, strided=True), Unit(3))
BOTTLENECK = (Unit(1), Unit(3, strided=True), Unit(1, 4))
RESNEXT = (Unit(1, 2), Unit(3, 2, groups=32, strided=True), Unit(1, 4))
SEPARABLE = (Unit(3, groups=None, strided=True), Unit(1))
