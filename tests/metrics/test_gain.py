"""Symmetric relevance gain: on a network whose best order is known."""

import pytest
import torch
from torch import nn

from biasprop import InputError
from biasprop.metrics import insertion_and_deletion, mean_colour, symmetric_relevance_gain


class Sum(nn.Module):
    """Logit 1 is a weighted sum of the pixels, logit 0 is nothing."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        y = (x * self.weight).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(y), y], 1)


@pytest.fixture
def net():
    return Sum(torch.randn(1, 2, 8, 8, dtype=torch.float64))


@pytest.fixture
def x():
    return torch.randn(5, 2, 8, 8, dtype=torch.float64)


ONE = torch.ones(5, dtype=torch.long)
ZERO = {"zero": torch.zeros_like}


def gain(net, x, attribute, **options):
    return symmetric_relevance_gain(net, [(x, ONE)], attribute, replacements=ZERO, progress=False, **options)


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_the_true_order_is_the_best(net, x, patch):
    true = gain(net, x, lambda x, y: x * net.weight, patch=patch, steps=64)
    opposite = gain(net, x, lambda x, y: -x * net.weight, patch=patch, steps=64)
    other = gain(net, x, lambda x, y: torch.randn_like(x), patch=patch, steps=64)
    torch.testing.assert_close(true.of["zero"], -opposite.of["zero"], atol=0.05, rtol=0)
    assert true.mean > 0.3
    assert (true.of["zero"] > other.of["zero"]).all()


def test_it_is_insertion_minus_deletion(net, x):
    attribute = lambda x, y: x * net.weight  # noqa: E731
    both = insertion_and_deletion(net, [(x, ONE)], attribute, steps=16, replacement=torch.zeros_like, progress=False)
    assert gain(net, x, attribute).mean == pytest.approx(both.insertion_area - both.deletion_area)


def test_maps_batches_and_replacements(net, x):
    whole = symmetric_relevance_gain(net, [(x, ONE)], lambda x, y: x * net.weight, progress=False)
    parts = symmetric_relevance_gain(
        net, [(x[:2], ONE[:2]), (x[2:], ONE[2:])], lambda x, y: (x * net.weight).sum(1), progress=False
    )
    assert set(whole.of) == {"blur", "mean colour"}
    for name in whole.of:
        torch.testing.assert_close(whole.of[name], parts.of[name])
    assert "over 5 examples" in str(whole)
    torch.testing.assert_close(mean_colour(x)[:, :, 3, 4], x.mean((2, 3)))


@pytest.mark.parametrize(
    ("attribute", "options"),
    [
        (lambda x, y: x[:, :, 1:], {}),
        (lambda x, y: x * torch.nan, {}),
        (lambda x, y: x, {"steps": 0}),
        (lambda x, y: x, {"patch": 0}),
    ],
)
def test_bad_input(net, x, attribute, options):
    with pytest.raises(InputError):
        gain(net, x, attribute, **options)
    with pytest.raises(InputError):
        symmetric_relevance_gain(net, [], attribute, progress=False)
