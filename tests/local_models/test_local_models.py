"""Each kind of local model on tensors that can be worked out by hand."""

import pytest
import torch

from biasprop.kernels import Layout, Settings
from biasprop.kernels.dense import Dense
from biasprop.kernels.slope import Slope
from biasprop.local_models import Components, Diagonal, Routing, Stencil
from biasprop.rules import Compensation, EqualShare, PositiveShare

RULES = [Compensation(0.7), EqualShare(1.3), PositiveShare()]


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def settings(rule):
    return Settings(rule, 2**20)


def test_a_diagonal_passes_bias_on_as_it_is():
    u = leaf(-1.0, 2.0, 3.0)
    local = Diagonal(u, u * u, intercept="tangent")
    torch.testing.assert_close(local.slope.scale, numbers(-2, 4, 6))
    torch.testing.assert_close(local.intercept, numbers(-1, -4, -9))
    beta = torch.randn(2, 3, dtype=torch.float64)
    received, lost = local.distribute(beta, Slope(), None, settings(RULES[0]))
    assert torch.equal(received[0], beta)
    assert lost is None
    torch.testing.assert_close(local.gradient(beta)[0], beta * numbers(-2, 4, 6))
    assert not local.by_rule


def test_the_output_of_a_relu_says_where_it_is_open():
    u = leaf(-1.0, 2.0)
    local = Diagonal(u, u.relu(), intercept=None, slope=Slope(output=u.detach().relu()))
    assert local.intercept is None
    torch.testing.assert_close(local.gradient(numbers(5, 7)[None])[0], numbers(0, 7)[None])


def test_routing_moves_bias_with_the_index_and_loses_it_at_constants():
    u = leaf(10.0, 20.0, 30.0)
    output = torch.cat([u[[2, 0, 0]], numbers(1)])
    local = Routing([u], output, numbers(0, 0, 0, 1), torch.tensor([True, True, True, False]))
    received, lost = local.distribute(numbers(1, 2, 4, 8)[None], Slope(), None, settings(RULES[0]))
    torch.testing.assert_close(received[0], numbers(6, 0, 1)[None])
    torch.testing.assert_close(lost, numbers(0, 0, 0, 8)[None])


@pytest.mark.parametrize("rule", RULES)
def test_components_are_shared_by_the_rule(rule):
    one, two = leaf(1.0, -2.0, 0.0), leaf(3.0, 1.0, 5.0)
    local = Components([one, two], one - 2 * two, [one.shape, two.shape], [numbers(1), numbers(-2)])
    h, beta = numbers(0.5, -0.5, 0.5), numbers(1, 2, 4)[None]
    received, lost = local.distribute(beta, Slope(), h, settings(rule))
    assert lost is None
    alpha = rule.form.alpha(torch.stack([one.detach(), -2 * two.detach()], 1), h)
    torch.testing.assert_close(torch.stack(received, 2), alpha * beta[..., None])
    torch.testing.assert_close(received[0] + received[1], beta)
    assert received[0][0, 2] == 0  # its component is zero, the other's is not
    torch.testing.assert_close(local.gradient(beta)[1], -2 * beta)


@pytest.mark.parametrize("rule", RULES)
def test_a_product_is_its_tangent_half_to_each_factor_also_at_zero(rule):
    one, two = leaf(2.0, 0.0), leaf(5.0, 4.0)
    local = Components([one, two], one * two, [one.shape, two.shape], halves=True)
    torch.testing.assert_close(local.intercept, numbers(-10, 0))
    received, _ = local.distribute(numbers(6, 8)[None], Slope(), local.intercept, settings(rule))
    shares = [numbers(3, 4), numbers(3, 4)]
    torch.testing.assert_close([share[0] for share in received], shares)


def test_broadcast_operands_receive_sums():
    wide, narrow = leaf(1.0, 2.0, 3.0), numbers(4).expand(3).requires_grad_()
    local = Components([wide, narrow], wide + narrow, [wide.shape, torch.Size([1])], [numbers(1), numbers(1)])
    received, _ = local.distribute(numbers(1, 1, 1)[None], Slope(), None, settings(PositiveShare()))
    torch.testing.assert_close(received[0], numbers(1 / 5, 2 / 6, 3 / 7)[None])
    torch.testing.assert_close(received[1], numbers(4 / 5 + 4 / 6 + 4 / 7)[None])


@pytest.mark.parametrize("rule", RULES)
def test_a_stencil_is_alpha_transposed_times_beta(rule):
    weight, u = torch.randn(3, 4, dtype=torch.float64), leaf([0.0, 1.0, -2.0, 3.0], [1.0, 1.0, 1.0, 0.0])
    here = torch.zeros(1, 1, dtype=torch.int32)
    output, layout = u @ weight.T, Layout((2, 1, 4, 1), (2, 1, 3, 1), weight[None, None], here)
    local = Stencil(u, output, Dense(weight, u.shape, output.shape), lambda: layout)
    h, beta = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 2, 3, dtype=torch.float64)
    received, lost = local.distribute(beta, Slope(), h, settings(rule))
    alpha = rule.form.alpha(weight * u.detach()[:, None], h)
    torch.testing.assert_close(received[0], torch.einsum("jno,nok->jnk", beta, alpha))
    assert lost is None


def test_an_output_is_given_away_and_no_longer_held():
    u = leaf(1.0, 2.0)
    local = Diagonal(u, u * 2, intercept=None)
    assert torch.equal(local.release(), numbers(2, 4))
    assert local.shape == (2,)
    assert not any(value is not local.slope and torch.is_tensor(value) for value in vars(local).values())
