"""The model itself beside the captured graph: an explanation is of the user's function, or there is none."""

import warnings

import pytest
import torch
from helpers import randomise, small_cnn
from torch import nn

import biasprop
from biasprop import CaptureError, InputError


class Doing(nn.Module):
    """A linear layer, and what a function makes of it."""

    def __init__(self, then):
        super().__init__()
        self.linear, self.then = nn.Linear(4, 3), then

    def forward(self, x):
        return self.then(self.linear(x), x)


def doing(then):
    return randomise(Doing(then))


@pytest.mark.parametrize(
    ("then", "shown", "asked"),
    [
        (lambda y, x: 2 * y if x.shape[0] == 1 else y, 1, 1),
        (lambda y, x: 2 * y if x.shape[0] == 1 else y, 3, 1),
        (lambda y, x: 2 * y if x.shape[0] > 4 else y, 3, 8),
    ],
)
def test_a_branch_on_the_batch_size_is_found_and_named(then, shown, asked):
    explainer = biasprop.explainer(doing(then), torch.randn(shown, 4))
    with pytest.raises(CaptureError, match="in the graph and .* in the model. forward does something else for a batch"):
        explainer(torch.randn(asked, 4), 0)


def test_a_branch_that_this_batch_does_not_take_does_not_matter():
    model, x = doing(lambda y, x: 2 * y if x.shape[0] == 1 else y), torch.randn(3, 4)
    torch.testing.assert_close(biasprop.explain(model, x, 0).output, model(x)[:, 0].detach())


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda y, x: 2 * y if torch.compiler.is_exporting() else y, r"branch on torch\.compiler\.is_exporting\(\)"),
        (lambda y, x: 2 * y if x.requires_grad else y, r"where gradients are on: .* branches on x\.requires_grad"),
    ],
)
def test_a_branch_on_the_circumstances_is_found(then, message):
    with pytest.raises(CaptureError, match=message):
        biasprop.explain(doing(then), torch.randn(2, 4), 0)


def _eps(model):
    model[1].eps = 0.5


def _hook(model):
    model[2].register_forward_hook(lambda module, args, output: output + 1)


def _layer(model):
    model[2] = nn.Tanh()


def _number(model):
    model[3].factor = 3.0


class Times(nn.Module):
    factor = 2.0

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize("change", [_eps, _hook, _layer, _number])
@pytest.mark.parametrize("way", ["explain", "split", "sources"])
def test_a_change_of_the_model_after_its_capture_is_found(change, way):
    model = randomise(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), Times()))
    explainer, x = biasprop.explainer(model, torch.randn(2, 4)), torch.randn(5, 4)
    calls = {
        "explain": lambda: explainer(x, 0),
        "split": lambda: explainer.split(x),
        "sources": lambda: explainer.sources(x, 0),
    }
    calls[way]()
    change(model)
    with pytest.raises(CaptureError, match=r"The model was changed after it was captured .* make a new explainer"):
        calls[way]()


def test_weights_may_change():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    for _ in range(2):
        assert torch.equal(explainer(x, 0).output, model(x)[:, 0].detach())
        with torch.no_grad():
            model[0].weight.mul_(1.5)


def test_a_model_with_a_state_is_found():
    class Counts(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(
        CaptureError, match="another one each time: switch off what draws random numbers or keeps a state"
    ):
        biasprop.explain(Counts(), torch.ones(2, 3), 0)


def test_how_often_it_is_compared():
    runs = []
    model, x = doing(lambda y, x: y), torch.randn(2, 4)
    model.register_forward_hook(lambda *_: runs.append(1))
    for check, expected in (("always", [1, 1, 1, 1]), ("once", [1, 0, 1, 0]), ("never", [0, 0, 0, 0])):
        explainer = biasprop.explainer(model, x, check=check)
        counts = []
        for k in range(4):
            if k == 2:
                with torch.no_grad():
                    model.linear.bias.add_(1)
            runs.clear()
            explainer(x, 0)
            counts.append(len(runs))
        assert counts == expected, check
    with pytest.raises(InputError, match="check must be 'always', 'once' or 'never', not 'sometimes'"):
        biasprop.explainer(model, x, check="sometimes")


class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        return 3 * g


def test_a_backward_that_is_no_derivative_is_said():
    with pytest.warns(UserWarning, match=r"The gradient that autograd gives for Doing is not the derivative .*% off"):
        biasprop.explain(doing(lambda y, x: Tripled.apply(y)), torch.randn(2, 4), 0)
    model = doing(lambda y, x: y.relu() + y)
    model.linear.register_full_backward_hook(lambda module, g, _: (2 * g[0],))
    x = torch.randn(2, 4)
    with pytest.warns(UserWarning, match=r"\(100 % off\)"):
        explanation = biasprop.explain(model, x, 0)
    assert explanation.completeness_error.max() < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        biasprop.explain(model, x, 0, check="never")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_agrees_within_its_own_rounding(dtype):
    model, x = small_cnn().to(dtype), torch.randn(2, 2, 9, 9).to(dtype)
    assert biasprop.explain(model, x, 0).completeness_error.max() < 1e-5
