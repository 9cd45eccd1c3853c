"""Linear layers, products with a constant matrix, and convolutions, as stencils."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..graph import Node
from ..kernels import Layout
from ..kernels.dense import Dense
from ..kernels.weighted import Convolution, Product
from ..local_models import Contraction, LocalModel, Stencil
from ..local_models.windows import per_dimension, stencil_windows
from . import degrees
from .call import Call, without_batch
from .family import Family
from .modulated import half_matmul

__all__ = ["FAMILIES", "addmm", "contraction", "convolution", "linear", "matmul"]

ONE_POSITION = torch.zeros(1, 1, dtype=torch.int32)


def dense(operand: Tensor, output: Tensor, weight: Tensor, bias: Tensor | None = None) -> Stencil:
    """``z = u @ weight.T + bias`` over the last dimension; ``weight`` is ``(O, K)``."""
    rows = operand.numel() // operand.shape[-1]
    out, k = weight.shape

    def layout() -> Layout:
        return Layout((rows, 1, k, 1), (rows, 1, out, 1), weight.detach()[None, None], ONE_POSITION)

    weighted = Dense(weight.detach(), operand.shape, output.shape)
    return Stencil(operand, output, weighted, layout, bias)


def linear(call: Call) -> LocalModel:
    """``torch.nn.functional.linear``."""
    if call.is_operand(1, "weight") or call.is_operand(2, "bias"):
        raise call.unsupported("its weights depend on the input.")
    (u,) = call.operands
    if u.dim() < 2:
        raise without_batch(call)
    return dense(u, call.value(), call.argument(1, "weight"), call.argument(2, "bias"))


def matmul(call: Call) -> LocalModel:
    """Matrix products of a tensor with a constant, or of two activations: each factor gets half of every product."""
    if len(call.operands) > 1:
        return contraction(call, tangent=True)
    (u,) = call.operands
    left = isinstance(call.args[0], Node)
    constant: Tensor = call.args[1 if left else 0].detach()
    if left and constant.dim() <= 2 and u.dim() > 1:
        return dense(u, call.value(), constant.reshape(constant.shape[0], -1).T)
    if constant.dim() != 2 or u.dim() < 2:
        return contraction(call)
    # K @ u acts on the second to last dimension: a stencil with a position per column.
    out, k = constant.shape
    columns = u.shape[-1]
    rows = u.shape[:-2].numel()

    def layout() -> Layout:
        windows = torch.arange(columns, dtype=torch.int32)[:, None]
        return Layout((rows, 1, k, columns), (rows, 1, out, columns), constant[None, None], windows)

    return Stencil(u, call.value(), Product(constant, u.shape, left=False), layout)


def contraction(call: Call, tangent: bool = False) -> LocalModel:
    """Half of the Jacobian of a matrix product of two activations, which is exact without an intercept."""
    leaves = (_alone(u.detach()).requires_grad_() for u in call.operands)
    left, right = (next(leaves) if isinstance(a, Node) else a for a in call.args[:2])
    if min(left.dim(), right.dim()) < 2:
        raise call.unsupported("a product with a vector: write it as one with a matrix of one column.")
    output = call(*(f for f, a in zip((left, right), call.args, strict=False) if isinstance(a, Node)))
    open_ = isinstance(call.args[0], Node), isinstance(call.args[1], Node)
    if tangent:
        return Contraction(left, right, output, open_, -output.detach())
    return Contraction(left, right, output, open_, scale=1 / sum(open_))


def _alone(values: Tensor) -> Tensor:
    """Not as part of a larger tensor, which would be kept with it: values are often made with queries and keys."""
    own = values.untyped_storage().nbytes() <= 2 * values.nbytes
    return values if own else values.clone(memory_format=torch.contiguous_format)


def addmm(call: Call) -> LocalModel:
    """``torch.addmm(bias, u, K)``, the linear layer written by hand."""
    if call.is_operand(0, "self") or call.is_operand(2, "mat2") or call.kwargs:
        raise call.unsupported("only addmm(bias, u, K) with constant bias and K is known.")
    (u,) = call.operands
    return dense(u, call.value(), call.argument(2, "mat2").T, call.argument(0, "self"))


@dataclass(frozen=True)
class Geometry:
    """Of a convolution: one entry per dimension; ``padding`` is ``"same"``, ``"valid"`` or sizes."""

    stride: list[int]
    padding: str | list[int]
    dilation: list[int]
    groups: int
    transposed: bool

    def has_gaps(self, kernel: tuple[int, ...]) -> bool:
        """Whether an output position may lie where it reads nothing: between the inputs, or in the padding alone."""
        if self.transposed:
            return True
        padding = self.padding if isinstance(self.padding, list) else [0]
        return any(p > d * (k - 1) for p, d, k in zip(padding, self.dilation, kernel, strict=False))

    def around(self, kernel: tuple[int, ...]) -> list[int]:
        """The padding in front, for each dimension."""
        if isinstance(self.padding, list):
            return self.padding
        return [d * (k - 1) // 2 if self.padding == "same" else 0 for d, k in zip(self.dilation, kernel, strict=True)]

    def windows(self, sizes: torch.Size, out: torch.Size, kernel: tuple[int, ...]) -> Tensor:
        """Which positions each output position reads, int32 ``(L, T)``."""
        return stencil_windows(self.transposed, sizes, out, kernel, self.stride, self.around(kernel), self.dilation)


def _geometry(call: Call, dims: int, dilation: int, groups: int, transposed: bool | int) -> Geometry:
    """By where a signature has its arguments; ``transposed`` is known, or where it says so."""
    padding = call.argument(4, "padding", 0)
    return Geometry(
        per_dimension(call.argument(3, "stride", 1), dims),
        padding if isinstance(padding, str) else per_dimension(padding, dims),
        per_dimension(call.argument(dilation, "dilation", 1), dims),
        int(call.argument(groups, "groups", 1)),
        transposed if isinstance(transposed, bool) else bool(call.argument(transposed, "transposed")),
    )


PLAIN = partial(_geometry, dilation=5, groups=6, transposed=False)
TRANSPOSED = partial(_geometry, dilation=7, groups=6, transposed=True)
GENERAL = partial(_geometry, dilation=5, groups=8, transposed=6)


def convolution(call: Call, geometry: Callable[[Call, int], Geometry] = PLAIN) -> LocalModel:
    """``conv1d/2d/3d`` and their transposes: stride, padding, dilation and groups."""
    if call.is_operand(1, "weight") or call.is_operand(2, "bias"):
        raise call.unsupported("its weights depend on the input.")
    (u,) = call.operands
    output = call.value()
    weight: Tensor = call.argument(1, "weight").detach()
    bias: Tensor | None = call.argument(2, "bias")
    kernel = tuple(weight.shape[2:])
    if u.dim() != len(kernel) + 2:
        raise without_batch(call)
    how = geometry(call, len(kernel))
    sizes, out = u.shape[2:], output.shape[2:]
    groups, n = how.groups, u.shape[0]
    channels, out_channels = u.shape[1] // groups, output.shape[1] // groups

    def layout() -> Layout:
        shared = weight
        if how.transposed:
            shared = weight.reshape(groups, channels, out_channels, -1).transpose(1, 2)
        return Layout(
            (n, groups, channels, sizes.numel()),
            (n, groups, out_channels, out.numel()),
            shared.reshape(groups, 1, out_channels, -1),
            how.windows(sizes, out, kernel),
        )

    def without_bias(u: Tensor, w: Tensor) -> Tensor:
        options = {name: value for name, value in call.kwargs.items() if name not in ("weight", "bias")}
        return call.node.function(u, w, None, *call.args[3:], **options)  # type: ignore[no-any-return]

    column = None if bias is None else bias.detach().reshape(-1, *[1] * len(kernel))

    around = how.around(kernel)
    weighted = Convolution(weight, u.shape, without_bias, how.stride, around, how.dilation, groups, how.transposed)
    return Stencil(u, output, weighted, layout, column, has_constants=how.has_gaps(kernel))


_BIASED = partial(degrees.with_bias, factors=(0, 1), bias=2)

FAMILIES = (
    Family(linear, _BIASED, "linear"),
    Family(addmm, partial(degrees.with_bias, factors=(1, 2), bias=0), "addmm"),
    Family(matmul, degrees.contracted, "matmul mm bmm"),
    Family(contraction, degrees.contracted, others=(half_matmul,)),
    Family(convolution, _BIASED, "conv1d conv2d conv3d"),
    Family(partial(convolution, geometry=TRANSPOSED), _BIASED, "conv_transpose1d conv_transpose2d conv_transpose3d"),
    Family(partial(convolution, geometry=GENERAL), _BIASED, "convolution"),
)
