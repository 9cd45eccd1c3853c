"""Outputs of cheap operations are made again when the sweep comes by, and are what they were."""

import pytest
import torch
from helpers import assert_same, randomise
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

import biasprop
from biasprop.local_models import Remade
from biasprop.local_models.model import value_of
from biasprop.propagation import linearization, linearize


class Block(nn.Module):
    """Norms before or behind, attention, and a gate; or a product of two in the place of the gate."""

    def __init__(self, before=True, gated=False):
        super().__init__()
        self.before, self.gated = before, gated
        self.one, self.two, self.all, self.out = nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.wide, self.other, self.narrow = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)

    def attention(self, u):
        q, k, v = self.all(u.transpose(0, 1)).transpose(0, 1).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind()
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def feed(self, u):
        return self.narrow(silu(self.wide(u)) * self.other(u) if self.gated else gelu(self.wide(u)))

    def forward(self, x):
        if self.before:
            x = x + self.attention(self.one(x))
            return x + self.feed(self.two(x))
        x = self.one(x + self.attention(x))
        return self.two(x + self.feed(x))


class Convolutional(nn.Module):
    """A residual network with smooth gates, a chain of which is read by a layer and by a pool."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.GroupNorm(2, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = silu(self.first(x))
        x = x + 0.5 * torch.sigmoid(self.second(self.norm(x)) * 2)
        return self.head(nn.functional.max_pool2d(gelu(x), 2).mean((2, 3)))


def blocks(count=2, **options):
    return randomise(nn.Sequential(*(Block(**options) for _ in range(count)), nn.Flatten(), nn.Linear(40, 3))).double()


MODELS = {
    "norms before": (blocks(), torch.randn(2, 5, 8).double()),
    "norms behind": (blocks(before=False), torch.randn(2, 5, 8).double()),
    "two factors": (blocks(gated=True), torch.randn(2, 5, 8).double()),
    "convolutions": (randomise(Convolutional()).double(), torch.randn(2, 2, 6, 6).double()),
}


def linearised(model, x):
    """The steps, and the values of all nodes on the way."""
    explainer = biasprop.Explainer(model, linearization="frozen")
    graph, values, visit = explainer.graph(explainer.check(x)), {}, linearization._Recorder.visit

    def seen(self, node, known):
        values[node] = visit(self, node, known)
        return values[node]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(linearization._Recorder, "visit", seen)
        return linearize(graph, graph.read_parameters(model), (x,)).steps, values


def operands(local):
    kept = getattr(local, "operand", None)
    return [kept] if kept is not None else getattr(local, "operands", [])


def chain(kept):
    """How many sums of tensors are on the way."""
    if not isinstance(kept, Remade):
        return 0
    return kept.local.joins + max((chain(one) for one in kept.operands), default=0)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_made_again_is_what_it_was(name):
    steps, values = linearised(*MODELS[name])
    found = [
        (kept, values[node])
        for step in steps
        for kept, node in zip(operands(step.local), step.operands, strict=False)
        if isinstance(kept, Remade)
    ]
    assert len(found) >= 4
    for kept, expected in found:
        torch.testing.assert_close(value_of(kept), expected, rtol=0, atol=0)
        assert chain(kept) <= linearization.JOINS
    assert any(chain(kept) == 0 for kept, _ in found)


@pytest.mark.parametrize("rule", ["bias1", "bias3"])
@pytest.mark.parametrize("name", MODELS)
def test_an_explanation_is_the_same_where_all_is_kept(name, rule, monkeypatch):
    model, x = MODELS[name]
    found = biasprop.explain(model, x, targets=[0, 2], rule=rule, linearization="frozen")
    monkeypatch.setattr(linearization._Recorder, "_keep", lambda *_: None)
    kept = biasprop.explain(model, x, targets=[0, 2], rule=rule, linearization="frozen")
    assert_same(found, kept)
    assert found.completeness_error.max() < 1e-12


def test_sums_of_a_residual_stream_are_not_all_made_again():
    model, x = blocks(6), torch.randn(1, 5, 8).double()
    steps, _ = linearised(model, x)
    sums = [s for s in steps if s.local.joins]
    assert len(sums) == 12
    again = [any(isinstance(kept, Remade) for kept in s.local.operands) for s in sums]
    assert again[1:] == [True, False] * 5 + [True]  # every other one is kept


class Long(nn.Module):
    """A gate, and four hundred operations on its output."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        u = gelu(self.first(x))
        for _ in range(200):
            u = u * 1.001 + 0.01
        return self.second(u)


def test_a_long_way_is_not_gone_again():
    model, x = Long().double().eval(), torch.randn(2, 4).double()
    steps, _ = linearised(model, x)
    assert all(isinstance(kept, torch.Tensor) for kept in operands(steps[-1].local))
    assert biasprop.explain(model, x).completeness_error.max() < 1e-12
