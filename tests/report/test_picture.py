"""Pictures: what they show, and that something is drawn."""

import pytest
import torch
from helpers import randomise
from torch import nn

import biasprop
from biasprop import InputError


def test_pictures(image, table, pair, tmp_path):
    panel = image.plot(1, title="an image")
    assert {"w * x, top 10 %", "beta, top 10 %", "w * x + beta, top 10 %"} <= {a.get_title() for a in panel.axes}
    assert "an image" in panel.get_suptitle()
    bars = table.plot(feature_names=["age", "weight", "height", "pressure"])
    assert any("age =" in label.get_text() for label in bars.axes[0].get_yticklabels())
    for k, figure in enumerate([panel, bars, pair.plot(part=1), image.at("1").plot()]):
        figure.savefig(tmp_path / f"{k}.png")
        assert (tmp_path / f"{k}.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no example 7"):
        image.plot(7)
    with pytest.raises(InputError, match="no part 3"):
        pair.plot(part=3)


def test_names_with_formulas_are_drawn_as_text(tmp_path):
    model = randomise(nn.Sequential(nn.Linear(2, 1)))
    figure = biasprop.explain(model, torch.ones(1, 2)).plot(title=r"$\bad$", feature_names=[r"a $\bad$", "$"])
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000
