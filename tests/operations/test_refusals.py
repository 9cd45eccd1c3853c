"""What is not known is refused by name, never guessed."""

import pytest
import torch
from helpers import build
from torch import nn

import biasprop
from biasprop import UnsupportedOperation


def test_unsupported_operation_is_named_with_its_module_path():
    class Inner(nn.Module):
        def forward(self, z):
            return torch.cumsum(z, 1)

    model = nn.Sequential(nn.Linear(3, 3), Inner()).eval()
    with pytest.raises(UnsupportedOperation, match=r"cumsum.*1\.cumsum"):
        biasprop.explain(model, torch.randn(1, 3), 0)


def test_attention_product_is_refused_not_guessed():
    class Attention(nn.Module):
        def forward(self, z):
            return (z[..., None] @ z[:, None]).flatten(1)

    with pytest.raises(UnsupportedOperation, match="matmul"):
        biasprop.explain(Attention().eval(), torch.randn(2, 3), 0)


def test_operation_that_mixes_examples_is_refused():
    class Mixes(nn.Module):
        def forward(self, z):
            return z - z.mean(0)

    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(Mixes().eval(), torch.randn(4, 3), 0)


def test_accumulating_index_put_is_refused():
    model, x = build(lambda z: torch.zeros_like(z).index_put((torch.arange(len(z)),), z, accumulate=True))
    with pytest.raises(UnsupportedOperation, match="adds up where indices repeat"):
        biasprop.explain(model, x, 0)
