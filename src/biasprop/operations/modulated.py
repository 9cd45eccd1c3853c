"""Operations of which something is held at its present value (mathematics, section 10): as functions with a derivative.

What they compute is what the operation computes; their derivative is the linear map that the mode has chosen.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["along_chord", "half_matmul", "half_product", "slope_of_chord", "value_at_zero"]

NEAR = 1e-8  # of 0, where the chord is the tangent
STEP = 1e-6


def value_at_zero(phi: Callable[..., Tensor], u: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``phi(0)``, a number."""
    with torch.no_grad():
        return phi(u.new_zeros(()), *args, **kwargs)


def along_chord(phi: Callable[..., Tensor], u: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``phi(u) = phi(0) + slope u`` with the slope ``(phi(u) - phi(0)) / u`` held; ``phi'(0)`` at 0."""
    return value_at_zero(phi, u, *args, **kwargs) + u * slope_of_chord(phi, u.detach(), *args, **kwargs)


def slope_of_chord(phi: Callable[..., Tensor], u: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``(phi(u) - phi(0)) / u``; ``phi'(0)`` at 0."""
    if value_at_zero(phi, u, *args, **kwargs).any():
        exact = u.double()  # differences cancel
        rise = phi(exact, *args, **kwargs) - value_at_zero(phi, exact, *args, **kwargs)
    else:
        exact, rise = u, phi(u, *args, **kwargs)
    size = exact.abs()
    if size.numel() and bool(size.amin() >= NEAR):  # choosing between entries takes longer than all of the rest
        slope = rise / exact
    else:
        near = size < NEAR
        slope = torch.where(near, _slope_at_zero(phi, exact, *args, **kwargs), rise / exact.masked_fill(near, 1))
    return slope.to(u.dtype)


def _slope_at_zero(phi: Callable[..., Tensor], u: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``phi'(0)`` as a central difference: also inside forward mode, where autograd cannot be called."""
    step = u.new_full((), STEP, dtype=torch.float64)
    return (phi(step, *args, **kwargs) - phi(-step, *args, **kwargs)) / (2 * STEP)


def half_product(u: Tensor, v: Tensor) -> Tensor:
    """``u v`` with half of its Jacobian, of which ``J (u, v) = u v``."""
    return _half(u * v)


def half_matmul(u: Tensor, v: Tensor) -> Tensor:
    """``u @ v`` with half of its Jacobian."""
    return _half(u @ v)


def _half(values: Tensor) -> Tensor:
    """The values with half of their derivative."""
    return (values + values.detach()) / 2
