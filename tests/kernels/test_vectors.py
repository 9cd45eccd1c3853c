"""What the compiled CPU kernels compute with, against NumPy in double precision."""

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import from_dtype, njit

from biasprop.kernels.cpu.vectors import (
    Lanes,
    bottom,
    exp2,
    exp2_within,
    far,
    greater,
    greatest,
    lanes,
    load,
    none,
    splat,
    store,
    sum_of,
    turn,
    where,
)

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
def within(x, out):
    for k in range(0, len(x), lanes(x)):
        values = load(x, (np.uintp(k),))
        store(out, (np.uintp(k),), exp2_within(where(values, values, far(x))))


@njit(error_model="numpy")
def folded(x, y):
    a, b = load(x, (np.uintp(0),)), load(y, (np.uintp(0),))
    values = where(a, a * b + splat(x[1]), none(x)) - b
    return sum_of(values), greatest(values), greatest(greater(bottom(x), a))


@njit
def turned(source, into, i, k):
    turn(source, (np.uintp(i), np.uintp(k)), source.shape[1], into, (np.uintp(k), np.uintp(i)), into.shape[1])


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("compute", [each, together, within])
def test_powers_of_two_to_the_precision_of_their_type(compute, dtype):
    x = np.concatenate([np.linspace(-120, 120, 4000), np.linspace(-1, 1, 4000)]).astype(dtype)
    assert (x != 0).all()
    out = np.empty_like(x)
    compute(x, out)
    expected = np.exp2(x.astype(np.longdouble))
    assert (np.abs(out / expected - 1)).max() < PRECISION[dtype]


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
    within(np.zeros(16, dtype), out)
    assert (out == 0).all()


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
