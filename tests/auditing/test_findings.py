"""What an audit found, as text, numbers and a picture."""

import json

import pytest
import torch
from audits import batches, classifier, examples
from helpers import contrast
from scipy.stats import binomtest
from torch import nn

import biasprop
from biasprop.auditing import Findings

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_logits_that_are_all_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3, bias=False)).double().eval()
    nn.init.zeros_(model[1].weight)
    found = biasprop.audit(model, batches(*examples(classes=3)))
    assert "every predicted logit is 0" in found.summary()
    assert found.figures()["bias over predicted logit"]["0.5"] is None
    assert sum(bar.get_height() for bar in found.plot().axes[1].patches) == 0


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
    figure = found.plot("a title with $ in it")
    assert figure.get_suptitle().startswith("a title with \\$ in it\n23 examples")
    bars = [bar.get_height() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([100 * share for share in found.accuracy.values()])
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 23
    figure.savefig(tmp_path / "audit.png")
    assert contrast(tmp_path / "audit.png") > 10


def test_by_hand():
    found = Findings(
        labels=torch.tensor([0, 1, 1, 0]),
        classes=torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        outputs=torch.tensor([2.0, 4.0, 0.0, -1.0], dtype=torch.float64),
        biases=torch.tensor([1.0, 4.0, 0.5, 2.0], dtype=torch.float64),
        amounts=torch.tensor([6.0, 1.5], dtype=torch.float64),
        masses=torch.tensor([6.0, 2.0], dtype=torch.float64),
        sources=(("conv", "conv2d"), ("fc", "linear")),
    )
    assert found.accuracy == {"w.x + b": 0.75, "w.x alone": 0.25, "b alone": 0.5}
    assert found.agreement == {"w.x + b": 1.0, "w.x alone": 0.5, "b alone": 0.75}
    assert found.shares.tolist() == [0.5, 1.0, -2.0]
    assert found.quantiles() == pytest.approx({0.05: -1.75, 0.25: -0.75, 0.5: 0.5, 0.75: 0.75, 0.95: 0.95})
    assert found.summary() == (
        "4 examples: the network is right on 75.0 %, w.x alone on 25.0 %, b alone on 50.0 %; "
        "b is a median 50 % of the predicted logit."
    )
    rows = [line.split() for line in str(found).splitlines()]
    assert ["conv", "75.0", "1.5"] in rows
    assert ["fc", "25.0", "0.375"] in rows
    assert repr(found).startswith("Findings(4 examples")
