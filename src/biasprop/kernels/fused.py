"""The stencil's spread through the compiled CPU kernels of `biasprop.kernels.cpu`."""

import math
import threading

import numba
import torch
from torch import Tensor

from ..pieces import Settings
from ..rules import Compensation, EqualShare, Rule
from . import cpu
from .layout import Layout

__all__ = ["spread"]

MESSAGES = 16 * 2**20  # bytes of messages at once: enough for all threads, and still near the caches
PARTS = 8  # pieces of work for each thread, so that they even out
ONE_AT_A_TIME = threading.Lock()  # not every threading layer of Numba may be entered twice


def spread(
    layout: Layout, u: Tensor, slope: Tensor | None, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """See `biasprop.kernels.spread`; float32 on the CPU and the three rules."""
    batch, groups, channels, size = layout.operand
    outputs, positions = layout.output[2:]
    k = layout.weight.shape[-1]
    padded = torch.cat([u.transpose(2, 3), u.new_zeros(batch, groups, 1, channels)], 2).contiguous()
    windows = torch.where(layout.windows < 0, size, layout.windows).contiguous()
    weight = layout.weight.contiguous()
    rows = batch * groups * positions
    pieces = 1 if rows >= 64 else min(16, outputs)
    if rows >= 16:  # worth a look at the weights: where products are small, the pass for the maximum is spared
        largest = torch.linalg.vector_norm(weight, math.inf, -1)
    else:
        largest = weight.new_full(weight.shape[:-1], math.inf)
    scale = _scale(settings.rule, slope, h).transpose(2, 3).contiguous()
    mass = beta.transpose(2, 3).contiguous()
    lost = torch.zeros_like(mass)
    received = torch.zeros_like(padded)
    step = max(1, min(MESSAGES, settings.memory_budget // 4) // (4 * k * pieces))
    message = padded.new_empty(pieces, min(step, rows), k)
    mode = cpu.SOFTMAX if isinstance(settings.rule, Compensation | EqualShare) else cpu.POSITIVE
    fixed = [t.detach().numpy() for t in (padded, windows, weight, largest, scale, mass, lost)]
    with ONE_AT_A_TIME:
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(threads)
        for first in range(0, rows, step):
            part = message[:, : rows - first].numpy()
            cpu.messages(mode, *fixed, first, PARTS * threads, part)
            cpu.scatter(part, fixed[1], first, PARTS * threads, received.numpy())
    return received[:, :, :size].transpose(2, 3), lost.transpose(2, 3) if lost.any() else None


def _scale(rule: Rule, slope: Tensor | None, h: Tensor) -> Tensor:
    """What turns ``A u`` into the base-2 score of a component; NaN where the gate is closed."""
    slope = torch.ones_like(h) if slope is None else slope
    match rule:
        case Compensation(temperature):
            scale = h.sign() * slope * (-1 / (temperature * math.log(2)))
        case EqualShare(temperature):
            scale = slope * (-1 / (temperature * math.log(2)))
        case _:
            scale = slope
    return scale.masked_fill(slope == 0, math.nan)
