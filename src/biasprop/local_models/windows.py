"""Receptive fields: which inputs each output position of a convolution or pooling reads.

A window table has shape ``(L, T)``: for output position ``l`` and tap ``t`` the flat input position, or -1 where the
tap falls into padding or between the inputs of a transposed convolution. All of them are products of
one-dimensional tables.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

__all__ = ["convolution_windows", "per_dimension", "product_windows", "sparse_rows", "transposed_windows"]


def per_dimension(value: int | Sequence[int], dims: int) -> list[int]:
    """A size given once or for each dimension, as one for each."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def convolution_windows(size: int, out: int, kernel: int, stride: int, before: int, dilation: int) -> Tensor:
    """``(out, kernel)``: output ``o`` reads ``o * stride - before + j * dilation``."""
    positions = torch.arange(out)[:, None] * stride - before + torch.arange(kernel) * dilation
    return positions.masked_fill((positions < 0) | (positions >= size), -1)


def transposed_windows(size: int, out: int, kernel: int, stride: int, before: int, dilation: int) -> Tensor:
    """``(out, kernel)``: output ``o`` reads ``i`` where ``o = i * stride - before + j * dilation``."""
    reach = torch.arange(out)[:, None] + before - torch.arange(kernel) * dilation
    positions = reach.div(stride, rounding_mode="floor")
    return positions.masked_fill((reach % stride != 0) | (positions < 0) | (positions >= size), -1)


def product_windows(tables: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The table over several dimensions, int32 ``(L1 * L2 ..., T1 * T2 ...)``, from one per dimension."""

    def combine(left: Tensor, right_and_size: tuple[Tensor, int]) -> Tensor:
        right, size = right_and_size
        joined = left[:, None, :, None] * size + right[None, :, None, :]
        outside = (left < 0)[:, None, :, None] | (right < 0)[None, :, None, :]
        joined = joined.masked_fill(outside, -1)
        return joined.reshape(left.shape[0] * right.shape[0], -1)

    first, *others = (table.to(torch.int32) for table in tables)
    return reduce(combine, zip(others, sizes[1:], strict=True), first)


def sparse_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The non-zero entries of each row: columns ``(L, T)``, -1 where a row has fewer, and weights ``(L, T)``."""
    width = max(1, int((matrix != 0).sum(1).max()))
    order = (matrix != 0).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    weights = matrix.gather(1, order)
    return order.masked_fill(weights == 0, -1), weights
