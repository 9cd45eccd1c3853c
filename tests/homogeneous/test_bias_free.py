"""The copy is without every additive constant."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomise
from torch import nn

import biasprop
from biasprop import homogeneity, remove_bias


def test_batch_norm_is_replaced_with_the_mean_square_that_its_statistics_imply():
    norm = nn.BatchNorm2d(4)
    x = 2 * torch.randn(64, 4, 8, 8) + torch.arange(4.0)[:, None, None]
    for _ in range(200):
        norm(x)
    made = remove_bias(nn.Sequential(norm.eval()))[0]
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
    made = remove_bias(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("bias" in name for name, _ in made.named_parameters())
    assert not any(value.any() for name, value in made.state_dict().items() if "bias" in name)
    assert made(x).isfinite().all()
    assert not made(torch.zeros_like(x)).any()
    assert {n for n, _ in made.named_parameters()} < {n for n, _ in model.named_parameters()}


def test_attention_runs_without_gradients_too():
    """Then torch takes a path of its own, which reads every bias."""
    made = remove_bias(nn.TransformerEncoderLayer(8, 2, batch_first=True)).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(x), made(x.requires_grad_()).detach(), rtol=1e-4, atol=1e-5)


def test_nothing_to_remove_is_said():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).eval()
    with pytest.warns(UserWarning, match="no bias to remove"):
        made = remove_bias(model)
    assert made is not model
    x = torch.randn(5, 3)
    torch.testing.assert_close(made(x), model(x))


def test_what_cannot_be_removed_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    with pytest.warns(UserWarning, match=r"1 \(gelu\)"):
        remove_bias(model, torch.randn(2, 3))


def test_shared_modules_stay_shared():
    shared = nn.Linear(4, 4)
    made = remove_bias(nn.Sequential(shared, nn.ReLU(), shared))
    assert made[0] is made[2]
    assert made[0].bias is None
    norm = nn.BatchNorm1d(4)
    made = remove_bias(nn.Sequential(norm, nn.Sequential(nn.ReLU(), norm), norm))
    assert made[0] is made[1][1] is made[2]


def test_after_removal_bias_backpropagation_has_nothing_to_attribute():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = randomise(model.append(nn.Linear(6 * 9, 4)))
    explanation = biasprop.explain(remove_bias(model), torch.randn(2, 3, 8, 8))
    assert len(explanation.sources) == 0
    assert not explanation.bias_attribution.any()


def parameter(size):
    return nn.Parameter(torch.linspace(-1, 1, size))


class BareParameter(nn.Module):
    def __init__(self, size=12):
        super().__init__()
        self.linear, self.shift = nn.Linear(size, size, bias=False), parameter(size)

    def forward(self, x):
        return F.relu(self.linear(x) + self.shift)


class Positional(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Linear(4, 8, bias=False), nn.Parameter(torch.randn(1, 3, 8))
        self.head = nn.Linear(8, 2, bias=False)

    def forward(self, x):
        return self.head(F.relu(self.embed(x.reshape(-1, 3, 4)) + self.position).mean(1))


class Fixup(nn.Module):
    """A residual block with the scalars of Fixup initialisation."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (nn.Parameter(torch.full((1,), 0.3)) for _ in range(4))
        self.scale = nn.Parameter(torch.full((1,), 1.5))

    def forward(self, x):
        out = F.relu(self.conv1(x + self.bias1a) + self.bias1b)
        out = self.conv2(out + self.bias2a) * self.scale + self.bias2b
        return F.relu(out + x).mean((2, 3))


@pytest.mark.parametrize(("make", "shape"), [(BareParameter, (2, 12)), (Positional, (2, 12)), (Fixup, (2, 3, 8, 8))])
def test_bare_parameters_are_found_and_removed(make, shape):
    model, x = make().eval(), torch.randn(shape)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    report = homogeneity(model, x)
    assert report.degree is None
    assert report.agree
    assert all(b.operation == "add" for b in report.breakers)
    free = remove_bias(model, x)
    after = homogeneity(free, x)
    assert after.homogeneous
    assert after.degree == 1
    explanation = biasprop.explain(free, x, 0)
    assert not explanation.bias_attribution.any()
    assert len(explanation.sources) == 0
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_a_norm_that_cannot_be_replaced_is_named():
    with pytest.warns(UserWarning, match="running mean of 0"):
        remove_bias(nn.Sequential(nn.SyncBatchNorm(4)).eval())


def test_further_arguments_of_the_model():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.shift = nn.Linear(3, 2), nn.Parameter(torch.ones(2))

        def forward(self, x, gate, times):
            return (self.layer(x) * gate + self.shift) * times

    model, x, more = randomise(Gated()), torch.randn(2, 3), (torch.rand(2, 2), 3.0)
    free = biasprop.remove_bias(model, x, more)
    torch.testing.assert_close(free(x, *more), (x @ model.layer.weight.T) * more[0] * 3)
    assert biasprop.homogeneity(free, x, more).degree == 1
    with pytest.raises(biasprop.BiaspropError):
        biasprop.remove_bias(model, x)
