"""Targets of every form, and every way to get one wrong."""

import pytest
import torch
from torch import nn

import biasprop
from biasprop import TargetError


def model(outputs=3):
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs)).double().eval()


X = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()


def test_forms_agree():
    net = model()
    y = net(X).detach()
    explainer = biasprop.explainer(net, X)
    best = y.argmax(1)
    for target in ("predicted", best, best.tolist(), best.numpy(), [(int(k),) for k in best]):
        explanation = explainer(X, target)
        torch.testing.assert_close(explanation.output, y.amax(1))
        assert explanation.target == best.tolist()
    for target in (1, -2, (1,), torch.tensor(1), lambda out: out[:, 1]):
        torch.testing.assert_close(explainer(X, target).output, y[:, 1])


def test_difference_of_logits():
    net = model()
    difference = biasprop.explain(net, X, lambda y: y[:, 1] - y[:, 2])
    torch.testing.assert_close(difference.output, (net(X)[:, 1] - net(X)[:, 2]).detach())
    assert "target" not in difference.sources.names
    assert difference.completeness_error.max() < 1e-12


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_target_that_is_not_linear_is_a_tangent(rule):
    net = model()
    explanation = biasprop.explain(net, X, lambda y: y.softmax(1)[:, 0], rule=rule)
    assert explanation.completeness_error.max() < 1e-12
    assert explanation.sources.names[-1] == "target"
    withheld = biasprop.explain(net, X, lambda y: y.softmax(1)[:, 0], rule=rule, sources=["0", "2"])
    torch.testing.assert_close(withheld.withheld, explanation.sources["target"].amount)


def test_one_output_needs_no_target():
    for net in (model(1), nn.Sequential(model(1), nn.Flatten(0))):
        net.eval()
        for target in (None, "predicted"):
            torch.testing.assert_close(biasprop.explain(net, X, target).output, net(X).detach().flatten())


def test_several_output_dimensions():
    net = nn.Sequential(model(6), nn.Unflatten(1, (2, 3))).eval()
    explanation = biasprop.explain(net, X, (1, 2))
    torch.testing.assert_close(explanation.output, net(X)[:, 1, 2].detach())
    assert explanation.target[0] == (1, 2)


def test_dict_output_with_a_callable_works_and_without_is_an_error():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model()

        def forward(self, x):
            y = self.net(x)
            return {"logits": y, "features": (x * 2, torch.ones(3))}

    net = Many().eval()
    explanation = biasprop.explain(net, X, lambda out: out["logits"][:, 0] + out["features"][0].sum(1))
    assert explanation.completeness_error.max() < 1e-12
    with pytest.raises(TargetError, match=r"returns a dict.*callable target"):
        biasprop.explain(net, X)


def test_tuple_output_without_a_callable_is_an_error():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TargetError, match="returns a tuple"):
        biasprop.explain(Pair().eval(), X, 0)


def test_an_output_that_does_not_depend_on_the_input_is_all_unattributed():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x) + 3

    explanation = biasprop.explain(Constant().eval(), X, 0)
    torch.testing.assert_close(explanation.unattributed, torch.full((4,), 3.0).double())
    assert explanation.completeness_error.max() == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"Target 3 is out of range.*3 entries"),
        (-4, "out of range"),
        ([0, 1, 2, 3], "Target 3 is out of range"),
        ([0, 1], "2 entries for a batch of 4"),
        ([0], "1 entries for a batch of 4"),
        (torch.tensor([0, 1, 2]), "3 entries for a batch of 4"),
        ((0, 1), "2 indices per example, but the output has 1"),
        (None, r"3 outputs per example.*target='predicted'"),
        (1.5, "must be integers"),
        (True, "must be integers"),
        ("largest", "not defined"),
        (lambda y: y, r"shape \(4,\), not a tensor of shape \(4, 3\)"),
        (lambda y: y.sum(), r"shape \(\)"),
        (lambda y: y.argmax(1), "int64"),
        (lambda y: 3.0, "not 3.0"),
        (lambda y: y["logits"], "callable target failed"),
    ],
)
def test_bad_targets(target, message):
    with pytest.raises(TargetError, match=message):
        biasprop.explain(model(), X, target)
