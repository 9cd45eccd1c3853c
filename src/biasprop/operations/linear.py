"""Linear layers, products with a constant matrix, and convolutions, as stencils."""

from typing import Any

import torch
from torch import Tensor

from ..capture import Node
from ..pieces import Piece
from ..stencil import Layout, Stencil
from ..windows import convolution_windows, per_dimension, product_windows, transposed_windows
from .call import Call

__all__ = ["addmm", "convolution", "linear", "matmul"]

ONE_POSITION = torch.zeros(1, 1, dtype=torch.int32)


def dense(operand: Tensor, output: Tensor, weight: Tensor, bias: Tensor | None = None) -> Stencil:
    """``z = u @ weight.T + bias`` over the last dimension; ``weight`` is ``(O, K)``."""
    rows = operand.numel() // operand.shape[-1]
    out, k = weight.shape

    def layout() -> Layout:
        return Layout((rows, 1, k, 1), (rows, 1, out, 1), weight.detach()[None, None], ONE_POSITION)

    return Stencil(operand, output, layout, bias)


def linear(call: Call) -> Piece:
    """``torch.nn.functional.linear``."""
    if call.is_operand(1, "weight") or call.is_operand(2, "bias"):
        raise call.unsupported("its weights depend on the input.")
    (leaf,) = call.leaves()
    return dense(leaf, call(leaf), call.argument(1, "weight"), call.argument(2, "bias"))


def matmul(call: Call) -> Piece:
    """``u @ K`` or ``K @ u`` with a constant matrix ``K``."""
    if len(call.operands) > 1:
        raise call.unsupported("a product of two tensors that both depend on the input (attention) has no rule.")
    (leaf,) = call.leaves()
    left = isinstance(call.args[0], Node)
    constant: Tensor = call.args[1 if left else 0].detach()
    if constant.dim() != 2 and not (left and constant.dim() == 1):
        raise call.unsupported(f"the constant factor has shape {tuple(constant.shape)}, and must be a matrix.")
    if left:
        return dense(leaf, call(leaf), constant.reshape(constant.shape[0], -1).T)
    # K @ u acts on the second to last dimension: a stencil with a position per column.
    out, k = constant.shape
    columns = leaf.shape[-1]
    rows = leaf.shape[:-2].numel()

    def layout() -> Layout:
        windows = torch.arange(columns, dtype=torch.int32)[:, None]
        return Layout((rows, 1, k, columns), (rows, 1, out, columns), constant[None, None], windows)

    return Stencil(leaf, call(leaf), layout)


def addmm(call: Call) -> Piece:
    """``torch.addmm(bias, u, K)``, the linear layer written by hand."""
    if call.is_operand(0, "self") or call.is_operand(2, "mat2") or call.kwargs:
        raise call.unsupported("only addmm(bias, u, K) with constant bias and K is known.")
    (leaf,) = call.leaves()
    return dense(leaf, call(leaf), call.argument(2, "mat2").T, call.argument(0, "self"))


def convolution(call: Call) -> Piece:
    """``conv1d/2d/3d`` and their transposes: stride, padding, dilation and groups."""
    if call.is_operand(1, "weight") or call.is_operand(2, "bias"):
        raise call.unsupported("its weights depend on the input.")
    (leaf,) = call.leaves()
    output = call(leaf)
    weight: Tensor = call.argument(1, "weight").detach()
    bias: Tensor | None = call.argument(2, "bias")
    kernel = tuple(weight.shape[2:])
    dims = len(kernel)
    if leaf.dim() != dims + 2:
        raise call.unsupported("a convolution without a batch dimension.")
    stride, padding, dilation, groups, transposed = _geometry(call, dims)
    sizes, out = leaf.shape[2:], output.shape[2:]
    n, channels, out_channels = leaf.shape[0], leaf.shape[1] // groups, output.shape[1] // groups

    def layout() -> Layout:
        tables = []
        for i in range(dims):
            around = dilation[i] * (kernel[i] - 1)
            before = around // 2 if padding == "same" else 0 if padding == "valid" else int(padding[i])
            make = transposed_windows if transposed else convolution_windows
            tables.append(make(sizes[i], out[i], kernel[i], stride[i], before, dilation[i]))
        windows = product_windows(tables, sizes)
        shared = weight.reshape(groups, channels, out_channels, -1).transpose(1, 2) if transposed else weight
        return Layout(
            (n, groups, channels, sizes.numel()),
            (n, groups, out_channels, out.numel()),
            shared.reshape(groups, 1, out_channels, -1),
            windows,
        )

    column = None if bias is None else bias.detach().reshape(-1, *[1] * dims)

    def without_bias(u: Tensor, w: Tensor) -> Tensor:
        options = {name: value for name, value in call.kwargs.items() if name not in ("weight", "bias")}
        return call.node.function(u, w, None, *call.args[3:], **options)  # type: ignore[no-any-return]

    return Stencil(leaf, output, layout, column, convolution=(without_bias, weight))


def _geometry(call: Call, dims: int) -> tuple[list[int], Any, list[int], int, bool]:
    """Stride, padding, dilation, groups and whether it is transposed, from any of ATen's signatures."""

    stride = per_dimension(call.argument(3, "stride", 1), dims)
    padding = call.argument(4, "padding", 0)
    padding = padding if isinstance(padding, str) else per_dimension(padding, dims)
    name = call.node.operation
    if name == "convolution":
        dilation, groups = call.argument(5, "dilation"), call.argument(8, "groups")
        transposed = call.argument(6, "transposed")
    elif name.startswith("conv_transpose"):
        groups, dilation, transposed = call.argument(6, "groups", 1), call.argument(7, "dilation", 1), True
    else:
        dilation, groups, transposed = call.argument(5, "dilation", 1), call.argument(6, "groups", 1), False
    return stride, padding, per_dimension(dilation, dims), int(groups), bool(transposed)
