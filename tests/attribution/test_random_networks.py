"""Completeness on networks that hypothesis draws."""

import pytest
import torch
from helpers import Residual, assert_exact, randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from biasprop.rules import Compensation, EqualShare, PositiveShare


@st.composite
def networks(draw):
    """A random stack of layers over ``(N, C, H, W)`` and the input's shape."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    shape = (channels, height, width)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "gate", "norm", "pool", "residual"]))
        if kind == "conv" and min(height, width) >= 3:
            groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
            out = groups * draw(st.integers(1, 3))
            stride, padding, dilation = (
                draw(st.integers(1, 3)),
                draw(st.integers(0, 3)),
                draw(st.integers(1, 2)),
            )
            kernel = draw(st.integers(1, 2 if dilation == 2 else 3))
            layers.append(nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=draw(st.booleans())))
            channels = out
        elif kind == "gate":
            layers.append(draw(st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.PReLU, nn.GELU]))())
        elif kind == "norm":
            layers.append(nn.BatchNorm2d(channels))
        elif kind == "pool" and min(height, width) >= 2:
            layers.append(draw(st.sampled_from([nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1, 1), nn.AdaptiveAvgPool2d(2)])))
        elif kind == "residual":
            layers.append(Residual(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())))
        height, width = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).shape[2:]
    layers += [nn.Flatten(), nn.Linear(channels * height * width, 3)]
    return randomise(nn.Sequential(*layers)).double(), shape


DRAWN = (
    networks(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([Compensation, EqualShare, PositiveShare]),
    st.floats(0.05, 20),
    st.floats(0.01, 100),
)


@settings(max_examples=10, deadline=None)
@given(*DRAWN)
def test_random_networks_are_complete(network, dtype, kind, temperature, scale):
    assert_complete(network, dtype, kind, temperature, scale)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(*DRAWN)
def test_many_random_networks_are_complete(network, dtype, kind, temperature, scale):
    assert_complete(network, dtype, kind, temperature, scale)


def assert_complete(network, dtype, kind, temperature, scale):
    rule = kind() if kind is PositiveShare else kind(temperature)
    model, shape = network
    x = torch.randn(2, *shape).to(dtype) * scale
    x[0, :, : shape[1] // 2] = 0
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert_exact(model.to(dtype), x, 1, tolerance=tolerance, rule=rule)
