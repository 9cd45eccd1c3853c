"""Lower precisions become float32, everywhere; the rest stays as it is."""

import pytest
import torch

from biasprop.graph import compute_dtype, raised


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_floating_point(dtype, expected):
    assert compute_dtype(dtype) == expected
    assert raised(dtype) == expected
    assert raised(torch.ones(2, dtype=dtype)).dtype == expected


@pytest.mark.parametrize("value", [torch.tensor([1, 2]), torch.tensor([True]), torch.int64, 3, "same", None])
def test_the_rest(value):
    assert raised(value) is value
