"""The derivative of one operation, by autograd."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

__all__ = ["forget", "pull_back"]


def forget(leaves: Sequence[Tensor], output: Tensor) -> None:
    """Free the values of leaves where the derivative of an operation takes their shapes alone, as that of copies does.

    Args:
        leaves: of a graph that leads to the output, which nobody else reads.
        output: of the operation; it and what it is a view of are left alone.
    """
    steps, seen = [output.grad_fn], set()
    while steps:
        step = steps.pop()
        if step is None or step in seen:
            continue
        if _reads_values(type(step)):
            return
        seen.add(step)
        steps += [before for before, _ in step.next_functions]
    for leaf in leaves:
        leaf.data = leaf.new_empty(()).expand(leaf.shape)


@cache
def _reads_values(step: type[Any]) -> bool:
    """Whether a derivative keeps tensors: of a function written in Python nobody knows."""
    python = issubclass(step, torch.autograd.function.BackwardCFunction)
    return python or any(name.startswith("_raw_saved_") for name in dir(step))


def pull_back(output: Tensor | GradientEdge, operands: Sequence[Tensor], cotangents: Tensor) -> list[Tensor]:
    """``J^T cotangent`` for each operand and each of the cotangents, by autograd over this one operation.

    Args:
        output: of the operation, or its edge in the autograd graph.
        operands: leaves of that graph.
        cotangents: ``(J, *output)``.

    Returns:
        For each operand ``(J, *operand)``.
    """
    if len(cotangents) == 1 and not cotangents.requires_grad:
        step = output.node if isinstance(output, GradientEdge) else output.grad_fn
        at_once = _through_one(step, operands, cotangents)
        if at_once is not None:
            return at_once
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


def _through_one(step: Any, operands: Sequence[Tensor], cotangents: Tensor) -> list[Tensor] | None:
    """The same of one cotangent through a derivative that leads to the operands at once, or None: it is called.

    Autograd finds its way through a graph first, which takes ten times longer than the derivative of a small tensor.
    """
    if step is None or issubclass(type(step), torch.autograd.function.BackwardCFunction):
        return None
    leaves = [getattr(before, "variable", None) for before, _ in step.next_functions]
    places = [k for operand in operands for k, leaf in enumerate(leaves) if leaf is operand]
    if len(places) != len(operands):
        return None
    try:
        with torch.no_grad():
            found = step(cotangents[0])
    except (TypeError, RuntimeError):  # of several outputs
        return None
    pulled = [(found if isinstance(found, tuple) else (found,))[k] for k in places]
    for operand, one in zip(operands, pulled, strict=True):
        if one is None or one.shape != operand.shape or one.dtype != operand.dtype:  # autograd puts that right
            return None
    return [one.unsqueeze(0) for one in pulled]
