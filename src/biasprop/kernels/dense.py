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

__all__ = ["Dense"]

LARGE = 2**25  # multiplications: smaller products take no longer than looking at what comes
SAMPLE = 64  # rows or units, which mostly show that something comes to most of the others
FEW = 256  # at most one unit in so many is added up component by component
FAR = 16  # a unit may have cancelled to a part of its components as small as this


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
        targets, matrix = g.shape[0], g.reshape(-1, weight.shape[0])
        busy = self._busy(matrix[None]) if self._is_large(matrix) else None
        if busy is None:
            pulled = matrix @ weight
        else:
            rows, units = busy
            pulled = matrix.new_zeros(matrix.shape[0], weight.shape[1])
            pulled[rows] = matrix[rows, units] @ weight[units]
        return pulled.reshape(targets, *self.operand)

    def positive(self, u: Tensor, weight: Tensor, sign: Tensor | float) -> Tensor | None:
        """The normaliser of Eq. 19, ``sum_r max(m[p,r], 0) = (A u + |A| |u|) / 2``: one product, where halves take two.

        Where little is left of that sum, components are added up one by one.

        Args:
            u: operand, ``(*, K)``.
            weight: with the sign of the slope, ``(O, K)``.
            sign: that sign, broadcastable to the output.

        Returns:
            ``(*, O)``; None where little is left of many sums, or ``A u`` is not known.
        """
        if self.product is None:
            return None
        product = self.product if isinstance(sign, float) and sign == 1 else self.product * sign
        size = self.apply(u.abs(), weight.abs())
        total = torch.add(product, size).div_(2)
        doubt = torch.sub(size, total, alpha=FAR)
        if doubt.numel() and doubt.amax().item() > -self.removed:
            total, u = total.view(-1, weight.shape[0]), u.reshape(-1, weight.shape[1])
            rows, units = (doubt.view_as(total) > -self.removed).nonzero(as_tuple=True)
            if rows.shape[0] * FEW > total.numel():
                return None
            step = max(1, CACHED // (8 * u.shape[1]))
            for r, p in zip(rows.split(step), units.split(step), strict=True):
                total[r, p] = u[r].mul_(weight[p]).clamp_min_(0).sum(1)
        return total.view(self.output)

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
