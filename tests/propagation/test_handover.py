"""Hand-over: complete, with the same totals; where it changes nothing; means, sources, targets, files, errors."""

import pytest
import torch
from helpers import assert_same, randomise
from torch import nn

import biasprop
from biasprop import InputError, RuleError, SourceError

PAIR = ("bias1", "bias3")


class Net(nn.Module):
    """A strided stack with a skip that goes past ``c``, and a linear head."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.c, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6 * 16, 5)

    def forward(self, x):
        y = torch.relu(self.b(torch.relu(self.a(x))))
        return self.head(torch.relu(self.c(y) + y).flatten(1))


@pytest.fixture
def x():
    return torch.randn(2, 3, 8, 8, dtype=torch.float64)


@pytest.fixture
def explain(x):
    return biasprop.explainer(randomise(Net()).double(), x)


def totals(explanation):
    return [kind.flatten(1).sum(1) for kind in (explanation.weight_attribution, explanation.bias_attribution)]


@pytest.mark.parametrize("where", ["a", "relu", "b", "c", "auto", ["a", "c"], ["x", "b", "auto"]])
@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3", PAIR])
def test_complete_with_the_same_totals(explain, x, where, rule):
    plain = explain(x, 1)
    found = explain(x, 1, rule, handover=where)
    assert found.completeness_error.max() < 1e-13
    for one, other in zip(totals(found), totals(plain), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(found.bias, plain.bias)
    torch.testing.assert_close(found.sources.amounts.sum(1), plain.bias)
    assert not torch.allclose(found.attribution, plain.attribution)


def test_a_pair_as_it_is_printed(explain, x):
    found = explain(x, 1, PAIR, handover="c")
    assert found.rule == "bias1/bias3"
    torch.testing.assert_close(explain(x, 1, found.rule, handover="c").attribution, found.attribution, rtol=0, atol=0)
    with pytest.raises(RuleError, match="not 3"):
        explain(x, 1, "bias1/bias2/bias3", handover="c")


def test_at_the_input_nothing_changes(explain, x):
    plain = explain(x, 1)
    for where in (None, [], "x", ["x"]):
        found = explain(x, 1, handover=where)
        assert_same(found, plain)
        torch.testing.assert_close(found.weight, plain.weight)
        assert found.handover == ""


def test_of_several_the_mean(explain, x):
    """Also where a skip goes past one of them, and for an input among them."""
    names = ["a", "b", "c", "x"]
    each = [explain(x, 1, PAIR, handover=name) for name in names]
    mean = explain(x, 1, PAIR, handover=names)
    for kind in ("weight_attribution", "bias_attribution"):
        torch.testing.assert_close(getattr(mean, kind), sum(getattr(one, kind) for one in each) / 4)


@pytest.mark.parametrize("zero_others", [False, True])
def test_disjoint_sources_add_up(explain, x, zero_others):
    """The sources below are told apart."""
    whole = explain(x, 1, PAIR, handover=["b", "c"])
    parts = [
        explain(x, 1, PAIR, handover=["b", "c"], sources=some, zero_others=zero_others)
        for some in (["a", "head"], lambda name, operation: name not in ("a", "head"))
    ]
    for part in parts:
        assert part.completeness_error.max() < 1e-13
        assert part.withheld.abs().min() > 1e-4
        torch.testing.assert_close(part.withheld + totals(part)[1], whole.bias)
    if not zero_others:
        torch.testing.assert_close(sum(p.bias_attribution for p in parts), whole.bias_attribution)


@pytest.mark.parametrize("where", ["a", "c", "auto", ["a", "c", "x"]])
def test_the_sources_are_those_without(explain, x, where, tmp_path):
    """A hand-over changes where b goes, not where it comes from."""
    plain, found = explain(x, targets=[3, 1]).sources, explain(x, targets=[3, 1], handover=where)
    for sources in (found.sources, found.for_target(1).sources, found.example(1).sources):
        assert sources.names == plain.names
    torch.testing.assert_close(found.sources.amounts, plain.amounts)
    torch.testing.assert_close(found.for_target(1).example(1).sources.amounts, plain.amounts[1:, 1])
    found.save(tmp_path / "e.safetensors")
    torch.testing.assert_close(biasprop.load(tmp_path / "e.safetensors").sources.amounts, plain.amounts)


def test_the_sources_above_a_cut(explain, x):
    """What lies below the hidden tensors is no source of the bias that reaches them."""
    at = explain(x, 1, handover="c").at("a")
    assert at.completeness_error.max() < 1e-13
    assert "a" not in at.sources.names
    assert at.sources.names[-1] == "head"


def test_sources_of_a_model_that_has_changed(explain, x):
    found = explain(x, 1, handover="c")
    with torch.no_grad():
        explain.model.head.bias += 1
    with pytest.raises(SourceError, match="model has changed"):
        print(found.sources)


def test_several_targets_as_alone(explain, x):
    both = explain(x, targets=[3, 1], handover="c", rule=PAIR)
    for j, target in enumerate((3, 1)):
        alone = explain(x, target, PAIR, handover="c")
        one = both.for_target(j)
        torch.testing.assert_close(one.weight_attribution, alone.weight_attribution)
        torch.testing.assert_close(one.bias_attribution, alone.bias_attribution)
    thrifty = biasprop.Explainer(explain.model, memory_budget=1)
    torch.testing.assert_close(thrifty(x, targets=[3, 1], handover="c", rule=PAIR).attribution, both.attribution)


def test_several_hand_overs_with_a_skip_target_by_target(explain, x):
    """What has passed different hand-overs is one row of the table; none is lost where targets do not fit at once."""
    where = ["a", "c", "x"]
    both = explain(x, targets=[3, 1, 0], handover=where)
    names = list(both.sources.names)
    assert len(names) == len(set(names))
    thrifty = biasprop.Explainer(explain.model, memory_budget=1)(x, targets=[3, 1, 0], handover=where)
    torch.testing.assert_close(thrifty.attribution, both.attribution)
    torch.testing.assert_close(thrifty.sources.amounts, both.sources.amounts)


def test_each_example_alone(explain, x):
    both = explain(x, 1, PAIR, handover="c")
    alone = explain(x[1:], 1, PAIR, handover="c")
    torch.testing.assert_close(alone.weight_attribution[0], both.weight_attribution[1])
    torch.testing.assert_close(both.example(1).weight_attribution, alone.weight_attribution)


def test_at_hidden_tensors(explain, x):
    """Above the hand-over nothing has changed; below it the masses add up."""
    found = explain(x, 1, PAIR, handover="c")
    torch.testing.assert_close(found.at("relu_2").attribution, explain(x, 1).at("relu_2").attribution)
    below = found.at("relu")
    assert below.bypassed.abs().max() == 0
    torch.testing.assert_close(below.attribution.flatten(1).sum(1), found.output)


def test_there_is_no_gradient_below(explain, x):
    with pytest.raises(InputError, match="handed over at c"):
        _ = explain(x, 1, handover="c").weight


def test_saved_and_printed(explain, x, tmp_path):
    found = explain(x, 1, PAIR, handover="auto")
    assert "(bias1/bias3, frozen, handed over at relu)" in str(found)
    found.save(tmp_path / "e.safetensors")
    loaded = biasprop.load(tmp_path / "e.safetensors")
    assert str(loaded) == str(found)
    torch.testing.assert_close(loaded.weight_attribution, found.weight_attribution)
    assert loaded.example(1).completeness_error.max() < 1e-13


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"handover": "d"}, SourceError, "No tensor of the network is called 'd'"),
        ({"handover": 3}, SourceError, "handover must be the name"),
        ({"handover": [3]}, SourceError, "handover must be the name"),
        ({"handover": "p_a_weight"}, SourceError, "p_a_weight"),
        ({"rule": ("bias1",)}, RuleError, "pair"),
        ({"rule": ("bias1", "bias4")}, RuleError, "bias4"),
    ],
)
def test_what_is_no_handover(explain, x, options, error, said):
    with pytest.raises(error, match=said):
        explain(x, 1, **options)


def test_auto_is_the_deepest_layout():
    flat = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    dense = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.ReLU(), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 3)
    )
    small = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
    )
    deep = nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 3))
    masks = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    scores = nn.Sequential(*masks, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    patches = nn.Sequential(
        nn.Conv2d(1, 4, 2, 2), nn.Flatten(2), nn.Linear(9, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    )
    cases = [
        (flat, (6,), ""),
        (dense, (2, 8), "1"),
        (dense, (2, 24), "2"),
        (small, (1, 18, 18), "4"),
        (deep, (1, 4, 4, 4), "1"),
        (masks, (1, 6, 6), "1"),
        (scores, (1, 6, 6), "1"),
        (patches, (1, 6, 6), ""),
    ]
    for model, shape, expected in cases:
        model, x = randomise(model).double(), torch.randn(2, *shape).double()
        target = (lambda out: out.flatten(1).sum(1)) if model in (masks, scores) else 1
        found = biasprop.explain(model, x, target, handover="auto")
        assert found.handover == expected
        assert found.completeness_error.max() < 1e-12


def test_of_two_inputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.row, self.head = nn.Conv2d(1, 2, 3), nn.Linear(3, 4), nn.Linear(36, 2)

        def forward(self, image, row):
            return self.head(torch.cat([torch.relu(self.conv(image)).flatten(1), torch.relu(self.row(row))], 1))

    x = (torch.randn(2, 1, 6, 6).double(), torch.randn(2, 3).double())
    explain = biasprop.explainer(randomise(Both()).double(), x)
    found, plain = explain(x, 1, handover="auto"), explain(x, 1)
    assert found.handover == "relu"
    assert found.completeness_error.max() < 1e-12
    torch.testing.assert_close(found.attribution[1], plain.attribution[1])
    assert not torch.allclose(found.attribution[0], plain.attribution[0])
