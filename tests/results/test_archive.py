"""Saving and loading."""

import json

import pytest
import torch
from helpers import ROWS, Residual, assert_same, small_mlp
from safetensors.torch import save_file
from torch import nn

import biasprop
from biasprop import FileError, SourceError
from biasprop.rules import Compensation

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_save_and_load(image, pair, tmp_path):
    for explanation in (image, pair):
        explanation.save(tmp_path / "e.safetensors")
        loaded = biasprop.load(tmp_path / "e.safetensors")
        for name in ("output", "bias", "unattributed", "completeness_error", "weight", "attribution"):
            torch.testing.assert_close(getattr(loaded, name), getattr(explanation, name), rtol=0, atol=0)
        assert str(loaded) == str(explanation)
        assert str(loaded.sources) == str(explanation.sources)
        assert loaded.target == explanation.target
        with pytest.raises(SourceError, match="loaded or cut out"):
            loaded.at("0")
    assert [p.name for p in tmp_path.iterdir()] == ["e.safetensors"]


def test_saving_where_one_cannot(image, tmp_path):
    with pytest.raises(FileError, match="Cannot write"):
        image.save(tmp_path / "nowhere" / "e.safetensors")


def test_a_failed_save_leaves_the_old_file(image, tmp_path, monkeypatch):
    path = tmp_path / "e.safetensors"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("biasprop.files.save_file", fail)
    with pytest.raises(FileError, match="disk full"):
        image.save(path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_loading_what_is_not_an_explanation(image, tmp_path):
    path = tmp_path / "e.safetensors"
    with pytest.raises(FileError, match="Cannot read"):
        biasprop.load(path)
    path.write_bytes(b"\x80\x04junk")
    with pytest.raises(FileError, match="Cannot read"):
        biasprop.load(path)
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(FileError, match=r"not one that biasprop"):
        biasprop.load(path)
    save_file({"a": torch.ones(2)}, path, {"format": "biasprop-explanation-1", "biasprop": json.dumps({})})
    with pytest.raises(FileError, match="not a complete"):
        biasprop.load(path)
    image.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileError, match="Cannot read"):
        biasprop.load(path)


def test_tuple_targets_survive_saving(tmp_path):
    model = nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3))).eval()
    explanation = biasprop.explain(model, torch.ones(1, 3), (1, 2))
    explanation.save(tmp_path / "e.safetensors")
    assert biasprop.load(tmp_path / "e.safetensors").target == [(1, 2)]


@pytest.mark.parametrize(
    ("rule", "name", "temperature"),
    [(Compensation(0.5), "bias1", 0.5), ("bias2", "bias2", 1.0), ("bias3", "bias3", None)],
)
def test_the_rule_is_kept(rule, name, temperature, tmp_path):
    explanation = biasprop.explain(small_mlp(), ROWS, rule=rule)
    assert (explanation.rule, explanation.temperature) == (name, temperature)
    explanation.save(tmp_path / "e.safetensors")
    loaded = biasprop.load(tmp_path / "e.safetensors")
    assert (loaded.rule, loaded.temperature) == (name, temperature)
    assert str(loaded) == str(explanation)
    assert repr(loaded) == repr(explanation)


def test_what_is_withheld_and_what_goes_past_are_kept(tmp_path):
    explanation = biasprop.explain(Residual(small_mlp(4)).eval(), ROWS, 0, sources="body.0", at="body.1")
    assert (explanation.withheld != 0).all()
    assert (explanation.bypassed != 0).all()
    explanation.save(tmp_path / "e.safetensors")
    loaded = biasprop.load(tmp_path / "e.safetensors")
    assert_same(loaded, explanation)
    torch.testing.assert_close(loaded.residual, explanation.residual)
