"""The tape: gates folded into their layers, linearised once, used up when the last sweep has passed."""

import pytest
import torch
from helpers import IMAGES, convolutional, randomise
from torch import nn

import biasprop
from biasprop.attribution import main_line
from biasprop.graph import Node
from biasprop.operations.copying import routing
from biasprop.propagation import EVERY, choose, linearize


def taped(model, x, cut=()):
    explainer = biasprop.Explainer(model)
    graph = explainer.graph(explainer.check(x))
    return linearize(graph, graph.read_parameters(model), (x,), cut=[graph.find(name) for name in cut])


def folded(tape):
    return {step.node.name: [gate.node.name for gate in step.gate] for step in tape.steps}


def test_a_layer_takes_what_directly_follows_up_to_the_first_gate():
    model = randomise(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Sigmoid(), nn.Linear(4, 2)))
    assert folded(taped(model, torch.randn(2, 3))) == {"0": ["1", "2"], "1": [], "2": [], "3": [], "4": []}


class Copied(nn.Module):
    def forward(self, x):
        return x.clone().contiguous().to(x.dtype)


def test_a_copy_between_a_layer_and_its_gate_changes_nothing():
    layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
    plain = randomise(nn.Sequential(*layers)).double()
    copied = nn.Sequential(layers[0], Copied(), layers[1], Copied(), layers[2], Copied(), layers[3]).eval()
    x = torch.randn(2, 3).double()
    assert folded(taped(copied, x))["0"][-1] == "4"
    for rule in ("bias1", "bias2", "bias3"):
        found, expected = (biasprop.explain(model, x, 1, rule).attribution for model in (copied, plain))
        torch.testing.assert_close(found, expected)


class Windows(nn.Module):
    """Constants beside what depends on x, then a copy that the view behind it needs."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(48, 2)

    def forward(self, x):
        y = nn.functional.pad(self.conv(x), (0, 1, 0, 1), value=0.5).permute(0, 2, 3, 1)
        return self.head(y.contiguous().view(len(x), -1).relu())


@pytest.mark.parametrize("handover", [None, "conv"])
def test_a_copy_is_laid_out_as_the_view_behind_it_needs(handover):
    model, x = Windows().double().eval(), torch.randn(2, 2, 5, 5).double()
    assert biasprop.explain(model, x, 1, handover=handover).completeness_error.max() < 1e-12


class Fork(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.one, self.two, self.function = nn.Linear(3, 3), nn.Linear(3, 3), function

    def forward(self, x):
        y = self.one(x)
        return self.two(self.function(torch.relu(y), y))


def test_a_gate_on_a_tensor_that_another_reads_stays_alone():
    x = torch.randn(2, 3)
    assert folded(taped(Fork(lambda z, y: z + y).eval(), x))["one"] == []
    assert folded(taped(Fork(lambda z, y: z * (y > 0)).eval(), x))["one"][0] == "relu"  # a comparison reads no gradient


def test_slope_and_local_bias_of_a_layer_are_those_of_its_parts():
    model = randomise(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Hardtanh(-0.3, 0.3))).double()
    x = torch.randn(5, 3).double()
    layer = taped(model, x).steps[0]
    slope, h = layer.layer(EVERY)
    linear = x @ model[0].weight.T.detach()
    torch.testing.assert_close(slope.times(linear) + h, model(x).detach())
    _, without = layer.layer(choose("1", ["0", "1", "2"], zero_others=True))
    scale = model[1].weight / (model[1].running_var + model[1].eps).sqrt()
    shift = (model[1].bias - model[1].running_mean * scale).detach()
    inside = (model[1](model[0](x)).abs() < 0.3).detach()
    assert inside.any()
    assert not inside.all()
    torch.testing.assert_close(without.expand(5, 4), inside * shift)


def test_a_tape_is_used_up_by_the_last_pass_alone():
    tape = taped(convolutional(), IMAGES)
    steps = list(tape.steps)
    assert list(tape.backwards(last=False)) == steps[::-1]
    assert tape.steps == steps
    assert list(tape.backwards()) == steps[::-1]
    assert tape.steps == []
    assert tape.names == [step.node.name for step in steps]


def test_hidden_tensors_are_kept_at_the_cut_only():
    tape = taped(convolutional(), IMAGES, cut=["2"])
    assert {node.name for node in tape.kept} == {"2", tape.graph.inputs[0].name}


def storages(values, found=None):
    """Bytes of all tensors that local models hold, by where they are in memory."""
    found = {} if found is None else found
    if isinstance(values, torch.Tensor):
        found[values.untyped_storage().data_ptr()] = values.untyped_storage().nbytes()
    elif isinstance(values, list | tuple):
        for one in values:
            storages(one, found)
    elif type(values).__module__.startswith("biasprop.") and not isinstance(values, Node):
        storages(list(vars(values).values()), found)
    return found


class Packed(nn.Module):
    """Queries, keys and values of one layer, as in torchvision's transformers; a gate of which both sides are read."""

    def __init__(self):
        super().__init__()
        self.all, self.wide, self.narrow = nn.Linear(16, 48), nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x):
        q, k, v = self.all(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4).contiguous().unbind()
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.narrow(nn.functional.gelu(self.wide(y))).mean(1)


def test_attention_and_gates_hold_no_tensor_that_the_sweep_does_not_need():
    tokens, wide = 32, 4 * 32 * 64
    model, x = Packed().eval(), torch.randn(1, tokens, 16)
    explainer = biasprop.Explainer(model)
    graph = explainer.graph(explainer.check(x))
    parameters = graph.read_parameters(model)
    weights = {p.untyped_storage().data_ptr() for p in parameters.values()}
    steps = linearize(graph, parameters, (x,)).steps
    held = {where: size for where, size in storages([s.local for s in steps]).items() if where not in weights}
    activation, attention = wide // 4, 2 * 4 * tokens**2
    # Operands of two layers and the values, probabilities, and what the gate reads: the last layer makes its own again.
    assert sum(held.values()) <= 3 * activation + attention + wide + 4096
    found = next(s.local for s in steps if s.node.name == "wide")
    assert found.value is not None
    assert next(s.local for s in steps if s.node.name == "all").value is None


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2).relu()


@pytest.mark.parametrize("own", [None, {torch.ops.aten.transpose: routing}])
def test_what_an_operation_of_the_users_own_takes_is_kept(own):
    model, x = Turned(), torch.randn(2, 3, 4)
    explainer = biasprop.Explainer(model, operations=own)
    graph = explainer.graph(explainer.check(x))
    (leaf,) = linearize(graph, {}, (x,), operations=own).steps[0].local.operands
    assert leaf.shape == x.shape
    assert leaf.untyped_storage().nbytes() == (4 if own is None else 96)


@pytest.mark.parametrize("budget", [1, 2**12, 2**29])
def test_the_network_is_linearised_once_for_all_targets(budget, monkeypatch):
    calls = []
    monkeypatch.setattr(main_line, "linearize", lambda *a, **k: calls.append(1) or linearize(*a, **k))
    explainer = biasprop.Explainer(convolutional(), memory_budget=budget)
    explainer(IMAGES)  # which has also found how large the tensors of an example are
    calls.clear()
    explanation = explainer(IMAGES, targets="all")
    assert len(calls) == 1
    assert explanation.completeness_error.max() < 1e-12
    for j in range(5):
        torch.testing.assert_close(explanation.for_target(j).bias_attribution, explainer(IMAGES, j).bias_attribution)
