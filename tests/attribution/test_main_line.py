"""Explainers: independence of examples, precision, threads, misuse."""

import threading

import numpy as np
import pytest
import torch
from helpers import Residual, build, randomise, small_cnn
from torch import nn

import biasprop
from biasprop import InputError, SourceError, UnsupportedOperation
from biasprop.rules import Compensation, EqualShare, PositiveShare


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_a_batch_equals_its_examples_one_by_one(rule):
    model, x = small_cnn(), torch.randn(4, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    whole = explainer(x, rule=rule)
    for i in range(4):
        alone = explainer(x[i : i + 1], rule=rule)
        torch.testing.assert_close(alone.bias_attribution[0], whole.bias_attribution[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.sources.amounts[0], whole.sources.amounts[i], rtol=0, atol=1e-12)


def test_a_small_memory_budget_changes_nothing():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    whole, blocks = (biasprop.explain(model, x, memory_budget=budget) for budget in (2**29, 2**10))
    torch.testing.assert_close(blocks.bias_attribution, whole.bias_attribution, rtol=0, atol=1e-13)


def test_options_1_and_2_agree_where_the_bias_is_positive():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)).double().eval()
    with torch.no_grad():
        model[0].bias.fill_(0.5)
        model[2].bias.fill_(0.5)
    x = torch.randn(3, 5).double()
    one, two = (biasprop.explain(model, x, rule=rule).bias_attribution for rule in ("bias1", "bias2"))
    torch.testing.assert_close(one, two)


def test_no_bias_gives_no_bias():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).eval()
    explanation = biasprop.explain(model, torch.randn(2, 4))
    assert (explanation.bias_attribution == 0).all()
    assert len(explanation.sources) == 0
    assert "no bias source" in {a.get_title() for a in explanation.plot().axes}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_explained_in_float32(dtype):
    model = small_cnn().to(dtype)
    x = torch.randn(2, 2, 9, 9).to(dtype)
    explanation = biasprop.explain(model, x, 1)
    assert explanation.attribution.dtype == torch.float32
    assert explanation.completeness_error.max() < 1e-6
    torch.testing.assert_close(explanation.output, model.float()(x.float())[:, 1].detach())


def test_a_model_that_casts_to_half_precision_inside():
    class Casts(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            return self.linear(x.to(torch.bfloat16).float()) + torch.ones(2, dtype=torch.bfloat16)

    assert biasprop.explain(Casts().eval(), torch.randn(2, 3), 0).completeness_error.max() < 1e-6


def test_huge_components_do_not_overflow():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)).eval()
    x = torch.tensor([[3e4, -2e4, 1e4]])
    for rule in (Compensation(1e-3), EqualShare(1e-3), PositiveShare()):
        explanation = biasprop.explain(model, x, rule=rule)
        assert explanation.bias_attribution.isfinite().all()
        assert explanation.completeness_error.max() < 1e-5


def test_split_gives_every_output_at_once():
    model, x = small_cnn(), torch.randn(3, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    linear, bias = explainer.split(x)
    torch.testing.assert_close(linear + bias, model(x).detach())
    for k in range(5):
        torch.testing.assert_close(explainer(x, k).bias, bias[:, k])


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: biasprop.explain(m, (), 0), InputError, "There is no input: give a tensor"),
        (lambda m, x: biasprop.explain(m, x.to_sparse(), 0), InputError, r"The input must be .*dense.*x\.to_dense\(\)"),
        (lambda m, x: biasprop.explain(m, x, 0, sources=3), SourceError, "sources must be names, .* predicate .*not 3"),
        (lambda m, x: biasprop.explain(m, x, 0, sources=[3]), SourceError, r"sources must be names, .*not \[3\]"),
        (
            lambda m, x: biasprop.explain(m, x, lambda y: 1 / 0),
            biasprop.TargetError,
            "callable target failed on the model's output: ZeroDivisionError",
        ),
        (
            lambda m, x: biasprop.explain(m, x, 0, memory_budget="1GB"),
            InputError,
            "memory_budget must be a positive number of bytes, not '1GB'",
        ),
        (
            lambda m, x: biasprop.explain(m, x, 0, operations={torch.ops.aten.relu: lambda c: None}),
            UnsupportedOperation,
            r"The linearisation of relu \(relu\) returned None, and must return one of biasprop.local_models",
        ),
        (lambda m, x: biasprop.explain(m, x, 0).regions("abc"), InputError, "Region labels cannot be made of a str"),
        (
            lambda m, x: biasprop.explain(m, x, 0).regions(torch.full((8, 8), 10**11)),
            InputError,
            "go up to 100000000000: number the regions from 0 without large gaps",
        ),
        (
            lambda m, x: biasprop.explain(m, x, 0).plot(image=np.zeros((3, 3))),
            InputError,
            r"The image has shape \(3, 3\), and must be \(H, W\) or \(H, W, 3\)",
        ),
        (
            lambda m, x: biasprop.explain(m, x, 0).at("x", "nothing"),
            SourceError,
            "No tensor of the network is called 'nothing'. There are: ",
        ),
    ],
)
def test_misuse_is_our_error(call, error, message):
    with pytest.raises(error, match=message):
        call(*build(torch.relu))


def test_one_call_and_an_explainer_say_the_same_at_hidden_tensors():
    body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model, x = randomise(nn.Sequential(Residual(body), nn.Linear(4, 2))).double(), torch.randn(3, 4).double()
    for names in ("0.body", ("0",), ["0.body", "input"]):
        in_one_call = biasprop.explain(model, x, 1, at=names)
        afterwards = biasprop.explain(model, x, 1).at(*((names,) if isinstance(names, str) else names))
        assert [p.name for p in in_one_call.parts] == [p.name for p in afterwards.parts]
        assert in_one_call.single == afterwards.single
        for one, other in zip(in_one_call.parts, afterwards.parts, strict=True):
            assert torch.equal(one.value, other.value)
            assert torch.equal(one.beta, other.beta)
            assert torch.equal(one.weight, other.weight)
        assert torch.equal(in_one_call.bypassed, afterwards.bypassed)


def test_the_table_of_sources_alone_is_that_of_an_explanation():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    for target in ("predicted", 2, lambda y: y.softmax(1)[:, 0]):
        alone, whole = explainer.sources(x, target), explainer(x, target).sources
        assert alone.names == whole.names
        assert alone.operations == whole.operations
        torch.testing.assert_close(alone.amounts, whole.amounts)
