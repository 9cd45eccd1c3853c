"""Targets as functionals: callables, tangents, structured outputs, several at once."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from helpers import IMAGES, ROWS, assert_exact, convolutional, randomise, small_mlp
from torch import nn
from torch.utils import _pytree as pytree

import biasprop
from biasprop import TargetError


def test_difference_of_logits():
    net = small_mlp()
    difference = biasprop.explain(net, ROWS, lambda y: y[:, 1] - y[:, 2])
    torch.testing.assert_close(difference.output, (net(ROWS)[:, 1] - net(ROWS)[:, 2]).detach())
    assert "target" not in difference.sources.names
    assert difference.completeness_error.max() < 1e-12


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_target_that_is_not_linear_is_a_tangent(rule):
    net = small_mlp()
    explanation = biasprop.explain(net, ROWS, lambda y: y.softmax(1)[:, 0], rule=rule)
    assert explanation.completeness_error.max() < 1e-12
    assert explanation.sources.names[-1] == "target"
    withheld = biasprop.explain(net, ROWS, lambda y: y.softmax(1)[:, 0], rule=rule, sources=["0", "2"])
    torch.testing.assert_close(withheld.withheld, explanation.sources["target"].amount)


def test_dict_output_with_a_callable_works_and_without_is_an_error():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_mlp()

        def forward(self, x):
            y = self.net(x)
            return {"scores": y, "features": (x * 2, torch.ones(3))}

    net = Many().eval()
    explanation = biasprop.explain(net, ROWS, lambda out: out["scores"][:, 0] + out["features"][0].sum(1))
    assert explanation.completeness_error.max() < 1e-12
    with pytest.raises(TargetError, match=r"returns a dict.*callable target"):
        biasprop.explain(net, ROWS)


def test_tuple_output_without_a_callable_is_an_error():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TargetError, match=r"returns a tuple of 2, .*target=lambda out: out\[0\]\[:, 0\]\."):
        biasprop.explain(Pair().eval(), ROWS, 0)


@dataclass
class Fields:
    hidden: torch.Tensor
    logits: torch.Tensor


class Named(NamedTuple):
    score: torch.Tensor
    rest: torch.Tensor


@pytest.mark.parametrize(
    ("made", "message", "target"),
    [
        (lambda y: {"loss": torch.ones(()), "scores": y}, "a dict with 'loss', 'scores', not", "out['scores'][:, 0]"),
        (lambda y: {"a": y[:, :1], "scores": y}, "a dict with 'a', 'scores', not", "out['a'][:, 0]"),
        (lambda y: {"b": [y.long(), {"x": y[:, :, None]}]}, "a dict with 'b', not", "out['b'][1]['x'][:, 0, 0]"),
        (lambda y: {7: y[:, 0]}, "a dict with 7, not", "out[7]"),
        (lambda y: [y], "a list of 1, not", "out[0][:, 0]"),
        (lambda y: Named(y[:, 0], y), "a Named with score, rest, not", "out.score"),
        (lambda y: Fields(torch.ones(7), y), "a Fields with hidden, logits, not", "out.logits[:, 0]"),
        (lambda y: (None, (y, 3)), "a tuple of 2, not", "out[1][0][:, 0]"),
        (lambda y: {f"k{i}": y for i in range(30)}, "'k11', ..., not", "out['k0'][:, 0]"),
    ],
)
def test_the_advice_on_structured_outputs_is_what_works(made, message, target):
    class Structured(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_mlp()

        def forward(self, x):
            return made(self.net(x))

    if Fields not in pytree.SUPPORTED_NODES:
        pytree.register_dataclass(Fields)
    net = Structured().eval()
    with pytest.raises(TargetError, match=re.escape(message)) as caught:
        biasprop.explain(net, ROWS)
    assert f"e.g. target=lambda out: {target}." in str(caught.value)
    working = eval(f"lambda out: {target}")
    assert biasprop.explain(net, ROWS, working).completeness_error.max() < 1e-12


def test_outputs_that_hold_nothing_to_explain():
    class Losses(nn.Module):
        def forward(self, x):
            return {"loss": torch.ones(()), "scaled": x.T[:2]}

    with pytest.raises(TargetError, match="let forward return a tensor with a row per example: there is none in it"):
        biasprop.explain(Losses().eval(), ROWS)
    with pytest.raises(TargetError, match=r"must be the 4 examples.*a batch of one with x\[None\]"):
        biasprop.explain(nn.Flatten(0).eval(), ROWS)


def test_an_output_that_does_not_depend_on_the_input_is_all_unattributed():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x) + 3

    explanation = biasprop.explain(Constant().eval(), ROWS, 0)
    torch.testing.assert_close(explanation.unattributed, torch.full((4,), 3.0).double())
    assert explanation.completeness_error.max() == 0


def test_time_first_outputs_with_a_callable_target():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 5)

        def forward(self, x):
            return torch.relu(self.inner(x.transpose(0, 1)))

    for n in (3, 4):
        model, x = randomise(TimeFirst()).double(), torch.randn(n, 3, 2).double()
        whole = assert_exact(model, x, lambda y: y[-1, :, 0].exp())
        alone = biasprop.explain(model, x[1:2], lambda y: y[-1, :, 0].exp())
        torch.testing.assert_close(alone.bias_attribution[0], whole.bias_attribution[1])


def test_all_targets_and_a_tensor_of_them():
    net, x = convolutional(), IMAGES
    every = biasprop.explain(net, x, targets="all")
    torch.testing.assert_close(every.output, net(x).detach())
    assert every.target == [[j] * 3 for j in range(5)]
    best = net(x).topk(2).indices
    torch.testing.assert_close(biasprop.explain(net, x, targets=best).output, net(x).topk(2).values.detach())
    torch.testing.assert_close(
        biasprop.explain(net, x, targets=torch.tensor([1, 4])).output, net(x)[:, [1, 4]].detach()
    )
    maps = nn.Conv2d(2, 3, 3, stride=2).double().eval()
    torch.testing.assert_close(biasprop.explain(maps, x, targets="all").output, maps(x).flatten(1).detach())
    flat = nn.Sequential(nn.Flatten(), nn.Linear(128, 1), nn.Flatten(0)).double().eval()
    torch.testing.assert_close(biasprop.explain(flat, x, targets="all").output, flat(x)[:, None].detach())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], r"targets must be a list of targets, .*not \[\]"),
        ("some", "targets must be a list of targets, .*or 'all', not 'some'"),
        (3, "targets must be a list of targets, .*not 3"),
        ([7], "Target 7 is out of range: dimension 1 of the output has 5 entries"),
        ([[0, 1]], "2 entries for a batch of 3: give one index for all examples, or one for each"),
        (torch.zeros(2, 2, 2, dtype=torch.long), r"targets must be .*an \(N, J\) tensor"),
    ],
)
def test_wrong_targets(targets, message):
    with pytest.raises(TargetError, match=message):
        biasprop.explain(convolutional(), IMAGES, targets=targets)


def test_target_or_targets():
    with pytest.raises(TargetError, match="not both"):
        biasprop.explain(convolutional(), IMAGES, 3, targets=[3])


def test_probability_of_the_target():
    net = small_mlp()
    softmax = net(ROWS).softmax(1).detach()
    one = biasprop.explain(net, ROWS, 2)
    torch.testing.assert_close(one.probability, softmax[:, 2])
    torch.testing.assert_close(one.example(1).probability, softmax[1:2, 2])
    torch.testing.assert_close(one.at("0").probability, softmax[:, 2])
    several = biasprop.explain(net, ROWS, targets=[2, 0])
    torch.testing.assert_close(several.probability, softmax[:, [2, 0]])
    torch.testing.assert_close(several.for_target(1).probability, softmax[:, 0])
    assert biasprop.explain(net, ROWS, lambda y: y[:, 0]).probability is None
    assert biasprop.explain(net, ROWS, targets=[1, lambda y: y[:, 0]]).probability is None
    assert biasprop.explain(randomise(nn.Linear(ROWS.shape[1], 1).double()), ROWS).probability is None


def test_no_probability_beside_an_infinite_logit():
    class Unbounded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 2)

        def forward(self, x):
            y = self.head(x)
            return torch.cat([y, torch.full_like(y[:, :1], torch.inf)], 1)

    assert biasprop.explain(Unbounded().double().eval(), torch.randn(2, 3).double(), 0).probability is None
