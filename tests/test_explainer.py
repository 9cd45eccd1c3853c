"""Completeness on random networks, independence of examples, bias sources, hidden cuts, precision, memory."""

import subprocess
import sys

import pytest
import torch
from conftest import assert_exact, randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import biasprop
from biasprop import SourceError
from biasprop.rules import Compensation, EqualShare, PositiveShare


def small_cnn() -> nn.Module:
    return randomise(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, groups=2),
            nn.Hardtanh(),
            nn.MaxPool2d(2, 1),
            nn.Flatten(),
            nn.Linear(24, 5),
        )
    ).double()


@st.composite
def networks(draw):
    """A random stack of layers over ``(N, C, H, W)`` and the input's shape."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    shape = (channels, height, width)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "gate", "norm", "pool", "residual"]))
        if kind == "conv" and min(height, width) >= 3:
            groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
            out = groups * draw(st.integers(1, 3))
            stride, padding, dilation = (
                draw(st.integers(1, 3)),
                draw(st.integers(0, 3)),
                draw(st.integers(1, 2)),
            )
            kernel = draw(st.integers(1, 2 if dilation == 2 else 3))
            layers.append(nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=draw(st.booleans())))
            channels = out
        elif kind == "gate":
            layers.append(draw(st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.PReLU, nn.GELU]))())
        elif kind == "norm":
            layers.append(nn.BatchNorm2d(channels))
        elif kind == "pool" and min(height, width) >= 2:
            layers.append(draw(st.sampled_from([nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1, 1), nn.AdaptiveAvgPool2d(2)])))
        elif kind == "residual":
            layers.append(Residual(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())))
        height, width = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).shape[2:]
    layers += [nn.Flatten(), nn.Linear(channels * height * width, 3)]
    return randomise(nn.Sequential(*layers)).double(), shape


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


@settings(max_examples=25, deadline=None)
@given(
    networks(), st.sampled_from([Compensation, EqualShare, PositiveShare]), st.floats(0.05, 20), st.floats(0.01, 100)
)
def test_random_networks_are_complete(network, kind, temperature, scale):
    rule = kind() if kind is PositiveShare else kind(temperature)
    model, shape = network
    x = torch.randn(2, *shape).double() * scale
    x[0, :, : shape[1] // 2] = 0
    assert_exact(model, x, 1, tolerance=1e-10, rule=rule)


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


@pytest.mark.parametrize("rule", ["bias1", "bias2", "bias3"])
def test_maps_of_disjoint_sources_add_up(rule):
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    explainer = biasprop.explainer(model, x)
    whole = explainer(x, rule=rule)
    parts = [
        explainer(x, rule=rule, sources=["0", "1"]),
        explainer(x, rule=rule, sources=lambda name, operation: operation == "hardtanh"),
        explainer(x, rule=rule, sources="[37]"),
    ]
    torch.testing.assert_close(sum(p.bias_attribution for p in parts), whole.bias_attribution, rtol=0, atol=1e-12)
    for part in parts:
        assert part.completeness_error.max() < 1e-12
        assert (part.withheld != 0).all()
        torch.testing.assert_close(part.sources.amounts, whole.sources.amounts)


def test_zeroing_the_others_changes_the_sign_that_option_1_sees():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    kept, zeroed = (biasprop.explain(model, x, sources="7", zero_others=z) for z in (False, True))
    assert (kept.bias_attribution - zeroed.bias_attribution).abs().max() > 1e-6
    torch.testing.assert_close(kept.bias_attribution.flatten(1).sum(1), zeroed.bias_attribution.flatten(1).sum(1))


def test_unknown_source_lists_what_there_is():
    with pytest.raises(SourceError, match="'nothing'.*There are: 0"):
        biasprop.explain(small_cnn(), torch.randn(1, 2, 9, 9).double(), sources="nothing")


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


def test_peak_memory_stays_within_the_budget():
    """Alpha of this layer would take 3.7 GB; 64 MiB are allowed."""
    script = """
import resource, torch, biasprop
from torch import nn
model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
x = torch.randn(1, 64, 112, 112)
explainer = biasprop.explainer(model, x)
u = x.clone().requires_grad_()
torch.autograd.grad(model(u)[:, 0].sum(), u)
explainer.split(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
explainer.memory_budget = 64 * 2**20
assert explainer(x, 0).completeness_error < 1e-5
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 64 + 64  # and up to 64 MiB for the tape itself
