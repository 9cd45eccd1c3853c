"""Matrix products against every component written out, one unit at a time."""

import math

import pytest
import torch

from biasprop.kernels import Settings
from biasprop.kernels.slope import Slope
from biasprop.local_models import Contraction
from biasprop.rules import make_rule


def alpha(m, h, rule):
    """Eq. 15-20 for one unit with components m, all of them non-zero."""
    if rule == "bias3":
        positive = m.clamp_min(0)
        return positive / positive.sum() if positive.sum() > 0 else torch.full_like(m, 1 / len(m))
    sign = -float(torch.sign(h)) if rule == "bias1" else -1.0
    return torch.softmax(sign * m, 0)


def by_hand(left, right, beta, slope, h, rule, open_, scale):
    """What either factor receives: each product stands there once for every open factor."""
    received = [torch.zeros_like(left), torch.zeros_like(right)]
    for unit in torch.cartesian_prod(*(torch.arange(n) for n in beta.shape)):
        *batch, i, d = (int(n) for n in unit)
        b = tuple(batch)
        products = scale * slope[(*b, i, d)] * left[(*b, i)] * right[(*b, slice(None), d)]
        m = torch.cat([products] * sum(open_))
        shares = iter((alpha(m, h[(*b, i, d)], rule) * beta[(*b, i, d)]).chunk(sum(open_)))
        if open_[0]:
            received[0][(*b, i)] += next(shares)
        if open_[1]:
            received[1][(*b, slice(None), d)] += next(shares)
    return [r for r, o in zip(received, open_, strict=True) if o]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
@pytest.mark.parametrize(
    ("open_", "scale"), [((False, True), 1.0), ((True, False), 1.0), ((True, True), 1.0), ((True, True), 0.5)]
)
def test_against_every_component(open_, scale, rule, dtype):
    left, right = torch.randn(2, 3, 4, 5, dtype=dtype), torch.randn(2, 3, 5, 6, dtype=dtype)
    leaves = [t.requires_grad_() if o else t for t, o in zip((left, right), open_, strict=True)]
    output = leaves[0] @ leaves[1]
    local = Contraction(left, right, output, open_, scale=scale)
    slope, h, beta = torch.rand_like(output), torch.randn_like(output), torch.randn_like(output)
    with torch.no_grad():
        found, lost = local.distribute(beta[None], Slope(slope), h, Settings(make_rule(rule), 2**20))
        expected = by_hand(left, right, beta, slope, h, rule, open_, scale)
    assert lost is None
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[0], other, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-5)
        assert math.isclose(float(one.sum()), float(beta.sum()) / len(expected), rel_tol=1e-3, abs_tol=1e-3)


def test_a_factor_that_is_broadcast_receives_the_sum():
    left, right = torch.rand(1, 4, 5, dtype=torch.float64), torch.rand(3, 5, 2, dtype=torch.float64)
    whole = left.expand(3, 4, 5).clone()
    results = []
    for one in (left.requires_grad_(), whole.requires_grad_()):
        local = Contraction(one, right, one @ right, (True, False))
        beta = torch.arange(24, dtype=torch.float64).reshape(1, 3, 4, 2)
        results.append(local.distribute(beta, Slope(), None, Settings(make_rule("bias3"), 2**20))[0][0])
    torch.testing.assert_close(results[0], results[1].sum(1, keepdim=True))


def test_constant_tokens_take_no_part():
    """A row of the right factor that does not depend on the input receives nothing where others do."""
    left, right = torch.rand(2, 4, 5, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64).requires_grad_()
    local = Contraction(left, right, left @ right, (False, True))
    depends = torch.ones(2, 5, 3, dtype=torch.bool)
    depends[:, 0] = False
    local.depends = [depends]
    beta = torch.ones(1, 2, 4, 3, dtype=torch.float64)
    for rule in ("bias1", "bias2", "bias3"):
        (received,), _ = local.distribute(beta, Slope(), None, Settings(make_rule(rule), 2**20))
        assert not received[:, :, 0].any()
        torch.testing.assert_close(received.sum(), beta.sum())
    assert local.reached([depends]).all()
    assert not local.reached([torch.zeros_like(depends)]).any()
