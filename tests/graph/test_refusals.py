"""What cannot be captured faithfully is refused by name, and nothing else is."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomise
from torch import nn

import biasprop
from biasprop import CaptureError


class Doing(nn.Module):
    def __init__(self, then):
        super().__init__()
        self.linear, self.then = nn.Linear(4, 3), then

    def forward(self, x):
        return self.then(self.linear(x), x)


def doing(then):
    return randomise(Doing(then))


@pytest.mark.parametrize(
    ("then", "name"),
    [
        (lambda y, x: y + torch.rand(3), "rand"),
        (lambda y, x: y + torch.randn_like(y), "randn_like"),
        (lambda y, x: y * torch.bernoulli(torch.full_like(y, 0.5)), "bernoulli"),
        (lambda y, x: y * torch.empty_like(y).uniform_(), "uniform"),
        (lambda y, x: y[:, torch.randperm(3)], "randperm"),
        (lambda y, x: F.dropout(y, 0.5, training=True), ".*dropout"),
        (lambda y, x: F.rrelu(y, training=True), "rrelu.*"),
    ],
)
def test_random_numbers_are_refused_by_name(then, name):
    with pytest.raises(CaptureError, match=f"^{name} at .* draws random numbers"):
        biasprop.explain(doing(then), torch.randn(2, 4), 0)


@pytest.mark.parametrize(
    "then",
    [
        lambda y, x: F.dropout(y, 0.5, training=False),
        lambda y, x: F.dropout(y, 0.0, training=True),
        lambda y, x: y + 0 * torch.zeros(3),
    ],
)
def test_dropout_that_is_off_is_not(then):
    assert biasprop.explain(doing(then), torch.randn(2, 4), 0).completeness_error.max() < 1e-5


def autocast(y, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.linear(y, torch.ones(3, 3))


def no_autocast(y, x):
    with torch.autocast("cpu", enabled=False):
        return F.linear(y, torch.ones(3, 3))


def test_autocast_inside_forward():
    with pytest.raises(CaptureError, match="forward switches autocast on .*Take it out of forward"):
        biasprop.explain(doing(autocast), torch.randn(2, 4), 0)
    assert biasprop.explain(doing(no_autocast), torch.randn(2, 4), 0).completeness_error.max() < 1e-5


def rotary(y, x):
    with torch.no_grad():
        angles = torch.arange(x.shape[1] - 1, device=x.device).float() / 10
        table = angles.cos()
    return y * table


def test_a_block_without_gradients_that_does_not_read_the_input():
    explanation = biasprop.explain(doing(rotary), torch.randn(2, 4), 1)
    assert explanation.completeness_error.max() < 1e-5


def test_training_mode_matters_only_where_something_depends_on_it():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.0), nn.GroupNorm(1, 3), nn.Linear(3, 2))[:3]
    assert model[0].training
    x = torch.randn(2, 4)
    torch.testing.assert_close(biasprop.explain(model, x, 0).output, model(x)[:, 0].detach())
    for module in (nn.Dropout(), nn.BatchNorm1d(3), nn.RReLU()):
        with pytest.raises(CaptureError, match=r"training mode \(first at '1'\).*Call model\.eval\(\) first"):
            biasprop.explain(nn.Sequential(nn.Linear(4, 3), module), x, 0)


def test_chance_of_ones_own_in_training_mode():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x) if self.training else x

    with pytest.raises(CaptureError, match=r"draws random numbers.* training mode: call model\.eval\(\)"):
        biasprop.explain(nn.Sequential(nn.Linear(4, 3), Noise()), torch.randn(2, 4), 0)


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_plain_module_is_told_what_to_give():
    x = torch.randn(2, 4)
    traced = torch.jit.trace(nn.Linear(4, 3).eval(), x)
    for model in (traced, torch.jit.freeze(traced)):
        with pytest.raises(CaptureError, match="is TorchScript, .* give the module that it was made from"):
            biasprop.explain(model, x, 0)
    with pytest.raises(CaptureError, match=r"DataParallel distributes a model .*give model\.module"):
        biasprop.explain(nn.DataParallel(nn.Linear(4, 3)).eval(), x, 0)
    with pytest.raises(CaptureError, match="must be a torch.nn.Module, not function"):
        biasprop.explain(lambda x: x, x, 0)


def test_the_models_own_failure_is_not_called_control_flow():
    with pytest.raises(
        CaptureError, match=r"The model itself fails on inputs of shape \(2, 4\): RuntimeError"
    ) as error:
        biasprop.explain(nn.Linear(5, 3), torch.randn(2, 4), 0)
    assert "torch.where" not in str(error.value)


def test_values_of_the_data_are_named_as_the_cause():
    with pytest.raises(CaptureError, match=r"depends on values of the data .*torch\.where"):
        biasprop.explain(doing(lambda y, x: y * float(x.detach().numpy()[0, 0])), torch.randn(2, 4), 0)
