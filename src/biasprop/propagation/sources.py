"""Bias sources: the amount ``<g, h>`` that each operation brings in (mathematics, section 5)."""

import torch
from torch import Tensor

from ..kernels.extremes import is_finite
from ..results import BiasSource
from .choice import TARGET
from .functional import Functional
from .tape import Step, Tape, rows

__all__ = ["bias_sources", "product_of", "source_of"]


@torch.no_grad()
def bias_sources(tape: Tape, functional: Functional) -> list[BiasSource]:
    """Only the amounts ``<g, h>`` of the sources, which need the gradient and no alpha; the tape is used up."""
    carried = dict(functional.gradients)
    found = [BiasSource(TARGET, TARGET, functional.intercept)] if functional.intercept.any() else []
    for step in tape.backwards():
        g = carried.pop(step.node, None)
        if g is None:
            continue
        if step.local.intercept is not None:
            found.append(source_of(step, g, tape.batch)[0])
        for node, pulled in zip(step.operands, step.local.gradient(g), strict=True):
            carried[node] = carried[node] + pulled if node in carried else pulled
    return found[::-1]


def source_of(step: Step, g: Tensor, batch: int) -> tuple[BiasSource, Tensor | None]:
    """``<g, h>`` of an operation and each example; and ``g * h``, which need not be made where h repeats itself."""
    h, node, product = step.local.intercept, step.node, None
    assert h is not None
    repeated = [d for d in range(1, g.dim()) if d != 1 + (node.batch_dim or 0) and _size(h, d - g.dim()) < g.shape[d]]
    if repeated and is_finite(h):
        amount = g.sum(repeated, keepdim=True) * h
    else:
        amount = product = product_of(g, h)  # a masked -inf or NaN is no bias
    return BiasSource(node.name, node.operation, rows(amount, node, batch).sum(2)), product


def _size(values: Tensor, dim: int) -> int:
    """Along a dimension, counted from the last; 1 where there is none."""
    return values.shape[dim] if -dim <= values.dim() else 1


def product_of(g: Tensor, part: Tensor) -> Tensor:
    """``g * part``; where nothing depends on it, infinity or NaN is nothing."""
    product = g * part
    return product if is_finite(part) else torch.where(g == 0, 0, product)
