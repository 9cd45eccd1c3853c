"""Rules of one's own: complete, watched, and what explanations record of them."""

import pytest
import torch
from helpers import build
from torch import nn

import biasprop
from biasprop import RuleError
from biasprop.rules import Compensation, EqualShare


class Largest:
    """Everything to the largest component."""

    def alpha(self, m, h):
        return torch.nn.functional.one_hot(m.masked_fill(m == 0, -torch.inf).argmax(-1), m.shape[-1]).to(m)


class Signed:
    """Shares proportional to the components themselves: some are negative, all sum to 1."""

    def alpha(self, m, h):
        return m / m.sum(-1, keepdim=True)


class Broken:
    def alpha(self, m, h):
        return torch.full_like(m, 0.5)


def model():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()


@pytest.mark.parametrize("rule", [Largest(), Signed()])
def test_a_rule_of_ones_own_is_complete(rule):
    explanation = biasprop.explain(model(), torch.randn(3, 4).double(), rule=rule)
    assert explanation.completeness_error.max() < 1e-11
    assert explanation.rule == type(rule).__name__


def test_a_rule_that_does_not_sum_to_1_is_refused():
    with pytest.raises(RuleError, match=r"Broken is not a split.*sums to "):
        biasprop.explain(model(), torch.randn(3, 4).double(), rule=Broken())


class Same(Compensation):
    def alpha(self, m, h):
        return m


class Mutates:
    def alpha(self, m, h):
        return m.abs_().div_(m.sum(-1, keepdim=True))


def test_rules_of_ones_own_are_watched():
    model, x = build(torch.relu)
    with pytest.raises(RuleError, match="Same is not a split"):
        biasprop.explain(model.float(), x.float(), 0, rule=Same())
    assert biasprop.explain(model.float(), x.float(), 0, rule=Mutates()).completeness_error.max() < 1e-5
    for bad in (0.0, -1.0, 1e-40, "a"):
        for kind in (Compensation, EqualShare):
            with pytest.raises(RuleError, match="temperature"):
                kind(bad)
