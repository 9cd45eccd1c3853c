"""The Gini coefficient and the prior made of it."""

import pytest
import torch

from biasprop import InputError, gini, sparsity_loss


def test_gini():
    values = torch.rand(30, dtype=torch.float64)
    pairs = (values[:, None] - values).abs().sum() / (2 * 30**2 * values.mean())
    torch.testing.assert_close(gini(values), pairs)
    assert gini(torch.ones(5)) == 0
    assert gini(torch.tensor([0.0, 0, 0, 2])).item() == pytest.approx(0.75)
    for wrong in (torch.zeros(4), torch.tensor([1.0, -1]), torch.tensor([1.0, float("nan")])):
        with pytest.raises(InputError, match="Gini"):
            gini(wrong)
    with pytest.raises(InputError, match="Gini"):
        sparsity_loss(torch.zeros(3, 4))
