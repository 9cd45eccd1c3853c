"""In frozen mode w is autograd's gradient of the same network written with what is held detached."""

import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_complete, randomise
from torch import nn

import biasprop


def identity(u):
    return u


def detach(u):
    return u.detach()


def chord(phi, u, hold):
    """phi as the line through its value at 0, or as it is."""
    return phi(u) if hold is identity else u * (phi(u) / u).detach()


class Held(nn.Module):
    """Written twice: ``hold`` does nothing, or it detaches."""

    hold = staticmethod(identity)


class SmoothMlp(Held):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = chord(F.gelu, self.a(x), self.hold)
        y = chord(torch.tanh, self.b(y), self.hold)
        z = self.c(y)
        y = torch.sigmoid(z) if self.hold is identity else 0.5 + z * ((torch.sigmoid(z) - 0.5) / z).detach()
        return self.d(y)


class Norms(Held):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8)
        self.scale, self.c = nn.Parameter(torch.ones(8)), nn.Linear(8, 3)

    def forward(self, x):
        u = self.a(x)
        if self.hold is identity:
            y = self.norm(u)
        else:
            centred = u - u.mean(-1, keepdim=True)
            statistic = torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.norm.eps).detach()
            y = centred * statistic * self.norm.weight + self.norm.bias
        y = self.b(y)
        y = y * self.hold(torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)) * self.scale
        return self.c(y / self.hold(y.norm(dim=-1, keepdim=True)))


class Attends(Held):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(6, 24), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        y = x.reshape(len(x), -1, 6)
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in self.qkv(y).chunk(3, 2))
        if self.hold is identity:
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.ones(y.shape[1], y.shape[1]).tril() == 0
            z = (q @ k.mT / math.sqrt(4)).masked_fill(mask, -math.inf).softmax(-1).detach() @ v
        y = y + self.out(z.transpose(1, 2).flatten(2))
        return self.head(y.mean(1))


class Swiglu(Held):
    def __init__(self):
        super().__init__()
        self.up, self.gate, self.down, self.head = (
            nn.Linear(6, 8),
            nn.Linear(6, 8),
            nn.Linear(8, 6),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.head(x + self.down(self.up(x) * self.hold(F.silu(self.gate(x)))))


class SqueezeExcite(Held):
    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up, self.head = (
            nn.Conv2d(1, 4, 3),
            nn.Conv2d(4, 2, 1),
            nn.Conv2d(2, 4, 1),
            nn.Linear(4, 3),
        )

    def forward(self, x):
        y = self.conv(x.reshape(len(x), 1, 4, -1))
        y = chord(F.silu, y, self.hold)
        gate = torch.sigmoid(self.up(torch.relu(self.down(y.mean((2, 3), keepdim=True)))))
        return self.head((y * self.hold(gate)).mean((2, 3)))


class Lstm(Held):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        y = x.reshape(len(x), -1, 6)
        if self.hold is identity:
            return self.head(self.lstm(y)[0][:, -1])
        h = c = y.new_zeros(len(y), 5)
        cell = self.lstm
        for t in range(y.shape[1]):
            gates = F.linear(y[:, t], cell.weight_ih_l0, cell.bias_ih_l0) + F.linear(h, cell.weight_hh_l0)
            i, f, g, o = (gates + cell.bias_hh_l0).chunk(4, 1)
            c = torch.sigmoid(f).detach() * c + torch.sigmoid(i).detach() * chord(torch.tanh, g, self.hold)
            h = torch.sigmoid(o).detach() * chord(torch.tanh, c, self.hold)
        return self.head(h)


class Gru(Held):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        y = x.reshape(len(x), -1, 6)
        if self.hold is identity:
            return self.head(self.gru(y)[1][0])
        h, cell = y.new_zeros(len(y), 5), self.gru
        for t in range(y.shape[1]):
            own = F.linear(y[:, t], cell.weight_ih_l0, cell.bias_ih_l0).chunk(3, 1)
            old = F.linear(h, cell.weight_hh_l0, cell.bias_hh_l0).chunk(3, 1)
            r, z = (a + b for a, b in zip(own[:2], old[:2], strict=True))
            z = torch.sigmoid(z).detach()
            # Times a constant, as in the first step, it is no gate of anything: its own chord.
            r = torch.sigmoid(r).detach() if t else 0.5 + r * ((torch.sigmoid(r) - 0.5) / r).detach()
            new = chord(torch.tanh, own[2] + r * old[2], self.hold)
            h = (h - new) * z + new
        return self.head(h)


NETWORKS = {
    "smooth": (SmoothMlp, 6),
    "norms": (Norms, 6),
    "attention": (Attends, 30),
    "swiglu": (Swiglu, 6),
    "squeeze and excitation": (SqueezeExcite, 20),
    "lstm": (Lstm, 24),
    "gru": (Gru, 24),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_w_is_the_gradient_with_what_is_held_detached(name):
    kind, size = NETWORKS[name]
    model = randomise(kind()).double()
    x = torch.randn(3, size, dtype=torch.float64)
    explanation = biasprop.explain(model, x, 1)
    model.hold = detach
    u = x.clone().requires_grad_()
    value = model(u)[:, 1]
    torch.testing.assert_close(value.detach(), explanation.output, rtol=1e-9, atol=1e-11)
    (gradient,) = torch.autograd.grad(value.sum(), u)
    torch.testing.assert_close(explanation.weight, gradient, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(explanation.bias, (value - (gradient * x).sum(1)).detach(), rtol=1e-8, atol=1e-10)


@cache
def captured(name):
    """An explainer and three examples: capturing takes longer than all the rest."""
    kind, size = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = randomise(kind()).double(), torch.randn(3, size, dtype=torch.float64)
    return biasprop.explainer(model, x), x


@pytest.mark.parametrize("mode", ["frozen", "half", "tangent"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
def test_complete_in_every_mode(name, mode, rule):
    explainer, x = captured(name)
    explanation = assert_complete(explainer.linearized(mode), x, 1, mode, rule=rule)
    assert explanation.linearization == mode


@pytest.mark.parametrize("name", NETWORKS)
def test_in_tangent_mode_w_is_the_gradient(name):
    kind, size = NETWORKS[name]
    model, x = randomise(kind()).double(), torch.randn(3, size, dtype=torch.float64)
    u = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(u)[:, 1].sum(), u)
    weight = biasprop.explain(model, x, 1, linearization="tangent").weight
    torch.testing.assert_close(weight, gradient, rtol=1e-9, atol=1e-11)


def test_a_network_of_piecewise_linear_operations_is_the_same_in_every_mode():
    model = randomise(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Flatten(), nn.Linear(16, 3)))
    x = torch.randn(2, 1, 4, 4)
    one, *others = (biasprop.explain(model, x, 1, linearization=mode) for mode in ("frozen", "tangent", "half"))
    for other in others:
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias_attribution, other.bias_attribution)
        assert torch.equal(one.sources.amounts, other.sources.amounts)
