"""What an audit found, as text, numbers and a picture."""

import json

import pytest
from audits import batches, classifier, examples
from scipy.stats import binomtest
from torch import nn

import biasprop


def test_logits_that_are_all_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3, bias=False)).double().eval()
    nn.init.zeros_(model[1].weight)
    found = biasprop.audit(model, batches(*examples(classes=3)))
    assert "every predicted logit is 0" in found.summary()
    assert found.figures()["bias over predicted logit"]["0.5"] is None
    assert found.plot().axes


def test_text_figures_and_picture(tmp_path):
    found = biasprop.audit(classifier(), batches(*examples()))
    right = found.accuracy["w.x + b"]
    assert str(found).endswith(found.summary())
    assert f"the network is right on {100 * right:.1f} %" in found.summary()
    figures = json.loads(json.dumps(found.figures()))
    assert figures["examples"] == 23
    assert [row["name"] for row in figures["sources"]] == ["0", "1", "5", "7"]
    interval = binomtest(round(23 * right), 23).proportion_ci(method="wilson")
    assert figures["interval"]["w.x + b"] == pytest.approx([interval.low, interval.high])
    found.plot("a title with $ in it").savefig(tmp_path / "audit.png")
    assert (tmp_path / "audit.png").stat().st_size > 10_000
