"""Sums over regions stay complete."""

import numpy as np
import pytest
import torch

from biasprop import InputError


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
        (0, "a positive whole number"),
    ],
)
def test_bad_regions(image, labels, message):
    with pytest.raises(InputError, match=message):
        image.regions(labels)
