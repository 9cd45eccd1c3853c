"""Powers of two in the compiled CPU kernels, against NumPy in extended precision."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit

from biasprop.kernels.cpu.powers import exp2, exp2_of_product
from biasprop.kernels.cpu.vectors import lanes, load, splat, store

PRECISION = {np.float32: 3e-7, np.float64: 4e-16}


@njit(error_model="numpy")
def each(x, out):
    for k in range(len(x)):
        out[k] = exp2(x[k])


@njit(error_model="numpy")
def together(x, out):
    for k in range(0, len(x), lanes(x)):
        store(out, (np.uintp(k),), exp2(load(x, (np.uintp(k),))))


@njit(error_model="numpy")
def of_products(x, factor, present, out):
    for k in range(0, len(x), lanes(x)):
        i = (np.uintp(k),)
        store(out, i, exp2_of_product(load(x, i), splat(factor), load(present, i)))


def product_with_one(x, out):
    of_products(x, x.dtype.type(1), np.ones_like(x), out)


def numbers(dtype):
    """Of both signs, whole ones and halves among them; a multiple of all lanes."""
    some = [np.linspace(-120, 120, 4000), np.linspace(-1, 1, 4000), np.arange(-60, 60, 0.5)]
    return np.concatenate(some).astype(dtype)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("compute", [each, together, product_with_one])
def test_powers_of_two_to_the_precision_of_their_type(compute, dtype):
    x = numbers(dtype)
    out = np.empty_like(x)
    compute(x, out)
    expected = np.exp2(x.astype(np.longdouble))
    assert (np.abs(out / expected - 1)).max() < PRECISION[dtype]
    assert (out[x == 0] == 1).all()


@pytest.mark.parametrize("dtype", PRECISION)
def test_a_product_is_not_rounded_where_it_is_not_first(dtype):
    x, factor = numbers(dtype) / 3, dtype(1 / np.log(2) / 1.7)
    present = np.random.default_rng(0).choice([0, 2, -1e-30], len(x)).astype(dtype)
    out = np.empty_like(x)
    of_products(x, factor, present, out)
    expected = np.where(present == 0, 0, np.exp2(x.astype(np.longdouble) * factor))
    rounded = np.abs(x * factor).max() * np.finfo(dtype).eps  # by the polynomial, where there is no table
    assert (out[present == 0] == 0).all()
    assert (np.abs(out - expected) <= (PRECISION[dtype] + rounded) * expected).all()


@pytest.mark.parametrize("dtype", PRECISION)
def test_powers_at_the_ends(dtype):
    x = np.zeros(16, dtype)
    x[:4] = 0, -np.inf, np.nan, -3000
    out = np.empty_like(x)
    for compute in (each, together):
        compute(x, out)
        assert out[0] == 1
        assert 0 <= out[1] < 1e-37
        assert np.isnan(out[2])
        assert 0 <= out[3] < 1e-37


@pytest.mark.slow  # compiles all of it once more
def test_processors_without_a_table_in_registers():
    some = "powers_of or product or at_the_ends or linear_layer"
    here = [sys.executable, "-m", "pytest", "-n", "0", "-k", f"({some}) and not processors"]
    tests = [__file__, str(Path(__file__).with_name("test_fused.py"))]
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
    done = subprocess.run([*here, *tests], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
