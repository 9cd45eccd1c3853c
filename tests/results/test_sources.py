"""The table of bias sources."""

import pytest
import torch
from helpers import IMAGES, convolutional

import biasprop
from biasprop import SourceError
from biasprop.results import BiasSource, Sources, TargetAxis


def made():
    amounts = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4])
    return Sources([BiasSource("conv", "conv2d", amounts[0]), BiasSource("fc", "linear", amounts[1])], torch.zeros(2))


def test_it_is_a_sequence_by_position_and_by_name():
    sources = made()
    assert len(sources) == 2
    assert sources.names == ["conv", "fc"]
    assert sources.operations == ["conv2d", "linear"]
    assert [source.name for source in sources] == sources.names
    assert sources["fc"] is sources[1]
    assert list(sources[:1]) == [sources[0]]
    assert torch.equal(sources.amounts, torch.tensor([[1, 0.5], [-2, 4]]))
    with pytest.raises(SourceError, match=r"No bias source is called 'head'\. There are: conv, fc"):
        sources["head"]
    with pytest.raises(IndexError, match="range"):
        sources[2]


def test_its_text_has_a_row_for_each_and_the_sum():
    lines = str(made()).splitlines()
    assert lines[0].split() == ["source", "operation", "example", "0", "example", "1"]
    assert lines[1].split() == ["conv", "conv2d", "1", "-2"]
    assert lines[-1].split() == ["b", "sum", "1.5", "2"]
    assert repr(made()) == str(made())


def test_a_network_without_any():
    sources = Sources([], torch.zeros(3, 2))
    assert len(sources) == 0
    assert sources.amounts.shape == (3, 2, 0)
    assert str(sources).splitlines()[-1].split()[:2] == ["b", "sum"]


def test_targets_come_after_the_examples():
    inside = [BiasSource("conv", "conv2d", torch.arange(6.0).reshape(2, 3))]  # (J, N)
    several = Sources.outward(inside, TargetAxis(("a", "b"), several=True), torch.zeros(2, 3))
    assert several.amounts.shape == (3, 2, 1)
    assert several.amounts[2, 1, 0] == 5
    one = Sources.outward(
        [BiasSource("conv", "conv2d", torch.ones(1, 3))], TargetAxis(("a",), False), torch.zeros(1, 3)
    )
    assert one.amounts.shape == (3, 1)


def test_every_source_is_named_after_its_layer():
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, 1])
    assert [(s.name, s.operation) for s in several.sources] == [("0", "conv2d"), ("3", "conv2d"), ("5", "linear")]
    assert several.sources["3"].amount.shape == (3, 2)
