"""Derivatives of copies take no values: what is copied may be freed."""

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
