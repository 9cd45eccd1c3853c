"""biasprop against the dense reference: every rule and every fallback, on small networks, to 1e-10."""

from collections import Counter

import dense_reference as dense
import numpy as np
import pytest
import torch
from reference_models import MODELS, Case, array, make
from torch import Tensor

import biasprop

TOLERANCE = 1e-10
RULES = [(rule, t) for rule in ("bias1", "bias2") for t in (0.5, 1.0, 100.0)] + [("bias3", 1.0)]


def assert_agrees(ex: biasprop.Explanation, case: Case, t: np.ndarray, rule: str, temperature: float) -> Counter[int]:
    """Compare all that the reference computes, example by example; returns the fallbacks that were hit."""
    hits: Counter[int] = Counter()
    for i, x in enumerate(case.x):
        r = dense.explain(case.nodes, array(x).ravel(), t, rule, temperature)
        assert r.beta.sum() + r.unattributed == pytest.approx(r.b, abs=TOLERANCE)
        assert_close(ex.output[i], r.f)
        assert_close(ex.weight[i], r.w)
        assert_close(ex.bias[i], r.b)
        assert_close(ex.bias_attribution[i], r.beta)
        assert_close(ex.unattributed[i], r.unattributed)
        hits += r.hits
    assert_close(ex.sources.amounts.sum(1), array(ex.bias))
    return hits


def assert_close(ours: Tensor, reference: float | np.ndarray) -> None:
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(array(ours).ravel(), np.ravel(reference), rtol=0, atol=TOLERANCE)


def one_hot(case: Case, index: int) -> np.ndarray:
    return np.eye(len(case.nodes[-1].layer.a))[index]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("rule", "temperature"), RULES)
def test_agrees_with_the_reference(name: str, rule: str, temperature: float) -> None:
    case = make(name)
    ex = case.explainer(case.x, target=1, rule=rule, temperature=temperature)
    hits = assert_agrees(ex, case, one_hot(case, 1), rule, temperature)
    assert hits[0] > 0
    assert hits[1] == 0 or rule == "bias3"


HANDED = {  # where: the name of the tensor and the number of its node
    "relu": [("fc.0", 1), ("fc.1", 2)],
    "cnn-include-pad": [("conv1", 1), ("relu", 1), ("pool", 2), ("average", 4)],
    "residual": [("bn1", 1), ("conv4", 5), ("bn4", 5), ("pool", 7)],
    "forks": [("conv1", 3), ("bn", 8)],
    "transformer": [("inner", 14)],
}


@pytest.mark.parametrize(("above", "below"), [("bias1", "bias3"), ("bias3", "bias2"), ("bias2", "bias1")])
@pytest.mark.parametrize(("name", "tensor", "number"), [(n, t, k) for n, found in HANDED.items() for t, k in found])
def test_a_handover(name: str, tensor: str, number: int, above: str, below: str) -> None:
    case = make(name)
    ex = case.explainer(case.x, 1, (above, below), handover=tensor)
    plain = case.explainer(case.x, 1, above)
    assert_close(ex.bias, array(plain.bias))
    for i, x in enumerate(case.x):
        r = dense.explain(case.nodes, array(x).ravel(), one_hot(case, 1), above, 1.0, number, below)
        assert_close(ex.weight_attribution[i], r.weight)
        assert_close(ex.bias_attribution[i], r.beta)
        assert_close(ex.unattributed[i], r.unattributed)
    assert_close(ex.sources.amounts.sum(1), array(ex.bias))


@pytest.mark.parametrize("name", ["hardtanh", "cnn-include-pad", "residual", "forks"])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_difference_of_logits(name: str, rule: str) -> None:
    case = make(name)
    ex = biasprop.explain(case.explainer.model, case.x, target=lambda y: y[:, 1] - y[:, 2], rule=rule)
    assert_agrees(ex, case, one_hot(case, 1) - one_hot(case, 2), rule, 1.0)


@pytest.mark.parametrize(
    ("name", "rules", "fallback"),
    [
        ("cnn-include-pad", ("bias3",), 1),
        ("black", ("bias3",), 1),
        ("black", ("bias1", "bias2", "bias3"), 2),
        ("hardtanh", ("bias1", "bias2", "bias3"), 2),
        ("zero-rows", ("bias1", "bias2", "bias3"), 3),
        ("overpadded", ("bias1", "bias2", "bias3"), 4),
        ("forks", ("bias1", "bias2", "bias3"), 4),
    ],
)
def test_each_fallback_is_hit(name: str, rules: tuple[str, ...], fallback: int) -> None:
    case = make(name)
    for rule in rules:
        ex = case.explainer(case.x, target=0, rule=rule)
        hits = assert_agrees(ex, case, one_hot(case, 0), rule, 1.0)
        assert hits[fallback] > 0
        assert (ex.unattributed.abs().max() > 1e-3) == (fallback == 4)


def test_zero_weights_are_outside_the_support() -> None:
    """So that fallback 2 (A != 0) is told apart from fallback 3 (all that is wired) in the model above."""
    case = make("black")
    layer = case.nodes[0].layer
    assert isinstance(layer, dense.Affine)
    assert ((layer.A != 0) != layer.wired).any()


def test_some_hard_tanh_units_are_saturated_and_some_are_not() -> None:
    case = make("hardtanh")
    z = case.explainer.model.fc[0](case.x)
    assert (z <= -0.5).any()
    assert (z >= 0.8).any()
    assert ((z > -0.5) & (z < 0.8)).any()


@pytest.mark.parametrize("name", ["prelu", "cnn-exclude-pad", "residual", "black", "overpadded"])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_batch_equals_its_examples_one_by_one(name: str, rule: str) -> None:
    case = make(name)
    together = case.explainer(case.x, target=2, rule=rule)
    alone = [case.explainer(x[None], target=2, rule=rule) for x in case.x]
    for quantity in ("output", "weight", "bias", "bias_attribution", "unattributed"):
        joined = torch.cat([getattr(ex, quantity) for ex in alone])
        assert_close(getattr(together, quantity), array(joined).ravel())
