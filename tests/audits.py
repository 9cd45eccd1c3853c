"""A classifier and labelled examples to audit."""

import torch
from helpers import randomise
from torch import nn


def classifier(outputs=4):
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return randomise(nn.Sequential(*layers, nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, outputs)).double())


def examples(count=23, classes=4):
    return torch.randn(count, 2, 8, 8, dtype=torch.float64), torch.randint(0, classes, (count,))


def batches(x, labels, size=5):
    return list(zip(x.split(size), labels.split(size), strict=True))


def same(one, two):
    """Up to rounding, which depends on the size of the batches."""
    names = ("labels", "classes", "outputs", "biases", "amounts", "masses")
    return one.sources == two.sources and all(
        torch.allclose(getattr(one, name), getattr(two, name), rtol=1e-10) for name in names
    )
