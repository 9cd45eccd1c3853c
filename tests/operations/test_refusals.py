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
            return torch.cumprod(z, 1)

    model = nn.Sequential(nn.Linear(3, 3), Inner()).eval()
    with pytest.raises(UnsupportedOperation, match=r"cumprod.*1\.cumprod"):
        biasprop.explain(model, torch.randn(1, 3), 0)


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


@pytest.mark.parametrize("reduce", ["add", "multiply"])
@pytest.mark.parametrize("value", [False, True])
def test_scatter_that_combines_is_refused(reduce, value):
    def combine(z):
        index = torch.zeros(z.shape, dtype=torch.long)
        return z.scatter(1, index, 2.0 if value else z, reduce=reduce)

    model, x = build(combine)
    with pytest.raises(UnsupportedOperation, match=f"reduce='{reduce}' combines values instead of replacing them"):
        biasprop.explain(model, x, 0)


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.inner(x)).flatten(1)


@pytest.mark.parametrize(
    "model",
    [
        Applied(lambda z: z.cumprod(1)),
        Applied(lambda z: z.cummax(1).values),
        Applied(lambda z: torch.linalg.inv(z[:, :, None] * z[:, None] + torch.eye(4))),
        Applied(lambda z: torch.cdist(z[:, None], z[:, None] + 1)),
    ],
)
def test_what_mixes_elements_is_not_to_be_passed_as_a_gate(model):
    with pytest.raises(
        UnsupportedOperation, match="has no local model yet: .*It does not work elementwise: give it"
    ) as caught:
        biasprop.explain(model.eval(), torch.randn(2, 4), 0)
    assert "operations.gate" not in str(caught.value)


@pytest.mark.parametrize("function", [torch.erfc, torch.log2, torch.log10])
def test_what_works_elementwise_is_and_that_helps(function):
    model, x = Applied(lambda z: function(z.abs() + 0.1)).eval(), torch.randn(2, 4)
    with pytest.raises(UnsupportedOperation, match=r"If it works elementwise, pass operations=\{torch.ops") as caught:
        biasprop.explain(model, x, 0)
    advice = str(caught.value).split("pass operations=")[1].split("; otherwise")[0]
    own = eval(advice, {"torch": torch, "biasprop": biasprop})
    assert biasprop.explain(model, x, 0, operations=own).completeness_error.max() < 1e-5
