"""Targets of every form, and every way to get one wrong."""

import pytest
import torch
from torch import nn

import biasprop
from biasprop import TargetError


def model(outputs=3):
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs)).double().eval()


X = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()


def test_forms_agree():
    net = model()
    y = net(X).detach()
    explainer = biasprop.explainer(net, X)
    best = y.argmax(1)
    for target in ("predicted", best, best.tolist(), best.numpy(), [(int(k),) for k in best]):
        explanation = explainer(X, target)
        torch.testing.assert_close(explanation.output, y.amax(1))
        assert explanation.target == best.tolist()
    for target in (1, -2, (1,), torch.tensor(1), lambda out: out[:, 1]):
        torch.testing.assert_close(explainer(X, target).output, y[:, 1])


def test_difference_of_logits():
    net = model()
    difference = biasprop.explain(net, X, lambda y: y[:, 1] - y[:, 2])
    torch.testing.assert_close(difference.output, (net(X)[:, 1] - net(X)[:, 2]).detach())
    assert "target" not in difference.sources.names
    assert difference.completeness_error.max() < 1e-12


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_target_that_is_not_linear_is_a_tangent(rule):
    net = model()
    explanation = biasprop.explain(net, X, lambda y: y.softmax(1)[:, 0], rule=rule)
    assert explanation.completeness_error.max() < 1e-12
    assert explanation.sources.names[-1] == "target"
    withheld = biasprop.explain(net, X, lambda y: y.softmax(1)[:, 0], rule=rule, sources=["0", "2"])
    torch.testing.assert_close(withheld.withheld, explanation.sources["target"].amount)


def test_one_output_needs_no_target():
    for net in (model(1), nn.Sequential(model(1), nn.Flatten(0))):
        net.eval()
        for target in (None, "predicted"):
            torch.testing.assert_close(biasprop.explain(net, X, target).output, net(X).detach().flatten())


def test_several_output_dimensions():
    net = nn.Sequential(model(6), nn.Unflatten(1, (2, 3))).eval()
    explanation = biasprop.explain(net, X, (1, 2))
    torch.testing.assert_close(explanation.output, net(X)[:, 1, 2].detach())
    assert explanation.target[0] == (1, 2)


def test_dict_output_with_a_callable_works_and_without_is_an_error():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model()

        def forward(self, x):
            y = self.net(x)
            return {"logits": y, "features": (x * 2, torch.ones(3))}

    net = Many().eval()
    explanation = biasprop.explain(net, X, lambda out: out["logits"][:, 0] + out["features"][0].sum(1))
    assert explanation.completeness_error.max() < 1e-12
    with pytest.raises(TargetError, match=r"returns a dict.*callable target"):
        biasprop.explain(net, X)


def test_tuple_output_without_a_callable_is_an_error():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TargetError, match="returns a tuple"):
        biasprop.explain(Pair().eval(), X, 0)


def test_an_output_that_does_not_depend_on_the_input_is_all_unattributed():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x) + 3

    explanation = biasprop.explain(Constant().eval(), X, 0)
    torch.testing.assert_close(explanation.unattributed, torch.full((4,), 3.0).double())
    assert explanation.completeness_error.max() == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"Target 3 is out of range.*3 entries"),
        (-4, "out of range"),
        ([0, 1, 2, 3], "Target 3 is out of range"),
        ([0, 1], "2 entries for a batch of 4"),
        ([0], "1 entries for a batch of 4"),
        (torch.tensor([0, 1, 2]), "3 entries for a batch of 4"),
        ((0, 1), "2 indices per example, but the output has 1"),
        (None, r"3 outputs per example.*target='predicted'"),
        (1.5, "must be integers"),
        (True, "must be integers"),
        ("largest", "not defined"),
        (lambda y: y, r"shape \(4,\), not a tensor of shape \(4, 3\)"),
        (lambda y: y.sum(), r"shape \(\)"),
        (lambda y: y.argmax(1), "int64"),
        (lambda y: 3.0, "not 3.0"),
        (lambda y: y["logits"], "callable target failed"),
    ],
)
def test_bad_targets(target, message):
    with pytest.raises(TargetError, match=message):
        biasprop.explain(model(), X, target)


def convolutional():
    layers = [
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(16, 5),
    ]
    return nn.Sequential(*layers).double().eval()


IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
SEVERAL = [3, "predicted", lambda y: y[:, 0] - y[:, 1], lambda y: y.softmax(1)[:, 2], [0, 1, 2]]


def assert_same(one, other):
    for name in ("output", "weight", "bias_attribution", "attribution", "bias", "unattributed", "withheld", "bypassed"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), msg=name)
    assert one.target == other.target
    amounts = {n: a for n, a in zip(other.sources.names, other.sources.amounts.unbind(-1), strict=True) if a.any()}
    for name, amount in zip(one.sources.names, one.sources.amounts.unbind(-1), strict=True):
        torch.testing.assert_close(amount, amounts.get(name, torch.zeros_like(amount)))


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
@pytest.mark.parametrize("options", [{}, {"at": "2"}, {"sources": "0"}])
def test_several_targets_are_what_each_is_alone(rule, options):
    explainer = biasprop.explainer(convolutional(), IMAGES)
    several = explainer(IMAGES, targets=SEVERAL, rule=rule, **options)
    assert several.output.shape == several.completeness_error.shape == (3, 5)
    assert several.weight.shape == (3, 5, *several.input.shape[1:])
    assert several.completeness_error.max() < 1e-12
    for j, target in enumerate(SEVERAL):
        assert_same(several.for_target(j), explainer(IMAGES, target, rule=rule, **options))


def test_targets_that_do_not_fit_into_the_budget_are_swept_one_after_the_other():
    net = convolutional()
    several = biasprop.explain(net, IMAGES, targets=SEVERAL)
    torch.testing.assert_close(
        biasprop.explain(net, IMAGES, targets=SEVERAL, memory_budget=1).bias_attribution, several.bias_attribution
    )


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


def test_what_is_done_with_several_targets(tmp_path):
    several = biasprop.explain(convolutional(), IMAGES, targets=[0, "predicted"])
    torch.testing.assert_close(several.sources.amounts.sum(-1), several.bias)
    torch.testing.assert_close(several.regions(4).attribution.sum(-1), several.attribution.flatten(2).sum(2))
    assert_same(several.example(1).for_target(1), several.for_target(1).example(1))
    several.save(tmp_path / "several.safetensors")
    loaded = biasprop.load(tmp_path / "several.safetensors")
    assert_same(loaded.for_target(1), several.for_target(1))
    assert "target 0" in str(several)
    assert "0, target 1" in str(several.sources)
    with pytest.raises(biasprop.InputError, match="for_target"):
        several.plot()
    with pytest.raises(IndexError):
        several.for_target(2)
    with pytest.raises(biasprop.InputError, match="one target"):
        several.for_target(0).for_target(0)


def test_an_input_whose_batch_is_not_the_first_dimension_inside():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(12, 2)

        def forward(self, x):
            return self.second(self.first(x).transpose(0, 1).relu().transpose(0, 1).flatten(1))

    net, x = Turned().double().eval(), torch.randn(5, 3, 4, dtype=torch.float64)
    explainer = biasprop.explainer(net, x)
    hidden = explainer(x, targets=[0, 1]).at("relu")
    assert hidden.completeness_error.max() < 1e-12
    for j in (0, 1):
        assert_same(hidden.for_target(j), explainer(x, j).at("relu"))


@pytest.mark.parametrize("targets", [[], "some", 3, [7], [[0, 1]], torch.zeros(2, 2, 2, dtype=torch.long)])
def test_wrong_targets(targets):
    with pytest.raises(TargetError):
        biasprop.explain(convolutional(), IMAGES, targets=targets)


def test_target_or_targets():
    with pytest.raises(TargetError, match="not both"):
        biasprop.explain(convolutional(), IMAGES, 3, targets=[3])
