"""Maps for people: one number for each place of an image, of any size; they add up to what they are made of."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .part import Part

__all__ = ["enlarged", "in_patches", "map_of"]

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def map_of(part: Part, batch: int, kind: Tensor | None = None) -> Tensor:
    """The complete attribution summed over channels: ``(J, N, *space)`` of a tensor ``(N, C, *space)``.

    Args:
        part: the tensor.
        batch: how many examples.
        kind: of the part, ``(J, *shape)``; default: ``w * x + beta``.

    Raises:
        InputError: the tensor has no space.
    """
    shape = part.shape
    if len(shape) < 2:
        raise InputError(f"{part.name!r} of shape {shape} has no places to make a map of: use its attribution.")
    values = part.by_example(part.product + part.beta if kind is None else kind, batch)
    return values.reshape(*values.shape[:2], *shape).sum(2)


def in_patches(values: Tensor, size: int) -> Tensor:
    """Sums over patches of ``size`` in every dimension of space; the last ones may be smaller.

    Raises:
        InputError: the size is no positive whole number.
    """
    if not isinstance(size, int) or size < 1:
        raise InputError(f"The size of a patch must be a positive whole number, not {size!r}.")
    for dim in range(2, values.dim()):
        length = values.shape[dim]
        index = torch.arange(length, device=values.device) // size
        shape = [*values.shape[:dim], -(-length // size), *values.shape[dim + 1 :]]
        values = values.new_zeros(shape).index_add_(dim, index, values)
    return values


def enlarged(values: Tensor, space: Sequence[int]) -> Tensor:
    """Laid out over a space that is no smaller, each value over a hat that sums to 1 (linear interpolation).

    Args:
        values: ``(J, N, *space)``.
        space: sizes; the result is ``(J, N, *space)``.

    Raises:
        InputError: there is no linear interpolation in so many dimensions, or the space is smaller.
    """
    dims, before = values.dim() - 2, tuple(values.shape[2:])
    if dims != len(space) or dims not in MODES or any(a > b for a, b in zip(before, space, strict=False)):
        raise InputError(f"A map of size {before} cannot be laid over a space of size {tuple(space)}.")

    def interpolated(z: Tensor) -> Tensor:
        return F.interpolate(z, tuple(space), mode=MODES[dims], align_corners=False)

    with torch.enable_grad():
        ones = values.new_ones(1, 1, *values.shape[2:]).requires_grad_()
        (sums,) = torch.autograd.grad(interpolated(ones).sum(), ones)
    return interpolated(values / sums)
