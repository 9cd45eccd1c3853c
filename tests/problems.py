"""Drawn problems for the kernels."""

import torch
from hypothesis import strategies as st

from biasprop.kernels import Layout
from biasprop.kernels.slope import Slope
from biasprop.local_models.windows import convolution_windows, product_windows, transposed_windows
from biasprop.rules import Compensation, EqualShare, PositiveShare

RULES = [Compensation(0.7), EqualShare(1.3), PositiveShare()]


BUDGET = 2**24


@st.composite
def problems(draw):
    """A stencil with sparse operands of one sign or both, closed gates, zero weights, padding, biases of any sign."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    make = draw(st.sampled_from([convolution_windows, transposed_windows]))
    dims = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 6)) for _ in range(dims)]
    tables = []
    for size in sizes:
        kernel, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        before = draw(st.integers(0, 3))
        tables.append(make(size, draw(st.integers(1, 5)), kernel, stride, before, dilation))
    windows = product_windows(tables, sizes)
    batch, groups, channels, outputs = (draw(st.integers(1, 3)) for _ in range(4))
    positions, taps = windows.shape
    own = draw(st.sampled_from([1, positions]))
    weight = torch.randn(groups, own, outputs, taps * channels)
    weight = weight * (torch.rand_like(weight) < 0.8)
    weight[:, :, 0] *= draw(st.sampled_from([0.0, 1.0]))
    u = torch.randn(batch, groups, channels, windows.max().clamp_min(0).item() + 1)
    u = (u if draw(st.booleans()) else u.relu()) * draw(st.sampled_from([0.0, 1e-3, 1.0, -1.0, 100.0]))
    layout = Layout(tuple(u.shape), (batch, groups, outputs, positions), weight, windows)
    slope = torch.randn(layout.output).clamp(-1, 1) * (torch.rand(layout.output) < 0.7)
    h = torch.randn(layout.output) * (torch.rand(layout.output) < 0.7)
    beta = torch.randn(draw(st.integers(1, 6)), *layout.output)
    beta *= torch.rand(layout.output) < 0.7
    output = torch.rand(layout.output) - 0.4
    gates = [Slope(), Slope(slope), Slope(slope[:, :, :, :1].expand(layout.output)), Slope(slope, output)]
    return layout, u, draw(st.sampled_from(gates)), h, beta


def double(problem):
    layout, u, slope, h, beta = problem
    layout = Layout(layout.operand, layout.output, layout.weight.double(), layout.windows)
    return layout, u.double(), slope.each(torch.Tensor.double), h.double(), beta.double()
