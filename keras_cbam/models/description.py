"""What a network of the paper is, as data: a block, how often it stands in each stage, a stem."""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """A convolution of a block, with the batch normalization after it.

    Attributes:
        kernel_size: side of the kernel.
        width: its filters, as a multiple of those of the stage.
        groups: in how many groups it convolves; `None` for depthwise, each channel by itself.
        strided: whether it is the one that halves the map in the first block of a stage.
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


# The 7x7 convolution of the paper's ResNets, and what stands in its place for small images.
STEMS = {"imagenet": Stem(7, 2, pool=True), "cifar": Stem(3, 1, pool=False)}


class Network(NamedTuple):
    """A network of the paper.

    Attributes:
        block: the convolutions of its block.
        depths: how many blocks each stage has.
        filters: filters of each stage; every stage but the first halves the map.
        stem_filters: filters of the stem.
        stems: the stem for each kind of images.
        residual: whether a shortcut leads around each block.
        bam_stages: the stages that BAM stands behind.
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
        """The convolution of a shortcut whose ends differ."""
        return Unit(1, self.block[-1].width, strided=True)

    def stride(self, stem: str) -> int:
        """Pixels of the image to one place of the last feature map."""
        first = self.stems[stem]
        return first.strides * (2 if first.pool else 1) * 2 ** (len(self.depths) - 1)


# The authors' code halves the map in the 3x3 convolution of a bottleneck; the paper counted the
# operations of networks that halve it in the 1x1 convolution before (docs/models.md).
BASIC = (Unit(3, strided=True), Unit(3))
BOTTLENECK = (Unit(1), Unit(3, strided=True), Unit(1, 4))
RESNEXT = (Unit(1, 2), Unit(3, 2, groups=32, strided=True), Unit(1, 4))
SEPARABLE = (Unit(3, groups=None, strided=True), Unit(1))
