"""CBAM and BAM in PyTorch, from the papers' formulas, with the authors' names of parameters."""

import torch
from torch import nn


class ChannelGate(nn.Module):
    def __init__(self, channels, ratio, pools=("avg", "max")):
        super().__init__()
        hidden = max(channels // ratio, 1)
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.pools = pools

    def gate(self, x):
        pooled = {
            "avg": lambda: x.mean((2, 3)),
            "max": lambda: x.amax((2, 3)),
            "lp": lambda: x.square().sum((2, 3)).sqrt(),
            "lse": lambda: x.logsumexp((2, 3)),
        }
        return torch.sigmoid(sum(self.mlp(pooled[pool]()) for pool in self.pools))[..., None, None]

    def forward(self, x):
        return x * self.gate(x)


class SpatialGate(nn.Module):
    def __init__(self, kernel_size=7):
        super().__init__()
        self.spatial = nn.Sequential()
        padding = kernel_size // 2
        self.spatial.add_module("conv", nn.Conv2d(2, 1, kernel_size, padding=padding, bias=False))
        self.spatial.add_module("bn", nn.BatchNorm2d(1, eps=1e-5, momentum=0.01))

    def forward(self, x):
        maps = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(maps))


class CBAM(nn.Module):
    def __init__(self, channels, ratio=16, pools=("avg", "max"), *, spatial=True):
        super().__init__()
        self.ChannelGate = ChannelGate(channels, ratio, pools)
        self.SpatialGate = SpatialGate() if spatial else nn.Identity()

    def forward(self, x):
        return self.SpatialGate(self.ChannelGate(x))


class BAM(nn.Module):
    def __init__(self, channels, ratio=16, dilation=4):
        super().__init__()
        hidden = max(channels // ratio, 1)
        self.channel_att = nn.Module()
        self.channel_att.gate_c = named(
            flatten=nn.Flatten(),
            gate_c_fc_0=nn.Linear(channels, hidden),
            gate_c_bn_1=nn.BatchNorm1d(hidden),
            gate_c_relu_1=nn.ReLU(),
            gate_c_fc_final=nn.Linear(hidden, channels),
        )
        self.spatial_att = nn.Module()
        self.spatial_att.gate_s = named(
            gate_s_conv_reduce0=nn.Conv2d(channels, hidden, 1),
            gate_s_bn_reduce0=nn.BatchNorm2d(hidden),
            gate_s_relu_reduce0=nn.ReLU(),
        )
        for i in range(2):
            dilated = nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)
            self.spatial_att.gate_s.add_module(f"gate_s_conv_di_{i}", dilated)
            self.spatial_att.gate_s.add_module(f"gate_s_bn_di_{i}", nn.BatchNorm2d(hidden))
            self.spatial_att.gate_s.add_module(f"gate_s_relu_di_{i}", nn.ReLU())
        self.spatial_att.gate_s.add_module("gate_s_conv_final", nn.Conv2d(hidden, 1, 1))

    def forward(self, x):
        channel = self.channel_att.gate_c(x.mean((2, 3)))[..., None, None]
        return x * (1 + torch.sigmoid(channel * self.spatial_att.gate_s(x)))


def named(**modules):
    sequence = nn.Sequential()
    for name, module in modules.items():
        sequence.add_module(name, module)
    return sequence
