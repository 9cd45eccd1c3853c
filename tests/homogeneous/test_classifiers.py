"""torchvision's classifiers and their bias-free copies."""

import pytest
import torch
from helpers import randomise
from torch import nn
from torchvision import models

import biasprop
from biasprop import homogeneity, remove_bias

CLASSIFIERS = {
    "alexnet": (64, True),
    "vgg11_bn": (32, True),
    "resnet18": (32, True),
    "squeezenet1_1": (64, True),
    "densenet121": (32, True),
    "mobilenet_v2": (32, False),
    "efficientnet_b0": (32, False),
    "convnext_tiny": (32, False),
    "swin_t": (32, False),
    "vit_b_16": (32, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.filterwarnings("ignore:Left, because")
def test_torchvisions_classifiers_and_their_bias_free_copies(name):
    size, possible = CLASSIFIERS[name]
    options = {"image_size": size} if name == "vit_b_16" else {}
    model = randomise(models.get_model(name, weights=None, **options)).requires_grad_(False)
    if name == "vit_b_16":
        nn.init.normal_(model.heads[-1].weight)  # zero when it is made, and then nothing depends on the input
    x = torch.randn(2, 3, size, size)
    report = homogeneity(model, x)
    assert report.degree is None
    assert report.agree
    free = remove_bias(model, x)
    report = homogeneity(free, x)
    assert (report.degree == 1) == possible
    assert report.agree
    if possible:
        explanation = biasprop.explain(free, x[:1])
        assert not explanation.bias_attribution.any()
        assert len(explanation.sources) == 0


def test_a_head_that_got_its_bias_back():
    free = remove_bias(randomise(models.resnet18(weights=None)))
    free.fc.bias = nn.Parameter(torch.ones(1000))
    report = homogeneity(free, torch.randn(1, 3, 32, 32))
    assert [b.name for b in report.breakers] == ["fc"]
    assert report.agree
