"""The CIFAR-10 ResNet-20 of He et al. (2016), with batch norm and parameter-free (option A) shortcuts.

Key names are those of the trained weights that circulate for it, so that, with BIASPROP_DATA set::

    biasprop explain $BIASPROP_DATA/cifar10_lossless_subset.npz --key x_test100 --rows 0:5 \
        --model examples.resnet20:resnet20 --weights $BIASPROP_DATA/cifar10_resnet20.safetensors
"""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet20", "resnet20"]


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut that drops every other pixel and pads channels with zeros."""

    def __init__(self, inside: int, outside: int) -> None:
        """Channels of input and output; a stride of 2 where they differ."""
        super().__init__()
        self.stride = 1 if inside == outside else 2
        self.padding = (outside - inside) // 2
        self.conv1 = nn.Conv2d(inside, outside, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inside, H, W) -> (N, outside, H / stride, W / stride)``."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """Three stages of three blocks, ``(N, 3, 32, 32) -> (N, 10)``."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        y = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(y.mean((2, 3)))  # type: ignore[no-any-return]


def resnet20() -> nn.Module:
    """The network, for ``--model examples.resnet20:resnet20``."""
    return ResNet20()
