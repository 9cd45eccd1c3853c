"""Gates, joins, products and everything else that works element by element.

With one operand of the output's shape the operation is `Diagonal`; with several, or a broadcast one, it is
`Components`. What is linear in its operands is told apart from gates, because it folds into the layer before it.
"""

import torch
from torch import Tensor

from ..capture import Node
from ..joins import Components
from ..pieces import Diagonal, Piece, pull_back
from .call import Call

__all__ = ["affine", "gate", "homogeneous_gate", "product"]


def gate(call: Call) -> Piece:
    """Any elementwise nonlinearity: slope and intercept at the current input.

    Exact where it is piecewise linear (ReLU6, hard tanh, clamp); a smooth one (GELU, sigmoid) or a quotient takes
    part as its tangent, which keeps completeness exact and makes its intercept a bias source.
    """
    return _elementwise(call, tangent=True)


def homogeneous_gate(call: Call) -> Piece:
    """A gate that is linear on each side of 0 (ReLU, LeakyReLU, PReLU, abs): no intercept, whatever the rounding."""
    (leaf,) = call.leaves()
    output = call(leaf)
    slope = output.detach() > 0 if call.node.operation == "relu" else None  # a mask is a quarter of the memory
    return Diagonal(leaf, output, intercept=None, slope=slope)


def affine(call: Call) -> Piece:
    """Sum, difference, and eval-mode batch norm: what it gives at 0 is a bias source."""
    return _elementwise(call, tangent=False)


def product(call: Call) -> Piece:
    """Scaling by a constant where one operand is one (``u * k``, ``u / k``), else the tangent of the product."""
    numerator = call.node.operation == "mul" or isinstance(call.args[0], Node)
    scaling = len(call.operands) == 1 and numerator and "rounding_mode" not in call.kwargs
    return _elementwise(call, tangent=not scaling)


def _elementwise(call: Call, tangent: bool) -> Piece:
    shapes = [u.shape for u in call.operands]
    shape = _output_shape(call)
    slopes, intercept = ([], None) if tangent else _at_zero(call, shape)
    if len(shapes) == 1 and shapes[0] == shape:
        (leaf,) = call.leaves()
        if tangent:
            return Diagonal(leaf, call(leaf), intercept="tangent")
        return Diagonal(leaf, call(leaf), intercept, slopes[0], foldable=True)
    leaves = [u.detach().expand(shape).requires_grad_() for u in call.operands]
    if tangent:
        return Components(leaves, call(*leaves), shapes, halves=call.node.operation == "mul")
    return Components(leaves, call(*leaves), shapes, slopes, intercept)


def _output_shape(call: Call) -> torch.Size:
    if call.node.operation == "batch_norm":
        return call.operands[0].shape
    return torch.Size(torch.broadcast_shapes(*(t.shape for t in [*call.operands, *_constants(call)])))


def _constants(call: Call) -> list[Tensor]:
    return [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Tensor)]


def _at_zero(call: Call, shape: torch.Size) -> tuple[list[Tensor], Tensor | None]:
    """Slopes and intercept of an affine operation, as small as its constants are."""
    if call.node.operation == "batch_norm":
        small = torch.Size([size if d == 1 else 1 for d, size in enumerate(shape)])
    else:
        small = torch.Size(torch.broadcast_shapes([1] * len(shape), *(c.shape for c in _constants(call))))
    zeros = [u.new_zeros(small).requires_grad_() for u in call.operands]
    added = call(*zeros)
    slopes = pull_back(added, zeros, torch.ones_like(added)[None])
    return [slope[0] for slope in slopes], added.detach() if added.any() else None
