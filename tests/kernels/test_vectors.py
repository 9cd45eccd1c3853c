"""What the compiled CPU kernels compute with, against NumPy in double precision."""

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import from_dtype, njit

from biasprop.kernels.cpu.vectors import (
    Lanes,
    bottom,
    greater,
    greatest,
    load,
    none,
    splat,
    sum_of,
    turn,
    where,
)

PRECISION = {np.float32: 3e-7, np.float64: 4e-16}


@njit(error_model="numpy")
def folded(x, y):
    a, b = load(x, (np.uintp(0),)), load(y, (np.uintp(0),))
    values = where(a, a * b + splat(x[1]), none(x)) - b
    return sum_of(values), greatest(values), greatest(greater(bottom(x), a))


@njit
def turned(source, into, i, k):
    turn(source, (np.uintp(i), np.uintp(k)), source.shape[1], into, (np.uintp(k), np.uintp(i)), into.shape[1])


@pytest.mark.parametrize("dtype", PRECISION)
def test_lanes_are_folded(dtype):
    count = Lanes(from_dtype(np.dtype(dtype))).count
    x, y = (np.random.default_rng(seed).normal(size=count).astype(dtype) for seed in (0, 1))
    x[2] = 0
    values = np.where(x == 0, 0, x * y + x[1]) - y
    np.testing.assert_allclose(folded(x, y), (values.sum(), values.max(), x.max()), rtol=100 * PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION)
def test_a_square_is_transposed_and_nothing_beside_it_is_touched(dtype):
    source = np.random.default_rng(0).normal(size=(21, 27)).astype(dtype)
    into = np.zeros((27, 30), dtype)
    turned(source, into, 3, 5)
    count = 64 // source.itemsize
    expected = np.zeros_like(into)
    expected[5 : 5 + count, 3 : 3 + count] = source[3 : 3 + count, 5 : 5 + count].T
    np.testing.assert_array_equal(into, expected)
