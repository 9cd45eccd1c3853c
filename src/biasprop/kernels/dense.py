"""Linear layers as matrix products, of those rows and units alone that something comes to (mathematics, section 7).

Where attention is held nothing comes to queries and keys, and above the last attention to one token alone; a target is
one logit. That spares a vision transformer a fifth of its products.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .weighted import CACHED, Rows, Weighted

__all__ = ["Cancelled", "Dense"]

LARGE = 2**25  # multiplications: smaller products take no longer than looking at what comes
SAMPLE = 64  # rows or units, which mostly show that something comes to most of the others
FEW = 256  # at most one unit in so many is added up component by component
FAR = 16  # a unit may have cancelled to a part of its components as small as this


@dataclass(frozen=True, eq=False)
class Cancelled:
    """Units whose positive and negative components nearly cancel: what is added up in both ways is lost to rounding.

    Attributes:
        rows: of each, ``(C,)``.
        units: in that row, ``(C,)``.
        u: operand, ``(R, K)``.
        weight: with the sign of the slope, ``(O, K)``.
    """

    rows: Tensor
    units: Tensor
    u: Tensor
    weight: Tensor

    def _positive(self, targets: int = 1) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rows, units and positive components, ``(C, K)``, of as many at a time as caches hold for all targets."""
        step = max(1, CACHED // (8 * targets * self.u.shape[1]))
        for rows, units in zip(self.rows.split(step), self.units.split(step), strict=True):
            yield rows, units, self.u[rows].mul_(self.weight[units]).clamp_min_(0)

    def add_up(self, total: Tensor) -> None:
        """The sum of the positive components of each, into its place in ``(R, O)``."""
        for rows, units, positive in self._positive():
            total[rows, units] = positive.sum(1)

    def take(self, ratio: Tensor) -> Tensor:
        """The messages of these units, ``(J, *, K)``; none of their ``ratio``, ``(J, *, O)``, is left to the others."""
        by_row = ratio.view(ratio.shape[0], -1, ratio.shape[-1])
        received = ratio.new_zeros(ratio.shape[0], *self.u.shape)
        for rows, units, positive in self._positive(ratio.shape[0]):
            received.index_add_(1, rows, by_row[:, rows, units].unsqueeze(-1) * positive)
            by_row[:, rows, units] = 0
        return received.view(*ratio.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class Dense(Weighted):
    """``u @ weight.T`` over the last dimension of the operand; ``weight`` is ``(O, K)``.

    Attributes:
        weight: ``(O, K)``.
        operand: its shape, ``(*, K)``.
        output: its shape, ``(*, O)``.
        product: ``A u``, of that shape, where it is known.
        removed: the largest number that was subtracted from the layer's output to get it.
    """

    weight: Tensor
    operand: torch.Size
    output: torch.Size
    product: Tensor | None = None
    removed: float = 0.0

    def knowing(self, output: Tensor, intercept: Tensor | None) -> "Dense":
        """Its product is the ``output`` without the ``intercept``, ``(O,)``; small layers do not look at it."""
        if not self._is_large(output):
            return self
        if intercept is None:
            return replace(self, product=output)
        return replace(self, product=output - intercept, removed=intercept.abs().max().item())

    def apply(self, u: Tensor, weight: Tensor) -> Tensor:
        """One matrix product."""
        return F.linear(u, weight).reshape(self.output)

    def transpose(self, g: Tensor, weight: Tensor) -> Tensor:
        """One matrix product for all targets."""
        return (g.reshape(-1, weight.shape[0]) @ weight).reshape(g.shape[0], *self.operand)

    def gradient(self, g: Tensor) -> Tensor:
        """One of fewer rows and units, if nothing comes to the others."""
        matrix = g.reshape(-1, self.weight.shape[0])
        busy = self._busy(matrix[None]) if self._is_large(matrix) else None
        if busy is None:
            return self.transpose(g, self.weight)
        rows, units = busy
        pulled = matrix.new_zeros(matrix.shape[0], self.weight.shape[1])
        pulled[rows] = matrix[rows, units] @ self.weight[units]
        return pulled.reshape(g.shape[0], *self.operand)

    def positive(
        self, u: Tensor, size: Tensor, weight: Tensor, magnitude: Tensor, sign: Tensor | float
    ) -> tuple[Tensor, Cancelled | None] | None:
        """The normaliser of Eq. 19, ``sum_r max(m[p,r], 0) = (A u + |A| |u|) / 2``: one product, where halves take two.

        Where little is left of that sum, components are added up one by one.

        Args:
            u: operand, ``(*, K)``.
            size: ``|u| / 2``.
            weight: with the sign of the slope, ``(O, K)``.
            magnitude: ``|A|``.
            sign: that of the slope, broadcastable to the output.

        Returns:
            ``(*, O)``, and the units that were added up one by one; None where these are many.
        """
        assert self.product is not None
        product = self.product if isinstance(sign, float) and sign == 1 else self.product * sign
        half = self.apply(size, magnitude)
        total = torch.add(half, product, alpha=0.5)
        doubt = half.sub_(total, alpha=FAR / 2)
        if not doubt.numel() or doubt.amax().item() <= -self.removed / 2:
            return total, None
        rows, units = (doubt > -self.removed / 2).view(-1, weight.shape[0]).nonzero(as_tuple=True)
        if rows.shape[0] * FEW > total.numel():
            return None
        cancelled = Cancelled(rows, units, u.reshape(-1, weight.shape[1]), weight)
        cancelled.add_up(total.view(-1, weight.shape[0]))
        return total, cancelled

    def by_row(self, scale: Tensor) -> Tensor | None:
        """One row of the weight for each output."""
        out = self.weight.shape[0]
        return scale.reshape(-1, 1) if scale.dim() and scale.shape[-1] == scale.numel() == out else None

    def busy(self, mass: Tensor) -> tuple[Rows, slice, Weighted] | None:
        """One matrix product of fewer rows and columns; None where mass comes to nearly all of them."""
        found = self._busy(mass.reshape(mass.shape[0], -1, mass.shape[-1])) if self._is_large(mass) else None
        if found is None:
            return None
        rows, units = found
        weight = self.weight[units]
        product = None if self.product is None else self.product.reshape(-1, self.weight.shape[0])[rows, units]
        count = rows.shape[0] if isinstance(rows, Tensor) else self.operand[:-1].numel()
        shapes = torch.Size((count, weight.shape[1])), torch.Size((count, weight.shape[0]))
        return rows, units, Dense(weight, *shapes, product, self.removed)

    def pieces(self) -> Iterator[tuple[slice, Weighted]]:
        """As many rows at a time as caches hold: new memory for the half of a large weight costs more than the sums."""
        if self.weight.numel() * self.weight.element_size() <= CACHED or not self.weight.is_cpu:
            yield from super().pieces()
            return
        step = max(1, CACHED // (self.weight.shape[1] * self.weight.element_size()))
        for start in range(0, self.weight.shape[0], step):
            some = slice(start, start + step)
            weight, product = self.weight[some], None if self.product is None else self.product[..., some]
            output = torch.Size((*self.output[:-1], weight.shape[0]))
            yield some, Dense(weight, self.operand, output, product, self.removed)

    def _busy(self, masses: Tensor) -> tuple[Rows, slice] | None:
        """Rows and units of ``(J, rows, units)`` that are not 0 for any target; None where these are most."""
        some = masses[:, :: max(1, masses.shape[1] // SAMPLE), :: max(1, masses.shape[2] // SAMPLE)]
        if 2 * some.count_nonzero().item() > some.numel():  # most rows and most units have one of them
            return None
        rows, units = _not_empty(masses, 1), _not_empty(masses, 2)
        if rows is None and units is None:
            return None
        first, last = (0, masses.shape[2]) if units is None else (units[0].item(), units[-1].item() + 1)
        return slice(None) if rows is None else rows, slice(first, last)

    def _is_large(self, outputs: Tensor) -> bool:
        return outputs.is_cpu and outputs.numel() * self.weight.shape[1] >= LARGE


def _not_empty(masses: Tensor, dim: int) -> Tensor | None:
    """The indices along a dimension at which not all is 0, at least one; None where these are most."""
    step = max(1, masses.shape[3 - dim] // SAMPLE)
    for some in (masses[:, ::step] if dim == 2 else masses[:, :, ::step], masses):
        found = ((some.amax(3 - dim) != 0) | (some.amin(3 - dim) != 0)).any(0)  # `any` is slow with numbers, on the CPU
        if 2 * found.sum().item() > found.shape[0]:
            return None
    indices = found.nonzero()[:, 0]
    return indices if indices.shape[0] else indices.new_zeros(1)
