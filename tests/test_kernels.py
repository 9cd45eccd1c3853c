"""The compiled kernels against the streaming form in float64: every rule, every fallback, drawn convolution shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import biasprop
from biasprop.kernels import streaming
from biasprop.kernels.layout import Layout
from biasprop.pieces import Settings
from biasprop.rules import Compensation, EqualShare, PositiveShare
from biasprop.windows import convolution_windows, product_windows, transposed_windows

fused = pytest.importorskip("biasprop.kernels.fused")

RULES = [Compensation(0.7), EqualShare(1.3), PositiveShare()]
BUDGET = 2**24


@st.composite
def problems(draw):
    """A stencil with sparse operands, closed gates, zero weights, padding, and biases of any sign."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    make = draw(st.sampled_from([convolution_windows, transposed_windows]))
    dims = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 6)) for _ in range(dims)]
    tables = []
    for size in sizes:
        kernel, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        before = draw(st.integers(0, 3))
        tables.append(make(size, draw(st.integers(1, 5)), kernel, stride, before, dilation))
    windows = product_windows(tables, sizes)
    batch, groups, channels, outputs = (draw(st.integers(1, 3)) for _ in range(4))
    positions, taps = windows.shape
    own = draw(st.sampled_from([1, positions]))
    weight = torch.randn(groups, own, outputs, taps * channels)
    weight = weight * (torch.rand_like(weight) < 0.8)
    weight[:, :, 0] *= draw(st.sampled_from([0.0, 1.0]))
    u = torch.randn(batch, groups, channels, windows.max().clamp_min(0).item() + 1).relu()
    u = u * draw(st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
    layout = Layout(tuple(u.shape), (batch, groups, outputs, positions), weight, windows)
    slope = torch.randn(layout.output).clamp(-1, 1) * (torch.rand(layout.output) < 0.7)
    h = torch.randn(layout.output) * (torch.rand(layout.output) < 0.7)
    beta = torch.randn(draw(st.integers(1, 6)), *layout.output)
    beta *= torch.rand(layout.output) < 0.7
    return layout, u, draw(st.sampled_from([None, slope])), h, beta


def double(problem):
    layout, *tensors = problem
    layout = Layout(layout.operand, layout.output, layout.weight.double(), layout.windows)
    return layout, *(None if t is None else t.double() for t in tensors)


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from(RULES), st.sampled_from([BUDGET, 2**10]))
def test_spread_equals_the_streaming_form(problem, rule, budget):
    options = Settings(rule, budget)
    received, lost = fused.spread(*problem, options)
    expected, expected_lost = streaming.spread(*double(problem), options)
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum() + 1e-6
    torch.testing.assert_close(
        torch.zeros(()) if lost is None else lost.sum(),
        torch.zeros(()) if expected_lost is None else expected_lost.sum().float(),
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_linear_layer_is_shared_out_over_its_outputs(rule):
    layout = Layout((2, 1, 300, 1), (2, 1, 70, 1), torch.randn(1, 1, 70, 300), torch.zeros(1, 1, dtype=torch.int32))
    problem = (
        layout,
        torch.randn(layout.operand).relu(),
        None,
        torch.randn(layout.output),
        torch.randn(1, *layout.output),
    )
    received, _ = fused.spread(*problem, Settings(rule, BUDGET))
    expected, _ = streaming.spread(*double(problem), Settings(rule, BUDGET))
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum()


@pytest.mark.parametrize("rule", RULES)
def test_components_far_beyond_what_exp_can_hold(rule):
    layout = Layout((1, 1, 50, 1), (1, 1, 20, 1), torch.randn(1, 1, 20, 50) * 300, torch.zeros(1, 1, dtype=torch.int32))
    problem = layout, torch.randn(layout.operand), None, torch.randn(layout.output), torch.randn(1, *layout.output)
    received, _ = fused.spread(*problem, Settings(rule, BUDGET))
    expected, _ = streaming.spread(*double(problem), Settings(rule, BUDGET))
    assert received.isfinite().all()
    assert (received - expected).abs().sum() <= 1e-4 * expected.abs().sum()  # rounding of scores of size 1000


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_explanations_agree_and_do_not_depend_on_the_number_of_threads(rule):
    model = nn.Sequential(
        nn.Conv2d(3, 20, 5, stride=2, padding=2),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 40, 3, padding=1, groups=2),
        nn.LeakyReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(40 * 64, 10),
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    explainer = biasprop.explainer(model, x)
    compiled = explainer(x, rule=rule).bias_attribution
    explainer.compiled = False
    plain = explainer(x, rule=rule).bias_attribution
    assert (compiled - plain).abs().sum() <= 1e-5 * plain.abs().sum()
    explainer.compiled = True
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        again = explainer(x, rule=rule).bias_attribution
    finally:
        torch.set_num_threads(threads)
    assert (again - compiled).abs().max() <= 1e-6 * compiled.abs().max()  # torch's own convolutions may differ
