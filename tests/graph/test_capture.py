"""Unmodified models: in-place operations, reuse, several inputs, extra arguments, bare parameters, live weights."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_exact, build, randomise
from torch import nn

import biasprop
from biasprop import CaptureError, UnsupportedOperation


class Everything(nn.Module):
    """What modules that hook layers cannot see."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.bare = nn.Parameter(torch.randn(4, 1, 1))
        self.register_buffer("scale", torch.rand(4, 1, 1))
        self.constant = torch.tensor(0.25)
        self.head = nn.Linear(4, 3)

    def forward(self, x, other, shift, gain=2.0):
        y = self.conv(x)
        y += self.bare
        y = F.relu_(self.norm(y))
        y = self.shared(F.relu(self.shared(y))) * self.scale + y
        y[:, 0] = 0.5
        y = torch.cat([y[:, :2], 1 - torch.relu(1 - y[:, 2:])], 1) + self.constant.to(y)
        y = y.mean((2, 3)) + other @ self.head.weight * gain
        return self.head(y) + shift


def everything():
    model = randomise(Everything()).double()
    x, other, shift = torch.randn(3, 3, 5, 5), torch.randn(3, 3), torch.randn(3, 3)
    return model, (x.double(), other.double()), shift.double()


def test_everything_at_once_is_exact():
    model, inputs, shift = everything()
    explanation = assert_exact(model, inputs, 1, additional_forward_args=(shift, 2.0))
    assert [a.shape for a in explanation.attribution] == [i.shape for i in inputs]
    names = explanation.sources.names
    assert {"conv", "norm", "shared", "shared@1", "head"} <= set(names)
    assert len(set(names)) == len(names)


def test_extra_arguments_are_not_attributed_but_count_as_bias():
    model, inputs, shift = everything()
    one = biasprop.explain(model, inputs, 1, additional_forward_args=(shift, 2.0))
    two = biasprop.explain(model, inputs, 1, additional_forward_args=(shift + 1, 2.0))
    torch.testing.assert_close(two.bias - one.bias, torch.ones(3).double())


def test_a_changed_extra_number_is_seen():
    model, inputs, shift = everything()
    explainer = biasprop.explainer(model, inputs, (shift, 2.0))
    for gain in (2.0, 3.0):
        explanation = explainer(inputs, 0, additional_forward_args=(shift, gain))
        torch.testing.assert_close(explanation.output, model(*inputs, shift, gain)[:, 0].detach())


def test_weights_are_read_from_the_live_model():
    model = randomise(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    x = torch.randn(2, 4)
    explainer = biasprop.explainer(model, x)
    explainer(x)
    with torch.no_grad():
        model[0].weight.mul_(2)
    model[2].weight = nn.Parameter(torch.randn(2, 4))
    torch.testing.assert_close(explainer(x, 0).output, model(x)[:, 0].detach())


def test_any_batch_size_after_one_capture():
    model = randomise(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)))
    explainer = biasprop.explainer(model, torch.randn(1, 2, 3))
    for n in (1, 2, 7):
        assert explainer(torch.randn(n, 2, 3)).output.shape == (n,)
    assert len(explainer.captures) == 1


def test_a_model_that_fixes_its_batch_size():
    class Fixed(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.n, self.linear = n, nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x.reshape(self.n, -1))

    for n in (1, 3):
        assert_exact(randomise(Fixed(n)).double(), torch.randn(n, 2, 2).double(), 0)


def test_a_batch_that_is_folded_into_another_dimension():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.Linear(4, 4), nn.Linear(12, 2)

        def forward(self, x):  # (N, 3, 4): each token on its own, then time first, then back
            y = torch.relu(self.inner(x.reshape(-1, 4))).reshape(-1, 3, 4).transpose(0, 1)
            y = F.pad(torch.relu(y + 0.1), (0, 0), value=1.0)
            return self.head(y.transpose(0, 1).flatten(1))

    model, x = randomise(Tokens()).double(), torch.randn(5, 3, 4).double()
    explanation = assert_exact(model, x, 0)
    alone = biasprop.explain(model, x[2:3], 0)
    torch.testing.assert_close(alone.sources.amounts[0], explanation.sources.amounts[2])


def test_variable_arguments_are_captured_for_any_batch():
    class Variable(nn.Module):
        def __init__(self, mixes):
            super().__init__()
            self.linear, self.mixes = nn.Linear(4, 2), mixes

        def forward(self, *inputs):
            y = self.linear(torch.relu(inputs[0] + inputs[1]))
            return y - y.mean(0) if self.mixes else y

    inputs = (torch.randn(3, 4).double(), torch.randn(3, 4).double())
    model = randomise(Variable(False)).double()
    explainer = biasprop.explainer(model, inputs)
    for n in (1, 2, 3):
        assert explainer(tuple(i[:n] for i in inputs), 0).output.shape == (n,)
    # torch 2.9 cannot decompose what it exports of *args for any batch: there is a capture for each size
    assert len(explainer.captures) == (3 if torch.__version__.startswith("2.9.") else 1)
    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(randomise(Variable(True)).double(), inputs, 0)


def test_exported_programs_are_models_too():
    model, x = build(torch.relu)
    shapes = ({0: torch.export.Dim.AUTO},)
    module = torch.export.export(model, (x,), dynamic_shapes=shapes).module()
    torch.testing.assert_close(
        biasprop.explain(module, x[:2], 0).bias_attribution, biasprop.explain(model, x[:2], 0).bias_attribution
    )


def state(model):
    return {
        name: (sorted(m.__dict__), len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks))
        for name, m in model.named_modules()
    }, [(p.requires_grad, p.grad is None, p._version) for p in model.parameters()]


@pytest.mark.parametrize("fail", [False, True])
def test_nothing_is_left_on_the_model(fail):
    model = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Flatten(), nn.Linear(36, 3))
    )
    model[0].weight.requires_grad_(False)
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    before = state(model)
    if fail:
        with pytest.raises(biasprop.TargetError, match="99 is out of range"):
            biasprop.explain(model, x, 99)
        with pytest.raises(CaptureError, match=r"shape \(2, 3, 1, 1\)"):
            biasprop.explain(model, torch.randn(2, 3, 1, 1))
    else:
        biasprop.explain(model, x)
    assert state(model) == before
    assert x.grad is None
    assert x.requires_grad


def test_training_mode_names_the_module():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout()).eval()
    model[2].train()
    with pytest.raises(CaptureError, match=r"training mode.*'2'.*eval\(\)"):
        biasprop.explain(model, torch.randn(2, 3))


def test_data_dependent_control_flow_names_cause_and_remedy():
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CaptureError, match=r"data-dependent.*torch\.where"):
        biasprop.explain(Branches().eval(), torch.randn(2, 3), 0)


def test_no_grad_inside_forward_is_refused():
    class NoGrad(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                scale = x.abs().mean(1, keepdim=True)
            return x / (scale + 1)

    with pytest.raises(CaptureError, match=r"torch\.no_grad.*detach"):
        biasprop.explain(NoGrad().eval(), torch.randn(2, 3), 0)


def test_control_flow_on_data_is_refused():
    class Cond(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda y: y * 2, lambda y: y - 1, (x,))

    with pytest.raises(CaptureError, match=r"control flow that depends on data .*torch\.cond.*Use torch\.where"):
        biasprop.explain(Cond().eval(), torch.randn(2, 3), 0)


def test_works_under_no_grad_and_inference_mode():
    model = randomise(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    expected = biasprop.explain(model, torch.ones(1, 3)).bias_attribution
    with torch.no_grad():
        torch.testing.assert_close(biasprop.explain(model, torch.ones(1, 3)).bias_attribution, expected)
    with torch.inference_mode():
        torch.testing.assert_close(biasprop.explain(model, torch.ones(1, 3)).bias_attribution, expected)


def test_a_structure_changed_after_capture_is_an_error():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).eval()
    explainer = biasprop.explainer(model, torch.ones(1, 3))
    del model[1]
    with pytest.raises(CaptureError, match=r"'1\.(weight|bias)'.*new explainer"):
        explainer(torch.ones(1, 3))


def test_queries_of_an_example_that_are_repeated_for_its_windows():
    class Windows(nn.Module):
        """Each example is four windows, which share one query: the copies of a row lie side by side."""

        def __init__(self):
            super().__init__()
            self.query, self.key, self.head = nn.Linear(8, 2), nn.Linear(2, 2), nn.Linear(4, 3)

        def forward(self, x):
            windows = x.reshape(-1, 2)
            q = torch.repeat_interleave(self.query(x), 4, 0)
            y = torch.relu(self.key(windows) * q + 0.1)
            return self.head(y.sum(1).reshape(-1, 4))

    model, x = randomise(Windows()).double(), torch.randn(3, 8).double()
    explanation = assert_exact(model, x, 0)
    alone = biasprop.explain(model, x[1:2], 0, linearization="tangent")
    torch.testing.assert_close(alone.bias_attribution[0], explanation.bias_attribution[1])
