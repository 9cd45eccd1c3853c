"""What a unit without non-zero components does, in the order of spec section 3."""

import pytest
import torch

from biasprop.rules import Compensation, EqualShare, PositiveShare, shares


def alpha(rule, m, h=1.0, support=True, wired=True):
    every = torch.ones_like(m, dtype=torch.bool)
    sign = torch.full(m.shape[:-1], float(h)).double()
    return shares(rule, m, sign, torch.ones_like(sign), every & torch.tensor(support), every & torch.tensor(wired))


@pytest.mark.parametrize("rule", [Compensation(), EqualShare(), PositiveShare()])
def test_fallbacks_in_order(rule):
    zero = torch.zeros(1, 4).double()
    half = torch.tensor([[0.5, 0.5, 0, 0]]).double()
    torch.testing.assert_close(alpha(rule, zero, support=[True, True, False, False]), half)
    torch.testing.assert_close(alpha(rule, zero, support=False, wired=[True, True, False, False]), half)
    assert (alpha(rule, zero, support=False, wired=False) == 0).all()
