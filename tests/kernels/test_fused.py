"""The compiled CPU kernels against the streaming form in float64: every rule, every fallback, drawn shapes."""

import ctypes
import platform
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BUDGET, RULES, double, problems
from torch import nn

import biasprop
from biasprop.kernels import Layout, Settings, streaming
from biasprop.kernels.slope import Slope
from biasprop.local_models.windows import stencil_windows
from biasprop.rules import ByForm

fused = pytest.importorskip("biasprop.kernels.fused")

SOFTMAX = RULES[:2]
"""What is compiled for layers; option 3 is of products, but for sums of tensors."""


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from(SOFTMAX), st.sampled_from([BUDGET, 2**10]))
def test_spread_equals_the_streaming_form(problem, rule, budget):
    options = Settings(rule, budget)
    received, lost = fused.spread(*problem, options)
    expected, expected_lost = streaming.spread(*double(problem), options)
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum() + 1e-6
    torch.testing.assert_close(
        torch.zeros(()) if lost is None else lost.sum(),
        torch.zeros(()) if expected_lost is None else expected_lost.sum().float(),
    )
    received, lost = fused.spread(*double(problem), options)
    torch.testing.assert_close(received, expected, rtol=1e-11, atol=1e-12)
    assert (lost is None) == (expected_lost is None or not expected_lost.any())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.sampled_from([1e-3, 1.0, 1000.0]), st.sampled_from(RULES), st.integers()
)
def test_a_join_equals_the_streaming_form(operands, targets, size, rule, seed):
    torch.manual_seed(seed % 2**32)
    m = size * torch.randn(operands, 40) * (torch.rand(operands, 40) < 0.6)
    h = torch.randn(40) * (torch.rand(40) < 0.7)
    support = (m != 0) | (torch.rand(operands, 40) < 0.5)
    beta = torch.randn(targets, 40) * (torch.rand(40) < 0.7)
    received = fused.spread_components(m.clone(), h, support, beta, Settings(rule, BUDGET))
    expected = streaming.spread_components(m.double(), h.double(), support, beta.double(), Settings(rule, BUDGET))
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum()
    torch.testing.assert_close(received.sum(0), beta)
    received = fused.spread_components(m.double(), h.double(), support, beta.double(), Settings(rule, BUDGET))
    torch.testing.assert_close(received, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rule", SOFTMAX)
def test_a_linear_layer_is_shared_out_over_its_outputs(rule):
    layout = Layout((2, 1, 300, 1), (2, 1, 70, 1), torch.randn(1, 1, 70, 300), torch.zeros(1, 1, dtype=torch.int32))
    problem = (
        layout,
        torch.randn(layout.operand).relu(),
        Slope(),
        torch.randn(layout.output),
        torch.randn(1, *layout.output),
    )
    received, _ = fused.spread(*problem, Settings(rule, BUDGET))
    expected, _ = streaming.spread(*double(problem), Settings(rule, BUDGET))
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum()


@pytest.mark.parametrize("rule", SOFTMAX)
def test_components_far_beyond_what_exp_can_hold(rule):
    layout = Layout((1, 1, 50, 1), (1, 1, 20, 1), torch.randn(1, 1, 20, 50) * 300, torch.zeros(1, 1, dtype=torch.int32))
    problem = (
        layout,
        torch.randn(layout.operand),
        Slope(),
        torch.randn(layout.output),
        torch.randn(1, *layout.output),
    )
    received, _ = fused.spread(*problem, Settings(rule, BUDGET))
    expected, _ = streaming.spread(*double(problem), Settings(rule, BUDGET))
    assert received.isfinite().all()
    assert (received - expected).abs().sum() <= 1e-4 * expected.abs().sum()  # rounding of scores of size 1000


@pytest.mark.parametrize("targets", [1, 4, 11])
@pytest.mark.parametrize(("taps", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("size", [1.0, 15.0, 200.0])
@pytest.mark.parametrize("pruned", [False, True])
def test_squares_of_positions_and_tiles_of_targets(targets, taps, stride, size, pruned):
    side, examples, channels, outputs = 19, 2, 21, 37
    padding = taps // 2
    into = (side + 2 * padding - taps) // stride + 1
    dims = (torch.Size([side, side]), torch.Size([into, into]))
    windows = stencil_windows(False, *dims, (taps, taps), [stride] * 2, [padding] * 2, [1, 1])
    weight = torch.randn(1, 1, outputs, channels * taps**2) / channels**0.5 / taps
    weight = weight * (torch.rand_like(weight) < 0.8) if pruned else weight
    layout = Layout((examples, 1, channels, side**2), (examples, 1, outputs, into**2), weight, windows)
    u = size * torch.randn(layout.operand).relu()
    opened = torch.randn(layout.output).relu()
    beta = torch.randn(targets, *layout.output) * (opened > 0)
    problem = (layout, u, Slope(None, opened), torch.randn(1, 1, outputs, 1).expand(layout.output), beta)
    expected, _ = streaming.spread(*double(problem), Settings(SOFTMAX[0], BUDGET))
    received, lost = fused.spread(*problem, Settings(SOFTMAX[0], BUDGET))
    assert lost is None
    assert (received - expected).abs().sum() <= (2e-7 + 2e-8 * size) * expected.abs().sum()
    received, _ = fused.spread(*double(problem), Settings(SOFTMAX[0], BUDGET))
    torch.testing.assert_close(received, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(received.flatten(1).sum(1), beta.double().flatten(1).sum(1))


@pytest.fixture
def full_memory():
    """What is allocated is not zero by chance: glibc writes bytes into it that make numbers of 12."""
    set_byte = partial(ctypes.CDLL(None).mallopt, -6) if platform.libc_ver()[0] == "glibc" else bool  # M_PERTURB
    set_byte(0xBE)
    yield
    set_byte(0)


@pytest.mark.usefixtures("full_memory")
@pytest.mark.parametrize("kind", ["straight", "reversed", "gaps"])
@pytest.mark.parametrize("positions", [1, 5, 16, 49])
@pytest.mark.parametrize(("owners", "channels", "outputs"), [(1, 40, 70), (3, 7, 9), (24, 33, 5)])
@pytest.mark.parametrize("targets", [1, 3])
def test_windows_of_one_position(kind, positions, owners, channels, outputs, targets):
    """Linear layers and 1 x 1 convolutions are read in the order in memory, others with a stride or padding are not."""
    windows = torch.arange(positions, dtype=torch.int32)[:, None]
    if kind == "reversed":
        windows = windows.flip(0).contiguous()
    elif kind == "gaps":
        windows = torch.where(windows % 3 == 1, -1, windows)
    weight = torch.randn(1, 1, outputs, channels)
    layout = Layout((owners, 1, channels, positions), (owners, 1, outputs, positions), weight, windows)
    beta = torch.randn(targets, *layout.output) * (torch.rand(layout.output) < 0.8)
    problem = layout, torch.randn(layout.operand).relu(), Slope(), torch.randn(layout.output), beta
    expected, expected_lost = streaming.spread(*double(problem), Settings(SOFTMAX[0], BUDGET))
    received, lost = fused.spread(*double(problem), Settings(SOFTMAX[0], BUDGET))
    torch.testing.assert_close(received, expected, rtol=1e-11, atol=1e-11)
    if lost is not None:
        torch.testing.assert_close(lost, expected_lost)
    received, _ = fused.spread(*problem, Settings(SOFTMAX[0], BUDGET))
    assert (received - expected).abs().sum() <= 1e-6 * expected.abs().sum()


@pytest.mark.parametrize("rule", SOFTMAX)
@pytest.mark.parametrize("size", [1, 20, 60, 150, 1000, 1e5])
@pytest.mark.parametrize(("width", "outputs"), [(3, 2), (16, 5), (50, 21), (300, 4)])
def test_scores_of_every_size(width, outputs, size, rule):
    """Rows of a linear layer, some of them with components of one sign alone: one has much the most, or the least."""
    shapes = (20, 1, width, 1), (20, 1, outputs, 1)
    weight = torch.randn(1, 1, outputs, width) * size / 3
    weight[:, :, 0] = weight[:, :, 0].abs()
    weight[:, :, 1] = -weight[:, :, 1].abs()
    layout = Layout(*shapes, weight, torch.zeros(1, 1, dtype=torch.int32))
    beta = torch.randn(3, *layout.output) * (torch.rand(layout.output) < 0.8)
    problem = layout, torch.randn(layout.operand).abs(), Slope(), torch.randn(layout.output), beta
    expected, _ = streaming.spread(*double(problem), Settings(rule, BUDGET))
    received, _ = fused.spread(*double(problem), Settings(rule, BUDGET))
    assert (received - expected).abs().sum() <= 1e-9 * expected.abs().sum()
    received, _ = fused.spread(*problem, Settings(rule, BUDGET))
    assert received.isfinite().all()
    torch.testing.assert_close(received.sum((1, 2, 3, 4)), beta.sum((1, 2, 3, 4)), rtol=1e-4, atol=1e-4)
    if size <= 1000:  # a score is rounded, and its exponential with it
        assert (received - expected).abs().sum() <= 1e-4 * expected.abs().sum()


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


@pytest.mark.parametrize("rule", RULES[:2])
def test_two_threads_give_what_one_does_and_their_number_stays(rule):
    layout = Layout(
        (3, 2, 8, 64), (3, 2, 24, 64), torch.randn(2, 1, 24, 8), torch.arange(64, dtype=torch.int32)[:, None]
    )
    units = layout.output
    problem = layout, torch.randn(layout.operand), Slope(), torch.randn(units), torch.randn(2, *units)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(fused.spread(*problem, Settings(rule, BUDGET))[0])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


class Cubic:
    """A form that no kernel knows."""


class Strange(ByForm):
    form = Cubic()


def test_a_form_that_a_kernel_does_not_know_is_an_error_never_another_rule():
    layout = Layout((1, 1, 4, 1), (1, 1, 2, 1), torch.randn(1, 1, 2, 4), torch.zeros(1, 1, dtype=torch.int32))
    ones = torch.ones(layout.output)
    with pytest.raises((TypeError, AssertionError), match="Cubic"):
        fused.spread(layout, torch.randn(layout.operand), Slope(), ones, ones[None], Settings(Strange(), BUDGET))
    m, every = torch.randn(2, 5), torch.ones(2, 5, dtype=torch.bool)
    with pytest.raises((TypeError, AssertionError), match="Cubic"):
        fused.spread_components(m, torch.ones(5), every, torch.ones(1, 5), Settings(Strange(), BUDGET))


def test_a_rule_without_a_form_is_for_the_streaming_kernels():
    class Own:
        def alpha(self, m, h):
            return m / m.sum(-1, keepdim=True)

    m, every = torch.rand(2, 5) + 1, torch.ones(2, 5, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"has no form: it is for biasprop\.kernels\.streaming"):
        fused.spread_components(m, torch.ones(5), every, torch.ones(1, 5), Settings(Own(), BUDGET))
