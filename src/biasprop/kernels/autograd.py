"""The derivative of one operation, by autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

__all__ = ["pull_back"]


def pull_back(output: Tensor | GradientEdge, operands: Sequence[Tensor], cotangents: Tensor) -> list[Tensor]:
    """``J^T cotangent`` for each operand and each of the cotangents, by autograd over this one operation.

    Args:
        output: of the operation, or its edge in the autograd graph.
        operands: leaves of that graph.
        cotangents: ``(J, *output)``.

    Returns:
        For each operand ``(J, *operand)``.
    """

    batched = len(cotangents) > 1
    pulled = torch.autograd.grad(
        output,
        operands,
        cotangents if batched else cotangents[0],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=batched,
        create_graph=cotangents.requires_grad,
    )
    return [
        cotangents.new_zeros(len(cotangents), *operand.shape) if one is None else one if batched else one.unsqueeze(0)
        for operand, one in zip(operands, pulled, strict=True)
    ]
