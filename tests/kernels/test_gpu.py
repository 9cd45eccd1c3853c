"""The Triton kernels against the streaming form: on a GPU, or in Triton's interpreter; and that they compile."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import BUDGET, RULES, double, problems
from torch import nn

import biasprop
from biasprop.kernels import Layout, Settings, streaming
from biasprop.kernels.slope import Slope
from biasprop.rules import ByForm


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(RULES))
def test_the_gpu_kernels_or_tritons_interpretation_of_them(problem, rule):
    assert_agrees(problem, rule)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from(RULES))
def test_the_gpu_kernels_on_many_problems(problem, rule):
    assert_agrees(problem, rule)


def assert_agrees(problem, rule):
    gpu = pytest.importorskip("biasprop.kernels.gpu", reason="Triton comes with the CUDA and ROCm builds of torch")
    layout, u, slope, h, beta = problem
    device = "cuda" if torch.cuda.is_available() else "cpu"  # conftest.py: interpreted where there is no GPU
    layout = Layout(layout.operand, layout.output, layout.weight.to(device), layout.windows)
    there = layout, u.to(device), slope.each(lambda t: t.to(device)), h.to(device), beta.to(device)
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


@pytest.mark.slow
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


class Strange(ByForm):
    class Cubic:
        """A form that no kernel knows."""

    form = Cubic()


def test_a_form_that_the_gpu_kernels_do_not_know_is_an_error_never_another_rule():
    gpu = pytest.importorskip("biasprop.kernels.gpu", reason="Triton comes with the CUDA and ROCm builds of torch")
    layout = Layout((1, 1, 4, 1), (1, 1, 2, 1), torch.randn(1, 1, 2, 4), torch.zeros(1, 1, dtype=torch.int32))
    ones = torch.ones(layout.output)
    with pytest.raises((TypeError, AssertionError), match="Cubic"):
        gpu.spread(layout, torch.randn(layout.operand), Slope(), ones, ones[None], Settings(Strange(), BUDGET))
