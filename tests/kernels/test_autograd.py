"""Derivatives of one operation: those of copies take no values, and most are called without autograd's engine."""

import pytest
import torch
import torch.nn.functional as F

from biasprop.kernels.autograd import forget, pull_back


class Python(torch.autograd.Function):
    """Nobody knows what it reads."""

    @staticmethod
    def forward(ctx, u):
        ctx.u = u
        return u * 1

    @staticmethod
    def backward(ctx, g):
        return g


COPIES = {
    "view": lambda u: u.view(6, 4),
    "transpose": lambda u: u.transpose(0, 2),
    "several": lambda u: u.permute(2, 0, 1).reshape(4, 6)[1:].unsqueeze(0),
    "clone": lambda u: u.clone(),
    "cat": lambda u: torch.cat([u, u], 1),
    "pad": lambda u: F.pad(u, (1, 2)),
    "expand": lambda u: u.unsqueeze(0).expand(3, -1, -1, -1),
}
READERS = {
    "max pool": lambda u: F.max_pool1d(u, 2),
    "product": lambda u: u * u,
    "behind a view": lambda u: u.exp().view(6, 4),
    "python": Python.apply,
}


def held(tensor):
    return tensor.untyped_storage().nbytes()


@pytest.mark.parametrize("name", [*COPIES, *READERS])
@pytest.mark.parametrize("targets", [1, 3])
def test_what_copies_took_is_freed_and_their_derivative_stays(name, targets):
    torch.manual_seed(0)
    values = torch.randn(2, 3, 4, dtype=torch.float64)
    function = (COPIES | READERS)[name]
    leaf, other = (values.detach().requires_grad_() for _ in range(2))
    output, expected = function(leaf), function(other)
    g = torch.randn(targets, *output.shape, dtype=torch.float64)
    forget([leaf], output)
    assert (held(leaf) == 8) == (name in COPIES)
    if name != "python":  # which vmap does not know
        torch.testing.assert_close(pull_back(output, [leaf], g), pull_back(expected, [other], g))
    torch.testing.assert_close(output, expected)
    assert leaf.shape == values.shape
    assert values.abs().sum() > 0


ALONE = {
    "view": lambda u, v: u.view(6, 4),
    "cat": lambda u, v: torch.cat([v, u.detach(), u], 1),
    "pad": lambda u, v: F.pad(u, (1, 2)),
    "max pool": lambda u, v: F.max_pool2d(u, 2),
    "stack": lambda u, v: torch.stack([u, v]),
    "where": lambda u, v: torch.where(u > 0, u, v),
}
OTHERS = {
    "one part of several": lambda u, v: u.split(2, 2)[1],
    "several steps": lambda u, v: u.transpose(0, 2).reshape(12, 2),
    "broadcast": lambda u, v: torch.ones(5, 2, 3, 4, dtype=u.dtype) * u,
    "twice": lambda u, v: torch.cat([u, u], 1),
    "nothing": lambda u, v: v.clone(),
    "python": lambda u, v: Python.apply(u),
}


@pytest.mark.parametrize("name", [*ALONE, *OTHERS])
def test_what_leads_to_its_operands_at_once_is_called_and_the_rest_goes_through_autograd(name, monkeypatch):
    torch.manual_seed(0)
    operands = [torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    output = (ALONE | OTHERS)[name](*operands)
    g = torch.randn(1, *output.shape, dtype=torch.float64)
    used = [u for u in operands if name in ("cat", "stack", "where") or u is operands[0]]
    expected = torch.autograd.grad(output, used, g[0], retain_graph=True, allow_unused=True)
    calls, engine = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **kwargs: calls.append(1) or engine(*args, **kwargs))
    for _ in range(2):  # what it keeps is kept
        found = pull_back(output, used, g)
        assert bool(calls) == (name in OTHERS)
        for one, right in zip(found, expected, strict=True):
            assert not one.requires_grad
            torch.testing.assert_close(one[0], torch.zeros_like(one[0]) if right is None else right)
