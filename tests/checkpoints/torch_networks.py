"""ResNets in PyTorch, from the papers' figures, with the authors' names of parameters."""

import torch
from torch import nn

from tests.checkpoints.torch_modules import BAM, CBAM


def conv(inputs, outputs, size, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


class Block(nn.Module):
    """A basic block, of two convolutions, or a bottleneck, of three."""

    def __init__(self, inputs, filters, stride, *, bottleneck, inner=1, groups=1, cbam=None):
        super().__init__()
        width = filters * inner
        outputs = 4 * filters if bottleneck else filters
        if bottleneck:
            convs = [
                conv(inputs, width, 1),
                conv(width, width, 3, stride, groups),
                conv(width, outputs, 1),
            ]
        else:
            convs = [conv(inputs, filters, 3, stride), conv(filters, filters, 3)]
        self.length = len(convs)
        for index, layer in enumerate(convs, 1):
            self.add_module(f"conv{index}", layer)
            self.add_module(f"bn{index}", nn.BatchNorm2d(layer.out_channels))
        self.cbam = cbam(outputs) if cbam else None
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = x
        for index in range(1, self.length + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            if index < self.length:
                y = torch.relu(y)
        if self.cbam is not None:
            y = self.cbam(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A ResNet for ImageNet, or with `cifar` for small images.

    Args:
        depths: how many blocks each layer has.
        bottleneck: whether blocks are bottlenecks.
        attention: `None`, `"cbam"` or `"bam"`.
        cifar: whether the stem keeps the size.
        channels: channels of the images.
        classes: how many classes.
        cbam: builds the module for a number of channels.
        bam: likewise.
        **block: further arguments of `Block`.
    """

    def __init__(
        self,
        depths,
        bottleneck,
        attention=None,
        *,
        cifar=False,
        channels=3,
        classes=10,
        cbam=CBAM,
        bam=BAM,
        **block,
    ):
        super().__init__()
        self.conv1 = conv(channels, 64, 3) if cifar else conv(channels, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.Identity() if cifar else nn.MaxPool2d(3, 2, 1)
        channels = 64
        self.stages = len(depths)
        for stage, depth in enumerate(depths, 1):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                filters = 64 * 2 ** (stage - 1)
                module = Block(
                    channels,
                    filters,
                    stride,
                    bottleneck=bottleneck,
                    cbam=cbam if attention == "cbam" else None,
                    **block,
                )
                channels = 4 * filters if bottleneck else filters
                blocks.append(module)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            if attention == "bam" and stage < 4:
                self.add_module(f"bam{stage}", bam(channels))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
            if hasattr(self, f"bam{stage}"):
                x = getattr(self, f"bam{stage}")(x)
        return self.fc(x.mean((2, 3)))


def randomized(module, seed=0):
    """Random weights, and statistics that fit what the module then computes of random images.

    Statistics drawn blindly would let activations grow or vanish from layer to layer.
    """
    torch.manual_seed(seed)
    for name, value in module.named_parameters():
        if value.ndim > 1:
            nn.init.kaiming_normal_(value)
        elif name.endswith("weight"):
            nn.init.uniform_(value, 0.5, 1.5)
        else:
            nn.init.normal_(value, 0, 0.3)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    module.train()
    with torch.no_grad():
        for _ in range(2):
            module(torch.randn(8, module.conv1.in_channels, 64, 64))
        for norm in norms:
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
    return module.eval()
