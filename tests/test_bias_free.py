"""Modules without a bias train, export, save and load like torch's; the copy is without every additive constant."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from torch import nn

import biasprop
from biasprop import HomogeneousLift, InputError, UncenteredBatchNorm1d, UncenteredBatchNorm2d, UncenteredBatchNorm3d
from biasprop import remove_bias as without_bias

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


def test_batch_norm_is_replaced_with_the_mean_square_that_its_statistics_imply():
    norm = nn.BatchNorm2d(4)
    x = 2 * torch.randn(64, 4, 8, 8) + torch.arange(4.0)[:, None, None]
    for _ in range(200):
        norm(x)
    made = without_bias(nn.Sequential(norm.eval()))[0]
    assert not made.training
    torch.testing.assert_close(made.running_mean_square, x.square().mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made.weight, norm.weight)


class Everything(nn.Module):
    """Biases in every place where torch has one."""

    def __init__(self):
        super().__init__()
        self.conv, self.up = nn.Conv1d(4, 4, 3, padding=1), nn.ConvTranspose1d(4, 4, 3)
        self.norm, self.layer = nn.BatchNorm1d(4), nn.LayerNorm(10)
        self.attention = nn.MultiheadAttention(10, 2, batch_first=True, add_bias_kv=True)
        self.recurrent, self.pair = nn.GRU(10, 6, batch_first=True), nn.Bilinear(6, 6, 3)

    def forward(self, x):
        u = self.layer(self.up(F.relu(self.norm(self.conv(x)))))
        u, _ = self.attention(u, u, u)
        u, _ = self.recurrent(u)
        return self.pair(u[:, -1], u[:, 0])


def test_the_original_is_left_alone_and_the_copy_runs_without_any_bias():
    model = randomise(Everything())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(2, 4, 8)
    made = without_bias(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("bias" in name for name, _ in made.named_parameters())
    assert not any(value.any() for name, value in made.state_dict().items() if "bias" in name)
    assert made(x).isfinite().all()
    assert not made(torch.zeros_like(x)).any()
    assert {n for n, _ in made.named_parameters()} < {n for n, _ in model.named_parameters()}


def test_attention_runs_without_gradients_too():
    """Then torch takes a path of its own, which reads every bias."""
    made = without_bias(nn.TransformerEncoderLayer(8, 2, batch_first=True)).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(x), made(x.requires_grad_()).detach(), rtol=1e-4, atol=1e-5)


def test_nothing_to_remove_is_said():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).eval()
    with pytest.warns(UserWarning, match="no bias to remove"):
        made = without_bias(model)
    assert made is not model
    x = torch.randn(5, 3)
    torch.testing.assert_close(made(x), model(x))


def test_what_cannot_be_removed_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    with pytest.warns(UserWarning, match=r"1 \(gelu\)"):
        without_bias(model, torch.randn(2, 3))


def test_shared_modules_stay_shared():
    shared = nn.Linear(4, 4)
    made = without_bias(nn.Sequential(shared, nn.ReLU(), shared))
    assert made[0] is made[2]
    assert made[0].bias is None
    norm = nn.BatchNorm1d(4)
    made = without_bias(nn.Sequential(norm, nn.Sequential(nn.ReLU(), norm), norm))
    assert made[0] is made[1][1] is made[2]


def test_after_removal_bias_backpropagation_has_nothing_to_attribute():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = randomise(model.append(nn.Linear(6 * 9, 4)))
    explanation = biasprop.explain(without_bias(model), torch.randn(2, 3, 8, 8))
    assert len(explanation.sources) == 0
    assert not explanation.bias_attribution.any()


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
