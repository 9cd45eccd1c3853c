"""The digit flip, by hand."""

import pytest
import torch
from torch import nn

from biasprop import InputError, metrics


def test_digit_flip():
    weight = torch.zeros(2, 10)
    weight[0, :5], weight[1, 5:] = 1, 1
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 2, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(weight)
    x = torch.tensor([[3.0, 2, 1, 1, 1, 1, 1, 1, 1, 1]]).reshape(1, 1, 2, 5)
    source, target = (x * weight[k].reshape(1, 1, 2, 5) for k in (0, 1))
    flip = metrics.digit_flip(model, x, 0, 1, source, target, erase=0.2)
    assert flip.change.item() == 5  # the pixels 3 and 2; 8 - 5 becomes 3 - 5
    assert flip.flipped.item()
    nothing = metrics.digit_flip(model, x, 0, 1, torch.zeros_like(x), torch.zeros_like(x))
    assert nothing.change.item() == 0
    assert not nothing.flipped.item()
    with pytest.raises(InputError, match="Label 2"):
        metrics.digit_flip(model, x, 0, 2, source, target)
    with pytest.raises(InputError, match="one shape"):
        metrics.digit_flip(model, x, 0, 1, source[:, :, :1], target)
