"""Option 3 through ordinary products and convolutions: no exp, no loop, at the cost of about one more gradient.

The positive components of ``w u`` are those of ``max(w, 0) max(u, 0)`` and of ``min(w, 0) min(u, 0)``, so both the
normaliser of Eq. 19 and the messages are products with one half of the weights. Behind a gate of negative slope
it is the other two halves. What both come to is ``(w u + |w| |u|) / 2``, which takes less where ``A u`` is known. Where
the rule is 0/0, the equal shares are products with zeros and ones.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .dense import Cancelled, Dense
from .extremes import is_zero
from .slope import Slope
from .weighted import Parts, Weighted

__all__ = ["spread_equally", "spread_positive"]

TINY = 1e-30  # dividing a bias by less could overflow


def spread_positive(layer: Weighted, u: Tensor, slope: Slope, beta: Tensor) -> tuple[Tensor, Tensor | None]:
    """Beta of the operand where option 3 is not 0/0, and the rest of beta (None where nothing is left).

    Args:
        layer: the layer without its bias.
        u: operand.
        slope: of the gate behind the layer.
        beta: what to distribute, ``(J, *output)``.
    """
    busy = layer.busy(beta)
    if busy is None:
        return _spread(layer, u, slope, beta)
    (rows, units, part), shape = busy, beta.shape[1:]
    masses = beta.reshape(len(beta), -1, shape[-1])
    slope = slope.of(units).each(lambda t: _by_row(t, shape)[rows])
    found, rest = _spread(part, u.reshape(-1, u.shape[-1])[rows], slope, masses[:, rows, units])
    received = beta.new_zeros(len(beta), masses.shape[1], u.shape[-1])
    received[:, rows] = found
    if rest is not None:
        left = torch.zeros_like(masses)
        left[:, rows, units] = rest
        rest = left.reshape(beta.shape)
    return received.reshape(len(beta), *u.shape), rest


def _by_row(values: Tensor, shape: torch.Size) -> Tensor:
    """What can be broadcast to units, with a row for each row of them."""
    return values.expand(*shape[:-1], values.shape[-1] if values.dim() else 1).flatten(0, -2)


@dataclass(frozen=True, eq=False)
class _Operand:
    """What is made of the operand, once for all pieces of a layer."""

    u: Tensor

    @cached_property
    def signs(self) -> list[bool]:
        """Of its entries, True for positive; none where it is 0 throughout."""
        low, high = (extreme.item() for extreme in self.u.aminmax())
        return [positive for positive, there in ((True, high > 0), (False, low < 0)) if there]

    @cached_property
    def halves(self) -> list[Tensor]:
        """``max(u, 0)`` and ``min(u, 0)``, those of its signs."""
        if len(self.signs) == 1:
            return [self.u]
        return [_half(self.u, positive) for positive in self.signs]

    @cached_property
    def halved(self) -> tuple[Tensor, Tensor]:
        """``u / 2`` and ``|u| / 2``."""
        half = self.u / 2
        return half, half.abs()


def _half(values: Tensor, positive: bool) -> Tensor:
    return values.clamp_min(0) if positive else values.clamp_max(0)


def _spread(layer: Weighted, u: Tensor, slope: Slope, beta: Tensor) -> tuple[Tensor, Tensor | None]:
    """The same, as many units at a time as the layer will have it."""
    operand = _Operand(u)
    if not operand.signs:
        return beta.new_zeros(len(beta), *u.shape), beta
    received, rests = None, []
    for some, piece in layer.pieces():
        found, rest = _spread_piece(piece, operand, slope.of(some), beta[..., some])
        received = found if received is None else received.add_(found)
        rests.append((some, rest))
    assert received is not None
    if len(rests) == 1 or all(rest is None for _, rest in rests):
        return received, rests[0][1]
    left = [torch.zeros_like(beta[..., some]) if rest is None else rest for some, rest in rests]
    return received, torch.cat(left, -1)


def _spread_piece(layer: Weighted, operand: _Operand, slope: Slope, rest: Tensor) -> tuple[Tensor, Tensor | None]:
    """The same for all units of the layer, one sign of the slope after the other."""
    received = []
    for weight, sign, side in _sides(layer, slope.scale):
        positive = _by_magnitude(layer, operand, weight, sign) or _by_halves(layer, operand, weight)
        if positive is None:
            continue
        total, parts, cancelled = positive
        ratio, left = _divided(rest, total, slope, side)
        del positive, total  # large tensors go as soon as they can
        received.append(_messages(layer, parts, ratio, cancelled))
        if left is None:
            return sum_of(received), None
        rest = left
    if not received:  # no component is positive
        return rest.new_zeros(len(rest), *operand.u.shape), rest
    return sum_of(received), rest


class _Positive(NamedTuple):
    """The positive components of all units.

    Attributes:
        total: the normaliser of Eq. 19, their sum.
        parts: operands and weights, whose products add up to it.
        cancelled: units of which that would be lost to rounding.
    """

    total: Tensor
    parts: Parts
    cancelled: Cancelled | None = None


def _by_halves(layer: Weighted, operand: _Operand, weight: Tensor) -> _Positive | None:
    """``max(A, 0) max(u, 0) + min(A, 0) min(u, 0)``; None where all of it is 0."""
    parts = [
        (half, _half(weight, positive))
        for half, positive in zip(operand.halves, operand.signs, strict=True)
        if layer.has(weight, positive)
    ]
    if not parts:
        return None
    parts = layer.side_by_side(parts)
    return _Positive(sum_of([layer.apply(*part) for part in parts]), parts)


def _by_magnitude(layer: Weighted, operand: _Operand, weight: Tensor, sign: Tensor | float) -> _Positive | None:
    """``(A u + |A| |u|) / 2``, where an operand has both signs and ``A u`` is known; None elsewhere.

    It takes a product less, and one array of the weight's size instead of three.
    """
    if not isinstance(layer, Dense) or layer.product is None or len(operand.signs) < 2:
        return None
    magnitude = weight.abs()
    signed, size = operand.halved
    found = layer.positive(operand.u, size, weight, magnitude, sign)
    if found is None:
        return None
    return _Positive(found[0], [(signed, weight), (size, magnitude)], found[1])


def spread_equally(layer: Weighted, u: Tensor, slope: Slope, beta: Tensor) -> tuple[Tensor, Tensor | None]:
    """Equal shares where the rule is 0/0 (mathematics, section 3): beta of the operand, and what is lost.

    Among the components that are not zero, else among the weights that are not zero, else among all that is wired.

    Args:
        layer: the layer without its bias.
        u: operand.
        slope: of the gate behind the layer; where it is 0 all components are.
        beta: what to distribute, ``(J, *output)``.
    """
    received, rest = beta.new_zeros(len(beta), *u.shape), beta
    weighs = (layer.weight != 0).to(u.dtype)
    ones = u.new_ones(()).expand(u.shape)
    levels = (((u != 0).to(u.dtype), weighs), (ones, weighs), (ones, torch.ones_like(weighs)))
    for level, (counted, weight) in enumerate(levels):
        total = layer.apply(counted, weight)
        side = slope.scale.abs() if level == 0 and slope.scale is not None else None
        ratio, left = _divided(rest, total, slope if level == 0 else Slope(), side)
        received += _messages(layer, [(counted, weight)], ratio)
        if left is None:
            return received, None
        rest = left
    return received, rest


def _divided(mass: Tensor, total: Tensor, slope: Slope, side: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """``mass / total`` where there is a total, open, and the ``side`` is positive; the mass that is left, or None.

    The total is used up.
    """
    if slope.output is None and side is None and total.numel() and total.amin().item() > TINY:
        return mass / total, None
    total = slope.opened(total)
    total = total if side is None else _where_positive(total, side)
    total = torch.threshold_(total, TINY, math.inf)  # nothing of a mass that is divided by it
    rest = _where_positive(mass, total, torch.finfo(total.dtype).max)
    if not is_zero(rest):
        return mass / total, rest
    del rest  # before there is another tensor of this size
    return mass / total, None


def _messages(layer: Weighted, parts: Parts, ratio: Tensor, cancelled: Cancelled | None = None) -> Tensor:
    """``A^T ratio`` times the operand, summed over the parts of both; of units that cancel component by component."""
    received = None
    if cancelled is not None:
        ratio = ratio.contiguous()
        received = cancelled.take(ratio)
    for part, weight in parts:
        pulled = layer.transpose(ratio, weight)
        received = pulled.mul_(part) if received is None else received.addcmul_(pulled, part)
    assert received is not None
    return layer.folded(received)


def sum_of(tensors: list[Tensor]) -> Tensor:
    """In place of the first."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total += tensor
    return total


def _where_positive(values: Tensor, condition: Tensor, threshold: float = 0) -> Tensor:
    kept: Tensor = torch.ops.aten.threshold_backward.default(values, condition, threshold)
    return kept


def _sides(layer: Weighted, scale: Tensor | None) -> list[tuple[Tensor, Tensor | float, Tensor | None]]:
    """The weight with the sign of the slope, that sign, and what is positive where that is meant (None: everywhere)."""
    if scale is None:
        return [(layer.weight, 1.0, None)]
    low, high = scale.aminmax()
    if low > 0:
        return [(layer.weight, 1.0, None)]
    if high < 0:
        return [(-layer.weight, -1.0, None)]
    rows = layer.by_row(scale.sign())
    if rows is not None:
        return [(layer.weight * rows, scale.sign(), None)]
    sides: list[tuple[Tensor, Tensor | float, Tensor | None]] = []
    if high > 0:
        sides.append((layer.weight, 1.0, scale))
    if low < 0:
        sides.append((-layer.weight, -1.0, -scale))
    return sides
