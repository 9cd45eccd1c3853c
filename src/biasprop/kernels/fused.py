"""Both spreads through the compiled CPU kernels of `biasprop.kernels.cpu`."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, assert_never

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..progress import counting
from ..rules import Form, Proportional, Rule, Softmax, form_of
from . import cpu, streaming
from .extremes import is_negative, is_zero
from .layout import Layout, Settings
from .slope import Slope, unrepeated

__all__ = ["compile_all", "spread", "spread_components"]

MESSAGES = 4 * 2**20  # bytes of messages at once: enough for all threads, and near the caches
OPEN = 1e-20  # a unit without a bias has a score of about 0, one behind a closed gate of exactly 0
BOUNDED = 16  # rows for which it is worth while to look for the largest weights first
ROWS = 24  # for which a thread should use weights that it has fetched
ONE_AT_A_TIME = threading.Lock()  # not every threading layer of Numba may be entered twice


def spread(
    layout: Layout, u: Tensor, slope: Slope, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """See `biasprop.kernels.spread`; float32 and float64 on the CPU and rules that have a form.

    Of option 3 only the few come here that are no products.
    """
    mode, scale, signed = _mode(settings.rule)
    if mode == cpu.POSITIVE:
        return streaming.spread(layout, u, slope, h, beta, settings)
    batch, groups, channels, size = layout.operand
    outputs, positions = layout.output[2:]
    width, owners, targets = layout.weight.shape[-1], batch * groups, len(beta)
    weight = layout.weight.reshape(-1, width).to(beta.dtype)
    rows = owners * positions
    weight = F.pad(weight, (0, -width % cpu.LANES)) if width % cpu.LANES else weight
    wide = -(-width // cpu.WIDE) * cpu.WIDE
    pieces = max(1, min(8, outputs, 64 // rows))
    score = slope.dense(unrepeated(h).sign() * scale + OPEN if signed else u.new_tensor(scale), layout.output)
    nowhere = is_negative(layout.windows) and is_negative(layout.windows.amax(1))  # units that nothing is wired to
    lost = beta.new_zeros(targets if nowhere else 0, *layout.output)
    received = u.new_zeros(targets, *layout.operand)
    step = max(1, min(MESSAGES, settings.memory_budget // 4) // (beta.element_size() * wide * pieces * targets))
    room = u.new_empty(pieces * targets * min(step, rows) * wide)
    there = _array(received.view(targets, owners, channels, size))
    windows, shared = _array(layout.windows), layout.weight.shape[1] == 1
    bounded = rows >= BOUNDED
    layer = (shared, bounded, width, _array(u.reshape(1, owners, channels, size)), windows, _array(weight))
    units = (
        _array(score.reshape(1, owners, outputs, positions)),
        _array(beta.reshape(targets, owners, outputs, positions)),
        _array(lost.view(len(lost), owners, outputs, positions)),
    )
    with _threads() as threads:
        messages, scatter = cpu.messages(there.dtype), cpu.scatter(there.dtype)
        cuts = max(threads, min(8 * threads, rows // ROWS))
        strips = max(1, min(cuts, channels // 16))
        for first in range(0, rows, step):
            count = min(step, rows - first)
            part = _array(room[: pieces * targets * count * wide].view(pieces, targets, count, wide))
            jobs = min(cuts, count)
            messages(jobs * pieces, (jobs, *layer, *units, first, part))
            scatter(targets * owners * strips, (strips, part, windows, first, there))
    return received, None if not nowhere or is_zero(lost) else lost


def spread_components(m: Tensor, h: Tensor, support: Tensor, beta: Tensor, settings: Settings) -> Tensor:
    """See `biasprop.kernels.spread_components`; float32 and float64 on the CPU and rules that have a form."""
    out = m.unsqueeze(1) if len(beta) == 1 and m.is_contiguous() else m.new_empty(len(m), *beta.shape)
    mode, scale, signed = _mode(settings.rule)
    m_, h_, support_, beta_, out_ = (_array(t) for t in (m, h, support, beta, out))
    with _threads():
        components = cpu.components(m_.dtype)
        blocks = -(-m.shape[1] // cpu.TOGETHER)
        components(blocks, (mode, m_.dtype.type(scale), signed, m_, h_, support_, beta_, out_))
    return out


def compile_all() -> Path:
    """See `biasprop.kernels.compile_ahead`."""
    made = list(product(cpu.KERNELS, (np.dtype(np.float32), np.dtype(np.float64))))
    with _threads(), counting(len(made), "compiling kernels") as more:
        for kernel, dtype in made:
            kernel(dtype)
            more(1)
    return cpu.kept_in()


def _array(tensor: Tensor) -> Any:
    """Contiguous, so that a kernel is compiled once for each dtype."""
    return tensor.detach().contiguous().numpy()


def _mode(rule: Rule) -> tuple[int, float, bool]:
    """The mode of the kernels, the factor that makes a score of a component, and whether the sign of h counts."""
    form: Form | None = form_of(rule)
    match form:
        case Softmax(scale, signed):
            return cpu.SOFTMAX, scale / math.log(2), signed
        case Proportional():
            return cpu.POSITIVE, 1.0, False
        case None:
            raise TypeError(f"{rule!r} has no form: it is for biasprop.kernels.streaming.")
        case _:
            assert_never(form)


@contextmanager
def _threads() -> Iterator[int]:
    """As many threads as PyTorch uses; Numba, where it shares OpenMP with PyTorch, changes that number for both.

    Also when it compiles: that belongs inside, and operations of PyTorch do not.

    They are Numba's, not ours: PyTorch's own wait for work busily after each operation, and would keep ours off.
    """
    with ONE_AT_A_TIME:
        before = torch.get_num_threads()
        threads = min(before, numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(threads)
        try:
            yield threads
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)
