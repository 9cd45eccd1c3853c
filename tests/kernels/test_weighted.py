"""Layers without their bias: the transpose is one, and shares of option 3 through it are those of the reference."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from biasprop.kernels import Settings, dense, streaming, weighted
from biasprop.kernels.dense import Dense
from biasprop.kernels.proportional import spread_equally, spread_positive
from biasprop.kernels.slope import Slope
from biasprop.kernels.weighted import Convolution, Product, Resampling
from biasprop.rules import PositiveShare
from tests.problems import double, problems


def assert_transpose(layer, u, weight, targets=3):
    """``<g, A u> = <A^T g, u>``, target by target."""
    output = layer.apply(u, weight)
    g = torch.randn(targets, *output.shape, dtype=u.dtype)
    pulled = layer.transpose(g, weight)
    assert pulled.shape == (targets, *u.shape)
    torch.testing.assert_close((pulled * u).flatten(1).sum(1), (g * output).flatten(1).sum(1))
    torch.testing.assert_close(layer.transpose(g[:1], weight), pulled[:1])


@st.composite
def convolutions(draw):
    """A layer, its operand and its weight."""
    dims = draw(st.integers(1, 3))
    transposed, groups = draw(st.booleans()), draw(st.integers(1, 2))

    def some(low, high):
        return [draw(st.integers(low, high)) for _ in range(dims)]

    taps, stride, padding, dilation = some(1, 4), some(1, 3), some(0, 2), some(1, 2)
    size = [max(n, d * (k - 1) + 1) for n, d, k in zip(some(1, 6), dilation, taps, strict=True)]
    u = torch.randn(2, 2 * groups, *size).double()
    weight = torch.randn(*((2 * groups, 3) if transposed else (3 * groups, 2)), *taps).double()
    if transposed:
        spare = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
        call = partial(weighted.TRANSPOSE[dims], stride=stride, padding=padding, output_padding=spare)
    else:
        call = partial(weighted.APPLY[dims], stride=stride, padding=padding)
    call = partial(call, groups=groups, dilation=dilation)
    try:
        call(u, weight)
    except RuntimeError:  # nothing is left of an output that is all padding
        assume(False)
    return Convolution(weight, u.shape, call, stride, padding, dilation, groups, transposed), u


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_the_transpose_of_a_convolution(problem):
    layer, u = problem
    assert_transpose(layer, u, layer.weight)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.sampled_from([1, 2**20]))
def test_halves_side_by_side_are_as_good_as_one_after_the_other(problem, cached):
    layer, u = problem
    beta = torch.randn(3, *layer.apply(u, layer.weight).shape).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighted, "CACHED", cached)
        found, rest = spread_positive(layer, u, Slope(), beta)
        patch.setattr(Convolution, "side_by_side", weighted.Weighted.side_by_side)
        expected, other = spread_positive(layer, u, Slope(), beta)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.zeros(()) if rest is None else rest, torch.zeros(()) if other is None else other)


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_the_transpose_of_same_padding(kernel):
    u, weight = torch.randn(2, 3, 7, 6).double(), torch.randn(4, 3, kernel, kernel).double()
    around = (kernel - 1) // 2
    layer = Convolution(
        weight, u.shape, partial(F.conv2d, padding="same"), [1, 1], [around] * 2, [1, 1], 1, transposed=False
    )
    assert_transpose(layer, u, weight)


def test_large_tensors_are_pulled_back_some_targets_at_a_time(monkeypatch):
    u, weight = torch.randn(1, 3, 7, 6).double(), torch.randn(4, 3, 3, 3).double()
    layer = Convolution(weight, u.shape, F.conv2d, [1, 1], [0, 0], [1, 1], 1, transposed=False)
    g = torch.randn(5, 1, 4, 5, 4).double()
    at_once = layer.transpose(g, weight)
    monkeypatch.setattr(weighted, "CACHED", 2 * u.numel() * 8)
    torch.testing.assert_close(layer.transpose(g, weight), at_once, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_the_transpose_of_a_linear_layer(shape):
    u, weight = torch.randn(shape).double(), torch.randn(7, 5).double()
    assert_transpose(Dense(weight, u.shape, torch.Size([*shape[:-1], 7])), u, weight)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 4, 4), (1, 3, 4, 4), (4, 4)])
def test_the_transpose_of_a_product_is_summed_over_what_is_broadcast(shape, left):
    u, weight = torch.randn(shape).double(), torch.randn(2, 3, 4, 4).double()
    assert_transpose(Product(weight, u.shape, left), u, weight)


def test_the_transpose_of_an_average():
    u = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    pool = partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1)
    assert_transpose(Resampling(pool, u, pool(u)), u.detach(), torch.ones((), dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_option_3_with_its_equal_shares_is_that_of_the_reference(problem):
    layout, u, slope, h, beta = double(problem)
    expected, lost = streaming.spread(layout, u, slope, h, beta, Settings(PositiveShare(), 2**20))
    layer = Written(layout)
    positive, rest = spread_positive(layer, u, slope, beta)
    nothing = torch.zeros_like(beta)
    equal, left = spread_equally(layer, u, slope, nothing if rest is None else rest)
    torch.testing.assert_close(positive + equal, expected)
    torch.testing.assert_close(nothing if left is None else left, nothing if lost is None else lost)


@pytest.mark.parametrize("shape", [(), (11,), (3, 11)])
def test_a_slope_of_zero_everywhere_leaves_all_to_equal_shares(shape):
    weight, u = torch.randn(11, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    layer = Dense(weight, u.shape, torch.Size((3, 11)))
    beta = torch.randn(2, 3, 11, dtype=torch.float64)
    slope = Slope(torch.zeros(shape, dtype=torch.float64))
    received, rest = spread_positive(layer, u, slope, beta)
    assert received.shape == (2, 3, 6)
    assert not received.any()
    torch.testing.assert_close(rest, beta)
    equal, lost = spread_equally(layer, u, slope, rest)
    torch.testing.assert_close(equal.sum(2), beta.sum(2))
    assert lost is None


@pytest.mark.parametrize("sign", [1, 0, -1])
@pytest.mark.parametrize("gated", [False, True])
def test_a_large_weight_is_halved_some_rows_at_a_time(sign, gated, monkeypatch):
    weight, u = torch.randn(11, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    scale = torch.randn(11, dtype=torch.float64) if sign == 0 else torch.tensor(float(sign), dtype=torch.float64)
    weight[0], u[0] = -weight[0].abs() * scale.expand(11)[0].sign(), u[0].abs()  # a unit without a positive component
    layer = Dense(weight, u.shape, torch.Size((3, 11)))
    slope = Slope(scale, torch.randn(3, 11, dtype=torch.float64).relu() if gated else None)
    beta = torch.randn(2, 3, 11, dtype=torch.float64)
    whole = spread_positive(layer, u, slope, beta)
    monkeypatch.setattr(dense, "CACHED", 4 * 6 * 8)
    assert [len(piece.weight) for _, piece in layer.pieces()] == [4, 4, 3]
    for one, other in zip(whole, spread_positive(layer, u, slope, beta), strict=True):
        torch.testing.assert_close(one, other)
    assert whole[1].any()  # something is left for equal shares


class Written(weighted.Weighted):
    """The stencil of a layout, written out."""

    def __init__(self, layout):
        self.layout, self.weight = layout, layout.weight.double()
        self.inside = layout.windows.long()

    def apply(self, u, weight):
        padded = torch.cat([u, u.new_zeros(*u.shape[:3], 1)], 3)
        windows = padded[..., self.inside]  # -1 is the zero
        windows = windows.permute(0, 1, 3, 2, 4).flatten(3)
        return torch.einsum("bglk,glok->bgol", windows, weight.expand(-1, len(self.inside), -1, -1))

    def transpose(self, g, weight):
        u = torch.zeros(self.layout.operand, dtype=g.dtype, requires_grad=True)
        with torch.enable_grad():
            output = self.apply(u, weight)
        return torch.stack([torch.autograd.grad(output, u, one, retain_graph=True)[0] for one in g])
