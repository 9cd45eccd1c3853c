"""Weighted sums over windows: linear layers, convolutions, average pooling and resampling, all as one stencil.

Every one of them is ``z[b,g,o,l] = sum_{c,t} A[g,l,o,(c,t)] u[b,g,c,windows[l,t]] + a``, with weights shared
over the positions ``l`` (convolution) or over the channels (pooling). Distributing a bias through it is the one
expensive step of the method: alpha has an entry per multiply-accumulate of the network and must never exist in
memory. That step is `biasprop.kernels.spread`.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from .kernels import Layout, spread
from .kernels.convolved import spread_positive
from .pieces import Gate, Linked, Settings
from .rules import PositiveShare

__all__ = ["Layout", "Stencil"]


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

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """`spread` in the shapes of the operation; for option 3 what a convolution cannot do."""
        slope, shape, targets = None if gate is None else gate.slope, self.shape, len(beta)
        convolved = None
        if self.convolution and settings.compiled and isinstance(settings.rule, PositiveShare) and beta.is_cpu:
            convolved, beta = spread_positive(*self.convolution, self.operands[0].detach(), slope, beta)
            if not beta.any():
                return [convolved], None
        layout = self.layout()
        own = beta.new_zeros(()) if self.intercept is None else self.intercept
        h = own if gate is None else gate.local_bias(own)
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
