"""Which mode an operation gets: one for all, or exceptions by operation and module."""

import pytest
import torch
from helpers import assert_complete, randomise
from torch import nn

import biasprop
from biasprop import InputError


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 5), nn.GELU())
        self.second = nn.Sequential(nn.Linear(5, 5), nn.GELU(), nn.LayerNorm(5))
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


@pytest.fixture
def model():
    return randomise(Blocks()).double()


X = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4)


def w(model, linearization):
    return biasprop.explain(model, X, 0, linearization=linearization).weight


def test_frozen_is_the_default(model):
    explanation = biasprop.explain(model, X, 0)
    assert explanation.linearization == "frozen"
    assert torch.equal(explanation.weight, w(model, "frozen"))
    assert not torch.allclose(explanation.weight, w(model, "tangent"))


@pytest.mark.parametrize("key", ["gelu", torch.ops.aten.gelu, torch.ops.aten.gelu.default])
def test_an_operation_by_name_or_itself(model, key):
    both = {"first.1": "tangent", "second.1": "tangent"}
    torch.testing.assert_close(w(model, {key: "tangent"}), w(model, both))
    assert not torch.allclose(w(model, {key: "tangent"}), w(model, "frozen"))


def test_a_module_and_the_longest_path_first(model):
    all_tangent = {"default": "tangent", "second": "frozen", "second.1": "tangent", "second.2": "tangent"}
    torch.testing.assert_close(w(model, all_tangent), w(model, "tangent"))
    torch.testing.assert_close(w(model, {"second": "tangent", "first": "tangent"}), w(model, "tangent"))


def test_what_was_taken_apart_is_still_called_by_its_name(model):
    torch.testing.assert_close(w(model, {"layer_norm": "tangent"}), w(model, {"second.2": "tangent"}))
    source = biasprop.explain(model, X, 0).sources
    assert "second.2" in source.names


def test_a_softmax_inside_attention_is_one_too():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.head = nn.Linear(4, 12), nn.Linear(12, 2)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.head(nn.functional.scaled_dot_product_attention(q, k, v).flatten(1))

    model, x = randomise(Attends()).double(), torch.randn(2, 3, 4, dtype=torch.float64)
    explain = biasprop.explainer(model, x)
    inner = explain.linearized({"softmax": "tangent"})(x, 0).weight
    assert not torch.allclose(inner, explain(x, 0).weight)
    whole = {"scaled_dot_product_attention": "tangent"}
    assert not torch.allclose(explain.linearized(whole)(x, 0).weight, inner)  # the products, too
    torch.testing.assert_close(explain.linearized(whole)(x, 0).weight, explain.linearized("tangent")(x, 0).weight)


def test_exceptions_are_named_in_the_result(model):
    explanation = assert_complete(model, X, 0, {"gelu": "tangent", "default": "half"})
    assert explanation.linearization == "half, gelu tangent"


@pytest.mark.parametrize("wrong", ["exact", None, {"gelu": "exact"}, {"default": 3}])
def test_unknown_modes(model, wrong):
    with pytest.raises(InputError, match="linearization must be one of 'frozen', 'tangent', 'half'"):
        biasprop.explain(model, X, 0, linearization=wrong)


def test_exceptions_that_nothing_is(model):
    with pytest.raises(InputError, match="linearization names 'third', which is no operation and no module.*second.1"):
        biasprop.explain(model, X, 0, linearization={"third": "tangent"})


def test_captum_takes_a_mode(model):
    attribution = biasprop.BiasBackprop(model, linearization="tangent").attribute(X, 0, component="weight")
    torch.testing.assert_close(attribution, w(model, "tangent") * X)
