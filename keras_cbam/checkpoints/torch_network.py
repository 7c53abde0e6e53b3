"""The authors' networks in PyTorch, run directly from a state dict, as a reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

EPSILON = 1e-5


def torch_logits(state_dict: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the logits of the authors' ResNet with these weights, computed by PyTorch in float64.

    Args:
        state_dict: weights by name, as `read_state_dict` returns them.
        images: an array of shape (N, C, H, W), scaled as the network expects.
    """
    import torch

    tensors = {name: torch.from_numpy(np.array(a, "float64")) for name, a in state_dict.items()}
    with torch.no_grad():
        x = torch.from_numpy(np.array(images, "float64"))
        return _TorchResNet(tensors).logits(x).numpy()


class _TorchResNet:
    """A ResNet run directly from its weights. Methods take the name of the part they compute."""

    def __init__(self, weights: Mapping[str, Any]):
        from torch.nn import functional

        self.f = functional
        self.w = weights

    def logits(self, x: Any) -> Any:
        large = self.w["conv1.weight"].shape[-1] == 7
        x = self.f.relu(self.norm("bn1", self.conv("conv1", x, 2 if large else 1)))
        if large:
            x = self.f.max_pool2d(x, 3, 2, 1)
        for stage in self.names(r"layer\d+"):
            for block in self.names(rf"{stage}\.\d+"):
                first = block.endswith(".0") and stage != "layer1"
                x = self.block(block, x, 2 if first else 1)
            x = self.bam(stage.replace("layer", "bam"), x)
        return self.f.linear(x.mean((2, 3)), self.w["fc.weight"], self.w["fc.bias"])

    def block(self, name: str, x: Any, strides: int) -> Any:
        y, remaining = x, strides
        for index, conv in enumerate(self.names(rf"{name}\.conv\d"), 1):
            y = self.f.relu(y) if index > 1 else y
            # The first 3x3 convolution of a block halves the map.
            halves = self.w[f"{conv}.weight"].shape[-1] == 3
            y = self.norm(f"{name}.bn{index}", self.conv(conv, y, remaining if halves else 1))
            remaining = 1 if halves else remaining
        y = self.spatial_gate(f"{name}.cbam.SpatialGate", self.channel_gate(f"{name}.cbam", y))
        if f"{name}.downsample.0.weight" in self.w:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, strides))
        return self.f.relu(x + y)

    def channel_gate(self, name: str, x: Any) -> Any:
        def mlp(pooled: Any) -> Any:
            hidden = self.f.relu(self.linear(f"{name}.ChannelGate.mlp.1", pooled))
            return self.linear(f"{name}.ChannelGate.mlp.3", hidden)

        if not self.names(rf"{name}\.ChannelGate"):
            return x
        return x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[..., None, None]

    def spatial_gate(self, name: str, x: Any) -> Any:
        import torch

        if not self.names(name):
            return x
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return (
            x * self.norm(f"{name}.spatial.bn", self.conv(f"{name}.spatial.conv", pooled)).sigmoid()
        )

    def bam(self, name: str, x: Any) -> Any:
        if not self.names(name):
            return x
        at = f"{name}.channel_att.gate_c.gate_c"
        channel = self.norm(f"{at}_bn_1", self.linear(f"{at}_fc_0", x.mean((2, 3))))
        channel = self.linear(f"{at}_fc_final", self.f.relu(channel))[..., None, None]
        at = f"{name}.spatial_att.gate_s.gate_s"
        places = self.f.relu(self.norm(f"{at}_bn_reduce0", self.conv(f"{at}_conv_reduce0", x)))
        for i in range(len(self.names(rf"{at}_conv_di_\d"))):
            places = self.conv(f"{at}_conv_di_{i}", places, dilation=4)
            places = self.f.relu(self.norm(f"{at}_bn_di_{i}", places))
        return x * (1 + (channel * self.conv(f"{at}_conv_final", places)).sigmoid())

    def conv(self, name: str, x: Any, strides: int = 1, dilation: int = 1) -> Any:
        kernel, bias = self.w[f"{name}.weight"], self.w.get(f"{name}.bias")
        groups = x.shape[1] // kernel.shape[1]
        padding = kernel.shape[-1] // 2 * dilation
        return self.f.conv2d(x, kernel, bias, strides, padding, dilation, groups)

    def norm(self, name: str, x: Any) -> Any:
        mean, variance = self.w[f"{name}.running_mean"], self.w[f"{name}.running_var"]
        scale, offset = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return self.f.batch_norm(x, mean, variance, scale, offset, eps=EPSILON)

    def linear(self, name: str, x: Any) -> Any:
        return self.f.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def names(self, pattern: str) -> list[str]:
        """Return the distinct prefixes of names that match a pattern, in order of their numbers."""
        found = {match[0] for name in self.w if (match := re.match(rf"{pattern}(?=\.)", name))}
        return sorted(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
