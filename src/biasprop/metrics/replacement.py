"""What takes the place of pixels that a metric removes."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["blurred", "mean_colour"]


def blurred(x: Tensor, size: int = 51, sigma: float = 41.0) -> Tensor:
    """What takes the place of removed pixels: a Gaussian blur, as published.

    The published kernel is ``exp(-d^2 / (4 sigma^2))``: a standard deviation of 58 for the nominal 41.

    Args:
        x: images, ``(N, C, H, W)``.
        size: of the kernel, odd.
        sigma: nominal.
    """
    distance = torch.arange(size, device=x.device, dtype=x.dtype) - size // 2
    line = torch.exp(-(distance**2) / (4 * sigma**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, -1)
    half = size // 2
    mode = "reflect" if half < min(x.shape[-2:]) else "replicate"
    padded = F.pad(x, (half, half, half, half), mode=mode)
    return F.conv2d(F.conv2d(padded, line, groups=x.shape[1]), line.transpose(2, 3), groups=x.shape[1])


def mean_colour(x: Tensor) -> Tensor:
    """The mean of each channel of each image, ``(N, C, H, W)``."""
    return x.mean((2, 3), keepdim=True).expand_as(x)
