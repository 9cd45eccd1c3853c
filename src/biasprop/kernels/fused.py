"""Both spreads through the compiled CPU kernels of `biasprop.kernels.cpu`."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import numba
import numpy as np
import torch
from torch import Tensor

from ..rules import Form, Proportional, Rule, Softmax, form_of
from . import cpu, streaming
from .layout import Layout, Settings

__all__ = ["spread", "spread_components"]

MESSAGES = 4 * 2**20  # bytes of messages at once: enough for all threads, and near the caches
ROWS = 24  # for which a thread should use weights that it has fetched
ONE_AT_A_TIME = threading.Lock()  # not every threading layer of Numba may be entered twice


def spread(
    layout: Layout, u: Tensor, slope: Tensor, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """See `biasprop.kernels.spread`; float32 on the CPU and rules that have a form.

    Of option 3 only the few come here that are no products.
    """
    mode, scale, signed = _mode(settings.rule)
    if mode == cpu.POSITIVE:
        return streaming.spread(layout, u, slope, h, beta, settings)
    batch, groups, _, _ = layout.operand
    outputs, positions = layout.output[2:]
    components = layout.weight.shape[-1]
    weight = layout.weight.reshape(-1, components).contiguous()
    rows, targets = batch * groups * positions, len(beta)
    pieces = max(1, min(16, outputs, 64 // rows))
    reach = weight.new_full((), math.inf).expand(len(weight))
    nowhere = bool((layout.windows < 0).all(1).any())  # units that nothing is wired to
    lost = torch.zeros_like(beta) if nowhere else beta.new_zeros(()).expand(beta.shape)
    received = u.new_zeros(targets, *layout.operand)
    step = max(1, min(MESSAGES, settings.memory_budget // 4) // (4 * components * pieces * targets))
    room = u.new_empty(pieces * targets * min(step, rows) * components)
    with _threads() as threads:
        if rows >= 16:  # where products are small, the pass for the maximum is spared
            reach = weight.new_empty(len(weight))
            cpu.largest(weight.numpy(), reach.numpy())
        cuts = max(threads, min(8 * threads, rows // ROWS))
        fixed = [t.detach().numpy() for t in (u, layout.windows, weight, reach, slope, h, beta, lost)]
        for first in range(0, rows, step):
            count = min(step, rows - first)
            part = room[: pieces * targets * count * components].view(pieces, targets, count, components).numpy()
            cpu.messages(scale, signed, layout.weight.shape[1] == 1, *fixed, first, cuts, part)
            cpu.scatter(part, fixed[1], first, cuts, received.numpy())
    return received, lost if nowhere and lost.any() else None


def spread_components(m: Tensor, h: Tensor, support: Tensor, beta: Tensor, settings: Settings) -> Tensor:
    """See `biasprop.kernels.spread_components`; float32 on the CPU and rules that have a form."""
    out = m.new_empty(len(m), *beta.shape)
    with _threads():
        cpu.components(*_mode(settings.rule), *(t.numpy() for t in (m, h, support, beta, out)))
    return out


def _mode(rule: Rule) -> tuple[int, np.float32, bool]:
    """The mode of the kernels, the factor that makes a score of a component, and whether the sign of h counts."""
    form: Form | None = form_of(rule)
    match form:
        case Softmax(scale, signed):
            return cpu.SOFTMAX, np.float32(scale / math.log(2)), signed
        case Proportional():
            return cpu.POSITIVE, np.float32(1), False
        case None:
            raise TypeError(f"{rule!r} has no form: it is for biasprop.kernels.streaming.")
        case _:
            assert_never(form)


@contextmanager
def _threads() -> Iterator[int]:
    """As many threads as PyTorch uses; Numba, where it shares OpenMP with PyTorch, changes that number for both."""
    with ONE_AT_A_TIME:
        before = torch.get_num_threads()
        threads = min(before, numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(threads)
        try:
            yield threads
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)
