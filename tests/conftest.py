import gc
import os
from pathlib import Path

import pytest
import torch
from torch import nn

import biasprop

if not torch.cuda.is_available():  # before Triton is imported: its kernels are then interpreted, on the CPU
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def nothing_left_open():
    """A file that the test has left open fails this test, not whichever happens to run when it is collected."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; without it the test is skipped (or fails, where it must be there)."""
    folder = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no real data in {folder}: set BIASPROP_DATA"
        if os.environ.get("BIASPROP_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def randomise(model: nn.Module) -> nn.Module:
    """Biases and batch-norm statistics drawn at random, so that they matter; eval mode."""
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                if module.weight is not None:
                    module.weight.uniform_(0.7, 1.3)
            if isinstance(getattr(module, "bias", None), torch.Tensor):
                module.bias.normal_(0, 0.3)
    return model.eval()


def assert_exact(model, x, target, tolerance=1e-11, **options) -> biasprop.Explanation:
    """Completeness, w = autograd's gradient, b = f - J x (by forward mode), sources adding up to b."""
    explanation = biasprop.explain(model, x, target, **options)
    assert explanation.completeness_error.max() <= tolerance
    inputs = x if isinstance(x, tuple) else (x,)
    extras = options.get("additional_forward_args") or ()
    extras = extras if isinstance(extras, tuple) else (extras,)
    leaves = tuple(i.detach().clone().requires_grad_() for i in inputs)

    def f(*u):
        y = model(*u, *extras)
        return target(y) if callable(target) else y.reshape(len(y), -1)[:, target]

    value = f(*leaves)
    size = 1 + value.detach().abs().max()
    torch.testing.assert_close(explanation.output, value.detach(), rtol=1e-6, atol=float(1e-12 * size))
    gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True, materialize_grads=True)
    weights = explanation.weight if isinstance(explanation.weight, tuple) else (explanation.weight,)
    scale = max(float(g.abs().max()) for g in gradients) + 1e-30
    for w, g in zip(weights, gradients, strict=True):
        torch.testing.assert_close(w, g, rtol=0, atol=10 * tolerance * scale)
    b = value.detach() - sum((g * u).reshape(len(u), -1).sum(1) for g, u in zip(gradients, inputs, strict=True))
    mass = sum((g * u).abs().reshape(len(u), -1).sum(1) for g, u in zip(gradients, inputs, strict=True))
    slack = float(tolerance * 10 * (1 + mass.max() + value.detach().abs().max()))
    torch.testing.assert_close(explanation.bias, b, rtol=0, atol=slack)
    torch.testing.assert_close(explanation.sources.amounts.sum(1), b, rtol=0, atol=slack)
    return explanation
