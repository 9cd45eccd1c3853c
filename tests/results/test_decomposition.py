"""One example of a batch, one of several targets, and the numbers that follow from the others."""

import pytest
import torch
from helpers import IMAGES, ROWS, convolutional, small_mlp

import biasprop
from biasprop import InputError, SourceError


def test_one_example_of_a_batch(image):
    one = image.example(1)
    assert one.output.shape == (1,)
    torch.testing.assert_close(one.bias_attribution[0], image.bias_attribution[1])
    torch.testing.assert_close(one.sources.amounts[0], image.sources.amounts[1])
    assert one.target == [image.target[1]]
    assert image.example(-1).output[0] == image.output[2]
    with pytest.raises(IndexError, match="range"):
        image.example(3)
    with pytest.raises(SourceError, match="loaded or cut out of a batch"):
        one.at("0")


def test_one_target_of_several():
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, 3])
    one = several.for_target(-1)
    assert one.target == [3, 3, 3]
    assert torch.equal(one.output, several.output[:, 1])
    assert torch.equal(one.bias_attribution, several.bias_attribution[:, 1])
    with pytest.raises(IndexError, match="range"):
        several.for_target(2)
    with pytest.raises(InputError, match="one target"):
        one.for_target(0)


def test_what_follows_from_what(image, pair):
    for explanation in (image, pair):
        parts = explanation.parts
        w = sum(p.product[0].flatten(1).sum(1) for p in parts)
        beta = sum(p.beta[0].flatten(1).sum(1) for p in parts)
        torch.testing.assert_close(explanation.bias, explanation.output - w)
        torch.testing.assert_close(explanation.residual, w + beta + explanation.unattributed - explanation.output)
        size = sum((p.product[0].abs() + p.beta[0].abs()).flatten(1).sum(1) for p in parts)
        torch.testing.assert_close(explanation.magnitude, size)
        torch.testing.assert_close(explanation.completeness_error, explanation.residual.abs() / size)
    assert isinstance(pair.attribution, tuple)
    torch.testing.assert_close(pair.attribution[1], pair.weight_attribution[1] + pair.bias_attribution[1])


def test_the_error_is_absolute_where_there_is_nothing():
    model = small_mlp()
    torch.nn.init.zeros_(model[2].weight)
    torch.nn.init.zeros_(model[2].bias)
    assert biasprop.explain(model, ROWS, 0).completeness_error.tolist() == [0] * 4
