"""Summaries of whole data sets: the same figures as from a frame, whatever the files are cut into."""

import json

import numpy as np
import pytest
import torch
from datasets_of import Digits, images_net
from helpers import contrast

import biasprop
from biasprop import InputError
from biasprop.datasets import folder


@pytest.fixture
def made(tmp_path, data, monkeypatch):
    """120 digits in several files."""
    monkeypatch.setattr(folder, "ROWS", 32)
    digits = Digits(data, 120, broken=(3,))
    return biasprop.attribute(digits, images_net(), tmp_path / "out", terms=True, map_size=14, progress=False)


@pytest.mark.parametrize("by", ["target", "label"])
def test_every_figure_is_what_the_rows_give(made, by):
    assert len(list((made.path / "attributions").iterdir())) > 2
    frame, found = made.to_pandas(), biasprop.summarize(made.path, by)
    assert (len(found), found.errors) == (119, 1)
    groups = dict(list(frame.groupby(by)))
    assert set(found.tallies) == set(groups)
    assert [t.count for t in found.tallies.values()] == sorted((len(g) for g in groups.values()), reverse=True)
    for index, tally in found.tallies.items():
        group = groups[index]
        assert tally.share == pytest.approx((group.bias / group.output).median())
        assert tally.bias == pytest.approx(group.bias.sum())
        assert tally.right == (group.label == group.target).sum()
        assert tally.agreeing.tolist() == [
            (group.class_of_weights == group.target).sum(),
            (group.class_of_bias == group.target).sum(),
        ]
        np.testing.assert_allclose(tally.map()[0].ravel(), np.stack(group.attribution).astype(float).mean(0), atol=1e-9)
        np.testing.assert_allclose(
            tally.map()[1].ravel(), np.stack(group.bias_attribution).astype(float).mean(0), atol=1e-9
        )
        for name, (amount, mass) in tally.sources.items():
            amounts = [one["amount"] for row in group.sources for one in row if one["name"] == name]
            assert (amount, mass) == (pytest.approx(sum(amounts)), pytest.approx(sum(map(abs, amounts))))
    assert found.whole.count == 119
    shares = (frame.bias / frame.output).abs()
    assert [one.id for one in found.most_bias] == frame.id[shares.nlargest(5).index].tolist()
    apart = frame[frame.class_of_weights != frame.class_of_bias]
    assert [one.id for one in found.disagreeing] == apart.id[apart.output.nlargest(5).index].tolist()


def test_what_is_said_and_drawn(made, tmp_path):
    found = biasprop.summarize(made)
    assert "119 examples of Digits explained, 1 could not be: b is a median" in found.headline()
    assert "w.x alone and b alone predict different classes" in str(found)
    assert repr(found) == f"Summary({found.headline()})"
    figures = json.loads(json.dumps(found.figures(), allow_nan=False))
    assert sum(one["examples"] for one in figures["classes"]) == 119
    found.plot().savefig(tmp_path / "s.png")
    assert contrast(tmp_path / "s.png") > 10


def test_tables_and_regression(tmp_path):
    rows = torch.randn(20, 3).numpy()
    np.save(tmp_path / "t.npy", rows)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1), torch.nn.Flatten(0)
    ).eval()
    found = biasprop.summarize(biasprop.attribute(tmp_path / "t.npy", model, tmp_path / "out", progress=False))
    assert list(found.tallies) == [-1]
    assert found.name(-1) == "the output"
    assert found.whole.map()[0].shape == (3,)
    found.plot().savefig(tmp_path / "s.png")
    assert contrast(tmp_path / "s.png") > 10


def test_nothing_to_sum_up(tmp_path, made):
    with pytest.raises(InputError, match="by must be"):
        biasprop.summarize(made, by="colour")
    for path in (made.path / "attributions").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="holds no example that could be explained; 1 could not"):
        biasprop.summarize(made)
    with pytest.raises(biasprop.FileError, match="holds no attributions"):
        biasprop.summarize(tmp_path)
