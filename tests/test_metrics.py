"""The metrics: cases computed by hand, sampling error for random maps, batches of any size, bad input."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from biasprop import InputError, metrics


class Sums(nn.Module):
    """Logits: the sum of the pixels, and a constant."""

    def __init__(self, constant=0.0):
        super().__init__()
        self.constant = constant

    def forward(self, x):
        total = x.flatten(1).sum(1)
        return torch.stack([total, torch.full_like(total, self.constant)], 1)


def zeros(x):
    return torch.zeros_like(x)


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
    assert metrics._kept(score, 0.4, True).flatten().tolist() == [False, True, False, False, True]
    assert metrics._kept(score, 0.4, False).flatten().tolist() == [False, False, True, False, True]
    assert metrics._kept(score, 1.0, False).flatten().tolist() == [False, True, True, False, True]


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


def test_the_blur():
    x = torch.zeros(1, 2, 61, 61).double()
    x[0, 0, 30, 30] = 1
    blur = metrics.blurred(x)
    assert not blur[:, 1].any()
    assert blur[0, 0, 30, 40] / blur[0, 0, 30, 30] == pytest.approx(math.exp(-100 / (2 * (41 * math.sqrt(2)) ** 2)))
    torch.testing.assert_close(metrics.blurred(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))


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


def test_relative_difference():
    reference = torch.tensor([[1.0, -1, 2], [2, 2, 0]])
    torch.testing.assert_close(
        metrics.relative_difference(torch.tensor([[1.0, 1, 2], [2, 2, 0]]), reference), torch.tensor([0.5, 0.0])
    )
    with pytest.raises(InputError, match="zero everywhere in example 1"):
        metrics.relative_difference(reference, torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    for wrong in (reference[:1], reference * float("inf")):
        with pytest.raises(InputError):
            metrics.relative_difference(wrong, reference)


def test_overlap_and_its_chance_level():
    a = torch.arange(20.0).reshape(1, 20)
    assert metrics.top_overlap(a, -a, 0.1).share.item() == 1
    assert metrics.top_overlap(a, a.flip(1), 0.1).share.item() == 0
    assert metrics.top_overlap(a, a, 0.1).chance == 0.1
    torch.manual_seed(0)
    random = metrics.top_overlap(torch.randn(500, 100), torch.randn(500, 100), 0.1)
    assert random.share.mean().item() == pytest.approx(random.chance, abs=0.02)
    with pytest.raises(InputError, match="fraction"):
        metrics.top_overlap(a, a, 0.0)


def test_digit_flip():
    weight = torch.zeros(2, 10)
    weight[0, :5], weight[1, 5:] = 1, 1
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 2, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(weight)
    x = torch.tensor([[3.0, 2, 1, 1, 1, 1, 1, 1, 1, 1]]).reshape(1, 1, 2, 5)
    source, target = (x * weight[k].reshape(1, 1, 2, 5) for k in (0, 1))
    flip = metrics.digit_flip(model, x, 0, 1, source, target, erase=0.2)
    assert flip.change.item() == 5  # the pixels 3 and 2; 8 - 5 becomes 3 - 5
    assert flip.flipped.item()
    nothing = metrics.digit_flip(model, x, 0, 1, torch.zeros_like(x), torch.zeros_like(x))
    assert nothing.change.item() == 0
    assert not nothing.flipped.item()
    with pytest.raises(InputError, match="Label 2"):
        metrics.digit_flip(model, x, 0, 2, source, target)
    with pytest.raises(InputError, match="one shape"):
        metrics.digit_flip(model, x, 0, 1, source[:, :, :1], target)


def test_insertion_and_deletion_by_hand():
    """Two classes, the logits a sum of pixels and 0: the probability is the sigmoid of what is shown."""
    x = torch.tensor([[0.4, 0.3], [0.2, 0.1]]).reshape(1, 1, 2, 2)
    found = metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0]))], lambda x, y: x, steps=4, replacement=zeros)
    expected = [1 / (1 + math.exp(-shown)) for shown in (0, 0.4, 0.7, 0.9, 1.0)]
    assert found.fractions == (0, 0.25, 0.5, 0.75, 1)
    assert found.insertion == pytest.approx(expected)
    assert found.deletion == pytest.approx([1 / (1 + math.exp(-left)) for left in (1.0, 0.6, 0.3, 0.1, 0)])
    assert found.insertion_area == pytest.approx(sum((a + b) / 8 for a, b in pairwise(expected)))
    assert "over 1 examples" in str(found)


def test_insertion_refuses_bad_input():
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(InputError, match="no example"):
        metrics.insertion_and_deletion(Sums(), [], lambda x, y: x)
    with pytest.raises(InputError, match="Label 9"):
        metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0, 9]))], lambda x, y: x)
    with pytest.raises(InputError, match="step"):
        metrics.insertion_and_deletion(Sums(), [(x, torch.tensor([0, 0]))], lambda x, y: x, steps=0)
