"""X-Gradient is integrated gradients from the zero baseline, at the price of one gradient."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, NoiseTunnel
from helpers import randomise
from torch import nn
from torchvision import models

from biasprop import InputError, NotHomogeneous, TargetError, XGradient, gini, homogeneity, remove_bias, sparsity_loss
from biasprop.homogeneous import x_gradient


class FixupBlock(nn.Module):
    def __init__(self, width, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.down = nn.Conv2d(width, out, 1, stride, bias=False)
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (nn.Parameter(0.1 * torch.randn(1)) for _ in range(4))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        out = F.relu(self.conv1(x + self.bias1a) + self.bias1b)
        return F.relu(self.conv2(out + self.bias2a) * self.scale + self.bias2b + self.down(x))


def fixup():
    return nn.Sequential(
        FixupBlock(3, 8, 1), FixupBlock(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def mlp():
    return nn.Sequential(nn.Linear(12, 20), nn.LeakyReLU(0.2), nn.Linear(20, 20), nn.LeakyReLU(), nn.Linear(20, 10))


NETWORKS = {
    "alexnet": (lambda: models.alexnet(weights=None), (3, 64, 64)),
    "vgg16": (lambda: models.vgg16(weights=None), (3, 32, 32)),
    "resnet18": (lambda: models.resnet18(weights=None), (3, 32, 32)),
    "fixup": (fixup, (3, 16, 16)),
    "mlp": (mlp, (12,)),
}


def integrated(model, x, target):
    """Captum keeps the weights of the steps in float32; those of this method, 1/128, are exact there."""
    options = {"n_steps": 128, "method": "riemann_middle", "internal_batch_size": 32}
    return IntegratedGradients(model).attribute(x, target=target, **options)


FAST = ("fixup", "mlp")


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_it_is_integrated_gradients_and_sums_to_the_output_and_scales(name):
    make, shape = NETWORKS[name]
    model = randomise(make()).requires_grad_(False)
    model = remove_bias(model, torch.randn(1, *shape)).double()
    x, target = torch.randn(2, *shape, dtype=torch.float64), [1, 7]
    method = XGradient(model)
    found, delta = method.attribute(x, target, return_convergence_delta=True)
    expected = integrated(model, x, target)
    assert (found - expected).abs().sum() <= 1e-10 * expected.abs().sum()
    output = model(x)[[0, 1], target]
    assert (delta.abs() <= 1e-10 * found.abs().flatten(1).sum(1)).all()
    torch.testing.assert_close(found.flatten(1).sum(1), output)
    torch.testing.assert_close(method.attribute(3 * x, target), 3 * found)


@pytest.mark.parametrize("name", [pytest.param("alexnet", marks=pytest.mark.slow), *FAST])
def test_a_network_with_biases_is_refused_and_far_from_integrated_gradients(name):
    make, shape = NETWORKS[name]
    model, x = randomise(make()).requires_grad_(False).double(), torch.randn(1, *shape, dtype=torch.float64)
    with pytest.raises(NotHomogeneous, match="adds a constant|its bias is a constant"):
        XGradient(model).attribute(x, 0)
    unchecked, expected = XGradient(model, check=False).attribute(x, 0), integrated(model, x, 0)
    assert (unchecked - expected).abs().sum() > 0.02 * expected.abs().sum()


def test_degree_two():
    class Squared(nn.Module):
        def forward(self, x):
            return F.relu(x @ torch.linspace(-1, 1, 12, dtype=x.dtype).reshape(4, 3)).square()

    x = torch.randn(5, 4, dtype=torch.float64)
    model = Squared().eval()
    found = XGradient(model).attribute(x, 2)
    torch.testing.assert_close(found.sum(1), model(x)[:, 2])
    torch.testing.assert_close(found, integrated(model, x, 2))
    torch.testing.assert_close(XGradient(model, degree=2, check=False).attribute(x, 2), found)
    with pytest.raises(NotHomogeneous, match="its degree is 2"):
        XGradient(model, degree=1).attribute(x, 2)


def test_captums_way_of_calling():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)).double().eval()
    x, method = torch.randn(4, 4, dtype=torch.float64), XGradient(model)
    one = method.attribute(x, 1)
    torch.testing.assert_close(method.attribute((x,), target=1)[0], one)
    torch.testing.assert_close(method.attribute(x, torch.tensor([1, 1, 1, 1])), one)
    torch.testing.assert_close(method.attribute(x, [(1,), (1,), (1,), (1,)]), one)
    with torch.no_grad():
        torch.testing.assert_close(method.attribute(x, 1), one)
    assert not one.requires_grad
    noisy = NoiseTunnel(method).attribute(x, nt_type="smoothgrad", nt_samples=3, stdevs=0.0, target=1)
    torch.testing.assert_close(noisy, one)
    single = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Flatten(0)).double().eval()
    torch.testing.assert_close(XGradient(single).attribute(x).sum(1), single(x).detach())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "3 outputs per example.*say which one"),
        (3, "Target 3 is out of range"),
        (-4, "Target -4 is out of range"),
        ([0, 1], "2 entries for a batch of 4"),
        (0.5, "must be integers"),
        ([[0, 1]] * 4, "2 indices per example, but the output has 1"),
        ((0, 1), "2 indices per example, but the output has 1"),
    ],
)
def test_wrong_targets(target, message):
    model = nn.Linear(4, 3, bias=False).eval()
    with pytest.raises(TargetError, match=message):
        XGradient(model).attribute(torch.randn(4, 4), target)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("x", r"must be a torch\.Tensor, not str"),
        (torch.ones(2, 4).long(), r"floating point.*x\.float\(\)"),
        (torch.full((2, 4), float("nan")), "NaN or infinite values .first in example 0"),
        (torch.randn(0, 4), r"shape \(0, 4\): it must hold at least one example"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_wrong_inputs(x, message, check):
    with pytest.raises(InputError, match=message):
        XGradient(nn.Linear(4, 3, bias=False).eval(), check=check).attribute(x, 0)


@pytest.mark.parametrize("degree", [0, -1, float("nan")])
def test_wrong_degrees(degree):
    with pytest.raises(InputError, match="positive"):
        XGradient(nn.Linear(2, 2, bias=False), degree=degree)


@pytest.mark.slow
def test_training_with_an_attribution_prior_makes_attributions_sparse():
    torch.manual_seed(0)
    x = torch.randn(200, 12)
    y = (x[:, 0] > 0).float()

    def train(weight):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(12, 32, bias=False), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1, bias=False))
        model.append(nn.Flatten(0))
        method, optimiser = XGradient(model), torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(60):
            prior = sparsity_loss(method.attribute(x, create_graph=True))
            loss = F.binary_cross_entropy_with_logits(model(x), y) + weight * prior
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert all(p.grad is not None for p in model.parameters())
        return gini(method.attribute(x).abs().mean(0)).item()

    assert train(1.0) > train(0.0) + 0.05


def test_a_bias_that_is_zero_only_at_first_is_refused():
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2, bias=False))
    x = torch.randn(6, 4)
    with pytest.raises(NotHomogeneous, match="batch_norm"):
        XGradient(model.train()).attribute(x, 0)
    method = XGradient(model.eval())
    method.attribute(x, 0)  # as it is now, it has no bias
    with torch.no_grad():
        model[1].bias.fill_(0.3)
    with pytest.raises(NotHomogeneous, match="batch_norm"):
        method.attribute(x, 0)


@pytest.fixture
def checks(monkeypatch):
    """A list with an entry for each check of a network."""
    calls = []
    monkeypatch.setattr(x_gradient, "homogeneity", lambda *a: calls.append(1) or homogeneity(*a))
    return calls


def bias_free():
    return nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False)).eval()


def test_it_is_checked_once_while_nothing_changes(checks):
    model = bias_free()
    for training in (True, False):
        method = XGradient(model.train(training))
        for size in (4, 2):
            method.attribute(torch.randn(size, 4), 0)
    assert len(checks) == 2


def test_it_is_checked_again_after_changes_in_place_and_for_other_shapes(checks):
    model = bias_free()
    method, x = XGradient(model), torch.randn(3, 4)
    for count in (1, 2, 3):
        for _ in range(2):
            method.attribute(x, 0)
        assert len(checks) == count
        with torch.no_grad():
            model[0].weight.mul_(2)
    method.attribute(x, 0)
    model.double()
    method.attribute(x.double(), 0)
    assert len(checks) == 5


def test_new_weights_are_noticed_also_where_the_old_ones_were_in_memory(monkeypatch):
    """What a tensor's id was may be another's; here every id is."""
    monkeypatch.setattr(x_gradient, "id", lambda tensor: 0, raising=False)
    model, x = nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(2, 4)
    method = XGradient(model)
    for values in (torch.ones(3), torch.zeros(3), torch.ones(3)):
        model[0].bias = None
        model[0].bias = nn.Parameter(values)
        if values.any():
            with pytest.raises(NotHomogeneous, match="its bias is a constant"):
                method.attribute(x, 0)
        else:
            method.attribute(x, 0)
