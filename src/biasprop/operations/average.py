"""Linear operations without weights: means, sums, average pooling and smooth upsampling (spec section 4).

They are affine with ``h = 0``. Over the positions of each channel all of them are products of one sparse matrix per
dimension: which inputs an output reads, and with which weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pieces import Piece
from ..stencil import Layout, Stencil
from ..windows import convolution_windows, per_dimension, product_windows, sparse_rows
from .call import Call

__all__ = ["adaptive_average_pool", "average_pool", "interpolation", "reduction"]


def reduction(call: Call) -> Piece:
    """``mean`` and ``sum`` over some dimensions: one unit per remaining element, equal weights."""
    (leaf,) = call.leaves()
    output = call(leaf)
    dims = call.argument(1, "dim")
    wanted = range(leaf.dim()) if not dims and dims != 0 else [dims] if isinstance(dims, int) else dims
    reduced = sorted(d % leaf.dim() for d in wanted)
    kept = [d for d in range(leaf.dim()) if d not in reduced]
    last = leaf.permute(*kept, *reduced)
    k = last.shape[len(kept) :].numel()
    rows = output.numel()

    def layout() -> Layout:
        weight = leaf.new_full((1, 1, 1, k), 1.0 / k if "mean" in call.node.operation else 1.0)
        return Layout((rows, 1, k, 1), (rows, 1, 1, 1), weight, torch.zeros(1, 1, dtype=torch.int32))

    return Stencil(leaf, output, layout, order=[*kept, *reduced])


def average_pool(call: Call) -> Piece:
    """``avg_pool1d/2d/3d``, with ceil mode, padding counted or not, and a divisor of one's own."""
    dims = int(call.node.operation[-2])

    kernel = per_dimension(call.argument(1, "kernel_size"), dims)
    stride = per_dimension(call.argument(2, "stride") or kernel, dims)
    padding = per_dimension(call.argument(3, "padding", 0), dims)
    counted = call.argument(5, "count_include_pad", True)
    divisor = call.argument(6, "divisor_override")
    leaf = call.operands[0]
    if leaf.dim() != dims + 2:
        raise call.unsupported("pooling without a batch dimension.")
    out = call(leaf).shape[2:]
    rows = []
    for size, length, k, s, p in zip(leaf.shape[2:], out, kernel, stride, padding, strict=True):
        taps = convolution_windows(size, length, k, s, p, 1)
        starts = torch.arange(length) * s - p
        inside = (taps >= 0).sum(1)
        counts = (starts + k).clamp_max(size + p) - starts if counted else inside
        weights = (taps >= 0).double() / (torch.ones_like(counts) if divisor else counts)[:, None]
        rows.append((taps, weights))
    return _separable(call, rows, 1.0 / divisor if divisor else 1.0)


def adaptive_average_pool(call: Call) -> Piece:
    """``adaptive_avg_pool1d/2d/3d``."""
    dims = int(call.node.operation[-2])
    leaf = call.operands[0]
    if leaf.dim() != dims + 2:
        raise call.unsupported("pooling without a batch dimension.")
    rows = []
    for size, length in zip(leaf.shape[2:], call(leaf).shape[2:], strict=True):
        starts = torch.arange(length) * size // length
        counts = -(-(torch.arange(length) + 1) * size // length) - starts
        taps = starts[:, None] + torch.arange(int(counts.max()))
        within = torch.arange(int(counts.max())) < counts[:, None]
        rows.append((taps.masked_fill(~within, -1), within.double() / counts[:, None]))
    return _separable(call, rows)


def interpolation(call: Call) -> Piece:
    """Linear, bilinear, trilinear and bicubic upsampling."""
    (leaf,) = call.leaves()
    output = call(leaf)
    align, scales = bool(call.argument(2, "align_corners")), call.argument(3, "scale_factors")
    cubic = "bicubic" in call.node.operation
    matrices = []
    for i, n in enumerate(leaf.shape[2:]):
        out = output.shape[2 + i]
        given = isinstance(scales, list | tuple)
        units = _units(n).movedim(1, 2)[..., None] if cubic else _units(n)
        mode = "bicubic" if cubic else "linear"
        if given:
            factor = (scales[i], 1.0) if cubic else scales[i]
            matrix = F.interpolate(units, scale_factor=factor, mode=mode, align_corners=align)
        else:
            matrix = F.interpolate(units, size=(out, 1) if cubic else out, mode=mode, align_corners=align)
        matrices.append(matrix.reshape(n, out).T if not cubic else matrix[:, :, :, 0].reshape(n, out).T)
    return _separable(call, [sparse_rows(m) for m in matrices])


def _units(size: int) -> Tensor:
    """The unit vectors as channels: ``(1, size, size)``."""
    return torch.eye(size, dtype=torch.float64)[None]


def _separable(call: Call, rows: list[tuple[Tensor, Tensor]], scale: float = 1.0) -> Stencil:
    """A stencil over the positions of each channel: for each dimension which inputs an output reads, and weights."""
    (leaf,) = call.leaves()
    output = call(leaf)
    planes, places = leaf.shape[:2].numel(), output.shape[2:].numel()

    def layout() -> Layout:
        weights = rows[0][1]
        for _, more in rows[1:]:
            weights = (weights[:, None, :, None] * more[None, :, None, :]).reshape(weights.shape[0] * more.shape[0], -1)
        return Layout(
            (planes, 1, 1, leaf.shape[2:].numel()),
            (planes, 1, 1, places),
            (weights * scale)[None, :, None].to(leaf),
            product_windows([taps for taps, _ in rows], leaf.shape[2:]),
        )

    return Stencil(leaf, output, layout)
