"""``biasprop compile``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from biasprop import kernels


@pytest.mark.slow
def test_nothing_is_left_to_compile(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "biasprop", "compile"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    folder = Path(done.stdout.removeprefix("The kernels are compiled, and kept in ").removesuffix(".\n"))
    assert folder.is_relative_to(tmp_path)
    kept = set(folder.iterdir())
    explained = subprocess.run([sys.executable, "-c", EXPLAIN], text=True, check=True, env=environment)
    assert explained.returncode == 0
    assert set(folder.iterdir()) == kept


EXPLAIN = """
import torch
from torch import nn
import biasprop

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return (x + self.convolution(x)).relu().flatten(1).sum(1)

for dtype in (torch.float32, torch.float64):
    biasprop.explain(Sum().eval().to(dtype), torch.randn(1, 2, 6, 6, dtype=dtype))
"""


def test_what_it_says_where_nothing_can_be_kept(run, monkeypatch):
    def refused():
        raise RuntimeError("no locator available")

    pytest.importorskip("biasprop.kernels.fused")
    monkeypatch.setattr(kernels.fused, "compile_all", refused)
    status, out, err = run("compile")
    assert status == 2
    assert out == ""
    assert "no locator available. Set NUMBA_CACHE_DIR to a folder" in err
