"""`BiasBackprop` behind Captum's interface and inside Captum's tools."""

import pytest
import torch
from helpers import randomise
from torch import nn

import biasprop
from biasprop import BiasBackprop
from biasprop.rules import Compensation

captum = pytest.importorskip("captum")
pytestmark = pytest.mark.filterwarnings("ignore")  # Captum's own


@pytest.fixture
def net():
    return randomise(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))).double()


X = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def test_components_and_delta(net):
    method = BiasBackprop(net)
    explanation = biasprop.explain(net, X, 2)
    for component, expected in (
        ("total", explanation.attribution),
        ("weight", explanation.weight_attribution),
        ("bias", explanation.bias_attribution),
    ):
        torch.testing.assert_close(method.attribute(X, 2, component=component), expected)
    attribution, delta = method.attribute((X,), target=torch.tensor([2]), return_convergence_delta=True)
    assert isinstance(attribution, tuple)
    assert delta.abs().max() < 1e-12
    with pytest.raises(biasprop.InputError, match="Unknown component"):
        method.attribute(X, 2, component="both")
    with pytest.raises(biasprop.TargetError, match="4 outputs"):
        method.attribute(X)


def test_noise_tunnel(net):
    from captum.attr import NoiseTunnel

    torch.manual_seed(0)
    tunnel = NoiseTunnel(BiasBackprop(net))
    smooth, delta = tunnel.attribute(
        X, nt_samples=4, nt_type="smoothgrad", stdevs=0.01, target=1, return_convergence_delta=True
    )
    plain = BiasBackprop(net).attribute(X, 1)
    assert smooth.shape == X.shape
    assert delta.abs().max() < 1e-12
    assert 0 < (smooth - plain).abs().max() < 0.5 * plain.abs().max()
    assert tunnel.attribute(X, nt_samples=2, target=torch.tensor([0, 1, 2])).shape == X.shape


def test_metrics(net):
    from captum.metrics import infidelity, sensitivity_max

    def perturb(inputs):
        noise = torch.randn_like(inputs) * 1e-3
        return noise, inputs - noise

    method = BiasBackprop(net, rule="bias3")
    weight = method.attribute(X, 1, component="weight") / X
    assert infidelity(net, perturb, X, weight, target=1, n_perturb_samples=8).max() < 1e-8
    sensitivity = sensitivity_max(method.attribute, X, target=1, perturb_radius=1e-4, n_perturb_samples=2)
    assert sensitivity.shape == (3,)
    assert (sensitivity < 0.2).all()


@pytest.mark.parametrize("zero_others", [False, True])
@pytest.mark.parametrize("rule", ["bias1", Compensation(0.5)])
def test_options_are_those_of_explain(net, rule, zero_others):
    options = {"rule": rule, "sources": "0", "zero_others": zero_others}
    method, expected = BiasBackprop(net, **options), biasprop.explain(net, X, 2, **options)
    assert (expected.withheld != 0).all()
    attribution, delta = method.attribute(X, 2, return_convergence_delta=True)
    torch.testing.assert_close(attribution, expected.attribution)
    torch.testing.assert_close(delta, expected.residual)
    assert delta.abs().max() < 1e-12
    assert repr(method) == "BiasBackprop(Sequential, rule='bias1')"


def test_a_handover():
    model = randomise(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)))
    x = torch.randn(2, 1, 6, 6)
    method = BiasBackprop(model, ("bias1", "bias3"), handover="auto")
    expected = biasprop.explain(model, x, 1, ("bias1", "bias3"), handover="auto")
    assert expected.handover == "1"
    torch.testing.assert_close(method.attribute(x, 1), expected.attribution)


def test_what_captums_users_try(net):
    x, method = X, BiasBackprop(net)
    assert method.get_name() == "BiasBackprop"
    for name, value in (("baselines", x * 0), ("n_steps", 50)):
        with pytest.raises(biasprop.InputError, match=f"takes no {name}: there is no baseline and no path"):
            method.attribute(x, target=1, **{name: value})
    with pytest.raises(biasprop.InputError, match="takes no internal_batch_size: see its signature"):
        method.attribute(x, target=1, internal_batch_size=3)
    attributions, delta = method.attribute(x, target=1, return_convergence_delta=True)
    again = method.compute_convergence_delta(attributions, None, x, target=1)
    torch.testing.assert_close(again, delta, atol=1e-5, rtol=0)
    torch.testing.assert_close(method.compute_convergence_delta(attributions + 1, None, x, 1), delta + x[0].numel())
    with pytest.raises(biasprop.InputError, match="no start_point"):
        method.compute_convergence_delta(attributions, x * 0, x, target=1)
