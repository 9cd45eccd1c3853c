"""Maps add up, whatever their size, and also those of a hidden tensor laid over the image."""

import pytest
import torch
from helpers import randomise, small_cnn
from torch import nn

import biasprop
from biasprop import InputError


@pytest.fixture
def explanation():
    return biasprop.explain(small_cnn().double(), torch.randn(3, 2, 9, 9, dtype=torch.float64), 1)


def test_the_sum_over_channels(explanation):
    torch.testing.assert_close(explanation.map(), explanation.attribution.sum(1))


@pytest.mark.parametrize("size", [1, 2, 4, 9, 20])
def test_patches(explanation, size):
    found = explanation.map(size)
    across = -(-9 // size)
    assert found.shape == (3, across, across)
    torch.testing.assert_close(found[:, 0, -1], explanation.map()[:, :size, (across - 1) * size :].sum((1, 2)))
    torch.testing.assert_close(found.sum((1, 2)), explanation.attribution.sum((1, 2, 3)))


def test_a_hidden_tensor_is_laid_over_the_image_and_keeps_its_sum(explanation):
    name = next(n for n in ("2", "1", "0") if explanation.at(n).attribution.dim() == 4)
    hidden = explanation.at(name).attribution
    found = explanation.map(at=name)
    assert found.shape == (3, 9, 9)
    torch.testing.assert_close(found.sum((1, 2)), hidden.sum((1, 2, 3)))
    torch.testing.assert_close(explanation.map(3, at=name).sum((1, 2)), hidden.sum((1, 2, 3)))


def test_of_a_signal_and_of_several_targets():
    model = randomise(nn.Sequential(nn.Conv1d(2, 3, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))).double()
    x = torch.randn(2, 2, 9, dtype=torch.float64)
    found = biasprop.explain(model, x, targets=[0, 3])
    assert found.map(2).shape == (2, 2, 5)
    torch.testing.assert_close(found.map(at="1").sum(2), found.output)
    torch.testing.assert_close(found.for_target(1).map(), found.map()[:, 1])


def test_what_has_no_map(explanation):
    text = biasprop.explain(
        randomise(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))), torch.ones(1, 2).long()
    )
    grown = biasprop.explain(
        nn.Sequential(nn.Upsample(scale_factor=4), nn.Flatten(), nn.Linear(64, 2)).eval(), torch.randn(1, 1, 2, 2)
    )
    table = biasprop.explain(randomise(nn.Linear(4, 2)), torch.randn(2, 4), 0)
    pair = biasprop.explain(randomise(nn.Bilinear(2, 3, 1)), (torch.randn(2, 2), torch.randn(2, 3)))
    for call, said in (
        (lambda: table.map(), "no places"),
        (lambda: pair.map(), "2 tensors"),
        (lambda: text.map(), "use its tokens"),
        (lambda: grown.map(at="0"), "cannot be laid over"),
        (lambda: explanation.map(0), "positive whole number"),
        (lambda: explanation.map(1.5), "positive whole number"),
        (lambda: explanation.map(at=explanation.parts[0].name + "?"), "No tensor"),
    ):
        with pytest.raises(biasprop.BiaspropError, match=said):
            call()
    with pytest.raises(InputError):
        table.map()
