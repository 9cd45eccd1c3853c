"""torchvision's networks at small sizes: complete, w = gradient, b = f - J x, in float32 and float64."""

import pytest
import torch
from helpers import randomise

import biasprop

torchvision = pytest.importorskip("torchvision")

PIECEWISE_LINEAR = [
    "alexnet",
    "vgg11",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "squeezenet1_0",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mnasnet1_0",
    "shufflenet_v2_x1_0",
    "regnet_x_400mf",
]
TANGENT = ["regnet_y_400mf", "mobilenet_v3_small", "efficientnet_b0"]
SIZES = {"alexnet": 64, "inception_v3": 75, "vgg11": 32, "vgg16_bn": 32}


FAST = [
    ("resnet18", torch.float32),
    ("squeezenet1_1", torch.float64),
    ("mobilenet_v3_small", torch.float32),
]
BARS = {torch.float32: 1e-5, torch.float64: 1e-11}
CASES = [(name, dtype) for name in PIECEWISE_LINEAR + TANGENT for dtype in BARS]


@pytest.mark.parametrize(
    ("name", "dtype"), [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_exact(name, dtype):
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = randomise(torchvision.models.get_model(name, weights=None, **options)).to(dtype)
    size, bar = SIZES.get(name, 48), BARS[dtype]
    x = torch.randn(1, 3, size, size).to(dtype).requires_grad_()
    explainer = biasprop.explainer(model, x, linearization="tangent")
    value = model(x)[:, 7]
    (gradient,) = torch.autograd.grad(value, x)
    linear, bias = explainer.split(x)
    for rule in ("bias1", "bias2", "bias3"):
        explanation = explainer(x, 7, rule=rule)
        assert explanation.completeness_error.max() <= bar
        torch.testing.assert_close(explanation.weight, gradient, rtol=0, atol=bar * gradient.abs().max().item())
        scale = (gradient * x.detach()).abs().sum().item() + value.detach().abs().item()
        torch.testing.assert_close(explanation.output, value.detach(), rtol=0, atol=bar * scale)
        torch.testing.assert_close(explanation.bias, bias[:, 7], rtol=0, atol=bar * scale)
    torch.testing.assert_close(linear + bias, model(x).detach(), rtol=bar, atol=bar * scale)
