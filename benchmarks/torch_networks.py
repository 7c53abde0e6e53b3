"""ResNet50 and MobileNetV2 in PyTorch, from the papers' tables, for `cbam_tax.py`.

Attention stands where `keras_cbam.attach_attention` puts it: at the end of each block's branch,
before the addition. ResNet50's stages halve their maps in the first convolution of a block, as the
paper's do and those of `keras.applications`, so that all rows are of the same work.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch_cbam import TorchCBAM

Attention = Callable[[int], nn.Module]

# By stage: channels inside a block, blocks, stride of the first.
RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
# By stage: expansion, channels out of a block, blocks, stride of the first.
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Trainable, for 1000 classes, without attention and with: ResNet50's by the paper, MobileNetV2's by
# `keras.applications`, and by `attach_attention` of it.
PARAMETERS = {"ResNet50": (25_557_032, 28_089_624), "MobileNetV2": (3_504_872, 3_536_585)}


class Residual(nn.Module):
    """A branch, then attention, and, if there is a shortcut, the addition of it."""

    def __init__(
        self,
        branch: list[nn.Module],
        attention: nn.Module,
        shortcut: nn.Module | None,
        last: nn.Module,
    ):
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.attention = attention
        self.shortcut = shortcut
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block."""
        y = self.attention(self.branch(x))
        return self.last(y if self.shortcut is None else y + self.shortcut(x))


def unit(
    inputs: int,
    outputs: int,
    size: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[..., nn.Module] | None = nn.ReLU,
) -> list[nn.Module]:
    """A convolution, batch normalization, and an activation, in place as is customary."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), *([activation(inplace=True)] if activation else [])]


def head(channels: int, classes: int) -> list[nn.Module]:
    """The mean over all places, and the scores."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def resnet50(attention: Attention, classes: int) -> nn.Sequential:
    """ResNet50 with an attention at the end of each bottleneck's branch."""
    layers = [*unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for filters, blocks, first in RESNET50:
        outputs = 4 * filters
        for stride in (first, *[1] * (blocks - 1)):
            branch = [
                *unit(inputs, filters, 1, stride),
                *unit(filters, filters, 3),
                *unit(filters, outputs, activation=None),
            ]
            shortcut = nn.Identity()
            if inputs != outputs:
                shortcut = nn.Sequential(*unit(inputs, outputs, 1, stride, activation=None))
            layers.append(Residual(branch, attention(outputs), shortcut, nn.ReLU(inplace=True)))
            inputs = outputs
    return nn.Sequential(*layers, *head(inputs, classes))


def mobilenet_v2(attention: Attention, classes: int) -> nn.Sequential:
    """MobileNetV2 with an attention after each projection, those without an addition too."""
    layers = unit(3, 32, 3, 2, activation=nn.ReLU6)
    inputs = 32
    for expansion, outputs, blocks, first in MOBILENET_V2:
        for stride in (first, *[1] * (blocks - 1)):
            wide = expansion * inputs
            branch = [
                *(unit(inputs, wide, activation=nn.ReLU6) if expansion > 1 else []),
                *unit(wide, wide, 3, stride, groups=wide, activation=nn.ReLU6),
                *unit(wide, outputs, activation=None),
            ]
            shortcut = nn.Identity() if stride == 1 and inputs == outputs else None
            layers.append(Residual(branch, attention(outputs), shortcut, nn.Identity()))
            inputs = outputs
    return nn.Sequential(*layers, *unit(inputs, 1280, activation=nn.ReLU6), *head(1280, classes))


NETWORKS = {"ResNet50": resnet50, "MobileNetV2": mobilenet_v2}


def build(name: str, *, attention: bool, classes: int) -> nn.Sequential:
    """A network of the table, with `TorchCBAM` or without."""
    return NETWORKS[name](TorchCBAM if attention else nn.Identity, classes)


def require_parameters(name: str) -> None:
    """Refuse a network that has not as many parameters as it should."""
    for attention, expected in zip((False, True), PARAMETERS[name], strict=True):
        with torch.device("meta"):
            model = build(name, attention=attention, classes=1000)
        found = sum(each.numel() for each in model.parameters())
        if found != expected:
            raise SystemExit(f"{name}: {found:,} parameters, expected {expected:,}")
