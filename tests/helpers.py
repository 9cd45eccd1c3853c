"""What several test files need: random biases, the check of exactness, small networks. tests/ is on the path."""

import torch
from torch import nn

import biasprop


def randomise(model: nn.Module) -> nn.Module:
    """Biases and batch-norm statistics drawn at random, so that they matter; eval mode."""
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                if module.weight is not None:
                    module.weight.uniform_(0.7, 1.3)
            if isinstance(getattr(module, "bias", None), torch.Tensor):
                module.bias.normal_(0, 0.3)
    return model.eval()


def assert_exact(model, x, target, tolerance=1e-11, **options) -> biasprop.Explanation:
    """Completeness, w = autograd's gradient, b = f - J x (by forward mode), sources adding up to b.

    ``model`` is a network, or an explainer that has captured one in tangent mode.
    """
    explainer = model if isinstance(model, biasprop.Explainer) else biasprop.Explainer(model, linearization="tangent")
    explanation = explainer(x, target, **options)
    assert explanation.completeness_error.max() <= tolerance
    inputs = x if isinstance(x, tuple) else (x,)
    extras = options.get("additional_forward_args") or ()
    extras = extras if isinstance(extras, tuple) else (extras,)
    leaves = tuple(i.detach().clone().requires_grad_() for i in inputs)

    def f(*u):
        y = explainer.model(*u, *extras)
        return target(y) if callable(target) else y.reshape(len(y), -1)[:, target]

    value = f(*leaves)
    size = 1 + value.detach().abs().max()
    torch.testing.assert_close(explanation.output, value.detach(), rtol=1e-6, atol=float(1e-12 * size))
    gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True, materialize_grads=True)
    weights = explanation.weight if isinstance(explanation.weight, tuple) else (explanation.weight,)
    scale = max(float(g.abs().max()) for g in gradients) + 1e-30
    for w, g in zip(weights, gradients, strict=True):
        torch.testing.assert_close(w, g, rtol=0, atol=10 * tolerance * scale)
    b = value.detach() - sum((g * u).reshape(len(u), -1).sum(1) for g, u in zip(gradients, inputs, strict=True))
    mass = sum((g * u).abs().reshape(len(u), -1).sum(1) for g, u in zip(gradients, inputs, strict=True))
    slack = float(tolerance * 10 * (1 + mass.max() + value.detach().abs().max()))
    torch.testing.assert_close(explanation.bias, b, rtol=0, atol=slack)
    torch.testing.assert_close(explanation.sources.amounts.sum(1), b, rtol=0, atol=slack)
    return explanation


def assert_complete(model, x, target, mode, tolerance=1e-11, **options) -> biasprop.Explanation:
    """What holds in every mode: completeness, f itself, b = f - J x by forward mode, sources adding up to b."""
    explainer = model if isinstance(model, biasprop.Explainer) else biasprop.Explainer(model, linearization=mode)
    explanation = explainer(x, target, **options)
    assert explanation.completeness_error.max() <= tolerance
    value = explainer.model(x)
    value = target(value) if callable(target) else value.reshape(len(value), -1)[:, target]
    size = float(explanation.magnitude.max())
    torch.testing.assert_close(explanation.output, value.detach(), rtol=0, atol=tolerance * size)
    linear, bias = explainer.split(x)
    for found, parts in ((explanation.weight_attribution, linear), (None, bias)):
        parts = parts.reshape(len(parts), -1)
        expected = parts.sum(1) if callable(target) else parts[:, target]
        given = explanation.bias if found is None else found.reshape(len(found), -1).sum(1)
        torch.testing.assert_close(given, expected, rtol=0, atol=10 * tolerance * size)
    torch.testing.assert_close(explanation.sources.amounts.sum(1), explanation.bias, rtol=0, atol=10 * tolerance * size)
    return explanation


def assert_same(one, other):
    """Two explanations of the same; a source that is nowhere active may be missing from the other."""
    for name in ("output", "weight", "bias_attribution", "attribution", "bias", "unattributed", "withheld", "bypassed"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), msg=name)
    assert one.target == other.target
    amounts = {n: a for n, a in zip(other.sources.names, other.sources.amounts.unbind(-1), strict=True) if a.any()}
    for name, amount in zip(one.sources.names, one.sources.amounts.unbind(-1), strict=True):
        torch.testing.assert_close(amount, amounts.get(name, torch.zeros_like(amount)))


class Function(nn.Module):
    """conv -> function -> flatten: the function sees a hidden tensor with bias."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 2, 3), function

    def forward(self, x):
        return self.function(self.conv(x)).flatten(1)


def build(function):
    """Such a network and an input."""
    return randomise(Function(function)).double(), torch.randn(3, 1, 8, 8).double()


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Two(nn.Module):
    """Two inputs, one output per example."""

    def forward(self, a, b):
        return (a * 2 + 1).sum(1) + torch.relu(b).sum((1, 2))


def small_cnn() -> nn.Module:
    """For images of 2 x 9 x 9."""
    return randomise(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, groups=2),
            nn.Hardtanh(),
            nn.MaxPool2d(2, 1),
            nn.Flatten(),
            nn.Linear(24, 5),
        )
    ).double()


def contrast(path) -> float:
    """The standard deviation of a picture's grey values, 0 to 255: a blank one has none."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).std())


def small_mlp(outputs=3) -> nn.Module:
    """For `ROWS`."""
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs)).double().eval()


ROWS = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()


def convolutional() -> nn.Module:
    """For `IMAGES`."""
    layers = [
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(16, 5),
    ]
    return nn.Sequential(*layers).double().eval()


IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
