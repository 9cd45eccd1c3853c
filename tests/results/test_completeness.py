"""A sum that misses, or is not finite, is an error."""

import pytest
import torch
from helpers import build
from torch import nn

import biasprop
from biasprop import CompletenessError, UnsupportedOperation


@pytest.mark.parametrize("function", [lambda z: z.flip(0), lambda z: z.roll(1, 0), lambda z: z.sort(0)[0]])
def test_examples_mixed_without_a_change_of_shape(function):
    model, x = build(function)
    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(model, x, 0)


def test_a_gradient_that_is_not_finite_is_an_error():
    with pytest.raises(CompletenessError, match="not finite"):
        biasprop.explain(nn.Sequential(nn.ReLU(), Root()).eval(), torch.zeros(1, 3), 0)


class Root(nn.Module):
    def forward(self, z):
        return torch.sqrt(z)
