"""Modules that are homogeneous: batch norm without centring, and the lift of any network (mathematics, section 8).

Uncentred batch norm divides by the root mean square and does not shift (Mohan, Kadkhodaie, Simoncelli &
Fernandez-Granda, ICLR 2020).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError

__all__ = [
    "HomogeneousLift",
    "UncenteredBatchNorm",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
]


class UncenteredBatchNorm(nn.Module):
    """``y = weight * x / sqrt(E[x^2] + eps)`` per channel; in eval mode with the running mean square.

    In eval mode it is linear: degree 1, no bias. The arguments are those of torch's batch norm; there is no bias.
    """

    dims: tuple[int, ...]
    running_mean_square: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """``momentum=None`` takes the average over all batches, as in torch."""
        super().__init__()
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if affine else None
        self.register_buffer("running_mean_square", torch.ones(num_features, device=device, dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, ...)`` to the same shape."""
        if x.dim() not in self.dims or x.shape[1] != self.num_features:
            allowed = " or ".join(f"{d}-dimensional" for d in self.dims)
            raise InputError(
                f"{type(self).__name__} takes {allowed} tensors of {self.num_features} channels, not {tuple(x.shape)}."
            )
        mean_square = self.running_mean_square
        if self.training:
            mean_square = x.square().mean([d for d in range(x.dim()) if d != 1])
            with torch.no_grad():
                self.num_batches_tracked += 1
                rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean_square.lerp_(mean_square.to(self.running_mean_square), rate)
        scale = torch.rsqrt(mean_square + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        y: Tensor = x * scale.reshape(-1, *[1] * (x.dim() - 2))
        return y

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> "UncenteredBatchNorm":
        """From a batch norm: the same weight, and the mean square that follows from its mean and variance."""
        like = norm.running_var if norm.running_var is not None else norm.weight
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, like.device, like.dtype)
        with torch.no_grad():
            if made.weight is not None:
                made.weight.copy_(norm.weight)
                made.weight.requires_grad_(norm.weight.requires_grad)
            if norm.running_var is not None and norm.running_mean is not None:
                made.running_mean_square.copy_(norm.running_var + norm.running_mean.square())
            if norm.num_batches_tracked is not None:
                made.num_batches_tracked.copy_(norm.num_batches_tracked)
        return made.train(norm.training)


class UncenteredBatchNorm1d(UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C)`` or ``(N, C, L)``."""

    dims = (2, 3)


class UncenteredBatchNorm2d(UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C, H, W)``."""

    dims = (4,)


class UncenteredBatchNorm3d(UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C, D, H, W)``."""

    dims = (5,)


class HomogeneousLift(nn.Module):
    """``F(x) = ||x|| f(x / ||x||)``: homogeneous of degree 1 whatever ``f`` is, exactly; 0 at 0.

    The norm is that of each example. ``f`` must be trained this way: the lift of a trained ``f`` is another function.
    """

    def __init__(self, f: nn.Module) -> None:
        """``f`` takes one tensor with the batch first and returns one."""
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """``(N, ...)`` to what ``f`` returns."""
        norm = torch.linalg.vector_norm(x.flatten(1), dim=1)
        factor = torch.where(norm > 0, norm.reciprocal(), 0.0)
        y: Tensor = self.f(x * factor.reshape(-1, *[1] * (x.dim() - 1)))
        scaled: Tensor = y * norm.reshape(-1, *[1] * (y.dim() - 1))
        return scaled
