"""The paper's networks, each described by a block, depths and widths."""

from __future__ import annotations

from keras_cbam.models.arguments import scaled
from keras_cbam.models.builder import builder
from keras_cbam.models.description import BASIC, BOTTLENECK, RESNEXT, SEPARABLE, Network, Stem


@builder
def ResNet18() -> Network:
    """ResNet18 of [He et al.](https://arxiv.org/abs/1512.03385): basic blocks.

    11,689,512 trainable parameters, with CBAM 11,779,392, as in the paper's table 4.
    """
    return Network(BASIC, (2, 2, 2, 2))


@builder
def ResNet34() -> Network:
    """ResNet34 of [He et al.](https://arxiv.org/abs/1512.03385): basic blocks.

    21,797,672 trainable parameters, with CBAM 21,960,468, as in the paper's table 4.
    """
    return Network(BASIC, (3, 4, 6, 3))


@builder
def ResNet50() -> Network:
    """ResNet50 of [He et al.](https://arxiv.org/abs/1512.03385): bottlenecks.

    25,557,032 trainable parameters, with CBAM 28,089,624, as in the paper's tables 2 and 4. The
    paper's table 1 prints 25.92M for channel attention. This cannot be right: 16 bottlenecks of 256
    to 2048 channels with a reduction ratio of 16 add 2.53M.
    """
    return Network(BOTTLENECK, (3, 4, 6, 3))


@builder
def ResNet101() -> Network:
    """ResNet101 of [He et al.](https://arxiv.org/abs/1512.03385): bottlenecks.

    44,549,160 trainable parameters, with CBAM 49,330,172, as in the paper's table 4.
    """
    return Network(BOTTLENECK, (3, 4, 23, 3))


@builder
def WideResNet18(width: float = 1.5) -> Network:
    """ResNet18 with wider blocks, of [Zagoruyko and Komodakis](https://arxiv.org/abs/1605.07146).

    25,875,816 trainable parameters with `width=1.5`, 45,618,216 with `width=2.0`, as in the paper's
    table 4. These numbers come out only if the stem keeps 64 filters.

    Args:
        width: width of the blocks, as a multiple of those of ResNet18. Defaults to `1.5`.
    """
    return Network(BASIC, (2, 2, 2, 2), scaled((64, 128, 256, 512), "width", width))


@builder
def ResNeXt50() -> Network:
    """ResNeXt50 32x4d of [Xie et al.](https://arxiv.org/abs/1611.05431): bottlenecks in 32 groups.

    25,028,904 trainable parameters, with CBAM 27,561,496, as in the paper's table 4.
    """
    return Network(RESNEXT, (3, 4, 6, 3))


@builder
def ResNeXt101() -> Network:
    """ResNeXt101 32x4d of [Xie et al.](https://arxiv.org/abs/1611.05431): bottlenecks in 32 groups.

    44,177,704 trainable parameters, with CBAM 48,958,716, as in the paper's table 4.
    """
    return Network(RESNEXT, (3, 4, 23, 3))


@builder
def MobileNet(alpha: float = 1.0) -> Network:
    """MobileNet of [Howard et al.](https://arxiv.org/abs/1704.04861): separable convolutions.

    4,231,976 trainable parameters, with CBAM 5,074,714, and with `alpha=0.7` 2,298,747 and
    2,707,194, as in the paper's table 5. With squeeze-and-excitation and `alpha=0.7` it has
    2,704,594. For this network the table prints 2.71M, the same as with CBAM, which has 26 spatial
    gates of 100 parameters more. The authors' code rounds the hidden widths, here 1.4 to 44.75,
    down. Rounded to the nearest integer, they would give 2.710M and 2.712M, both printed as 2.71M.

    Args:
        alpha: width of all layers, as a multiple of the full network's. The number of filters is
            rounded down. Defaults to `1.0`.
    """
    widths = scaled((32, 64, 128, 256, 512, 1024), "alpha", alpha)
    return Network(
        SEPARABLE,
        (1, 2, 2, 6, 2),
        filters=widths[1:],
        stem_filters=widths[0],
        stems={"imagenet": Stem(3, 2, pool=False), "cifar": Stem(3, 1, pool=False)},
        residual=False,
        bam_stages=(2, 3, 4),
    )
