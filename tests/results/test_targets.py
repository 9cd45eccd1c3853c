"""The dimension of targets, inside and outside."""

import pytest
import torch
from helpers import IMAGES, assert_same, convolutional

import biasprop
from biasprop.results import TargetAxis
from biasprop.results.targets import by_example, like_tensor


def test_what_is_done_with_several_targets(tmp_path):
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, "predicted"])
    torch.testing.assert_close(several.sources.amounts.sum(-1), several.bias)
    torch.testing.assert_close(several.regions(4).attribution.sum(-1), several.attribution.flatten(2).sum(2))
    assert_same(several.example(1).for_target(1), several.for_target(1).example(1))
    several.save(tmp_path / "several.safetensors")
    loaded = biasprop.load(tmp_path / "several.safetensors")
    assert_same(loaded.for_target(1), several.for_target(1))
    assert "output 0 (" in str(several)
    assert "0, target 1" in str(several.sources)
    with pytest.raises(biasprop.InputError, match="for_target"):
        several.plot()
    with pytest.raises(IndexError, match="range"):
        several.for_target(2)
    with pytest.raises(biasprop.InputError, match="one target"):
        several.for_target(0).for_target(0)


def test_the_axis_goes_out_and_in_again():
    values = torch.arange(24.0).reshape(2, 3, 4)  # (J, *shape)
    several, one = TargetAxis((0, 1), several=True), TargetAxis((0,), several=False)
    for dim, shape in ((0, (3, 2, 4)), (1, (3, 4, 2))):
        outside = several.outward(values, dim)
        assert outside.shape == shape
        assert torch.equal(several.inward(outside, dim), values)
    assert torch.equal(one.outward(values[:1]), values[0])
    assert torch.equal(one.inward(values[0]), values[:1])
    assert several.target == [0, 1]
    assert several.only(1) == TargetAxis((1,), several=False)
    assert several.only(1).target == 1


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_rows_of_examples_and_back(dim):
    values = torch.randn(2, 3, 6, 5)
    batch = values.shape[1 + dim]
    rows = by_example(values, dim, batch)
    assert rows.shape == (2, batch, values[0].numel() // batch)
    assert torch.equal(like_tensor(rows, dim, values.shape[1:]), values)
    assert torch.equal(rows[1, 0].sort().values, values[1].select(dim, 0).flatten().sort().values)


def test_an_example_may_be_several_entries():
    values = torch.arange(12.0).reshape(1, 6, 2)
    assert torch.equal(by_example(values, 0, 3)[0, 1], torch.arange(4.0, 8))
