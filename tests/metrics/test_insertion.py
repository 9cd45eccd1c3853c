"""Insertion and deletion: by hand, and bad input."""

import math
from itertools import pairwise

import pytest
import torch
from toys import Sums, zeros

from biasprop import InputError, metrics


def test_insertion_and_deletion_by_hand():
    """Two classes, the logits a sum of pixels and 0: the probability is the sigmoid of what is shown."""
    x = torch.tensor([[0.4, 0.3], [0.2, 0.1]]).reshape(1, 1, 2, 2)
    found = metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0]))], lambda x, y: x, steps=4, replacement=zeros)
    expected = [1 / (1 + math.exp(-shown)) for shown in (0, 0.4, 0.7, 0.9, 1.0)]
    assert found.fractions == (0, 0.25, 0.5, 0.75, 1)
    assert found.insertion == pytest.approx(expected)
    assert found.deletion == pytest.approx([1 / (1 + math.exp(-left)) for left in (1.0, 0.6, 0.3, 0.1, 0)])
    assert found.insertion_area == pytest.approx(sum((a + b) / 8 for a, b in pairwise(expected)))
    assert "over 1 examples" in str(found)


def test_insertion_refuses_bad_input():
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(InputError, match="no example"):
        metrics.insertion_and_deletion(Sums(), [], lambda x, y: x)
    with pytest.raises(InputError, match="Label 9"):
        metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0, 9]))], lambda x, y: x)
    with pytest.raises(InputError, match="step"):
        metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0, 0]))], lambda x, y: x, steps=0)
