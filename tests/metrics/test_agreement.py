"""How far two attributions agree: cases by hand, chance, bad input."""

import pytest
import torch

from biasprop import InputError, metrics


def test_relative_difference():
    reference = torch.tensor([[1.0, -1, 2], [2, 2, 0]])
    torch.testing.assert_close(
        metrics.relative_difference(torch.tensor([[1.0, 1, 2], [2, 2, 0]]), reference), torch.tensor([0.5, 0.0])
    )
    with pytest.raises(InputError, match="zero everywhere in example 1"):
        metrics.relative_difference(reference, torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    for wrong in (reference[:1], reference * float("inf")):
        with pytest.raises(InputError):
            metrics.relative_difference(wrong, reference)


def test_overlap_and_its_chance_level():
    a = torch.arange(20.0).reshape(1, 20)
    assert metrics.top_overlap(a, -a, 0.1).share.item() == 1
    assert metrics.top_overlap(a, a.flip(1), 0.1).share.item() == 0
    assert metrics.top_overlap(a, a, 0.1).chance == 0.1
    torch.manual_seed(0)
    random = metrics.top_overlap(torch.randn(500, 100), torch.randn(500, 100), 0.1)
    assert random.share.mean().item() == pytest.approx(random.chance, abs=0.02)
    with pytest.raises(InputError, match="fraction"):
        metrics.top_overlap(a, a, 0.0)
