"""Linear operations without weights: means, sums, average pooling and smooth upsampling (mathematics, section 4).

They are affine with ``h = 0``. Over the positions of each channel all of them are products of one sparse matrix per
dimension: which inputs an output reads, and with which weights.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UnsupportedOperation
from ..kernels import Layout
from ..kernels.autograd import forget
from ..kernels.weighted import Resampling
from ..local_models import LocalModel, Stencil
from ..local_models.windows import convolution_windows, per_dimension, product_windows, sparse_rows
from . import degrees
from .call import Call, without_batch
from .family import Family

__all__ = ["FAMILIES", "adaptive_average_pool", "average_pool", "interpolation", "reduction"]


def reduction(call: Call) -> LocalModel:
    """``mean``, ``sum`` and whatever else weighs all elements of some dimensions alike: one unit per remaining one.

    The weight is what the operation makes of ones; the dimensions are its second argument, ``dim``.
    """
    (leaf,), call = call.leaves(), call.without_values()
    output = call(leaf)
    dims = call.argument(1, "dim")
    wanted = range(leaf.dim()) if not dims and dims != 0 else [dims] if isinstance(dims, int) else dims
    reduced = sorted(d % leaf.dim() for d in wanted)
    kept = [d for d in range(leaf.dim()) if d not in reduced]
    k = leaf.permute(*kept, *reduced).shape[len(kept) :].numel()
    rows = output.numel()
    if rows * k != leaf.numel():
        raise call.unsupported(f"it does not reduce the dimensions {reduced}.")

    def weight() -> Tensor:
        ones = leaf.new_ones(()).expand(leaf.shape)
        return call(ones).detach().reshape(-1)[0] / k

    if not call.trusted:
        _require_alike(call, leaf, output, weight(), reduced)

    def layout() -> Layout:
        shared = weight().expand(1, 1, 1, k)
        return Layout((rows, 1, k, 1), (rows, 1, 1, 1), shared, torch.zeros(1, 1, dtype=torch.int32))

    weighted = Resampling(call, leaf, output, positive=call.trusted)
    stencil = Stencil(leaf, output, weighted, layout, order=[*kept, *reduced])
    if call.trusted:
        forget([leaf], output)
    return stencil


def _require_alike(call: Call, leaf: Tensor, output: Tensor, weight: Tensor, reduced: list[int]) -> None:
    """An operation of the user's own may weigh its elements differently, or not be linear at all."""
    drawn = torch.rand(leaf.shape, generator=torch.Generator().manual_seed(0)).to(leaf)
    for u, y in ((leaf.detach(), output.detach()), (drawn, call(drawn).detach())):
        expected = weight * u.sum(reduced)
        if not torch.allclose(y.reshape(expected.shape), expected, rtol=1e-3, atol=1e-5 * float(u.abs().sum())):
            raise UnsupportedOperation(
                f"{call.node!r} does not weigh all elements alike: a reduction cannot explain it. Give it a local "
                "model of its own; see the documentation of biasprop.operations."
            )


def average_pool(call: Call, dims: int | None = None) -> LocalModel:
    """``avg_pool1d/2d/3d``, with ceil mode, padding counted or not, and a divisor of one's own."""
    dims = call.operands[0].dim() - 2 if dims is None else dims
    kernel = per_dimension(call.argument(1, "kernel_size"), dims)
    stride = per_dimension(call.argument(2, "stride") or kernel, dims)
    padding = per_dimension(call.argument(3, "padding", 0), dims)
    counted = call.argument(5, "count_include_pad", True)
    divisor = call.argument(6, "divisor_override")
    leaf = call.operands[0]
    if leaf.dim() != dims + 2:
        raise without_batch(call)

    def rows(out: torch.Size) -> Rows:
        found = []
        for size, length, k, s, p in zip(leaf.shape[2:], out, kernel, stride, padding, strict=True):
            taps = convolution_windows(size, length, k, s, p, 1)
            starts = torch.arange(length) * s - p
            inside = (taps >= 0).sum(1)
            counts = (starts + k).clamp_max(size + p) - starts if counted else inside
            weights = (taps >= 0).double() / (torch.ones_like(counts) if divisor else counts)[:, None]
            found.append((taps, weights))
        return found

    return _separable(call, rows, 1.0 / divisor if divisor else 1.0, positive=not divisor or divisor > 0)


def adaptive_average_pool(call: Call, dims: int | None = None) -> LocalModel:
    """``adaptive_avg_pool1d/2d/3d``."""
    leaf = call.operands[0]
    if dims is not None and leaf.dim() != dims + 2:
        raise without_batch(call)

    def rows(out: torch.Size) -> Rows:
        found = []
        for size, length in zip(leaf.shape[2:], out, strict=True):
            starts = torch.arange(length) * size // length
            counts = -(-(torch.arange(length) + 1) * size // length) - starts
            taps = starts[:, None] + torch.arange(int(counts.max()))
            within = torch.arange(int(counts.max())) < counts[:, None]
            found.append((taps.masked_fill(~within, -1), within.double() / counts[:, None]))
        return found

    return _separable(call, rows)


def interpolation(call: Call, cubic: bool = False) -> LocalModel:
    """Linear, bilinear, trilinear and bicubic upsampling."""
    sizes = call.operands[0].shape[2:]
    align, scales = bool(call.argument(2, "align_corners")), call.argument(3, "scale_factors")

    def rows(out: torch.Size) -> Rows:
        matrices = []
        for i, (n, length) in enumerate(zip(sizes, out, strict=True)):
            # Along one dimension; torch has cubic interpolation for two only.
            units = _units(n).movedim(1, 2)[..., None] if cubic else _units(n)
            one = (1,) if cubic else ()
            how: Any = (
                {"scale_factor": (scales[i], *map(float, one))}
                if isinstance(scales, list | tuple)
                else {"size": (length, *one)}
            )
            matrix = F.interpolate(units, mode="bicubic" if cubic else "linear", align_corners=align, **how)
            matrices.append((matrix[:, :, :, 0] if cubic else matrix).reshape(n, length).T)
        return [sparse_rows(m) for m in matrices]

    return _separable(call, rows, alike=False, positive=not cubic)


def _units(size: int) -> Tensor:
    """The unit vectors as channels: ``(1, size, size)``."""
    return torch.eye(size, dtype=torch.float64)[None]


Rows = list[tuple[Tensor, Tensor]]
"""For each dimension which inputs an output reads, and with which weights."""


def _separable(
    call: Call, rows: Callable[[torch.Size], Rows], scale: float = 1.0, positive: bool = True, alike: bool = True
) -> Stencil:
    """A stencil over the positions of each channel, with ``positive`` weights, ``alike`` in a window, or not."""
    (leaf,) = call.leaves()
    output = call(leaf)
    planes, places = leaf.shape[:2].numel(), output.shape[2:].numel()

    def layout() -> Layout:
        found = rows(output.shape[2:])
        weights = found[0][1]
        for _, more in found[1:]:
            weights = (weights[:, None, :, None] * more[None, :, None, :]).reshape(weights.shape[0] * more.shape[0], -1)
        return Layout(
            (planes, 1, 1, leaf.shape[2:].numel()),
            (planes, 1, 1, places),
            (weights * scale)[None, :, None].to(leaf),
            product_windows([taps for taps, _ in found], leaf.shape[2:]),
        )

    return Stencil(leaf, output, Resampling(call.without_values(), leaf, output, positive, alike), layout)


FAMILIES = (
    *(Family(partial(average_pool, dims=d), degrees.kept, f"avg_pool{d}d") for d in (1, 2, 3)),
    *(Family(partial(adaptive_average_pool, dims=d), degrees.kept, f"adaptive_avg_pool{d}d") for d in (1, 2, 3)),
    Family(reduction, degrees.kept, "mean sum"),
    Family(interpolation, degrees.kept, "upsample_linear1d upsample_bilinear2d upsample_trilinear3d"),
    Family(partial(interpolation, cubic=True), degrees.kept, "upsample_bicubic2d"),
)
