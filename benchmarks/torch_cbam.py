"""CBAM as its authors put it in PyTorch: the rival of `cbam_tax.py` in that framework.

From the paper's equations 2 and 3, with what the authors' networks have beyond the text: biases in
the MLP, batch normalization after the spatial convolution, and its maps in the order maximum, mean.
The operations are the customary ones, since they are what is timed: pools over the whole map as
windows of its size, the MLP applied to each, a maximum over the channels with its index.
"""

import torch
from torch import nn
from torch.nn import functional


class TorchCBAM(nn.Module):
    """The module, for `(batch, channels, height, width)`."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // 16, 1)
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine by channel, then by place."""
        window = x.shape[2:]
        average = self.mlp(functional.avg_pool2d(x, window))
        largest = self.mlp(functional.max_pool2d(x, window))
        x = x * torch.sigmoid(average + largest)[..., None, None]
        maps = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.norm(self.conv(maps)))
