"""Randomisation and class sensitivity: maps that look, and maps that do not."""

import copy

import pytest
import torch
from torch import nn

import biasprop
from biasprop import InputError
from biasprop.metrics import class_sensitivity, parameter_randomisation


@pytest.fixture
def net():
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval()


X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 0])


def gradient(model):
    def attribute(x, y):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0]

    return attribute


def test_from_the_last_layer_to_the_first_and_the_model_stays(net):
    before = copy.deepcopy(net.state_dict())
    found = parameter_randomisation(net, X, CLASSES, gradient, progress=False)
    assert found.layers == ("5", "2", "0")
    assert found.correlation.abs().max() < 0.8
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    again = parameter_randomisation(net, X, CLASSES, gradient, progress=False)
    assert torch.equal(found.correlation, again.correlation)
    assert "all 3 layers" in str(found)


def test_a_map_that_does_not_look(net):
    edges = parameter_randomisation(net, X, CLASSES, lambda model: lambda x, y: x, progress=False)
    assert edges.correlation.tolist() == pytest.approx([1.0] * 3)
    with pytest.raises(InputError, match="nothing to randomise"):
        parameter_randomisation(nn.Flatten(), X, CLASSES, gradient, progress=False)


def test_class_sensitivity(net):
    batches = [(X, CLASSES, (CLASSES + 1) % 3)]
    assert class_sensitivity(batches, lambda x, y: x, progress=False).tolist() == pytest.approx([1.0] * 4)
    opposite = class_sensitivity(
        batches, lambda x, y: x * (1 - 2 * (y != CLASSES)).reshape(-1, 1, 1, 1), progress=False
    )
    assert opposite.tolist() == pytest.approx([-1.0] * 4)
    assert class_sensitivity(batches, lambda x, y: torch.ones_like(x), progress=False).tolist() == [0.0] * 4
    ours = class_sensitivity(batches, lambda x, y: biasprop.explain(net, x, y).attribution, patch=2, progress=False)
    assert ours.abs().max() < 1
    with pytest.raises(InputError):
        class_sensitivity([], lambda x, y: x, progress=False)
