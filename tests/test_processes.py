"""After a fork explanations work, or say why they cannot; nothing hangs, nothing is killed."""

import os
import subprocess
import sys

import pytest

FORKING = """
import multiprocessing, sys, torch, biasprop
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 62 * 62, 5)).eval()
x = torch.randn(4, 3, 64, 64)

def explain(_):
    try:
        return float(biasprop.explain(model, x, 0).completeness_error.max())
    except biasprop.BiaspropError as error:
        return f"{type(error).__name__}: {error}"

if sys.argv[1] == "forward":
    with torch.no_grad():
        model(x)
elif sys.argv[1] == "explain":
    biasprop.explain(model, x, 0)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map_async(explain, range(2)).get(200))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("before", "printed"),
    [
        ("nothing", "e-"),
        ("forward", "e-"),
        ("explain", "ForkError: This process was forked off one that had already used autograd"),
    ],
)
def test_after_a_fork(before, printed):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, before], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert printed in done.stdout
