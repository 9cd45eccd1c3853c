"""The compiled kernels against the streaming form in float64: every rule, every fallback, drawn convolution shapes."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import biasprop
from biasprop.kernels import Layout, Settings, streaming
from biasprop.local_models.windows import convolution_windows, product_windows, transposed_windows
from biasprop.rules import Compensation, EqualShare, PositiveShare

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
    received = fused.spread_components(m, h, support, beta, Settings(rule, BUDGET))
    expected = streaming.spread_components(m.double(), h.double(), support, beta.double(), Settings(rule, BUDGET))
    assert (received - expected).abs().sum() <= 1e-5 * expected.abs().sum()
    torch.testing.assert_close(received.sum(0), beta)


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(RULES))
def test_the_gpu_kernels_or_tritons_interpretation_of_them(problem, rule):
    gpu = pytest.importorskip("biasprop.kernels.gpu", reason="Triton comes with the CUDA and ROCm builds of torch")
    layout, *tensors = problem
    device = "cuda" if torch.cuda.is_available() else "cpu"  # conftest.py: interpreted where there is no GPU
    layout = Layout(layout.operand, layout.output, layout.weight.to(device), layout.windows)
    there = layout, *(None if t is None else t.to(device) for t in tensors)
    received, lost = gpu.spread(*there, Settings(rule, BUDGET))
    expected, expected_lost = streaming.spread(*double(problem), Settings(rule, BUDGET))
    assert (received.cpu() - expected).abs().sum() <= 1e-5 * expected.abs().sum() + 1e-6
    torch.testing.assert_close(
        torch.zeros(()) if lost is None else lost.sum().cpu(),
        torch.zeros(()) if expected_lost is None else expected_lost.sum().float(),
    )


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from biasprop.kernels import gpu

options = {"POSITIVE": False, "SHARED": True}
for name, sizes in (
    ("normalise", {"BL": 16, "BO": 16, "BK": 16}),
    ("normalise", {"BL": 1, "BO": 256, "BK": 16}),
    ("collect", {"BS": 16, "BC": 16, "BO": 16, "BJ": 1}),
    ("collect", {"BS": 16, "BC": 16, "BO": 4, "BJ": 4}),
):
    kernel, constants = getattr(gpu, name), {**sizes, **options}
    types = {"windows": "*i32", "inverse": "*i32", "kind": "*i32"}
    signature = {
        a: "constexpr" if a in constants else types.get(a, "*fp32" if a.islower() else "i32") for a in kernel.arg_names
    }
    made = compile(ASTSource(kernel, signature, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    assert "ex2.approx" in made.asm["ptx"], made.asm["ptx"]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler comes with torch on Linux")
def test_the_gpu_kernels_compile_for_a_gpu():
    pytest.importorskip("triton", reason="Triton comes with the CUDA and ROCm builds of torch")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: the same kernels run in Triton's interpreter")
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_explanations_on_a_gpu(rule):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 20, 5, 2, 2), nn.BatchNorm2d(20), nn.ReLU(), nn.Flatten(), nn.Linear(5120, 10))
    model, x = model.eval().double(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = biasprop.explain(model, x, rule=rule).bias_attribution
    on_gpu = biasprop.explain(model.float().cuda(), x.float().cuda(), targets=["predicted", 1], rule=rule)
    beta = on_gpu.for_target(0).bias_attribution.cpu().double()
    assert (beta - expected).abs().sum() <= 1e-4 * expected.abs().sum()  # its convolutions are rounded to TF32


def test_the_number_of_threads_stays_as_it_is():
    """Numba's OpenMP layer sets it for PyTorch too."""
    before = torch.get_num_threads()
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            biasprop.explain(model.eval(), torch.randn(2, 1, 8, 8))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
