"""The result: sums over regions, saving and loading, text and pictures."""

import json

import numpy as np
import pytest
import torch
from conftest import randomise
from safetensors.torch import save_file
from torch import nn

import biasprop
from biasprop import FileError, InputError, SourceError


@pytest.fixture(scope="module")
def image() -> biasprop.Explanation:
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 10, 3)))
    return biasprop.explain(model.double(), torch.randn(3, 3, 10, 12).double())


@pytest.fixture(scope="module")
def table() -> biasprop.Explanation:
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))).double()
    return biasprop.explain(model, torch.randn(2, 4).double())


class Two(nn.Module):
    def forward(self, a, b):
        return (a * 2 + 1).sum(1) + torch.relu(b).sum((1, 2))


@pytest.fixture(scope="module")
def pair() -> biasprop.Explanation:
    return biasprop.explain(Two().eval(), (torch.randn(2, 3), torch.randn(2, 4, 5)))


@pytest.mark.parametrize("labels", [4, torch.arange(12), torch.randint(0, 5, (10, 12)), np.zeros((3, 1, 1), int)])
def test_regions_stay_complete(image, labels):
    regions = image.regions(labels)
    torch.testing.assert_close(regions.attribution.sum(1), image.output)
    torch.testing.assert_close(regions.bias_attribution.sum(1), image.bias_attribution.flatten(1).sum(1))


def test_regions_by_hand(image):
    labels = torch.zeros(10, 12, dtype=torch.long)
    labels[3:, 5:] = 1
    regions = image.regions(labels)
    torch.testing.assert_close(regions.weight_attribution[:, 1], image.weight_attribution[:, :, 3:, 5:].sum((1, 2, 3)))
    painted = regions.paint(regions.attribution[0])
    assert painted[9, 11] == regions.attribution[0, 1]


def test_regions_of_several_inputs_and_of_hidden_tensors(image, pair):
    regions = pair.regions((torch.arange(3), 2))
    total = sum(part.sum(1) for part in regions.attribution)
    torch.testing.assert_close(total, pair.output)
    torch.testing.assert_close(image.at("1").regions(2).attribution.sum(1), image.output)
    with pytest.raises(InputError, match="tuple of as many"):
        pair.regions(2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(10, 12), "must be integers"),
        (-torch.ones(10, 12).long(), "from 0"),
        (torch.zeros(7, 7).long(), "do not fit"),
        (0, "at least 1"),
    ],
)
def test_bad_regions(image, labels, message):
    with pytest.raises(InputError, match=message):
        image.regions(labels)


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


def test_one_example_of_a_batch(image):
    one = image.example(1)
    assert one.output.shape == (1,)
    torch.testing.assert_close(one.bias_attribution[0], image.bias_attribution[1])
    torch.testing.assert_close(one.sources.amounts[0], image.sources.amounts[1])
    assert one.target == [image.target[1]]
    assert image.example(-1).output[0] == image.output[2]


def test_text(image, table):
    text = table.summary(["age", "weight", "height", "pressure"])
    assert "f(x) =" in text
    assert "w.x" in text
    assert any(name in text for name in ("age", "pressure"))
    assert "complete to" in text
    assert "target" in str(image)
    assert "Explanation(3 examples" in repr(image)
    assert image.sources["0"].operation == "conv2d"
    with pytest.raises(SourceError, match="no bias source|No bias source"):
        image.sources["9"]


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


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((1, 4), torch.nan).double(), "NaN or infinite"),
        (torch.tensor([[1.0, 2, torch.inf, 4]]).double(), "NaN or infinite"),
        (torch.ones(1, 4, dtype=torch.long), "floating point"),
        (torch.ones(0, 4).double(), "at least one example"),
        (torch.tensor(1.0).double(), "at least one example"),
        (torch.ones(1, 4), r"is torch.float32, the model torch.float64.*x\.to"),
        (np.ones((1, 4)), "must be a torch.Tensor"),
        (torch.ones(1, 4, device="meta").double(), "ordinary dense tensor"),
    ],
)
def test_bad_inputs(x, message):
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    with pytest.raises(InputError, match=message):
        biasprop.explain(model, x)


def test_wrong_shape_and_different_batches():
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    with pytest.raises(biasprop.CaptureError, match=r"shape \(1, 5\)"):
        biasprop.explain(model, torch.ones(1, 5).double())
    with pytest.raises(InputError, match="different batch sizes"):
        biasprop.explain(Two().eval(), (torch.ones(2, 3), torch.ones(3, 4, 5)))
