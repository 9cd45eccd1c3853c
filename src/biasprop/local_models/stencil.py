"""Weighted sums over windows: linear layers, convolutions, average pooling and resampling, all as one stencil.

Every one of them is ``z[b,g,o,l] = sum_{c,t} A[g,l,o,(c,t)] u[b,g,c,windows[l,t]] + a``, with weights shared
over the positions ``l`` (convolution) or over the channels (pooling). Distributing a bias through it is the one
expensive step of the method: alpha has an entry per multiply-accumulate of the network and must never exist in
memory. That step is `biasprop.kernels.spread`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..kernels import Layout, Settings, spread
from ..kernels.proportional import spread_equally, spread_positive
from ..kernels.slope import Slope
from ..kernels.weighted import Weighted
from ..rules import Proportional, form_of
from .model import Distributed, Kept, LocalModel, value_of

__all__ = ["Stencil"]


class Stencil(LocalModel):
    """``z = A u + a``, shared by the rule over the components ``slope[p] A[p,q] u[q]`` of each unit.

    Attributes:
        value: ``z``, where a model that reads it keeps it anyway; None elsewhere.
    """

    fresh = True
    value: Tensor | None = None

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        weighted: Weighted,
        layout: Callable[[], Layout],
        intercept: Tensor | None = None,
        order: Sequence[int] | None = None,
        has_constants: bool = False,
    ) -> None:
        """``weighted`` is ``A`` as ordinary products; the ``layout`` is made when the sweep comes by.

        ``intercept`` is ``a``, broadcastable to the output; ``order`` permutes the operand into the layout's.
        ``has_constants``: windows may be empty.
        """
        super().__init__(output)
        self.operand: Kept = operand.detach()
        self.reads, self.weighted, self.layout, self.intercept = operand.shape, weighted, layout, intercept
        self.has_constants = has_constants
        self.order = range(operand.dim()) if order is None else order

    def keep(self, operands: Sequence[Kept]) -> None:
        """How to make the operand again, if that is known."""
        (operand,) = operands
        if not isinstance(operand, Tensor):
            self.operand = operand

    def reached(self, depends: Sequence[Tensor | None]) -> Tensor | None:
        """The units with an entry in their receptive field that depends on the network's input."""
        (mask,) = depends
        if mask is None and not self.has_constants:
            return None
        mask = torch.ones((), dtype=torch.bool, device=self.weighted.weight.device) if mask is None else mask
        layout = self.layout()
        size = layout.operand[3]
        mask = mask.broadcast_to(self.reads).permute(*self.order).reshape(layout.operand).any(2)
        padded = torch.cat([mask, mask.new_zeros(*mask.shape[:2], 1)], 2)
        windows = layout.windows.to(mask.device, torch.long)
        found = padded[..., torch.where(windows < 0, size, windows)].any(3)[:, :, None]
        return found.expand(layout.output).reshape(self.shape)

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``A^T g``."""
        return [self.weighted.gradient(g)]

    def push(self, tangents: Sequence[Tensor | None]) -> Tensor:
        """``A t``."""
        (tangent,) = tangents
        assert tangent is not None
        return self.weighted.apply(tangent, self.weighted.weight)

    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """`spread` in the shapes of the operation; for option 3 what ordinary products cannot do."""
        shape, targets, positive = self.shape, len(beta), None
        u = value_of(self.operand)
        mask = self.depends[0] if self.depends else None
        if mask is not None:  # what is constant takes no part: a component of 0 has none
            u = u.masked_fill(mask.logical_not(), 0)
        proportional = isinstance(form_of(settings.rule), Proportional)
        if self.weighted.splits and settings.compiled and proportional and beta.is_cpu:
            weighted = self.weighted
            if mask is None and self.value is not None:
                weighted = weighted.knowing(self.value, self.intercept)
            positive, rest = spread_positive(weighted, u, slope, beta)
            if rest is None:
                return [positive], None
            beta = rest
            if mask is None and self.weighted.counts:
                equal, lost = spread_equally(self.weighted, u, slope, beta)
                return [positive.add_(equal)], lost
        u = u.permute(*self.order)
        layout = self.layout()
        if mask is not None:
            layout = _without_constants(layout, mask.broadcast_to(self.reads).permute(*self.order))

        def units(values: Tensor) -> Tensor:
            return values.broadcast_to(shape).reshape(layout.output)

        received, lost = spread(
            layout,
            u.reshape(layout.operand),
            slope.each(units),
            units(beta.new_zeros(()) if h is None else h),
            beta.reshape(targets, *layout.output),
            settings,
        )
        inverse = [0, *(1 + d for d in sorted(range(u.dim()), key=self.order.__getitem__))]
        received = received.reshape(targets, *u.shape).permute(inverse)
        received = received if positive is None else received + positive
        return [received], None if lost is None else lost.reshape(beta.shape)


def _without_constants(layout: Layout, depends: Tensor) -> Layout:
    """Channels and positions that are constant throughout are not wired, also where nothing but them is left."""
    depends = depends.reshape(layout.operand)
    channels, positions = depends.any(0).any(2), depends.any(2).any(1).any(0)
    if not channels.all():
        taps = layout.windows.shape[1]
        kept = channels.repeat_interleave(taps, 1)[:, None, None]
        layout = replace(layout, weight=layout.weight * kept)
    if not positions.all():
        windows = layout.windows.to(depends.device, torch.long)
        inside = (windows >= 0) & positions[windows.clamp_min(0)]
        dropped = inside.logical_not() & inside.any(1, keepdim=True)  # where nothing is left, it is lost further down
        layout = replace(layout, windows=layout.windows.masked_fill(dropped.to(layout.windows.device), -1))
    return layout
