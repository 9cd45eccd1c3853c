"""Weighted sums over windows: linear layers, convolutions, average pooling and resampling, all as one stencil.

Every one of them is ``z[b,g,o,l] = sum_{c,t} A[g,l,o,(c,t)] u[b,g,c,windows[l,t]] + a``, with weights shared
over the positions ``l`` (convolution) or over the channels (pooling). Distributing a bias through it is the one
expensive step of the method: alpha has an entry per multiply-accumulate of the network and must never exist in
memory. `spread` streams it in blocks; faster implementations replace that one function.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .pieces import Gate, Piece, Settings
from .shares import shares

__all__ = ["Layout", "Stencil", "spread"]

# Blocks that stay in the cache are several times faster than ones that fill the budget (CPU, measured).
CACHED_COMPONENTS = 2**19


@dataclass(frozen=True)
class Layout:
    """How a stencil sees its operand and output.

    operand: ``(B, G, C, S)``, G groups of C channels at S positions.
    output: ``(B, G, O, L)``.
    weight: ``(G, 1 or L, O, C * T)``.
    windows: ``(L, T)`` positions in ``range(S)``, -1 for none.
    """

    operand: tuple[int, int, int, int]
    output: tuple[int, int, int, int]
    weight: Tensor
    windows: Tensor


class Stencil(Piece):
    """``z = A u + a``, shared by the rule over the components ``slope[p] A[p,q] u[q]`` of each unit."""

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        layout: Layout,
        intercept: Tensor | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        """``intercept`` is ``a``, broadcastable to the output; ``order`` permutes the operand into the layout's."""
        self.operands, self.output, self.layout, self.intercept = [operand], output, layout, intercept
        self.order = range(operand.dim()) if order is None else order

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """`spread` in the shapes of the operation."""
        layout, shape = self.layout, self.output.shape
        own = beta.new_zeros(()) if self.intercept is None else self.intercept
        h = own if gate is None else gate.slope * own + gate.shift
        u = self.operands[0].detach().permute(*self.order)
        received, lost = spread(
            layout,
            u.reshape(layout.operand),
            None if gate is None else gate.slope.broadcast_to(shape).reshape(layout.output),
            h.broadcast_to(shape).reshape(layout.output),
            beta.reshape(layout.output),
            settings,
        )
        inverse = sorted(range(u.dim()), key=self.order.__getitem__)
        return [received.reshape(u.shape).permute(inverse)], None if lost is None else lost.reshape(shape)


def spread(
    layout: Layout, u: Tensor, slope: Tensor | None, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """``beta_u[q] = sum_p alpha[p,q] beta[p]``, in blocks that respect the memory budget (spec section 2, step 2).

    Args:
        layout: the stencil.
        u: operand, ``layout.operand``.
        slope: slope of the gate behind the stencil, ``layout.output``; None for 1.
        h: local bias of the layer, ``layout.output``.
        beta: what to distribute, ``layout.output``.
        settings: rule and budget.

    Returns:
        Beta of the operand, and what is lost at units that nothing is wired to (None where there are none).
    """
    size = layout.operand[3]
    inside = torch.where(layout.windows < 0, size, layout.windows).to(u.device)
    channels, taps = layout.operand[2], inside.shape[1]
    padded = torch.cat([u, u.new_zeros(*u.shape[:3], 1)], 3).to(beta.dtype)
    received = torch.zeros_like(padded)
    weight = layout.weight.to(beta)
    lost = beta * (inside == size).all(1) if (inside == size).all(1).any() else None
    for b, groups, o, positions in _blocks(layout, settings, beta):
        mass = beta[b, groups, o, positions].transpose(2, 3)
        if not mass.any():
            continue
        at = inside[positions]
        window = _windows(padded[b, groups], at)
        a = weight[groups, positions if weight.shape[1] > 1 else slice(None), o]
        m = window.unsqueeze(3) * a
        if slope is not None:
            m *= slope[b, groups, o, positions].transpose(2, 3).unsqueeze(-1)
        wired = (at < size).repeat(1, channels)[:, None]
        alpha = shares(settings.rule, m, h[b, groups, o, positions].transpose(2, 3), mass, (a != 0) & wired, wired)
        message = (alpha * mass.unsqueeze(-1)).sum(3)  # (b, g, l, C * T)
        message = message.unflatten(3, (channels, taps)).movedim(3, 2).flatten(3)
        received[b, groups].index_add_(3, at.flatten(), message)
    return received[..., :size], lost


def _windows(u: Tensor, at: Tensor) -> Tensor:
    """``(b, g, C, S)`` to the components' order ``(b, g, l, C * T)``."""
    return u[..., at].movedim(3, 2).flatten(3)


def _blocks(layout: Layout, settings: Settings, beta: Tensor) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Blocks of examples, groups, output channels and positions, the innermost as large as fits."""
    b, g, o, positions = layout.output
    room = settings.memory_budget // (16 * beta.element_size())
    if beta.device.type == "cpu":
        room = min(room, CACHED_COMPONENTS)
    steps, left = {}, max(1, room // layout.weight.shape[-1])
    for name, count in (("o", o), ("l", positions), ("g", g), ("b", b)):
        steps[name] = min(count, left)
        left = max(1, left // steps[name])
    for i in range(0, b, steps["b"]):
        for j in range(0, g, steps["g"]):
            for k in range(0, positions, steps["l"]):
                for n in range(0, o, steps["o"]):
                    yield (
                        slice(i, i + steps["b"]),
                        slice(j, j + steps["g"]),
                        slice(n, n + steps["o"]),
                        slice(k, k + steps["l"]),
                    )
