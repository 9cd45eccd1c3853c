"""Which kernels are taken, the streaming form against alpha written out, and option 3 as convolutions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BUDGET, RULES, double, problems
from torch.nn import functional as F

from biasprop import kernels
from biasprop.kernels import Settings, spread, spread_components, streaming
from biasprop.kernels.autograd import pull_back
from biasprop.kernels.extremes import is_finite, is_zero
from biasprop.kernels.proportional import spread_positive
from biasprop.kernels.slope import Slope
from biasprop.kernels.weighted import Convolution
from biasprop.rules import PositiveShare, shares


def written_out(layout, u, slope, h, beta, rule):
    """All of alpha, one unit at a time."""
    received, lost = torch.zeros(len(beta), *layout.operand, dtype=u.dtype), torch.zeros_like(beta)
    steepness = slope.times(torch.ones_like(h))
    for b, g, o, position in torch.cartesian_prod(*map(torch.arange, layout.output)).tolist():
        taps = layout.windows[position].long()
        a = layout.weight[g, position if layout.weight.shape[1] > 1 else 0, o].reshape(-1, len(taps))
        inside = (taps >= 0).expand_as(a)
        c = steepness[b, g, o, position]
        m = torch.where(inside, c * a * u[b, g][:, taps.clamp_min(0)], 0)
        mass = beta[:, b, g, o, position]
        flat = [t.reshape(1, -1) for t in (m, (a != 0) & inside, inside)]
        alpha = shares(rule, flat[0], h[b, g, o, position].reshape(1), mass.any().reshape(1), *flat[1:])
        lost[:, b, g, o, position] = mass * (1 - alpha.sum())
        for c, k in torch.cartesian_prod(*map(torch.arange, a.shape)).reshape(-1, 2).tolist():
            if taps[k] >= 0:
                received[:, b, g, c, taps[k]] += mass * alpha[0, c * len(taps) + k]
    return received, lost


@settings(max_examples=20, deadline=None)
@given(problems(), st.sampled_from(RULES), st.sampled_from([BUDGET, 2**10]))
def test_the_streaming_form_is_alpha_written_out(problem, rule, budget):
    layout, u, slope, h, beta = double(problem)
    if torch.Size(layout.output).numel() * layout.weight.shape[-1] > 4000:
        return
    received, lost = streaming.spread(layout, u, slope, h, beta, Settings(rule, budget))
    expected, expected_lost = written_out(layout, u, slope, h, beta, rule)
    torch.testing.assert_close(received, expected)
    torch.testing.assert_close(torch.zeros_like(beta) if lost is None else lost, expected_lost)


def test_nothing_to_distribute_costs_nothing(monkeypatch):
    monkeypatch.setattr(kernels, "_best", lambda *a: pytest.fail("no kernel is needed"))
    layout = kernels.Layout((1, 1, 3, 2), (1, 1, 2, 2), torch.ones(1, 1, 2, 3), torch.zeros(2, 1, dtype=torch.int32))
    zeros = torch.zeros(4, *layout.output)
    received, lost = spread(layout, torch.ones(layout.operand), Slope(), zeros[0], zeros, Settings(RULES[0], BUDGET))
    assert received.shape == (4, *layout.operand)
    assert not received.any()
    assert lost is None


def test_what_is_not_to_be_compiled_is_streamed(monkeypatch):
    pytest.importorskip("biasprop.kernels.fused")
    taken, plain = [], streaming.spread_components
    monkeypatch.setattr(streaming, "spread_components", lambda *a: taken.append(1) or plain(*a))
    m, every = torch.randn(2, 5), torch.ones(2, 5, dtype=torch.bool)
    for dtype, compiled, count in ((torch.float32, True, 0), (torch.float64, True, 0), (torch.float32, False, 1)):
        problem = m.to(dtype), torch.ones(5, dtype=dtype), every, torch.ones(1, 5, dtype=dtype)
        spread_components(*problem, Settings(RULES[0], BUDGET, compiled))
        assert len(taken) == count


SLOPES = {
    "one": Slope(),
    "a ReLU": Slope(output=torch.randn(2, 4, 4, 4).double()),
    "numbers": Slope(torch.randn(2, 4, 4, 4).double()),
    "falling": Slope(-torch.rand(2, 4, 4, 4).double()),
    "by channel": Slope(torch.tensor([2.0, -1, 0, 3]).reshape(1, 4, 1, 1).double(), torch.randn(2, 4, 4, 4).double()),
}


@pytest.mark.parametrize("slope", SLOPES)
def test_option_3_as_convolutions_leaves_only_what_is_0_over_0(slope):
    u, weight = torch.randn(2, 3, 6, 6).double(), torch.randn(4, 3, 3, 3).double()
    u[0, :, :4] = 0
    beta = torch.randn(2, 2, 4, 4, 4).double()
    layer = Convolution(weight, u.shape, F.conv2d, [1, 1], [0, 0], [1, 1], 1, transposed=False)
    received, rest = spread_positive(layer, u, SLOPES[slope], beta)
    windows = F.unfold(u, 3).reshape(2, 1, 27, 4, 4)
    m = weight.reshape(1, 4, 27, 1, 1) * windows * SLOPES[slope].dense(u.new_ones(()), (2, 4, 4, 4))[:, :, None]
    m = m.movedim(2, -1)
    none = (m <= 0).all(-1)
    torch.testing.assert_close(torch.zeros_like(beta) if rest is None else rest, beta * none)
    alpha = PositiveShare().alpha(m, None).nan_to_num(0) * ~none[..., None]
    message = (alpha * beta[..., None]).sum(2).flatten(2, 3).transpose(2, 3)
    expected = torch.stack([F.fold(one, (6, 6), 3) for one in message])
    torch.testing.assert_close(received, expected)


def test_gradients_of_several_targets_are_those_of_each():
    u, v = torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    output, cotangents = u * v, torch.randn(5, 3, 4)
    for count in (1, 5):
        one, two = pull_back(output, [u, v], cotangents[:count])
        torch.testing.assert_close(one, cotangents[:count] * v.detach())
        torch.testing.assert_close(two, (cotangents[:count] * u.detach()).sum(1))


@pytest.mark.parametrize("count", [1, 5])
def test_an_operand_that_does_not_matter_receives_zeros(count):
    u, unused = torch.randn(3, 4, requires_grad=True), torch.randn(2, requires_grad=True)
    _, zeros = pull_back(u * 2, [u, unused], torch.randn(count, 3, 4))
    assert zeros.shape == (count, 2)
    assert not zeros.any()


def test_nothing_comes_through_a_closed_gate_also_where_it_is_not_finite():
    output, values = torch.tensor([1.0, 0.0]), torch.tensor([2.0, torch.inf])
    assert Slope(output=output).times(values).tolist() == [2, 0]
    assert Slope(torch.tensor(3.0), output).times(values).tolist() == [6, 0]
    assert Slope(torch.tensor([3.0, 1.0])).times(values).tolist() == [6, torch.inf]


def test_the_slope_at_each_unit_times_a_factor():
    output, one = torch.tensor([[1.0, 0.0]]), torch.ones(())
    assert Slope(torch.tensor(3.0), output).dense(2 * one, (1, 2)).tolist() == [[6, 0]]
    assert Slope().dense(one, (2,)).tolist() == [1, 1]
    repeated, factor = torch.tensor([[3.0], [4.0]]).expand(2, 5), torch.tensor([[1.0], [2.0]]).expand(2, 5)
    assert Slope(repeated).dense(factor, (2, 5)).tolist() == [[3] * 5, [8] * 5]
    assert Slope(torch.randn(3, 5).abs()).each(torch.neg).dense(one, (3, 5)).lt(0).all()


def test_slopes_of_a_chain_multiply():
    first, second = Slope(torch.tensor(3.0), torch.tensor([1.0, 1, 0])), Slope(output=torch.tensor([1.0, 0, 1]))
    values = torch.tensor([1.0, 2, 4])
    assert first.before(second).times(values).tolist() == [3, 0, 0]
    assert second.before(first).times(values).tolist() == [3, 0, 0]
    assert Slope().before(Slope()).times(values) is values


@pytest.mark.parametrize("odd", [torch.inf, -torch.inf, torch.nan])
def test_extremes_say_what_all_entries_would(odd):
    for values in (torch.zeros(0), torch.zeros(3), torch.tensor([0.0, -2, 0]), torch.tensor([3e38, -3e38, 0])):
        assert is_zero(values) == (not values.any())
        assert is_finite(values)
    assert not is_finite(torch.tensor([0, odd, 1]))
    assert not is_zero(torch.tensor([0, odd]))
