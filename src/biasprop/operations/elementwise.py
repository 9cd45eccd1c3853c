"""Gates, joins, products and everything else that works element by element.

With one operand of the output's shape the local model is `Diagonal`; with several, or a broadcast one, it is
`Components`. What is linear in its operands is told apart from gates, because it folds into the layer before it.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..graph import Node
from ..kernels.autograd import pull_back
from ..kernels.slope import Slope
from ..local_models import Chord, Components, Diagonal, LocalModel
from . import degrees
from .call import Call
from .family import Family
from .modulated import along_chord, half_product, slope_of_chord, value_at_zero

__all__ = ["FAMILIES", "affine", "batch_norm", "gate", "homogeneous_gate", "product", "quotient"]


def gate(call: Call) -> LocalModel:
    """Any elementwise nonlinearity: slope and intercept at the current input.

    Exact where it is piecewise linear (ReLU6, hard tanh, clamp); a smooth one (GELU, sigmoid) takes part as its
    tangent, which keeps completeness exact and makes its intercept a bias source.
    """
    return _tangent(call)


def homogeneous_gate(call: Call, relu: bool = False) -> LocalModel:
    """A gate that is linear on each side of 0 (ReLU, LeakyReLU, PReLU, abs): no intercept, whatever the rounding."""
    if relu:
        output = call.value()
        return Diagonal(call.operands[0], output, intercept=None, slope=Slope(output=output))
    (leaf,) = call.leaves()
    return Diagonal(leaf, call(leaf), intercept=None)


def affine(call: Call, sign: int = 0) -> LocalModel:
    """Sum and difference: what it gives at 0 is a bias source.

    ``sign`` is that of the second summand; 0 for operations that have none, whose slopes are found by autograd.
    """
    constants = _constants(call)
    shape = _broadcast([t.shape for t in [*call.operands, *constants]])
    small = _broadcast([torch.Size([1] * len(shape)), *(c.shape for c in constants)])
    if not sign or len(call.args) < 2:
        return _affine(call, shape, *_at_zero(call, small))
    factors = (1, sign * call.argument(2, "alpha", 1))
    places = [i for i in (0, 1) if isinstance(call.args[i], Node)]
    slopes = [u.new_full((), factors[i]) for u, i in zip(call.operands, places, strict=True)]
    if len(places) == 2:
        return _affine(call, shape, slopes, None)
    with torch.no_grad():
        return _affine(call, shape, slopes, call(*(u.new_zeros(small) for u in call.operands)))


def batch_norm(call: Call, eps: int | None = None) -> LocalModel:
    """Batch norm in eval mode: its shift is a bias source.

    ``eps`` is the position of that argument; None for operations that have it elsewhere.
    """
    shape = call.operands[0].shape
    small = torch.Size([size if d == 1 else 1 for d, size in enumerate(shape)])
    weight, bias, mean, variance = (call.argument(i) for i in range(1, 5))
    if eps is None or len(call.args) <= eps or len(call.operands) > 1 or mean is None or variance is None:
        return _affine(call, shape, *_at_zero(call, small))
    scale = (variance + call.args[eps]).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return _affine(call, shape, [scale.detach().reshape(small)], shift.detach().reshape(small))


def product(call: Call) -> LocalModel:
    """Scaling by a constant where one operand is one (``u * k``), else the tangent of the product: half to each."""
    if len(call.operands) > 1:
        return _tangent(call, halves=True)
    if not call.trusted or len(call.args) < 2:  # of the user's own: it may do more than multiply
        return affine(call)
    return _scaling(call, next(_constant(a, call.operands[0]) for a in call.args[:2] if not isinstance(a, Node)))


def quotient(call: Call) -> LocalModel:
    """Scaling where the divisor is a constant (``u / k``), else the tangent."""
    if len(call.operands) > 1 or not isinstance(call.args[0], Node) or "rounding_mode" in call.kwargs:
        return _tangent(call)
    if not call.trusted or len(call.args) < 2:
        return affine(call)
    return _scaling(call, _constant(call.args[1], call.operands[0]).reciprocal())


def half_of_product(call: Call) -> LocalModel:
    """Half of the Jacobian of a product of two activations, which is exact without an intercept."""
    u, v = call.operands
    shape = _broadcast([u.shape, v.shape])
    operands = [u.detach().expand(shape), v.detach().expand(shape)]
    weights = [factor / 2 for factor in reversed(operands)]
    return Components(operands, call.value(), [u.shape, v.shape], weights, halves=True)


def chord(call: Call) -> LocalModel:
    """A smooth gate held: the slope of the line from its value at 0, which is the intercept."""
    (u,) = call.operands
    phi, rest = call.args[0], call.args[2:]
    at_zero = value_at_zero(phi, u, *rest, **call.kwargs)
    slope = partial(slope_of_chord, phi, u.detach(), *rest, **call.kwargs)
    return Chord(u, call.value(), at_zero if at_zero.any() else None, slope)


def _constants(call: Call) -> list[Tensor]:
    return [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Tensor)]


def _constant(value: Any, like: Tensor) -> Tensor:
    """A factor or divisor as a tensor of floating point."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().to(like.device)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _broadcast(shapes: list[torch.Size]) -> torch.Size:
    """What becomes of several shapes; torch takes a hundred times as long to say it."""
    return torch.Size(np.broadcast_shapes(*shapes))


def _tangent(call: Call, halves: bool = False) -> LocalModel:
    """``halves``: operands whose partial derivative is zero take part like the others."""
    shapes = [u.shape for u in call.operands]
    shape = _broadcast([*shapes, *(c.shape for c in _constants(call))])
    if len(shapes) == 1 and shapes[0] == shape:
        (leaf,) = call.leaves()
        return Diagonal(leaf, call(leaf), intercept="tangent")
    leaves = [u.detach().expand(shape).requires_grad_() for u in call.operands]
    return Components(leaves, call(*leaves), shapes, halves=halves)


def _at_zero(call: Call, small: torch.Size) -> tuple[list[Tensor], Tensor]:
    """Slopes, and what the operation gives at 0: both as small as the constants are."""
    zeros = [u.new_zeros(small).requires_grad_() for u in call.operands]
    added = call(*zeros)
    return [slope[0] for slope in pull_back(added, zeros, torch.ones_like(added)[None])], added.detach()


def _scaling(call: Call, factor: Tensor) -> LocalModel:
    """Times a constant."""
    shape = _broadcast([call.operands[0].shape, factor.shape])
    return _affine(call, shape, [factor.reshape([1] * (len(shape) - factor.dim()) + list(factor.shape))], None)


def _affine(call: Call, shape: torch.Size, slopes: list[Tensor], added: Tensor | None) -> LocalModel:
    """Of known slopes and intercept."""
    intercept = added if added is not None and added.any() else None
    shapes = [u.shape for u in call.operands]
    if len(shapes) == 1 and shapes[0] == shape:
        return Diagonal(call.operands[0], call.value(), intercept, slopes[0], affine=True)
    operands = [u.detach().expand(shape) for u in call.operands]
    return Components(operands, call.value(), shapes, slopes, intercept)


_BOTH = partial(degrees.common, positions=(0, 1))

FAMILIES = (
    Family(partial(affine, sign=1), _BOTH, "add"),
    Family(partial(affine, sign=-1), _BOTH, "sub"),
    Family(affine, _BOTH, "rsub"),
    Family(affine, degrees.kept, "neg"),
    Family(partial(batch_norm, eps=7), degrees.batch_norm, "batch_norm"),
    Family(partial(batch_norm, eps=6), degrees.batch_norm, "_native_batch_norm_legit_no_training"),
    Family(product, degrees.product, "mul multiply"),
    Family(quotient, degrees.quotient, "div divide true_divide"),
    Family(partial(homogeneous_gate, relu=True), degrees.kept, "relu"),
    Family(homogeneous_gate, degrees.kept, "leaky_relu prelu rrelu abs"),
    Family(gate, _BOTH, "max.other min.other maximum minimum fmax fmin"),
    Family(gate, partial(degrees.clamped, low=1, high=2), "clamp hardtanh"),
    Family(gate, partial(degrees.clamped, low=1), "clamp_min"),
    Family(gate, partial(degrees.clamped, high=1), "clamp_max"),
    Family(gate, degrees.threshold, "threshold"),
    Family(gate, degrees.curved, "relu6 gelu silu hardswish elu selu celu mish softplus hardshrink softshrink"),
    Family(
        gate,
        degrees.bounded,
        "sigmoid hardsigmoid tanh log_sigmoid exp expm1 log log1p sin cos tan sinh cosh atan asinh erf round floor "
        "ceil trunc remainder fmod",
    ),
    Family(gate, degrees.power, "pow"),
    Family(gate, partial(degrees.to_the, exponent=2), "square"),
    Family(gate, partial(degrees.to_the, exponent=0.5), "sqrt"),
    Family(gate, partial(degrees.to_the, exponent=-0.5), "rsqrt"),
    Family(gate, partial(degrees.to_the, exponent=-1), "reciprocal"),
    Family(gate, degrees.zeroth, "sign"),
    Family(gate, degrees.plus_product, "addcmul"),
    Family(gate, partial(degrees.plus_product, inverse=True), "addcdiv"),
    Family(gate, degrees.interpolated, "lerp"),
    Family(half_of_product, degrees.product, others=(half_product,)),
    Family(chord, degrees.unknown, others=(along_chord,)),
)
