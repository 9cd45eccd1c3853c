"""Operations of the user's own: a line teaches one, and what it says is tried."""

import pytest
import torch
from helpers import build
from torch import nn

import biasprop
from biasprop import UnsupportedOperation, operations


def test_a_rule_for_a_new_operation_is_one_line():
    model = nn.Sequential(nn.Linear(4, 4), Erfinv(), nn.Linear(4, 2)).double().eval()
    x = torch.rand(2, 4).double() / 4
    with pytest.raises(UnsupportedOperation, match="erfinv"):
        biasprop.explain(model, x, 0)
    explanation = biasprop.explain(model, x, 0, operations={torch.ops.aten.erfinv: operations.gate})
    assert explanation.completeness_error.max() < 1e-12
    assert "1.erfinv" in explanation.sources.names


class Erfinv(nn.Module):
    def forward(self, z):
        return torch.erfinv(z.tanh() * 0.5)


def test_a_gate_that_is_not_elementwise_is_refused():
    model, x = build(lambda z: z.flatten(1).softmax(1))
    with pytest.raises(UnsupportedOperation, match="element by element"):
        biasprop.explain(model, x, 0, operations={torch.ops.aten.softmax: operations.gate})
