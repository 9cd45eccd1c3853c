"""Targets that are indices, in every form, and every way to get one wrong."""

import numpy as np
import pytest
import torch
from helpers import ROWS, small_mlp
from torch import nn

import biasprop
from biasprop import TargetError


def test_forms_agree():
    net = small_mlp()
    y = net(ROWS).detach()
    explainer = biasprop.explainer(net, ROWS)
    best = y.argmax(1)
    for target in ("predicted", best, best.tolist(), best.numpy(), [(int(k),) for k in best]):
        explanation = explainer(ROWS, target)
        torch.testing.assert_close(explanation.output, y.amax(1))
        assert explanation.target == best.tolist()
    for target in (1, -2, (1,), torch.tensor(1), lambda out: out[:, 1]):
        torch.testing.assert_close(explainer(ROWS, target).output, y[:, 1])


def test_one_output_needs_no_target():
    for net in (small_mlp(1), nn.Sequential(small_mlp(1), nn.Flatten(0))):
        net.eval()
        for target in (None, "predicted"):
            torch.testing.assert_close(biasprop.explain(net, ROWS, target).output, net(ROWS).detach().flatten())


def test_several_output_dimensions():
    net = nn.Sequential(small_mlp(6), nn.Unflatten(1, (2, 3))).eval()
    explanation = biasprop.explain(net, ROWS, (1, 2))
    torch.testing.assert_close(explanation.output, net(ROWS)[:, 1, 2].detach())
    assert explanation.target[0] == (1, 2)


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
        (10**30, r"A target cannot be made of 10{30}: "),
        (-(2**63) - 1, "A target cannot be made of"),
        ([0, 0, 0, 10**30], "A target cannot be made of"),
        ((10**400,), r"A target cannot be made of \(10{70}.*\.\.\.: "),
        (2**63 - 1, "Target 9223372036854775807 is out of range"),
        (-(2**63), "Target -9223372036854775808 is out of range"),
        (np.array([0, 0, 0, 2**64 - 1], dtype=np.uint64), "Target 18446744073709551615 is out of range"),
        (torch.zeros(4, dtype=torch.long, device="meta"), "an ordinary dense tensor of integers"),
        (torch.zeros(4, dtype=torch.long).to_sparse(), "an ordinary dense tensor of integers"),
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
        biasprop.explain(small_mlp(), ROWS, target)


@pytest.mark.parametrize("target", [{"target": 0}, {"target": "predicted"}, {"target": None}, {"targets": "all"}])
def test_outputs_without_any_number(target):
    class Nothing(nn.Module):
        def forward(self, x):
            return (x * 2)[:, :0]

    with pytest.raises(TargetError, match=r"output has shape \(4, 0\): it holds no number to explain"):
        biasprop.explain(Nothing().eval(), ROWS, **target)
    with pytest.raises(TargetError, match="The callable target failed on the model's output: IndexError"):
        biasprop.explain(Nothing().eval(), ROWS, lambda y: y.max(1).values)
    with pytest.raises(TargetError, match=r"shape \(4,\), not a tensor of shape \(4, 0\)"):
        biasprop.explain(small_mlp(), ROWS, lambda y: y[:, :0])


def test_a_callable_target_without_a_gradient():
    def broken(y):
        grown = y[:, 0].exp()
        grown.add_(1)
        return grown

    with pytest.raises(TargetError, match="The callable target has no gradient: RuntimeError: .*inplace operation"):
        biasprop.explain(small_mlp(), ROWS, broken)
