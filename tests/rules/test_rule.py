"""Rules of one's own: complete, watched, and what explanations record of them."""

import pytest
import torch
from helpers import build
from torch import nn

import biasprop
from biasprop import RuleError
from biasprop.kernels import streaming
from biasprop.rules import ByForm, Compensation, EqualShare, PositiveShare, Softmax, form_of, name_of, temperature_of


class Largest:
    """Everything to the largest component."""

    def alpha(self, m, h):
        return torch.nn.functional.one_hot(m.masked_fill(m == 0, -torch.inf).argmax(-1), m.shape[-1]).to(m)


class Signed:
    """Shares proportional to the components themselves: some are negative, all sum to 1."""

    def alpha(self, m, h):
        return m / m.sum(-1, keepdim=True)


class Broken:
    def alpha(self, m, h):
        return torch.full_like(m, 0.5)


def model():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()


@pytest.mark.parametrize("rule", [Largest(), Signed()])
def test_a_rule_of_ones_own_is_complete(rule):
    explanation = biasprop.explain(model(), torch.randn(3, 4).double(), rule=rule)
    assert explanation.completeness_error.max() < 1e-11
    assert explanation.rule == type(rule).__name__


def test_a_rule_that_does_not_sum_to_1_is_refused():
    with pytest.raises(RuleError, match=r"Broken is not a split.*sums to "):
        biasprop.explain(model(), torch.randn(3, 4).double(), rule=Broken())


class Same(Compensation):
    def alpha(self, m, h):
        return m


class Mutates:
    def alpha(self, m, h):
        return m.abs_().div_(m.sum(-1, keepdim=True))


def test_rules_of_ones_own_are_watched():
    model, x = build(torch.relu)
    with pytest.raises(RuleError, match="Same is not a split"):
        biasprop.explain(model.float(), x.float(), 0, rule=Same())
    assert biasprop.explain(model.float(), x.float(), 0, rule=Mutates()).completeness_error.max() < 1e-5
    for bad in (0.0, -1.0, 1e-40, "a"):
        for kind in (Compensation, EqualShare):
            with pytest.raises(RuleError, match="temperature"):
                kind(bad)


class Halved(ByForm):
    """A form of one's own: half of the scores of option 2."""

    form = Softmax(-0.5, signed=False)


class Overridden(Compensation):
    """A rule by form whose alpha is another."""

    def alpha(self, m, h):
        return PositiveShare().alpha(m, h)


def test_a_rule_by_form_of_ones_own_takes_the_compiled_kernels_and_agrees_with_the_streaming_form(monkeypatch):
    fused = pytest.importorskip("biasprop.kernels.fused")
    used, streamed = [], []
    compiled, plain = fused.spread, streaming.spread
    monkeypatch.setattr(fused, "spread", lambda *a: used.append(1) or compiled(*a))
    monkeypatch.setattr(streaming, "spread", lambda *a: streamed.append(1) or plain(*a))
    net, x = model().float(), torch.randn(3, 4)
    found = {}
    for on in (True, False):
        explainer = biasprop.Explainer(net, compiled=on)
        found[on] = explainer(x, rule=Halved())
        assert found[on].rule == "Halved"
        assert found[on].temperature is None
        assert (bool(used), bool(streamed)) == (on, not on)
        used.clear()
        streamed.clear()
    torch.testing.assert_close(found[True].bias_attribution, found[False].bias_attribution)
    expected = biasprop.explain(net, x, rule=EqualShare(2.0)).bias_attribution
    torch.testing.assert_close(found[True].bias_attribution, expected)


def test_an_alpha_that_is_overridden_counts_not_the_form(monkeypatch):
    fused = pytest.importorskip("biasprop.kernels.fused")
    monkeypatch.setattr(fused, "spread", lambda *a: pytest.fail("the compiled kernels know the form alone"))
    net, x = model().float(), torch.randn(3, 4)
    assert form_of(Overridden()) is None
    found = biasprop.explain(net, x, rule=Overridden()).bias_attribution
    monkeypatch.undo()
    torch.testing.assert_close(found, biasprop.explain(net, x, rule="bias3").bias_attribution)


@pytest.mark.parametrize(
    ("rule", "name", "temperature"),
    [
        (Compensation(0.5), "bias1", 0.5),
        (EqualShare(), "bias2", 1.0),
        (PositiveShare(), "bias3", None),
        (Overridden(2.0), "bias1", 2.0),
        (Halved(), "Halved", None),
        (Largest(), "Largest", None),
    ],
)
def test_what_explanations_record_of_a_rule(rule, name, temperature):
    assert name_of(rule) == name
    assert temperature_of(rule) == temperature
    explanation = biasprop.explain(model(), torch.randn(3, 4).double(), rule=rule)
    assert (explanation.rule, explanation.temperature) == (name, temperature)


def test_a_result_of_another_shape_is_refused():
    class Flat:
        def alpha(self, m, h):
            return m.flatten()

    with pytest.raises(RuleError, match=r"The rule Flat must return a tensor of shape \(.*\), like its components"):
        biasprop.explain(model(), torch.randn(3, 4).double(), rule=Flat())
