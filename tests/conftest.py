import gc
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: else its threads spin where others work too

import pytest
import torch
from helpers import Two, randomise
from torch import nn

import biasprop

if not torch.cuda.is_available():  # before Triton is imported: its kernels are then interpreted, on the CPU
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Those that start Ray first: they take longest, and then one of xdist's workers runs one after the other."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_collection_finish():
    """All that is imported stays: the collector need not look through it time and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def nothing_left_open():
    """A file that the test has left open fails this test, not whichever happens to run when it is collected.

    What is alive then is not looked through again: it is mostly modules, and would take longer than most tests.
    """
    yield
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def image() -> biasprop.Explanation:
    """Of a network on three images."""
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 10, 3)))
    return biasprop.explain(model.double(), torch.randn(3, 3, 10, 12).double())


@pytest.fixture(scope="session")
def table() -> biasprop.Explanation:
    """Of a network with one logit on two rows of four features."""
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))).double()
    return biasprop.explain(model, torch.randn(2, 4).double())


@pytest.fixture(scope="session")
def pair() -> biasprop.Explanation:
    """Of a network with two inputs."""
    torch.manual_seed(0)
    return biasprop.explain(Two().eval(), (torch.randn(2, 3), torch.randn(2, 4, 5)))
