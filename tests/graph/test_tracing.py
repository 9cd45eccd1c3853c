"""Capture goes unnoticed: by the model, by other threads, and by processes forked meanwhile."""

import threading

import pytest
import torch
from helpers import randomise
from torch import nn

import biasprop
from biasprop.graph.tracing import alone, shared_copy


def network():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 3)), nn.Flatten()]
    return randomise(nn.Sequential(*layers, nn.Linear(4 * 4 * 4, 5)))


def test_the_copy_shares_the_tensors_and_nothing_else():
    model = network()
    model.attribute = torch.ones(3)
    model[0].register_full_backward_hook(lambda *_: None)
    made = shared_copy(model)
    pairs = zip(model.named_modules(), made.named_modules(), strict=True)
    assert all(a == b and m is not n and type(m) is type(n) for (a, m), (b, n) in pairs)
    assert [*map(id, made.state_dict(keep_vars=True).values())] == [*map(id, model.state_dict(keep_vars=True).values())]
    assert made.attribute is model.attribute
    assert not made[0]._backward_hooks
    assert model[0]._backward_hooks


def test_what_cannot_be_copied_is_shared():
    model = network()
    model[0].lock = threading.Lock()
    model[0].again = model[1]
    made = shared_copy(model)
    assert made[0].lock is model[0].lock
    assert made[0].again is made[1]
    assert made[0] is not model[0]
    assert made[0].weight is model[0].weight
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(biasprop.explain(model, x, 0).output, model(x)[:, 0].detach())


def test_the_tracers_changes_hold_in_its_thread_alone():
    seen = {}

    def look():
        seen["other"] = nn.Linear(2, 2)(torch.ones(1, 2)).shape

    with alone():
        from torch.fx import _symbolic_trace

        with _symbolic_trace._new_patcher() as patcher:
            patcher.patch_method(nn.Module, "__call__", lambda *_: "traced", deduplicate=False)
            other = threading.Thread(target=look)
            other.start()
            other.join()
            seen["own"] = nn.Linear(2, 2)(torch.ones(1, 2))
    assert seen == {"other": (1, 2), "own": "traced"}
    assert nn.Linear(2, 2)(torch.ones(1, 2)).shape == (1, 2)


def in_threads(works):
    """Each in a thread of its own; what went wrong."""
    wrong = []

    def run(work, times):
        for _ in range(times):
            try:
                work()
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=run, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("times", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_eight_threads_on_one_model(times):
    model, x = network(), torch.randn(2, 3, 8, 8)
    expected, output = biasprop.explain(model, x, 0).bias_attribution, model(x).detach()
    shared = biasprop.Explainer(model)

    def with_shared():
        torch.testing.assert_close(shared(x, 0).bias_attribution, expected)

    def with_own():
        torch.testing.assert_close(biasprop.explain(model, x, 0).bias_attribution, expected)

    def plain():
        y = model(x)
        assert type(y) is torch.Tensor
        torch.testing.assert_close(y.detach(), output)

    works = [(with_shared, 8 * times)] * 3 + [(with_own, times)] * 3 + [(plain, 200 * times)] * 2
    assert in_threads(works) == []
    assert len(shared.captures) == 1
    with_own()


def test_a_failure_is_said_in_one_sentence_alone(capsys):
    class DependsOnData(nn.Module):
        def forward(self, x):
            return x if bool((x > 0).flatten().any()) else -x

    with pytest.raises(biasprop.CaptureError):
        biasprop.explain(DependsOnData().eval(), torch.randn(2, 3), 0)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
