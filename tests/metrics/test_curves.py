"""Keep and remove curves: a case by hand, sampling error for random maps, batches of any size, bad input."""

import math

import pytest
import torch
from torch import nn
from toys import Sums, zeros

from biasprop import InputError, metrics
from biasprop.metrics.curves import _kept


def test_a_case_of_4_by_4_computed_by_hand():
    x = torch.arange(1.0, 17).reshape(1, 1, 4, 4).double()
    attribution = x.clone()
    attribution[0, 0, 0] *= -1  # pixels 1 to 4 are negative
    labels = torch.tensor([0])
    fractions = [0.25, 0.5, 1.0]  # 4, 8, 16 pixels
    curves = metrics.keep_and_remove(
        Sums(20.0), [(x, labels)], lambda x, y: attribution, fractions=fractions, replacement=zeros
    )
    assert curves.keep_positive == (13 + 14 + 15 + 16, sum(range(9, 17)), sum(range(5, 17)))
    assert curves.keep_negative == (10, 10, 10)  # there are four
    assert curves.keep_absolute == (100, 100, 100)
    assert curves.remove_absolute == (0, 100, 100)  # 1 + 2 + 3 + 4 is below 20, 1 + ... + 8 above
    assert curves.kpm == (58 + 100) / 2 * 0.25 + (100 + 126) / 2 * 0.5
    assert curves.knm == 10 * 0.75
    assert curves.ram == 50 * 0.25 + 100 * 0.5
    assert curves.kam == 75
    assert "KPM 76.25" in str(curves)


def test_removing_keeps_the_smallest_positive_values():
    score = torch.tensor([[[0.0, 3.0, 1.0, -2.0, 2.0]]]).double()
    assert _kept(score, 0.4, True).flatten().tolist() == [False, True, False, False, True]
    assert _kept(score, 0.4, False).flatten().tolist() == [False, False, True, False, True]
    assert _kept(score, 1.0, False).flatten().tolist() == [False, True, True, False, True]


def test_random_attributions_are_as_good_in_both_directions():
    torch.manual_seed(0)
    x = torch.randn(400, 2, 8, 8) + 0.3
    labels = torch.randint(2, (400,))
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    curves = metrics.keep_and_remove(model, [(x, labels)], lambda x, y: torch.randn_like(x), progress=False)
    spread = model(x).std().item() / math.sqrt(len(x))
    assert abs(curves.kpm - curves.knm) < 4 * spread
    assert abs(curves.kam - curves.ram) < 4 * 50 / math.sqrt(len(x))


def test_batches_of_any_size_and_the_published_fractions():
    assert len(metrics.FRACTIONS) == 16
    assert metrics.FRACTIONS[0] == pytest.approx(0.01)
    assert metrics.FRACTIONS[-1] == 1.0
    torch.manual_seed(0)
    x, labels = torch.randn(7, 3, 6, 6), torch.randint(2, (7,))
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 2)).eval()

    def loader(size):
        return [(x[i : i + size], labels[i : i + size]) for i in range(0, 7, size)]

    one, many = (metrics.keep_and_remove(model, loader(size), lambda x, y: x) for size in (7, 2))
    for name in ("kpm", "knm", "kam", "ram"):
        assert getattr(one, name) == pytest.approx(getattr(many, name), rel=1e-5)
    assert many.examples == 7


def test_a_good_attribution_beats_a_random_one():
    torch.manual_seed(0)
    x = torch.rand(50, 1, 8, 8)
    curves = metrics.keep_and_remove(Sums(), [(x, torch.zeros(50).long())], lambda x, y: x, replacement=zeros)
    chance = metrics.keep_and_remove(
        Sums(), [(x, torch.zeros(50).long())], lambda x, y: torch.rand_like(x), replacement=zeros
    )
    assert curves.kpm > chance.kpm + 1
    assert curves.knm == 0


@pytest.mark.parametrize(
    ("labels", "attribute", "message"),
    [
        ([0, 2], lambda x, y: x, "Label 2 is not one of"),
        ([0, -1], lambda x, y: x, "Label -1"),
        ([0], lambda x, y: x, "do not fit"),
        ([0.0, 1.0], lambda x, y: x, "do not fit"),
        ([0, 1], lambda x, y: x.sum(1), "must return a tensor like x"),
        ([0, 1], lambda x, y: None, "must return a tensor like x"),
        ([0, 1], lambda x, y: x * float("nan"), "NaN"),
    ],
)
def test_bad_input(labels, attribute, message):
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(InputError, match=message):
        metrics.keep_and_remove(Sums(), [(x, torch.tensor(labels))], attribute)


def test_no_examples_and_no_images():
    with pytest.raises(InputError, match="no example"):
        metrics.keep_and_remove(Sums(), [], lambda x, y: x)
    with pytest.raises(InputError, match="images"):
        metrics.keep_and_remove(Sums(), [(torch.rand(2, 4), torch.zeros(2).long())], lambda x, y: x)
