"""Layers without their bias, ``A u``, and transposed, ``A^T g``: linear in the operand, and in the weight.

The gradient is ``A^T g`` with the weight itself; the shares of option 3 are ``A u`` and ``A^T r`` with halves of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from .autograd import pull_back

__all__ = ["Convolution", "Parts", "Product", "Resampling", "Rows", "Weighted"]

Rows = Tensor | slice
"""Indices of rows, or all of them."""

Parts = list[tuple[Tensor, Tensor]]
"""Operands and weights, whose products are added up."""

CACHED = 8 * 2**20  # bytes: of larger tensors each target is pulled back by itself (CPU, measured)

APPLY = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Weighted(ABC):
    """A layer without its bias.

    Attributes:
        weight: its weight.
        splits: whether halves of operand and weight make halves of the components.
        counts: whether zeros and ones in their place count what is wired.
    """

    weight: Tensor
    splits: bool = True
    counts: bool = True

    @abstractmethod
    def apply(self, u: Tensor, weight: Tensor) -> Tensor:
        """``A u`` with this weight, or half of it."""

    @abstractmethod
    def transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        """``A^T g`` for each of J targets, ``(J, *output)`` to ``(J, *operand)``."""

    def gradient(self, g: Tensor) -> Tensor:
        """The same with the layer's weight."""
        return self.transpose(g, self.weight)

    def by_row(self, scale: Tensor) -> Tensor | None:
        """The factor for the weight that is as good as ``scale`` for the output; None where there is none."""
        return None

    def knowing(self, output: Tensor, intercept: Tensor | None) -> "Weighted":
        """The layer when its output is known."""
        return self

    def has(self, weight: Tensor, positive: bool) -> bool:
        """Whether some of the weight is positive, or negative; True where asking takes long."""
        return True

    def side_by_side(self, parts: Parts) -> Parts:
        """Operands and weights, as one operand and one weight where that takes fewer products."""
        return parts

    def folded(self, pulled: Tensor) -> Tensor:
        """What operands that stand `side_by_side` receive, ``(J, *operands)``, summed over them."""
        return pulled

    def busy(self, mass: Tensor) -> "tuple[Rows, slice, Weighted] | None":
        """The rows and the units to which mass ``(J, *output)`` comes, and the layer for them; None for all of them."""
        return None

    def pieces(self) -> "Iterator[tuple[slice, Weighted]]":
        """The layer as several, each for some of the units along the last dimension of the output."""
        yield slice(None), self


class Resampling(Weighted):
    """A linear operation that has weights of its own, which are not known one by one: pooling, interpolation."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        leaf: Tensor,
        output: Tensor,
        positive: bool = True,
        alike: bool = True,
    ) -> None:
        """``output`` is of autograd's graph from ``leaf``; the weights are ``positive``, and in a window ``alike``."""
        self.function, self.leaf, self.edge = function, leaf, get_gradient_edge(output)
        self.weight, self.splits, self.counts = leaf.new_ones(()).detach(), positive, positive and alike

    def apply(self, u: Tensor, weight: Tensor) -> Tensor:
        """The operation itself."""
        return self.function(u) * weight

    def transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        """By autograd."""
        return pull_back(self.edge, [self.leaf], g)[0] * weight


@dataclass(frozen=True, eq=False)
class Product(Weighted):
    """``u @ weight``, batched, or ``weight @ u``; the batch dimensions of both are broadcast."""

    weight: Tensor
    operand: torch.Size
    left: bool

    def apply(self, u: Tensor, weight: Tensor) -> Tensor:
        """A batched matrix product."""
        return u @ weight if self.left else weight @ u

    def has(self, weight: Tensor, positive: bool) -> bool:
        """Probabilities have one sign."""
        return bool(weight.amax().item() > 0 if positive else weight.amin().item() < 0) if weight.numel() else False

    def transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        """Another, summed over what was broadcast."""
        pulled = g @ weight.mT if self.left else weight.mT @ g
        missing = pulled.dim() - 1 - len(self.operand)
        summed = pulled.sum_to_size(len(g), *[1] * missing, *self.operand)
        return summed.reshape(len(g), *self.operand)


@dataclass(frozen=True, eq=False)
class Convolution(Weighted):
    """A convolution of one to three dimensions, or a transposed one.

    Attributes:
        weight: as PyTorch has it.
        operand: its shape.
        function: of operand and weight: the convolution without its bias.
        stride: one entry per dimension, as all that follow.
        padding: in front of each dimension.
        dilation: distance of the taps.
        groups: of channels.
        transposed: whether it is a transposed one.
    """

    weight: Tensor
    operand: torch.Size
    function: Callable[[Tensor, Tensor], Tensor]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    transposed: bool

    def apply(self, u: Tensor, weight: Tensor) -> Tensor:
        """The convolution itself."""
        return self.function(u, weight)

    def transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        """The transposed one, or back, for as many targets at a time as caches hold."""
        channels = weight.shape[0] if self.transposed else weight.shape[1] * self.groups
        operand = torch.Size((self.operand[0], channels, *self.operand[2:]))
        targets = g.shape[0]
        size = max(g.numel() // targets, operand.numel())
        step = max(1, CACHED // (size * g.element_size())) if g.is_cpu else targets
        if step >= targets:
            return self._transpose(g, weight).reshape(targets, *operand)
        pulled = g.new_empty(targets, *operand)
        for i in range(0, targets, step):
            pulled[i : i + step] = self._transpose(g[i : i + step], weight).reshape(-1, *operand)
        return pulled

    def _transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        dims, sizes, all_examples = len(self.stride), self.operand[2:], g.flatten(0, 1)
        if self.transposed:
            pulled = APPLY[dims](all_examples, weight, None, self.stride, self.padding, self.dilation, self.groups)
        else:
            spare = [
                max(0, size - ((length - 1) * s - 2 * p + d * (taps - 1) + 1))
                for size, length, s, p, d, taps in zip(
                    sizes, g.shape[3:], self.stride, self.padding, self.dilation, weight.shape[2:], strict=True
                )
            ]
            pulled = TRANSPOSE[dims](
                all_examples, weight, None, self.stride, self.padding, spare, self.groups, self.dilation
            )
        if pulled.shape[2:] != sizes:  # what was padded behind more than in front, or is never read
            for i, size in enumerate(sizes):
                pulled = pulled.narrow(2 + i, 0, size)
        return pulled

    def side_by_side(self, parts: Parts) -> Parts:
        """As channels: of few of them a convolution takes no longer than of half as many."""
        if len(parts) == 1 or self.groups > 1:
            return parts
        operands, weights = zip(*parts, strict=True)
        return [(torch.cat(operands, 1), torch.cat(weights, 0 if self.transposed else 1))]

    def folded(self, pulled: Tensor) -> Tensor:
        """Summed over blocks of channels."""
        channels = self.operand[1]
        return pulled if pulled.shape[2] == channels else pulled.unflatten(2, (-1, channels)).sum(2)

    def by_row(self, scale: Tensor) -> Tensor | None:
        """One row of the weight for each output channel."""
        channels = 0 if self.transposed else len(self.weight)
        if scale.dim() != self.weight.dim() or not scale.numel() == scale.shape[1] == channels:
            return None
        return scale.reshape(-1, *[1] * (scale.dim() - 1))
