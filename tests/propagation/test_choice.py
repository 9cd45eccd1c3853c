"""Which bias sources take part."""

import pytest
import torch
from helpers import small_cnn

import biasprop
from biasprop import SourceError


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_maps_of_disjoint_sources_add_up(rule):
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    whole = explainer(x, rule=rule)
    parts = [
        explainer(x, rule=rule, sources=["0", "1"]),
        explainer(x, rule=rule, sources=lambda name, operation: operation == "hardtanh"),
        explainer(x, rule=rule, sources="[37]"),
    ]
    torch.testing.assert_close(sum(p.bias_attribution for p in parts), whole.bias_attribution, rtol=0, atol=1e-12)
    for part in parts:
        assert part.completeness_error.max() < 1e-12
        assert (part.withheld != 0).all()
        torch.testing.assert_close(part.sources.amounts, whole.sources.amounts)


def test_zeroing_the_others_changes_the_sign_that_option_1_sees():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    kept, zeroed = (biasprop.explain(model, x, sources="7", zero_others=z) for z in (False, True))
    assert (kept.bias_attribution - zeroed.bias_attribution).abs().max() > 1e-6
    torch.testing.assert_close(kept.bias_attribution.flatten(1).sum(1), zeroed.bias_attribution.flatten(1).sum(1))


def test_unknown_source_lists_what_there_is():
    with pytest.raises(SourceError, match="'nothing'.*There are: 0"):
        biasprop.explain(small_cnn(), torch.randn(1, 2, 9, 9).double(), sources="nothing")
