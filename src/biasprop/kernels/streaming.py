"""The stencil's spread in plain PyTorch: any device, any dtype, any rule; streaming, but not fused."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..rules import shares
from .layout import Layout, Settings
from .slope import Slope

__all__ = ["spread", "spread_components"]

# Blocks that stay in the cache are several times faster than ones that fill the budget (CPU, measured).
CACHED_COMPONENTS = 2**19


def spread(
    layout: Layout, u: Tensor, slope: Slope, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """See `biasprop.kernels.spread`; any device, dtype and rule, in blocks that respect the memory budget."""
    size = layout.operand[3]
    windows = layout.windows.to(u.device, torch.long)
    inside = torch.where(windows < 0, size, windows)
    channels, taps = layout.operand[2], inside.shape[1]
    padded = torch.cat([u, u.new_zeros(*u.shape[:3], 1)], 3).to(beta.dtype)
    received = beta.new_zeros(len(beta), *padded.shape)
    h = slope.opened(h)
    steepness = slope.dense(u.new_ones(()), layout.output)
    weight = layout.weight.to(beta)
    nowhere = (inside == size).all(1)
    lost = beta * nowhere if nowhere.any() else None
    for b, groups, o, positions in _blocks(layout, settings, beta):
        mass = beta[:, b, groups, o, positions].transpose(3, 4)
        if not mass.any():
            continue
        at = inside[positions]
        window = padded[b, groups][..., at].movedim(2, -2).flatten(3)  # (b, g, C, S) to (b, g, l, C * T)
        a = weight[groups, positions if weight.shape[1] > 1 else slice(None), o]
        m = window.unsqueeze(3) * a
        m *= steepness[b, groups, o, positions].transpose(2, 3).unsqueeze(-1)
        wired = (at < size).repeat(1, channels)[:, None]
        local = h[b, groups, o, positions].transpose(2, 3)
        alpha = shares(settings.rule, m, local, (mass != 0).any(0), (a != 0) & wired, wired)
        message = (mass.movedim(0, 3) @ alpha).movedim(3, 0)  # (J, b, g, l, C * T): one sum over o for each target
        message = message.unflatten(4, (channels, taps)).movedim(3, 4).flatten(4)
        received[:, b, groups].index_add_(4, at.flatten(), message)
    return received[..., :size], lost


def spread_components(m: Tensor, h: Tensor, support: Tensor, beta: Tensor, settings: Settings) -> Tensor:
    """See `biasprop.kernels.spread_components`; any device, dtype and rule, in blocks within the memory budget."""
    out = m.new_empty(len(m), *beta.shape)
    room = settings.memory_budget // (16 * beta.element_size())
    if beta.device.type == "cpu":
        room = min(room, CACHED_COMPONENTS)
    step = max(1, room // len(m))
    h, support = h.expand(m.shape[1]), support.expand_as(m)
    for i in range(0, beta.shape[1], step):
        block = slice(i, i + step)
        wired = torch.ones((), dtype=torch.bool, device=m.device).expand_as(m[:, block].T)
        mass = beta[:, block]
        alpha = shares(settings.rule, m[:, block].T, h[block], (mass != 0).any(0), support[:, block].T, wired)
        torch.mul(alpha.T[:, None], mass, out=out[:, :, block])
    return out


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
