"""The sweep: several targets, hidden cuts, budgets."""

import weakref

import pytest
import torch
from helpers import IMAGES, Residual, assert_same, convolutional, randomise, small_cnn
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import biasprop
from biasprop import SourceError
from biasprop.propagation import sweeping
from biasprop.propagation.passage import Carried

SEVERAL = [3, "predicted", lambda y: y[:, 0] - y[:, 1], lambda y: y.softmax(1)[:, 2], [0, 1, 2]]


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


def test_hidden_cuts_are_complete_and_agree_with_the_rest_of_the_network():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    explanation = biasprop.explain(model, x, 2)
    for name in ("0", "2", "3", "5", "7"):
        hidden = explanation.at(name)
        assert hidden.completeness_error.max() < 1e-12
        assert (hidden.bypassed == 0).all()
    hidden, rest = explanation.at("2"), biasprop.explain(model[3:], model[:3](x).detach(), 2)
    torch.testing.assert_close(hidden.input, rest.input)
    torch.testing.assert_close(hidden.weight, rest.weight)
    torch.testing.assert_close(hidden.bias_attribution, rest.bias_attribution)


def test_a_hidden_tensor_that_is_not_a_cut_says_what_bypasses_it():
    model = nn.Sequential(Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), nn.Linear(4, 2)).double().eval()
    x = torch.randn(3, 4).double()
    explanation = biasprop.explain(model, x, 0)
    partial, full = explanation.at("0.body"), explanation.at("0.body", "input")
    assert (partial.bypassed != 0).all()
    assert partial.completeness_error.max() < 1e-12
    assert (full.bypassed == 0).all()
    assert full.completeness_error.max() < 1e-12
    assert isinstance(full.attribution, tuple)


def test_at_names_what_there_is_and_notices_a_changed_model():
    model, x = small_cnn(), torch.randn(1, 2, 9, 9).double()
    explanation = biasprop.explain(model, x)
    with pytest.raises(SourceError, match="No tensor of the network is called 'features'"):
        explanation.at("features")
    with torch.no_grad():
        model[7].bias.add_(1)
    with pytest.raises(SourceError, match="has changed"):
        explanation.at("2")


def test_hidden_cuts_named_twice_nested_or_unreached():
    model = randomise(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))).double()
    explanation = biasprop.explain(model, torch.randn(2, 3).double(), 0)
    assert explanation.at("1", "1").completeness_error.max() < 1e-12
    with pytest.raises(SourceError, match="only through another"):
        explanation.at("1", "3")


class Shared(nn.Module):
    """Tensors that several read: sums, gates, copies that repeat them; a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.again, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = self.norm(self.conv(x))
        z = torch.relu(y) + y
        z = torch.cat([self.again(self.again(z)), torch.relu(z)], 1)
        top = z.amax((2, 3), keepdim=True).expand_as(z)
        return self.head((torch.nn.functional.leaky_relu(z + top) * 0.5 + z).mean((2, 3)))


@pytest.mark.parametrize("options", [{}, {"handover": "auto"}, {"handover": ["conv", "norm"]}, {"at": "conv"}])
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
def test_writing_in_place_changes_nothing(rule, options, monkeypatch):
    model, x = randomise(Shared()).double(), torch.randn(2, 2, 6, 6).double()
    explainer = biasprop.explainer(model, x)
    found = explainer(x, targets=[0, 1, 2], rule=rule, **options)
    assert found.completeness_error.max() < 1e-12
    monkeypatch.setattr(Carried, "fresh", property(lambda self: False, lambda self, value: None))
    new = explainer(x, targets=[0, 1, 2], rule=rule, **options)
    for name in ("output", "attribution", "bias_attribution", "bias", "unattributed", "bypassed"):
        torch.testing.assert_close(getattr(found, name), getattr(new, name), msg=name)


def test_what_somebody_else_reads_is_not_fresh():
    g, beta, other = torch.ones(1, 3), torch.ones(1, 3), torch.ones(1, 3)
    shared = Carried({frozenset(): (g, beta)})
    own = Carried({frozenset(): (other.clone(), other.clone())}, fresh=True)
    shared.join(own)
    assert shared.fresh
    assert (g == 1).all()
    mixed = Carried({}, other.clone(), fresh=True)
    mixed.join(Carried({frozenset(): (g, beta)}))
    assert not mixed.fresh
    assert mixed.open[frozenset()][0] is g


class Alive(TorchDispatchMode):
    """The most bytes of large tensors that operations have made and somebody holds."""

    def __init__(self):
        super().__init__()
        self.known, self.now, self.most = set(), 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in filter(torch.is_tensor, pytree.tree_leaves(made)):
            storage = tensor.untyped_storage()
            if storage.nbytes() > 2**16 and storage._cdata not in self.known:
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        return made

    def forget(self, storage, size):
        self.known.discard(storage)
        self.now -= size


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 24)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)) for _ in range(3)
        )

    def forward(self, x):
        x = outer = self.first(x).relu()
        for branch in self.branches:
            x = (x + branch(x)).relu()
        x = x + outer
        return self.last(x.mean((2, 3)))


def plain():
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 24))


# Not option 3 with branches: there it is 0/0 at some units, and what is left for them takes one tensor more.
@pytest.mark.parametrize(("make", "rule"), [(plain, "bias1"), (plain, "bias3"), (Branches, "bias1")])
def test_a_target_takes_no_more_than_it_is_said_to(make, rule, monkeypatch):
    said = []
    count = sweeping._bytes_of_target
    monkeypatch.setattr(sweeping, "_bytes_of_target", lambda *given: said.append(count(*given)) or said[-1])
    explainer, x = biasprop.explainer(make().eval(), torch.randn(1, 3, 64, 64)), torch.randn(1, 3, 64, 64)
    held = []
    for targets in (12, 24):
        explainer(x, targets=list(range(targets)), rule=rule)
        with Alive() as alive:
            explainer(x, targets=list(range(targets)), rule=rule)
        held.append(alive.most)
    assert said[0] / 2 < (held[1] - held[0]) / 12 <= said[0]
