"""Numbers below the normal ones count as zero in kernels, and nowhere else."""

import platform
import threading

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from numba import njit

from biasprop.kernels import Layout, Settings, fused
from biasprop.kernels.cpu.subnormals import flush_subnormals, restore
from biasprop.kernels.slope import Slope
from biasprop.rules import make_rule

TINY = {np.float32: 1e-30, np.float64: 1e-300}
X86 = platform.machine().lower() in ("x86_64", "amd64")


@njit
def products(x, y, before, within, after):
    for k in range(len(x)):
        before[k] = x[k] * y[k]
    control = flush_subnormals()
    for k in range(len(x)):
        within[k] = x[k] * y[k]
    restore(control)
    for k in range(len(x)):
        after[k] = x[k] * y[k]


@pytest.mark.skipif(not X86, reason="other processors are not slowed down by them")
@pytest.mark.parametrize("dtype", TINY)
def test_products_below_the_normal_numbers_are_zero_in_between(dtype):
    x = np.full(8, TINY[dtype])
    x, y = x.astype(dtype), np.full(8, 1e-10, dtype)
    found = [np.empty_like(x) for _ in range(3)]
    products(x, y, *found)
    before, within, after = found
    assert (within == 0).all()
    assert (before > 0).all()
    assert (after == before).all()


def test_threads_are_left_as_they_were():
    """Scores of hundreds, so that most shares are next to nothing; Numba's threads are the process's own."""
    generator = torch.Generator().manual_seed(0)
    weight = 100 * torch.randn(1, 1, 32, 512, generator=generator)
    u, beta = torch.randn(64, 1, 512, 1, generator=generator), torch.ones(1, 64, 1, 32, 1)
    layout = Layout((64, 1, 512, 1), (64, 1, 32, 1), weight, torch.zeros(1, 1, dtype=torch.int32))
    settings = Settings(make_rule("bias2"), 2**20)
    received, lost = fused.spread(layout, u, Slope(), torch.zeros(64, 1, 32, 1), beta, settings)
    assert lost is None
    torch.testing.assert_close(received.sum(), beta.sum())
    kept = []

    def multiply():
        kept.append(np.float32(1e-30) * np.float32(1e-10))

    multiply()
    thread = threading.Thread(target=multiply)
    thread.start()
    thread.join()
    assert all(number > 0 for number in kept)
    assert (torch.full((100_000,), 1e-30) * 1e-10 > 0).all()  # in the threads of PyTorch
