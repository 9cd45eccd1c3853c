"""X3: which method satisfies which axiom (X-DNN paper, Table 3): a numeric test behind every cell.

The axioms are those of Sundararajan, Taly & Yan (ICML 2017). A cell is the worst violation over networks and inputs
drawn at random, relative to the size of the attributions; it holds where that stays below 2 %, which is what quadrature
leaves. X-Gradient is tested on networks without a bias, which are all it accepts; every other method on networks with
one. All in float64.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import DeepLift, GradientShap, IntegratedGradients
from torch import Tensor, nn

import biasprop

from .study import Experiment, Outcome, Study

__all__ = ["EXPERIMENT"]

HOLDS = 0.02
STEPS = 2000  # of integrated gradients
FEATURES = 4
Method = Callable[[nn.Module, Tensor], Any]


def mlp(biased: bool, inputs: int = FEATURES) -> nn.Module:
    """A network of two hidden layers and one output; its weights are large enough that kinks matter."""
    layers = [nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1)]
    net = nn.Sequential(*layers, nn.Flatten(0)).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.7)
    return net if biased else biasprop.remove_bias(net)


def linear(net: nn.Module, place: int) -> nn.Linear:
    """A layer of such a network."""
    layer = list(net.children())[place]
    assert isinstance(layer, nn.Linear)
    return layer


def integrated_gradients(model: nn.Module, x: Tensor) -> Any:
    """Zero baseline."""
    return IntegratedGradients(model).attribute(x, n_steps=STEPS, method="riemann_middle")


def expected_gradients(model: nn.Module, x: Tensor) -> Any:
    """In the limit of infinitely many samples: the mean of integrated gradients over the data set of baselines."""
    many = x.expand(len(BASELINES), -1)
    found = IntegratedGradients(model).attribute(many, BASELINES, n_steps=STEPS // 4, method="riemann_middle")
    return found.mean(0, keepdim=True)


def one_sample(model: nn.Module, x: Tensor) -> Any:
    """Expected gradients with one baseline and one point between."""
    return GradientShap(model).attribute(x, baselines=BASELINES, n_samples=1, stdevs=0.0)


def input_times_gradient(model: nn.Module, x: Tensor) -> Any:
    """``x * df/dx``."""
    return biasprop.XGradient(model, check=False).attribute(x)


def x_gradient(model: nn.Module, x: Tensor) -> Any:
    """The same, for homogeneous networks only."""
    return biasprop.XGradient(model).attribute(x)


def deep_lift(model: nn.Module, x: Tensor) -> Any:
    """Rescale rule, zero baseline; on a copy, because Captum's hooks do not allow one ReLU in two networks."""
    return DeepLift(copy.deepcopy(model)).attribute(x)


def bias_backprop(model: nn.Module, x: Tensor) -> Any:
    """``w * x + beta``, option 1."""
    return biasprop.BiasBackprop(model).attribute(x, target=None)


BASELINES = torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
BASELINES = torch.cat([BASELINES, BASELINES[:, [1, 0, 2, 3]]])  # features 0 and 1 can be exchanged in them too

METHODS: dict[str, tuple[Method, bool]] = {
    "integrated gradients": (integrated_gradients, True),
    "expected gradients": (expected_gradients, True),
    "expected gradients, 1 sample": (one_sample, True),
    "input * gradient": (input_times_gradient, True),
    "X-Gradient (bias-free networks)": (x_gradient, False),
    "DeepLIFT": (deep_lift, True),
    "BBp, w * x + beta": (bias_backprop, True),
}


PAPER = {
    "integrated gradients": ["yes"] * 6,
    "expected gradients": ["yes"] * 6,
    "expected gradients, 1 sample": ["no", "yes", "no", "no", "no", "no"],
    "input * gradient": ["no", "", "", "no", "", ""],
    "X-Gradient (bias-free networks)": ["yes"] * 6,
}


class Total(nn.Module):
    """``f + g``."""

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, x: Tensor) -> Tensor:
        """``(N, features)`` to ``(N,)``."""
        y: Tensor = self.f(x) + self.g(x)
        return y


def scaled(net: nn.Module, factor: float, place: int = 4) -> nn.Module:
    """``factor * net``, by the weights of its last layer; or of another, which later ones must make good."""
    made = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in linear(made, place).parameters():
            parameter.mul_(factor)
    return made


class Minimum(nn.Module):
    """Two ways to write ``relu(relu(a) - 1 - relu(b))`` (Sundararajan et al., Figure 7)."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.relu = nn.ModuleList([nn.ReLU() for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        """``(N, features)`` to ``(N,)``."""
        a, b = x[:, 0], x[:, 1]
        inner = self.relu[0](a) - 1 if self.first else self.relu[0](a - 1)
        y: Tensor = self.relu[2](inner - self.relu[1](b))
        return y


class Identity(nn.Module):
    """``relu(x) - relu(-x)``, which is x."""

    def __init__(self) -> None:
        super().__init__()
        self.split, self.positive = nn.Linear(FEATURES, 2 * FEATURES, bias=False), nn.ReLU()
        self.join = nn.Linear(2 * FEATURES, FEATURES, bias=False)
        eye = torch.eye(FEATURES)
        with torch.no_grad():
            self.split.weight.copy_(torch.cat([eye, -eye]))
            self.join.weight.copy_(torch.cat([eye, -eye], 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, features)`` to the same."""
        y: Tensor = self.join(self.positive(self.split(x)))
        return y


def largest(values: Tensor, size: Tensor) -> float:
    """The largest of some values, relative to a size."""
    return (values.abs().max() / size.abs().max().clamp_min(1e-12)).item()


def sensitivity_a(method: Method, biased: bool, networks: int) -> float:
    """One feature differs from the baseline and the output too: it gets something. The violation is 1 - its share."""
    x = torch.tensor([[2.0, 0, 0, 0]])
    if biased:  # 1 - relu(1 - x): flat at 2
        net: nn.Module = nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 1), nn.Flatten(0)).eval()
        weights = ([[-1.0, 0, 0, 0]], [1.0], [[-1.0]], [1.0])
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), weights, strict=True):
                parameter.copy_(torch.tensor(value))
        return max(float(method(net, x)[0, 0].abs() < 1e-9) for _ in range(networks))
    nets = [mlp(False) for _ in range(networks)]
    return max(float(method(net, x)[0, 0].abs() < 1e-9) for net in nets if net(x).abs() > 1e-9)


def sensitivity_b(method: Method, biased: bool, networks: int) -> float:
    """A feature that the output does not depend on gets nothing: two units that read it cancel."""
    worst = 0.0
    for _ in range(networks):
        net, x = mlp(biased), torch.randn(1, FEATURES)
        first, second = linear(net, 0), linear(net, 2)
        with torch.no_grad():
            first.weight[:, 0] = 0
            first.weight[1] = first.weight[0] = torch.randn(FEATURES)
            if biased:
                first.bias[1] = first.bias[0]
            second.weight[:, 1] = -second.weight[:, 0]
        found = method(net, x)
        worst = max(worst, largest(found[:, 0], found))
    return worst


def implementation_invariance(method: Method, biased: bool, networks: int) -> float:
    """Networks that are the same function have the same attributions."""
    pairs: list[tuple[nn.Module, nn.Module, Tensor]] = []
    for _ in range(networks):
        net, x = mlp(biased), torch.randn(1, FEATURES)
        same = scaled(net, 3.0, 0)  # three times the first layer, a third of the second's weights
        with torch.no_grad():
            linear(same, 2).weight /= 3
        pairs += [(net, nn.Sequential(Identity(), net).eval(), x), (net, same, x)]
    if biased:
        pairs.append((Minimum(True).eval(), Minimum(False).eval(), torch.tensor([[3.0, 1.0, 0, 0]])))
    worst = 0.0
    for net, other, x in pairs:
        assert (net(x) - other(x)).abs() < 1e-9
        found = method(net, x)
        worst = max(worst, largest(method(other, x) - found, found))
    return worst


def completeness(method: Method, biased: bool, networks: int) -> float:
    """They sum to ``f(x) - f(baseline)``; of a method without a baseline (BBp) to ``f(x)``."""
    worst = 0.0
    for _ in range(networks):
        net, x = mlp(biased), torch.randn(1, FEATURES)
        found = method(net, x)
        with torch.no_grad():
            if method is bias_backprop:
                base = torch.zeros(1)
            else:
                sampled = method in (expected_gradients, one_sample)
                base = net(BASELINES).mean() if sampled else net(0 * x)
            worst = max(worst, largest(found.sum() - (net(x) - base), found))
    return worst


def linearity(method: Method, biased: bool, networks: int) -> float:
    """Attributions of ``a f + b g`` are a times those of f plus b times those of g."""
    worst = 0.0
    for _ in range(networks):
        f, g, x = mlp(biased), mlp(biased), torch.randn(1, FEATURES)
        parts = 5 * method(f, x) - 7 * method(g, x)
        combined = Total(scaled(f, 5), scaled(g, -7)).eval()
        worst = max(worst, largest(method(combined, x) - parts, parts))
    return worst


def symmetry(method: Method, biased: bool, networks: int) -> float:
    """Features that can be exchanged and have the same value (and baseline) get the same."""
    worst = 0.0
    for _ in range(networks):
        net, x = mlp(biased), torch.randn(1, FEATURES)
        first, second = linear(net, 0), linear(net, 2)
        x[:, 1] = x[:, 0]
        with torch.no_grad():
            first.weight[4:, 0] = first.weight[:4, 1]  # exchanging features 0 and 1 exchanges the halves
            first.weight[4:, 1] = first.weight[:4, 0]
            first.weight[4:, 2:] = first.weight[:4, 2:]
            second.weight[:, 4:] = second.weight[:, :4]
            if biased:
                first.bias[4:] = first.bias[:4]
        found = method(net, x)
        worst = max(worst, largest(found[:, 0] - found[:, 1], found))
    return worst


AXIOMS = {
    "sensitivity (a)": sensitivity_a,
    "sensitivity (b)": sensitivity_b,
    "implementation invariance": implementation_invariance,
    "completeness": completeness,
    "linearity": linearity,
    "symmetry": symmetry,
}


@contextmanager
def float64() -> Iterator[None]:
    """The default dtype, for the networks and inputs made inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def measure(method: Method, biased: bool, networks: int, seed: int) -> dict[str, float]:
    """The worst violation of each axiom by a method."""
    with float64(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum says that it sets hooks
        torch.manual_seed(seed)
        return {axiom: test(method, biased, networks) for axiom, test in AXIOMS.items()}


@dataclass(frozen=True)
class Config:
    """``networks``: drawn for each axiom."""

    networks: int = 8


def run(study: Study[Config]) -> Outcome:
    """Every axiom by every method."""
    table = {
        name: study.part(name, measure, method, biased, study.config.networks, study.seed)
        for name, (method, biased) in METHODS.items()
    }
    return Outcome({"networks": study.config.networks, "violations": table})


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        f"A number is the worst violation measured over {figures['networks']} random networks, relative to the largest "
        f"attribution; below {HOLDS:g}, what quadrature ({STEPS} steps) leaves, the axiom holds (yes). X-Gradient "
        "is tested "
        "on networks without a bias, all others on networks with one. Completeness is to `f(x) - f(baseline)`; "
        "for BBp, "
        "which has no baseline, to `f(x)`. In brackets what the paper's table says.",
        "",
        "| method | " + " | ".join(AXIOMS) + " |",
        "|---|" + "---|" * len(AXIOMS),
    ]
    for name, row in figures["violations"].items():
        paper = PAPER.get(name, [""] * len(row))
        cells = [
            f"{'yes' if v <= HOLDS else '**no**'} ({v:.1g}){f' [{said}]' if said else ''}"
            for v, said in zip(row.values(), paper, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "What BBp is not: alpha depends on how a function is written as layers and on the scale of the "
        "activations, so it "
        "is neither invariant to the implementation nor linear, and does not see that units cancel each other. What it "
        "adds up to is exact, and it needs no baseline.",
    ]
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="Which method satisfies which axiom (X-DNN paper, Table 3)",
    config=Config(),
    smoke=Config(networks=1),
    run=run,
    report=report,
)
