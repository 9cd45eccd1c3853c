"""The formulas of spec section 3 by hand, rules of one's own, and bad rules."""

import pytest
import torch
from torch import nn

import biasprop
from biasprop import RuleError
from biasprop.rules import Compensation, EqualShare, PositiveShare, shares

M = torch.tensor([[1.0, -2.0, 0.0, 3.0]]).double()


def alpha(rule, m=M, h=1.0, support=True, wired=True):
    every = torch.ones_like(m, dtype=torch.bool)
    sign = torch.full(m.shape[:-1], float(h)).double()
    return shares(rule, m, sign, torch.ones_like(sign), every & torch.tensor(support), every & torch.tensor(wired))


def softmax(*scores):
    e = torch.tensor(scores).double().exp()
    return e / e.sum()


def test_compensation_is_a_softmax_against_the_sign_of_the_bias():
    for h in (2.0, -2.0, 0.0):
        sign = (h > 0) - (h < 0)
        expected = softmax(-sign * 1 / 0.5, sign * 2 / 0.5, -sign * 3 / 0.5)
        torch.testing.assert_close(alpha(Compensation(0.5), h=h)[0, [0, 1, 3]], expected)
        assert alpha(Compensation(0.5), h=h)[0, 2] == 0


def test_equal_share_does_not_look_at_the_bias():
    torch.testing.assert_close(alpha(EqualShare(2.0), h=-1.0)[0, [0, 1, 3]], softmax(-0.5, 1.0, -1.5))


def test_positive_share_is_proportional():
    torch.testing.assert_close(alpha(PositiveShare()), torch.tensor([[0.25, 0, 0, 0.75]]).double())


def test_positive_share_without_positive_components_is_uniform_over_the_others():
    torch.testing.assert_close(alpha(PositiveShare(), -M.abs()), torch.tensor([[1, 1, 0, 1]]).double() / 3)


@pytest.mark.parametrize("rule", [Compensation(), EqualShare(), PositiveShare()])
def test_fallbacks_in_order(rule):
    zero = torch.zeros(1, 4).double()
    half = torch.tensor([[0.5, 0.5, 0, 0]]).double()
    torch.testing.assert_close(alpha(rule, zero, support=[True, True, False, False]), half)
    torch.testing.assert_close(alpha(rule, zero, support=False, wired=[True, True, False, False]), half)
    assert (alpha(rule, zero, support=False, wired=False) == 0).all()


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


@pytest.mark.parametrize("rule", ["bias4", None, 3, Compensation, object()])
def test_unknown_rule(rule):
    with pytest.raises(RuleError, match="Unknown rule.*'bias1'"):
        biasprop.explain(model(), torch.randn(3, 4).double(), rule=rule)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "1"])
def test_bad_temperature(temperature):
    with pytest.raises(RuleError, match="positive number"):
        biasprop.explain(model(), torch.randn(3, 4).double(), temperature=temperature)
