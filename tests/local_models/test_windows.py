"""Window tables against their naive definition, by index loops."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biasprop.local_models.windows import (
    convolution_windows,
    per_dimension,
    product_windows,
    sparse_rows,
    stencil_windows,
    transposed_windows,
)

SIZES = st.tuples(
    st.integers(1, 7), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3)
)


@settings(max_examples=100, deadline=None)
@given(SIZES)
def test_a_convolution_reads_where_the_kernel_lies(sizes):
    size, out, kernel, stride, before, dilation = sizes
    table = convolution_windows(*sizes)
    assert table.shape == (out, kernel)
    for o, j in itertools.product(range(out), range(kernel)):
        position = o * stride - before + j * dilation
        assert table[o, j] == (position if 0 <= position < size else -1)


@settings(max_examples=100, deadline=None)
@given(SIZES)
def test_a_transposed_convolution_reads_what_reaches_it(sizes):
    size, out, kernel, stride, before, dilation = sizes
    table = transposed_windows(*sizes)
    assert table.shape == (out, kernel)
    for o, j in itertools.product(range(out), range(kernel)):
        sources = [i for i in range(size) if o == i * stride - before + j * dilation]
        assert table[o, j].item() == (sources[0] if sources else -1)


@settings(max_examples=50, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=3))
def test_several_dimensions_are_products_of_one(shapes):
    tables, sizes = [convolution_windows(*shape) for shape in shapes], [shape[0] for shape in shapes]
    whole = product_windows(tables, sizes)
    assert whole.dtype == torch.int32
    rows = list(itertools.product(*(range(len(t)) for t in tables)))
    taps = list(itertools.product(*(range(t.shape[1]) for t in tables)))
    assert whole.shape == (len(rows), len(taps))
    grid = torch.arange(torch.Size(sizes).numel()).reshape(sizes)
    for row, tap in itertools.product(range(len(rows)), range(len(taps))):
        at = [int(t[r, k]) for t, r, k in zip(tables, rows[row], taps[tap], strict=True)]
        assert whole[row, tap] == (-1 if min(at) < 0 else grid[tuple(at)])


def test_sparse_rows_hold_every_entry_that_is_not_zero():
    matrix = torch.randn(5, 7) * (torch.rand(5, 7) < 0.4)
    matrix[2] = 0
    columns, weights = sparse_rows(matrix)
    assert columns.shape == weights.shape == (5, int((matrix != 0).sum(1).max()))
    again = torch.zeros(5, 8).scatter_add_(1, torch.where(columns < 0, 7, columns), weights)
    assert torch.equal(again[:, :7], matrix)
    assert (columns[2] == -1).all()
    assert (weights[columns < 0] == 0).all()


@pytest.mark.parametrize(("value", "expected"), [(3, [3, 3]), ([3], [3, 3]), ((1, 2), [1, 2])])
def test_a_size_for_all_dimensions_or_for_each(value, expected):
    assert per_dimension(value, 2) == expected


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("side", [6, 200])
def test_a_stencil_is_the_product_of_its_dimensions(transposed, side):
    sizes, out, geometry = (side, 5), (side - 1, 4), ((3, 2), (1, 2), (1, 0), (1, 2))
    make = transposed_windows if transposed else convolution_windows
    tables = [make(*one) for one in zip(sizes, out, *geometry, strict=True)]
    found = stencil_windows(transposed, sizes, out, *geometry)
    assert found.dtype == torch.int32
    torch.testing.assert_close(found, product_windows(tables, sizes), rtol=0, atol=0)


def test_what_is_kept_does_not_depend_on_the_default_device():
    with torch.device("meta"):
        found = stencil_windows(False, (9,), (9,), (3,), (1,), (1,), (1,))
    assert found.device.type == "cpu"


def test_small_tables_alone_are_kept():
    of = [((side, side), (side, side), (3, 3), (1, 1), (1, 1), (1, 1)) for side in (8, 100)]
    small, large = ([stencil_windows(False, *one) for _ in range(2)] for one in of)
    assert small[0] is small[1]
    assert large[0] is not large[1]
