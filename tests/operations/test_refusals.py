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


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = kind(4, 4, batch_first=True)

    def forward(self, x):
        return self.inner(x[:, None])[0].flatten(1)


@pytest.mark.parametrize(
    "model",
    [
        Applied(lambda z: z.softmax(1)),
        Applied(lambda z: z.log_softmax(1)),
        Applied(lambda z: z.cumsum(1)),
        Applied(lambda z: z.cumprod(1)),
        Applied(lambda z: nn.functional.layer_norm(z, (4,))),
        Applied(lambda z: nn.functional.scaled_dot_product_attention(z[:, None], z[:, None], z[:, None])),
        Applied(lambda z: torch.bmm(z[:, :, None], z[:, None])),
        Applied(lambda z: z.norm(dim=1, keepdim=True)),
        Applied(lambda z: nn.functional.normalize(z)),
        Recurrent(nn.LSTM),
        Recurrent(nn.GRU),
    ],
)
def test_what_mixes_elements_is_not_to_be_passed_as_a_gate(model):
    with pytest.raises(
        UnsupportedOperation, match="has no local model yet: .*It does not work elementwise: give it"
    ) as caught:
        biasprop.explain(model.eval(), torch.randn(2, 4), 0)
    assert "operations.gate" not in str(caught.value)


@pytest.mark.parametrize("function", [torch.erfc, torch.log2, torch.asinh])
def test_what_works_elementwise_is_and_that_helps(function):
    model, x = Applied(lambda z: function(z.abs() + 0.1)).eval(), torch.randn(2, 4)
    with pytest.raises(UnsupportedOperation, match=r"If it works elementwise, pass operations=\{torch.ops") as caught:
        biasprop.explain(model, x, 0)
    advice = str(caught.value).split("pass operations=")[1].split("; otherwise")[0]
    own = eval(advice, {"torch": torch, "biasprop": biasprop})
    assert biasprop.explain(model, x, 0, operations=own).completeness_error.max() < 1e-5
