"""Small networks for the tests, and how to name them on the command line: tests/ is on the path."""

import torch
from torch import nn

IMAGE = ["--model", "toys:net", "--weights", "net.safetensors", "--resize", 16, "--crop", 16]
TABLE = ["--model", "toys:mlp", "--weights", "mlp.safetensors"]


def net() -> nn.Module:
    """For images of 3 x 16 x 16."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 3))


def mlp() -> nn.Module:
    """One logit of three features."""
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def pooled() -> nn.Module:
    """For images of any size."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def not_a_model() -> int:
    return 3


class Sums(nn.Module):
    """Logits: the sum of the pixels, and a constant."""

    def __init__(self, constant=0.0):
        super().__init__()
        self.constant = constant

    def forward(self, x):
        total = x.flatten(1).sum(1)
        return torch.stack([total, torch.full_like(total, self.constant)], 1)


def zeros(x):
    return torch.zeros_like(x)


def without_values() -> nn.Module:
    return nn.Linear(3, 2, device="meta")
