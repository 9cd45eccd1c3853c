"""Lower precisions become float32, or float64 where anything is, everywhere; the rest stays as it is."""

import pytest
import torch
from torch import nn

import biasprop
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


class OfSeveral(nn.Module):
    """A layer in double precision in the middle, in the model or at its end."""

    def __init__(self, layer=torch.float32, inside=torch.float32, output=torch.float32):
        super().__init__()
        self.first, self.layer, self.last = nn.Conv2d(2, 3, 3), nn.Linear(12, 4, dtype=layer), nn.Linear(4, 3)
        self.inside, self.output = inside, output

    def forward(self, x):
        u = self.first(x).relu().flatten(1).to(self.inside) * 1.5
        u = self.layer(u.to(self.layer.weight.dtype)).relu().to(self.last.weight.dtype)
        return self.last(u).to(self.output) * 2 + 0.1


class DoubleTable(nn.Module):
    """A table of numbers in double precision, made inside, that a network in single precision is scaled by."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 3, 3), nn.Linear(12, 3)

    def forward(self, x):
        table = torch.linspace(0.5, 1, 4, dtype=torch.float64).reshape(2, 2)
        u = (self.first(x) * table + 0.1 * table).to(x.dtype)
        return self.last(((u.relu() + u * table) / table).to(x.dtype).flatten(1))


@pytest.mark.parametrize("linearization", ["frozen", "tangent"])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_table_in_double_precision(rule, linearization):
    model, x = DoubleTable().eval(), torch.randn(3, 2, 4, 4)
    found = biasprop.explain(model, x, target=1, rule=rule, linearization=linearization)
    expected = biasprop.explain(model.double(), x.double(), target=1, rule=rule, linearization=linearization)
    assert found.attribution.dtype == torch.float32
    assert (found.completeness_error <= 1e-5).all()
    torch.testing.assert_close(found.attribution.double(), expected.attribution, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sources.amounts.double(), expected.sources.amounts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", ["layer", "inside", "output"])
@pytest.mark.parametrize("handover", [None, "first"])
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
def test_double_precision_anywhere(where, handover, rule):
    model, x = OfSeveral(**{where: torch.float64}).eval(), torch.randn(3, 2, 4, 4)
    found = biasprop.explain(model, x, target=1, rule=rule, handover=handover)
    output, exact = model(x)[:, 1], where != "inside"
    expected = biasprop.explain(model.double(), x.double(), target=1, rule=rule, handover=handover)
    assert found.attribution.dtype == (torch.float64 if exact else torch.float32)
    assert (found.completeness_error <= (1e-12 if exact else 1e-5)).all()
    torch.testing.assert_close(found.output.double(), output.detach().double(), rtol=1e-5, atol=1e-6)
    if exact:
        torch.testing.assert_close(found.attribution, expected.attribution)
