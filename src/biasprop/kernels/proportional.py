"""Option 3 through ordinary convolutions: no exp, no loop, at the cost of about one more gradient.

The positive components of ``w u`` are those of ``max(w, 0) max(u, 0)`` and of ``min(w, 0) min(u, 0)``, so both the
normaliser of Eq. 19 and the messages are convolutions with one half of the weights. Behind a gate of negative slope
it is the other two halves.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .autograd import pull_back, scaled

__all__ = ["spread_positive"]

TINY = 1e-30  # dividing a bias by less could overflow


def spread_positive(
    apply: Callable[[Tensor, Tensor], Tensor], weight: Tensor, u: Tensor, slope: Tensor | None, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Beta of the operand where option 3 is not 0/0, and the rest of beta, which is for `biasprop.kernels.spread`.

    Args:
        apply: the layer without its bias, a function of operand and weight, linear in each.
        weight: its weight.
        u: operand.
        slope: slope of the gate behind the layer, broadcastable to its output; None for 1.
        beta: what to distribute, ``(J, *output)``.
    """
    low, high = u.aminmax()
    halves = [(u.clamp_min(0) if low < 0 else u.clone(), True)] if high > 0 else []
    halves += [(u.clamp_max(0), False)] if low < 0 else []
    received, rest = beta.new_zeros(len(beta), *u.shape), beta
    for sign in (1, -1):
        side = _units(slope, sign)
        if side is False or not halves:
            continue
        parts = [half.requires_grad_() for half, _ in halves]  # the gradient is the message over the operand
        with torch.enable_grad():
            products = [
                apply(half, weight.clamp_min(0) if positive == (sign > 0) else weight.clamp_max(0))
                for half, positive in halves
            ]
            total = products[0] if len(products) == 1 else products[0] + products[1]
        left = total.detach() * sign <= TINY
        left = left if side is True else left.logical_or_(~side)
        ratio = (rest / total.detach()).masked_fill_(left, 0)
        for half, pulled in zip(parts, pull_back(total, parts, ratio), strict=True):
            received += pulled.mul_(half.detach())
        rest = scaled(left, rest)
    return received, rest


def _units(slope: Tensor | None, sign: int) -> Tensor | bool:
    """Which units have a slope of this sign: a mask, or all, or none."""
    if slope is None or slope.dtype == torch.bool:
        return False if sign < 0 else True if slope is None else slope
    side = slope * sign > 0
    return side if side.any() else False
