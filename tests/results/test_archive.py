"""Saving and loading."""

import random
from dataclasses import replace

import pytest
import torch
from helpers import ROWS, Residual, assert_same, small_mlp
from safetensors.torch import save_file
from torch import nn

import biasprop
from biasprop import FileError, SourceError
from biasprop.files import read_tensors, write_tensors
from biasprop.results.archive import FORMAT
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

    monkeypatch.setattr("biasprop.files.tensors.save_file", fail)
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
    write_tensors(path, FORMAT, {"a": torch.ones(2)}, {})
    with pytest.raises(FileError, match="not a complete biasprop explanation: it lacks 'names'"):
        biasprop.load(path)
    save_file({"a": torch.ones(2)}, path, {"format": "biasprop-explanation-1", "biasprop": "{}"})
    with pytest.raises(FileError, match="another version of biasprop .biasprop-explanation-1.*make it again"):
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


@pytest.fixture
def saved(table, tmp_path):
    """A small explanation that is saved, and where."""
    table.save(tmp_path / "e.safetensors")
    return tmp_path / "e.safetensors"


def identical(one, two):
    names = ("input", "weight", "bias_attribution", "output", "unattributed", "withheld", "bypassed", "probability")
    return (
        all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)
        and torch.equal(one.sources.amounts, two.sources.amounts)
        and (str(one), str(one.sources), one.target) == (str(two), str(two.sources), two.target)
    )


def refused_or_right(path, changed, expected):
    path.write_bytes(changed)
    try:
        return identical(biasprop.load(path), expected)
    except FileError:
        return True


def test_a_changed_byte_is_noticed(saved, table):
    whole, drawn = saved.read_bytes(), random.Random(0)
    for place in drawn.sample(range(len(whole)), 400):
        changed = whole[:place] + bytes([whole[place] ^ drawn.randrange(1, 256)]) + whole[place + 1 :]
        assert refused_or_right(saved, changed, table), place


@pytest.mark.slow
def test_every_changed_bit_is_noticed(saved, table):
    whole = saved.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused_or_right(saved, changed, table), bit


def nan(tensor):
    changed = tensor.clone()
    changed.view(-1)[0] = torch.nan
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("output", lambda t: t[:1], "'unattributed' has shape .2,., and must have .1,."),
        ("output", lambda t: t[:0], "its output has shape .0,."),
        ("output", lambda t: t[:, None, None], "its output has shape"),
        ("output", lambda t: t[:, None], "'unattributed' has shape .2,., and must have .2, 1."),
        ("output", lambda t: t * 1.1, "its parts do not add up"),
        ("0.value", lambda t: t[:, :3], "'0.weight' has shape .2, 4., and must have .2, 3."),
        ("0.value", lambda t: t[:1], "'0.value' of shape .1, 4. does not hold 2 examples"),
        ("0.value", lambda t: t.sum(), "dimension 0 of '0.value' is not there"),
        ("0.weight", lambda t: t.T.contiguous(), "'0.weight' has shape .4, 2."),
        ("0.weight", lambda t: t * 2, "its parts do not add up"),
        ("0.weight", nan, "'0.weight' holds NaN"),
        ("0.beta", lambda t: t[None], "'0.beta' has shape .1, 2, 4."),
        ("0.beta", lambda t: t.long(), "'0.beta' is torch.int64, and must be float32 or float64"),
        ("0.beta", lambda t: t.half(), "'0.beta' is torch.float16"),
        ("0.beta", lambda t: t.to(torch.complex64), "'0.beta' is torch.complex64"),
        ("unattributed", nan, "'unattributed' holds NaN"),
        ("sources", lambda t: t[:, :1], "'sources' has shape .2, 1., and must have .2, 2."),
        ("sources", lambda t: t.flip(1) + 1, "its parts do not add up"),
        ("bypassed", lambda t: None, "its tensors are"),
        ("further", lambda t: torch.ones(1), "its tensors are"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused_whatever_their_checksum(saved, name, change, message):
    header, tensors = read_tensors(saved, FORMAT)
    changed = change(tensors.get(name))
    others = {key: tensor for key, tensor in tensors.items() if key != name}
    write_tensors(saved, FORMAT, others if changed is None else others | {name: changed}, header)
    with pytest.raises(FileError, match=f"is not a complete biasprop explanation: .*{message}"):
        biasprop.load(saved)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("names", "x", "must be lists"),
        ("names", [], "one dimension for each name"),
        ("names", ["x", "x"], "one dimension for each name"),
        ("names", [3], "a name is no text"),
        ("names", ["x" * 10_001], "is too long"),
        ("batch_dims", [0.0], "a dimension is no whole number"),
        ("batch_dims", [True], "a dimension is no whole number"),
        ("batch_dims", [-1], "dimension -1 of '0.value' is not there"),
        ("batch_dims", [2], "dimension 2 of '0.value' is not there"),
        ("batch_dims", [10**30], "is not there"),
        ("inputs", [1], "yes or no"),
        ("single", "yes", "yes or no"),
        ("rule", 3, "a name is no text"),
        ("rule", None, "a name is no text"),
        ("sources", [["0", "linear"]], "'sources' has shape .2, 2., and must have .2, 1."),
        ("sources", [["0", "linear"], "ab"], "a source is no pair"),
        ("sources", [["0", "linear"], ["2", 3]], "a source is no pair"),
        ("sources", {"0": "linear", "2": "linear"}, "must be lists"),
        ("temperature", [1.0], "its temperature is no number"),
        ("temperature", True, "its temperature is no number"),
        ("temperature", "warm", "could not convert string to float"),
        ("target", [0], "its target does not fit"),
        ("target", [0, 0.5], "its target does not fit"),
        ("target", [0, [1, "2"]], "its target does not fit"),
        ("target", {"0": 1}, "its target does not fit"),
        ("target", None, "its target does not fit"),
    ],
)
def test_headers_of_other_types_are_refused_whatever_their_checksum(saved, name, value, message):
    header, tensors = read_tensors(saved, FORMAT)
    write_tensors(saved, FORMAT, tensors, header | {name: value})
    with pytest.raises(FileError, match=f"is not a complete biasprop explanation: .*{message}"):
        biasprop.load(saved)
    write_tensors(saved, FORMAT, tensors, {key: kept for key, kept in header.items() if key != name})
    with pytest.raises(FileError, match=f"is not a complete biasprop explanation: it lacks '{name}'"):
        biasprop.load(saved)


@pytest.mark.parametrize("targets", [[0, 2], "all", ["predicted", lambda y: y[:, 0] - y[:, 1]]])
def test_several_targets_survive_saving(targets, tmp_path):
    explanation = biasprop.explain(small_mlp(), ROWS, targets=targets)
    explanation.save(tmp_path / "e.safetensors")
    loaded = biasprop.load(tmp_path / "e.safetensors")
    assert_same(loaded, explanation)
    assert_same(loaded.for_target(1).example(2), explanation.for_target(1).example(2))
    explanation.for_target(1).example(2).save(tmp_path / "one.safetensors")
    assert_same(biasprop.load(tmp_path / "one.safetensors"), explanation.for_target(1).example(2))


def test_an_explanation_at_a_hidden_tensor_is_not_taken_for_one_of_the_input(tmp_path):
    hidden = biasprop.explain(small_mlp(), ROWS, 0).at("0")
    assert not hidden.parts[0].is_input
    hidden.save(tmp_path / "e.safetensors")
    loaded = biasprop.load(tmp_path / "e.safetensors")
    assert_same(loaded, hidden)
    assert not loaded.parts[0].is_input


def test_a_rule_without_a_finite_temperature_is_kept(tmp_path):
    explanation = replace(biasprop.explain(small_mlp(), ROWS, 0), temperature=float("inf"))
    explanation.save(tmp_path / "e.safetensors")
    assert biasprop.load(tmp_path / "e.safetensors").temperature == float("inf")
