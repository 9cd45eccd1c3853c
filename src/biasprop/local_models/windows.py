"""Receptive fields: which inputs each output position of a convolution or pooling reads.

A window table has shape ``(L, T)``: for output position ``l`` and tap ``t`` the flat input position, or -1 where the
tap falls into padding or between the inputs of a transposed convolution. All of them are products of
one-dimensional tables.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from math import prod
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "convolution_windows",
    "per_dimension",
    "product_windows",
    "sparse_rows",
    "stencil_windows",
    "transposed_windows",
]

SMALL = 2**14
"""Entries of a table that is kept: of a 3 x 3 convolution over 32 pixels it has nine thousand."""


def per_dimension(value: int | Sequence[int], dims: int) -> list[int]:
    """A size given once or for each dimension, as one for each."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def _range(count: int) -> Tensor:
    """On the CPU, whatever the default device is: tables are kept."""
    return torch.arange(count, device="cpu")


def convolution_windows(size: int, out: int, kernel: int, stride: int, before: int, dilation: int) -> Tensor:
    """``(out, kernel)``: output ``o`` reads ``o * stride - before + j * dilation``."""
    positions = _range(out)[:, None] * stride - before + _range(kernel) * dilation
    return positions.masked_fill((positions < 0) | (positions >= size), -1)


def transposed_windows(size: int, out: int, kernel: int, stride: int, before: int, dilation: int) -> Tensor:
    """``(out, kernel)``: output ``o`` reads ``i`` where ``o = i * stride - before + j * dilation``."""
    reach = _range(out)[:, None] + before - _range(kernel) * dilation
    positions = reach.div(stride, rounding_mode="floor")
    return positions.masked_fill((reach % stride != 0) | (positions < 0) | (positions >= size), -1)


def product_windows(tables: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The table over several dimensions, int32 ``(L1 * L2 ..., T1 * T2 ...)``, from one per dimension."""

    flat, stride, total = [], prod(sizes), prod(sizes)
    for table, size in zip(tables, sizes, strict=True):
        stride //= size
        flat.append((table * stride).masked_fill(table < 0, -total).to(torch.int32))  # no sum of others makes up for it

    def combine(left: Tensor, right: Tensor) -> Tensor:
        joined = left[:, None, :, None] + right[None, :, None, :]
        return joined.reshape(left.shape[0] * right.shape[0], -1)

    return reduce(combine, flat).clamp_min_(-1)


@lru_cache(maxsize=128)
def _kept(*geometry: Any) -> Tensor:
    return _made(*geometry)


def _made(transposed: bool, sizes: Sequence[int], out: Sequence[int], *geometry: Sequence[int]) -> Tensor:
    make = transposed_windows if transposed else convolution_windows
    return product_windows([make(*one) for one in zip(sizes, out, *geometry, strict=True)], sizes)


def stencil_windows(
    transposed: bool,
    sizes: Sequence[int],
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The table of a convolution or its transpose, int32 ``(L, T)``, from a number per dimension each.

    Small tables, which cost more to make than to use, are kept: do not write into them.
    """
    geometry = tuple(map(tuple, (sizes, out, kernel, stride, before, dilation)))
    return (_kept if prod(out) * prod(kernel) <= SMALL else _made)(transposed, *geometry)


def sparse_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The non-zero entries of each row: columns ``(L, T)``, -1 where a row has fewer, and weights ``(L, T)``."""
    width = max(1, int((matrix != 0).sum(1).max()))
    order = (matrix != 0).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    weights = matrix.gather(1, order)
    return order.masked_fill(weights == 0, -1), weights
