"""What takes the place of removed pixels."""

import math

import pytest
import torch

from biasprop import metrics


def test_the_blur():
    x = torch.zeros(1, 2, 61, 61).double()
    x[0, 0, 30, 30] = 1
    blur = metrics.blurred(x)
    assert not blur[:, 1].any()
    assert blur[0, 0, 30, 40] / blur[0, 0, 30, 30] == pytest.approx(math.exp(-100 / (2 * (41 * math.sqrt(2)) ** 2)))
    torch.testing.assert_close(metrics.blurred(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
