"""The formulas of spec section 3 by hand, rules by name, and bad names and temperatures."""

import pytest
import torch
from torch import nn

import biasprop
from biasprop import RuleError
from biasprop.rules import NAMES, Compensation, EqualShare, PositiveShare, make_rule, shares

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


def model():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()


@pytest.mark.parametrize("rule", ["bias4", None, 3, Compensation, object()])
def test_unknown_rule(rule):
    with pytest.raises(RuleError, match="Unknown rule.*'bias1'"):
        biasprop.explain(model(), torch.randn(3, 4).double(), rule=rule)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "1"])
def test_bad_temperature(temperature):
    with pytest.raises(RuleError, match="positive number"):
        biasprop.explain(model(), torch.randn(3, 4).double(), temperature=temperature)


def test_a_temperature_where_there_is_none_or_another_is_refused():
    x = torch.randn(3, 4).double()
    with pytest.raises(RuleError, match="The rule 'bias3' has no temperature: leave temperature=1.0"):
        biasprop.explain(model(), x, rule="bias3", temperature=5)
    with pytest.raises(RuleError, match="carries its own temperature"):
        biasprop.explain(model(), x, rule=Compensation(0.5), temperature=5)


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    rule = make_rule(name, 1.0)
    assert type(rule) is NAMES[name]
    assert rule == NAMES[name]()
    assert make_rule(rule) is rule
    if hasattr(rule, "temperature"):
        assert make_rule(name, 0.5) == NAMES[name](0.5)


def test_names_are_those_of_the_paper():
    assert {"bias1": Compensation, "bias2": EqualShare, "bias3": PositiveShare} == NAMES
