"""The fingerprint of a network: the same in every process, another for every change that counts."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from audits import batches, classifier, examples, same
from torch import nn

import biasprop
from biasprop import InputError, operations
from biasprop.attribution.fingerprint import fingerprint
from biasprop.attribution.inputs import Given

SCRIPT = """
import torch
from test_fingerprint import print_of, rich
torch.manual_seed(0)
print(print_of(rich()))
"""


def rich(gate=None, scale=0.5):
    """With parameters, a buffer that is not saved, constants, slices, indices and shapes."""

    class Rich(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(27, 4)
            self.gate = gate or nn.ReLU()
            self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.25), persistent=False)

        def forward(self, x):
            y = self.gate(self.conv(x) - self.mean) * scale
            y = nn.functional.max_pool2d(y, 2) + torch.tensor([0.5, 1.0, 2.0])
            y = torch.cat([y[:, 1:], y[:, :1]], 1)
            return self.head(y.reshape(x.shape[0], -1)) + torch.zeros(x.shape[0], 4)

    torch.manual_seed(0)
    return Rich().eval()


def print_of(model, size=1, own=None):
    explainer = biasprop.Explainer(model, operations=own)
    graph = explainer.graph(explainer.check(torch.ones(size, 2, 8, 8)))
    return fingerprint(graph, model, own)


@pytest.mark.slow
def test_it_is_the_same_at_every_capture_for_every_batch_and_in_every_process():
    first = print_of(rich())
    assert print_of(rich()) == first
    assert print_of(rich(), 5) == first
    here = Path(__file__)
    paths = [str(here.parent), str(here.parents[1]), str(Path(biasprop.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    environment["PYTHONHASHSEED"] = "7"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == first


def shift(model, change):
    with torch.no_grad():
        change(model)
    return model


@pytest.mark.parametrize(
    "other",
    [
        lambda: rich(nn.ReLU6()),
        lambda: rich(nn.LeakyReLU(0.1)),
        lambda: rich(nn.Hardtanh(0.0, 7.0)),
        lambda: rich(scale=0.75),
        lambda: rich(nn.Sequential(nn.ReLU())),  # of another name
        lambda: shift(rich(), lambda m: m.conv.weight.view(-1)[0].add_(1e-3)),
        lambda: shift(rich(), lambda m: m.mean.add_(1e-3)),  # which is in no state dict
    ],
)
def test_every_change_shows(other):
    assert print_of(other()) != print_of(rich())


def test_constant_arguments_and_wiring_show():
    gates = [
        partial(nn.LeakyReLU, 0.1),
        partial(nn.LeakyReLU, 0.2),
        partial(nn.Hardtanh, 0, 6),
        partial(nn.Softplus, 2),
    ]
    assert len({print_of(rich(make())) for make in gates}) == len(gates)

    class Wired(nn.Module):
        def __init__(self, swapped):
            super().__init__()
            self.swapped = swapped

        def forward(self, x):
            a, b = x.relu(), x.tanh()
            return (b - a if self.swapped else a - b).flatten(1)

    assert print_of(Wired(False).eval()) != print_of(Wired(True).eval())


def test_families_of_the_users_show():
    key = torch.ops.aten.relu
    kinds = [None, {key: operations.gate}, {key: partial(operations.homogeneous_gate, mask=True)}]
    kinds += [{key: partial(operations.homogeneous_gate, mask=False)}]
    assert len({print_of(rich(), own=own) for own in kinds}) == len(kinds)
    assert print_of(rich(), own={}) == print_of(rich())


def test_an_audit_is_not_resumed_with_other_operations(tmp_path):
    """Where the first example does not show it."""
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(128, 4), nn.ReLU()]
    model, capped = (nn.Sequential(*layers[:2], gate).double().eval() for gate in (nn.ReLU(), nn.ReLU6()))
    x, labels = examples()
    x = torch.cat([x[:1], 50 * x[1:]])
    torch.testing.assert_close(model(x[:1]), capped(x[:1]))
    assert (model(x) - capped(x)).abs().max() > 10
    state = tmp_path / "state.safetensors"
    biasprop.audit(model, batches(x[:10], labels[:10]), state=state)
    with pytest.raises(
        InputError, match="of a model with other weights or other operations: remove the file or choose"
    ):
        biasprop.audit(capped, batches(x, labels), state=state)
    assert same(biasprop.audit(model, batches(x, labels), state=state), biasprop.audit(model, batches(x, labels)))


def test_a_model_that_fixes_its_batch_is_resumed_with_another(tmp_path):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = classifier()

        def forward(self, x):
            return self.inner(x) * (1.0, 1.0, 1.0, 1.0)[len(x)]

    model, (x, labels) = Fixed().eval(), examples(6)
    state = tmp_path / "state.safetensors"
    assert biasprop.explainer(model, x[:2]).graph(Given(model, (x[:2],))).batch == 2
    biasprop.audit(model, batches(x[:4], labels[:4], 2), state=state)
    found = biasprop.audit(model, batches(x, labels, 3), state=state)
    assert same(found, biasprop.audit(model, batches(x, labels, 3)))
