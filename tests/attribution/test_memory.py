"""Peak memory, measured in a process of its own: neither alpha nor dense matrices are ever held."""

import subprocess
import sys

import pytest

MEASURED = """
import resource, torch, biasprop
from torch import nn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

{network}
explainer = biasprop.explainer(model, x)
u = x.clone().requires_grad_()
torch.autograd.grad(model(u)[:, 0].sum(), u)
explainer.split(x)
{warm_up}
before = peak()
explainer.memory_budget = 64 * 2**20
assert explainer(x, 0).completeness_error.max() < 1e-5
print(peak() - before)
"""


def megabytes(network: str, warm_up: str = "") -> int:
    """How far an explanation raises the peak memory of a process that has captured, run and differentiated the model.

    ``network`` makes ``model`` and ``x``.
    """
    script = MEASURED.format(network=network, warm_up=warm_up)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_peak_memory_stays_within_the_budget():
    """Alpha of this layer would take 3.7 GB; 64 MiB are allowed."""
    used = megabytes("""
model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
x = torch.randn(1, 64, 112, 112)
""")
    assert used < 64 + 64  # and up to 64 MiB for the tape itself


@pytest.mark.slow
def test_long_signals_need_little_memory():
    """A dense matrix of the first pooling would take 16000 x 64000 x 4 bytes, 4 GB; the signals take half a megabyte.

    They have a bias, without which the windows of the poolings are never made.
    """
    used = megabytes(
        """
model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.AvgPool1d(4), nn.AdaptiveAvgPool1d(7), nn.Flatten()).eval()
x = torch.randn(1, 2, 64000)
""",
        warm_up="assert explainer(x[..., :640], 0).bias_attribution.any()",
    )
    assert used < 32


@pytest.mark.slow
def test_a_batch_needs_no_more_than_its_gradient():
    """In one piece the sweep takes 308 MB more than the gradient did (measured)."""
    used = megabytes(
        """
layers = [layer for _ in range(6) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
model = nn.Sequential(nn.Conv2d(3, 32, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
x = torch.randn(32, 3, 112, 112)
""",
        warm_up="explainer(x[:1], 0)",
    )
    assert used < 32
