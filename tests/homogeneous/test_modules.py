"""Modules without a bias train, export, save and load like torch's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from biasprop import (
    HomogeneousLift,
    InputError,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
    homogeneity,
)

SHAPES = {
    UncenteredBatchNorm1d: [(8, 5), (8, 5, 7)],
    UncenteredBatchNorm2d: [(8, 5, 4, 3)],
    UncenteredBatchNorm3d: [(4, 5, 2, 3, 4)],
}


CASES = [(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_uncentred_batch_norm_divides_by_the_root_mean_square(kind, shape):
    norm, x = kind(5, eps=0.0, momentum=None).double(), 3 * torch.randn(shape, dtype=torch.float64) + 1
    dims = [d for d in range(x.dim()) if d != 1]
    y = norm(x)
    torch.testing.assert_close(y.square().mean(dims), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(norm.running_mean_square, x.square().mean(dims))
    norm(2 * x)  # momentum None: the average over the batches
    torch.testing.assert_close(norm.running_mean_square, 2.5 * x.square().mean(dims))
    norm.eval()
    torch.testing.assert_close(norm(7 * x), 7 * norm(x))
    assert not norm(0 * x).any()


def test_uncentred_batch_norm_trains_saves_loads_and_exports(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), UncenteredBatchNorm2d(8), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(8 * 36, 2, bias=False))
    x, labels = torch.randn(32, 3, 8, 8), torch.arange(32) % 2
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(20):
        loss = F.cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert model[1].num_batches_tracked == 20
    again = copy.deepcopy(model)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    model.eval()
    torch.testing.assert_close(again.eval()(x), model(x))
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))
    assert "momentum=0.1" in repr(model[1])


@pytest.mark.parametrize("shape", [(8, 4, 4, 4), (8, 5), (5,)])
def test_uncentred_batch_norm_refuses_other_shapes(shape):
    with pytest.raises(InputError, match="UncenteredBatchNorm2d takes"):
        UncenteredBatchNorm2d(5)(torch.zeros(shape))


def test_a_lift_trains_and_exports():
    lift = HomogeneousLift(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)))
    x = torch.randn(64, 4)
    y, optimiser = x.norm(dim=1, keepdim=True), torch.optim.Adam(lift.parameters(), 1e-2)
    for _ in range(150):
        loss = F.mse_loss(lift(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05
    lift.eval()
    torch.testing.assert_close(torch.export.export(lift, (x,)).module()(x), lift(x))
    assert all(p.grad.isfinite().all() for p in lift.parameters())


def test_a_lift_is_homogeneous_and_zero_at_zero():
    lift = HomogeneousLift(nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 2))).double().eval()
    x = torch.randn(3, 5, dtype=torch.float64)
    assert homogeneity(lift, x).degree == 1
    assert homogeneity(lift, x).agree
    assert not lift(0 * x).any()
    with torch.no_grad():
        torch.testing.assert_close(lift(x), x.norm(dim=1, keepdim=True) * lift.f(x / x.norm(dim=1, keepdim=True)))
