"""What hostile users tried: every case is either exact or one of our errors, never a silently wrong number."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import assert_exact, randomise
from torch import nn

import biasprop
from biasprop import (
    CaptureError,
    CompletenessError,
    InputError,
    RuleError,
    SourceError,
    UnsupportedOperation,
    operations,
)
from biasprop.rules import Compensation, EqualShare


class Lambda(nn.Module):
    """conv -> function -> mean: the function sees a hidden tensor with bias."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 2, 3), function

    def forward(self, x):
        return self.function(self.conv(x)).flatten(1)


def build(function):
    return randomise(Lambda(function)).double(), torch.randn(3, 1, 8, 8).double()


@pytest.mark.parametrize(
    "function",
    [
        lambda z: F.max_pool2d(F.pad(z, (1, 1, 1, 1), value=-float("inf")), 2),
        lambda z: z.masked_fill(torch.eye(6, dtype=torch.bool), -float("inf")).amax((2, 3)),
        lambda z: torch.where(z > 0, torch.log(z), z),
        lambda z: torch.max(z, torch.full_like(z, 0.3)),
        lambda z: torch.cat([z[:, :1], z[:, 1:]], 1).transpose(0, 1).transpose(0, 1),
    ],
)
def test_infinite_padding_masked_logarithms_and_overloads(function):
    model, x = build(function)
    assert_exact(model, x, lambda y: y.sum(1))


def test_slice_assignment():
    class Assigns(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 4)

        def forward(self, x):
            out = torch.ones(len(x), 6, dtype=x.dtype)
            out[:, :2] = self.a(x)
            out[:, 2:5] = torch.relu(self.b(x))[:, 1:]
            return out * 2

    assert_exact(randomise(Assigns()).double(), torch.randn(3, 3).double(), lambda y: y.sum(1))


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
    assert len(explainer._graphs) == 1
    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(randomise(Variable(True)).double(), inputs, 0)


@pytest.mark.parametrize("function", [lambda z: z.flip(0), lambda z: z.roll(1, 0), lambda z: z.sort(0)[0]])
def test_examples_mixed_without_a_change_of_shape(function):
    model, x = build(function)
    with pytest.raises(CompletenessError, match="mixes the examples"):
        biasprop.explain(model, x, 0)


def test_structure_of_extra_arguments_is_part_of_the_capture():
    class Options(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x, options):
            y = self.linear(x)
            return y * options["scale"] if "scale" in options else y + options["shift"]

    model, x = randomise(Options()), torch.randn(2, 3)
    explainer = biasprop.Explainer(model)
    for options in ({"scale": 2.0}, {"shift": 2.0}, {"scale": 3.0}):
        explanation = explainer(x, 0, additional_forward_args=(options,))
        torch.testing.assert_close(explanation.output, model(x, options)[:, 0].detach())


def test_an_explanation_does_not_change_with_the_callers_tensor():
    model, x = build(torch.relu)
    explanation = biasprop.explain(model, x, 0)
    x.zero_()
    assert explanation.completeness_error.max() < 1e-12


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

    with pytest.raises(CaptureError):
        biasprop.explain(Cond().eval(), torch.randn(2, 3), 0)


def test_accumulating_index_put_is_refused():
    model, x = build(lambda z: torch.zeros_like(z).index_put((torch.arange(len(z)),), z, accumulate=True))
    with pytest.raises(UnsupportedOperation, match="adds up where indices repeat"):
        biasprop.explain(model, x, 0)


def test_a_gate_that_is_not_elementwise_is_refused():
    model, x = build(lambda z: z.flatten(1).softmax(1))
    with pytest.raises(UnsupportedOperation, match="element by element"):
        biasprop.explain(model, x, 0, operations={torch.ops.aten.softmax: operations.gate})


def test_a_gradient_that_is_not_finite_is_an_error():
    with pytest.raises(CompletenessError, match="not finite"):
        biasprop.explain(nn.Sequential(nn.ReLU(), Root()).eval(), torch.zeros(1, 3), 0)


class Root(nn.Module):
    def forward(self, z):
        return torch.sqrt(z)


class Same(Compensation):
    def alpha(self, m, h):
        return m


class Mutates:
    def alpha(self, m, h):
        return m.abs_().div_(m.sum(-1, keepdim=True))


def test_rules_of_ones_own_are_watched():
    model, x = build(torch.relu)
    with pytest.raises(RuleError, match="Same is not a split"):
        biasprop.explain(model.float(), x.float(), 0, rule=Same())
    assert biasprop.explain(model.float(), x.float(), 0, rule=Mutates()).completeness_error.max() < 1e-5
    for bad in (0.0, -1.0, 1e-40, "a"):
        for kind in (Compensation, EqualShare):
            with pytest.raises(RuleError, match="temperature"):
                kind(bad)


def test_hidden_cuts_named_twice_nested_or_unreached():
    model = randomise(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))).double()
    explanation = biasprop.explain(model, torch.randn(2, 3).double(), 0)
    assert explanation.at("1", "1").completeness_error.max() < 1e-12
    with pytest.raises(SourceError, match="only through another"):
        explanation.at("1", "3")


def test_autocast_does_not_reach_the_explanation():
    model, x = build(torch.relu)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        explanation = biasprop.explain(model.float(), x.float(), 0)
    assert explanation.completeness_error.max() < 1e-6


def test_threads_may_explain_at_once():
    results, problems = {}, []

    def work(i):
        try:
            torch.manual_seed(i)
            model = randomise(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
            results[i] = biasprop.explain(model, torch.ones(2, 4)).sources.names
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert all(names == ["0", "2"] for names in results.values())


def test_long_signals_need_little_memory():
    model = nn.Sequential(nn.AvgPool1d(4), nn.AdaptiveAvgPool1d(7), nn.Flatten()).eval()
    assert biasprop.explain(model, torch.randn(1, 2, 64000), 0).completeness_error.max() < 1e-6


def test_exported_programs_are_models_too():
    model, x = build(torch.relu)
    shapes = ({0: torch.export.Dim.AUTO},)
    module = torch.export.export(model, (x,), dynamic_shapes=shapes).module()
    torch.testing.assert_close(
        biasprop.explain(module, x[:2], 0).bias_attribution, biasprop.explain(model, x[:2], 0).bias_attribution
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m, x: biasprop.explain(m, (), 0), InputError),
        (lambda m, x: biasprop.explain(m, x.to_sparse(), 0), InputError),
        (lambda m, x: biasprop.explain(m, x, 0, sources=3), SourceError),
        (lambda m, x: biasprop.explain(m, x, 0, sources=[3]), SourceError),
        (lambda m, x: biasprop.explain(m, x, lambda y: 1 / 0), biasprop.TargetError),
        (lambda m, x: biasprop.explain(m, x, 0, memory_budget="1GB"), InputError),
        (
            lambda m, x: biasprop.explain(m, x, 0, operations={torch.ops.aten.relu: lambda c: None}),
            UnsupportedOperation,
        ),
        (lambda m, x: biasprop.explain(m, x, 0).regions("abc"), InputError),
        (lambda m, x: biasprop.explain(m, x, 0).regions(torch.full((8, 8), 10**11)), InputError),
        (lambda m, x: biasprop.explain(m, x, 0).plot(image=np.zeros((3, 3))), InputError),
        (lambda m, x: biasprop.explain(m, x, 0).at("x", "nothing"), SourceError),
    ],
)
def test_misuse_is_our_error(call, error):
    with pytest.raises(error):
        call(*build(torch.relu))


def test_names_with_formulas_are_drawn_as_text(tmp_path):
    model = randomise(nn.Sequential(nn.Linear(2, 1)))
    figure = biasprop.explain(model, torch.ones(1, 2)).plot(title=r"$\bad$", feature_names=[r"a $\bad$", "$"])
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_tuple_targets_survive_saving(tmp_path):
    model = nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3))).eval()
    explanation = biasprop.explain(model, torch.ones(1, 3), (1, 2))
    explanation.save(tmp_path / "e.safetensors")
    assert biasprop.load(tmp_path / "e.safetensors").target == [(1, 2)]
