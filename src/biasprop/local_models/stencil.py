"""Weighted sums over windows: linear layers, convolutions, average pooling and resampling, all as one stencil.

Every one of them is ``z[b,g,o,l] = sum_{c,t} A[g,l,o,(c,t)] u[b,g,c,windows[l,t]] + a``, with weights shared
over the positions ``l`` (convolution) or over the channels (pooling). Distributing a bias through it is the one
expensive step of the method: alpha has an entry per multiply-accumulate of the network and must never exist in
memory. That step is `biasprop.kernels.spread`.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from ..kernels import Layout, Settings, spread
from ..kernels.proportional import spread_positive
from ..rules import Proportional, form_of
from .model import Distributed, Linked

__all__ = ["Stencil"]


class Stencil(Linked):
    """``z = A u + a``, shared by the rule over the components ``slope[p] A[p,q] u[q]`` of each unit."""

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        layout: Callable[[], Layout],
        intercept: Tensor | None = None,
        order: Sequence[int] | None = None,
        convolution: tuple[Callable[[Tensor, Tensor], Tensor], Tensor] | None = None,
    ) -> None:
        """``intercept`` is ``a``, broadcastable to the output; ``order`` permutes the operand into the layout's.

        The layout is made when the sweep comes by, and forgotten when it has passed. ``convolution`` is the layer
        without its bias, as a function of operand and weight, and its weight.
        """
        super().__init__([operand], output)
        self.layout, self.intercept, self.convolution = layout, intercept, convolution
        self.order = range(operand.dim()) if order is None else order

    def distribute(self, beta: Tensor, slope: Tensor | None, h: Tensor | None, settings: Settings) -> Distributed:
        """`spread` in the shapes of the operation; for option 3 what a convolution cannot do."""
        shape, targets, convolved = self.shape, len(beta), None
        proportional = isinstance(form_of(settings.rule), Proportional)
        if self.convolution and settings.compiled and proportional and beta.is_cpu:
            convolved, beta = spread_positive(*self.convolution, self.operands[0].detach(), slope, beta)
            if not beta.any():
                return [convolved], None
        layout = self.layout()
        h = beta.new_zeros(()) if h is None else h
        u = self.operands[0].detach().permute(*self.order)
        received, lost = spread(
            layout,
            u.reshape(layout.operand),
            None if slope is None else slope.broadcast_to(shape).reshape(layout.output),
            h.broadcast_to(shape).reshape(layout.output),
            beta.reshape(targets, *layout.output),
            settings,
        )
        inverse = [0, *(1 + d for d in sorted(range(u.dim()), key=self.order.__getitem__))]
        received = received.reshape(targets, *u.shape).permute(inverse)
        received = received if convolved is None else received + convolved
        return [received], None if lost is None else lost.reshape(beta.shape)
