"""Sums and products of tensors: a few operands per unit, element by element."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ..kernels import Settings, spread_components
from ..kernels.autograd import pull_back
from ..kernels.slope import Slope
from .model import Distributed, Kept, LocalModel, value_of

__all__ = ["Components"]


class Components(LocalModel):
    """Elementwise on several operands: ``y = sum_i a_i u_i + intercept`` with one component per operand and unit.

    Sums are the paper's stacked identity. A product ``u v`` is its tangent: both components are ``u v``, the
    intercept is ``-u v``, and every rule gives half to each factor.
    """

    holds = True

    def __init__(
        self,
        operands: Sequence[Tensor],
        output: Tensor,
        shapes: Sequence[torch.Size],
        weights: Sequence[Tensor] | None = None,
        intercept: Tensor | None = None,
        halves: bool = False,
    ) -> None:
        """``operands`` are broadcast to the output's shape, from ``shapes``; ``halves``: zero weights count too.

        ``weights`` are the ``a_i`` where they are known, broadcastable to the output; without them the operands are
        leaves of the graph that leads to the output, and the model is the tangent, whose intercept follows.
        """
        super().__init__(output)
        self.operands: Sequence[Kept] = operands
        self.leaves = operands if weights is None else ()
        self.dtypes = [u.dtype for u in operands]
        self.shapes, self.weights, self.intercept, self.halves = shapes, weights, intercept, halves
        self.cheap = weights is not None
        self.joins = sum(shape.numel() == output.numel() for shape in shapes) > 1
        self.edge = get_gradient_edge(output) if weights is None else None
        if weights is None:
            parts = [a * u.detach() for a, u in zip(self.partials(), operands, strict=True)]
            self.intercept = output.detach() - torch.stack(parts).sum(0)

    def keep(self, operands: Sequence[Kept]) -> None:
        """Leaves stay."""
        if not self.leaves:
            pairs = zip(operands, self.operands, strict=True)
            self.operands = [known if isinstance(new, Tensor) else new for new, known in pairs]

    def partials(self) -> Sequence[Tensor]:
        """The weights ``a_i``, broadcastable to the output."""
        if self.edge is None:
            assert self.weights is not None
            return self.weights
        ones = self.leaves[0].new_ones(()).expand(1, *self.shape)
        return [a[0] for a in pull_back(self.edge, self.leaves, ones)]

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``a_i g``, summed over the dimensions along which the operand was broadcast."""
        if self.edge is None:
            pulled = [(g if _is(1, a) else a * g).to(t) for a, t in zip(self.partials(), self.dtypes, strict=True)]
        else:
            pulled = pull_back(self.edge, self.leaves, g)
        return [self._fold(a, shape) for a, shape in zip(pulled, self.shapes, strict=True)]

    def push(self, tangents: Sequence[Tensor | None]) -> Tensor:
        """``sum_i a_i t_i``."""
        products = [a * t for a, t in zip(self.partials(), tangents, strict=True) if t is not None]
        return reduce(torch.add, products).expand(self.shape)

    @staticmethod
    def _fold(values: Tensor, shape: torch.Size) -> Tensor:
        missing = values.dim() - 1 - len(shape)
        return values.sum_to_size(len(values), *[1] * missing, *shape).reshape(len(values), *shape)

    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """Shared by the rule."""
        h = beta.new_zeros(()) if h is None else slope.opened(h)

        def units(values: Tensor) -> Tensor:
            return values.detach().broadcast_to(self.shape).reshape(-1)

        weights = self.partials()
        m = beta.new_empty(len(weights), *self.shape)
        for component, a, kept in zip(m, weights, self.operands, strict=True):
            u = value_of(kept).detach().expand(self.shape)
            slope.write(u if _is(1, a) else a * u, component)
        taking = [mask for mask in self.depends if mask is not None]
        for component, mask in zip(m, self.depends, strict=False):
            if mask is not None:
                component.masked_fill_(mask.logical_not(), 0)
        m = m.reshape(len(weights), -1)
        if taking:
            part = [units(torch.ones_like(a, dtype=torch.bool) if self.halves else a != 0) for a in weights]
            masks = [None if mask is None else units(mask) for mask in self.depends]
            support = torch.stack([p if k is None else p & k for p, k in zip(part, masks, strict=True)])
        elif self.halves or all(a.numel() == 1 and not _is(0, a) for a in weights):
            support = torch.ones(len(m), 1, dtype=torch.bool, device=m.device)
        else:
            support = torch.stack([units(a) != 0 for a in weights])
        h = h.reshape(1) if h.numel() == 1 else units(h)
        received = spread_components(m, h, support, beta.reshape(len(beta), -1), settings)
        folded = [self._fold(r.reshape(beta.shape), shape) for r, shape in zip(received, self.shapes, strict=True)]
        return [r.to(t) for r, t in zip(folded, self.dtypes, strict=True)], None


def _is(number: float, weight: Tensor) -> bool:
    """Whether it is this one number."""
    return weight.numel() == 1 and bool(weight.item() == number)
