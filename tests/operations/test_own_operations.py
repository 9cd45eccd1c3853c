"""Operations of the user's own: a line teaches one, and what it says is tried."""

import pytest
import torch
from helpers import build, randomise
from torch import nn

import biasprop
from biasprop import UnsupportedOperation, operations


def test_a_rule_for_a_new_operation_is_one_line():
    model = nn.Sequential(nn.Linear(4, 4), Erfinv(), nn.Linear(4, 2)).double().eval()
    x = torch.rand(2, 4).double() / 4
    with pytest.raises(UnsupportedOperation, match="erfinv"):
        biasprop.explain(model, x, 0)
    explanation = biasprop.explain(model, x, 0, operations={torch.ops.aten.erfinv: operations.gate})
    assert explanation.completeness_error.max() < 1e-12
    assert "1.erfinv" in explanation.sources.names


class Erfinv(nn.Module):
    def forward(self, z):
        return torch.erfinv(z.tanh() * 0.5)


def test_a_gate_that_is_not_elementwise_is_refused():
    model, x = build(lambda z: z.flatten(1).softmax(1))
    with pytest.raises(UnsupportedOperation, match="element by element"):
        biasprop.explain(model, x, 0, operations={torch.ops.aten.softmax: operations.gate})


@torch.library.custom_op("mylib::average", mutates_args=())
def average(x: torch.Tensor, dim: list[int]) -> torch.Tensor:
    """The mean, as an operation that biasprop does not know."""
    return x.mean(dim)


@torch.library.custom_op("mylib::tilted", mutates_args=())
def tilted(x: torch.Tensor, dim: list[int]) -> torch.Tensor:
    """A sum whose weights grow along the last dimension."""
    return (x * torch.linspace(0.5, 1.5, x.shape[-1], dtype=x.dtype)).mean(dim)


def _register(operation, weights):
    """Shape and derivative; ``weights`` of the elements, from x."""

    @operation.register_fake
    def _(x, dim):
        return x.mean(dim)

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        for d in sorted(ctx.dims):
            g = g.unsqueeze(d)
        return g.expand_as(x) * weights(x) / torch.Size([x.shape[d] for d in ctx.dims]).numel(), None

    def setup(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.dims = [d % inputs[0].dim() for d in inputs[1]]

    operation.register_autograd(backward, setup_context=setup)


_register(average, torch.ones_like)
_register(tilted, lambda x: torch.linspace(0.5, 1.5, x.shape[-1], dtype=x.dtype))


class Reduced(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function, self.head = nn.Conv2d(1, 3, 3), function, nn.Linear(3, 2)

    def forward(self, x):
        return self.head(torch.relu(self.function(torch.relu(self.conv(x)), [2, 3]) - 0.1))


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_reduction_of_ones_own_is_the_average_that_it_is(rule):
    model, x = randomise(Reduced(average)).double(), torch.randn(3, 1, 6, 6).double()
    own = biasprop.explain(model, x, 0, rule=rule, operations={torch.ops.mylib.average: operations.reduction})
    model.function = torch.mean
    known = biasprop.explain(model, x, 0, rule=rule)
    for name in ("output", "weight", "bias_attribution", "unattributed"):
        torch.testing.assert_close(getattr(own, name), getattr(known, name))
    torch.testing.assert_close(own.sources.amounts, known.sources.amounts)
    assert own.completeness_error.max() < 1e-12


def test_a_reduction_that_weighs_its_elements_differently_is_refused():
    model, x = randomise(Reduced(tilted)).double(), torch.randn(3, 1, 6, 6).double()
    with pytest.raises(
        UnsupportedOperation, match="tilted.* does not weigh all elements alike: .*a local model of its own"
    ):
        biasprop.explain(model, x, 0, operations={torch.ops.mylib.tilted: operations.reduction})


@torch.library.custom_op("mylib::doubly", mutates_args=())
def doubly(x: torch.Tensor, by: float, how: int) -> torch.Tensor:
    """Times or divided by twice a number: not by its second argument."""
    return x * (2 * by) if how > 0 else x / (2 * by)


@doubly.register_fake
def _(x, by, how):
    return torch.empty_like(x)


doubly.register_autograd(
    lambda ctx, g: (g * ctx.by, None, None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "by", (2 * inputs[1]) ** (1 if inputs[2] > 0 else -1)),
)


@pytest.mark.parametrize("family", [operations.product, operations.quotient])
def test_a_scaling_of_ones_own_is_tried_not_guessed(family):
    how = 1 if family is operations.product else -1
    model, x = build(lambda z: doubly(z, 1.5, how).flatten(1))
    explanation = biasprop.explain(model, x, 0, operations={torch.ops.mylib.doubly: family})
    assert explanation.completeness_error.max() < 1e-12
    u = x.clone().requires_grad_()
    expected = torch.autograd.grad(model(u)[:, 0].sum(), u)[0]
    torch.testing.assert_close(explanation.weight, expected)
