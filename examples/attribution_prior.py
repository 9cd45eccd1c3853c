"""Attribution priors on a real table: does asking for sparse attributions help when there are few rows?

The experiment of Hesse, Schaub-Meyer & Roth (NeurIPS 2021, section 4.3) on the NHANES I subset: an MLP trained on 100
rows, with a loss that rewards sparse attributions (their Gini coefficient), for four ways to attribute::

    python examples/attribution_prior.py                 # 20 random splits, a few minutes
    python examples/attribution_prior.py --splits 200    # as published

Writes ``attribution_prior.json`` and ``attribution_prior.png`` to ``--output``; a second run goes on where the first
stopped. The data are found through BIASPROP_DATA. The published table has 118 features, this one 18, so the figures are
not comparable with the paper's; the question is the same.
"""

import argparse
import json
import os
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import biasprop
from biasprop.files import write_atomically

nhanes = import_module("nhanes")  # the example beside this one reads the table

ROWS, STEPS, RATE = 100, 100, 1e-3
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
Attribute = Callable[[nn.Module, Tensor], Tensor]


def network(features: int, bias: bool) -> nn.Module:
    """The published MLP, ``n-512-128-32-1``."""
    sizes = (features, 512, 128, 32)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=bias), nn.Flatten(0))


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    """``df/dx``, differentiable."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]


def expected_gradients(model: nn.Module, x: Tensor) -> Tensor:
    """One reference, another row, for each row, and one point between; differentiable."""
    reference = x[torch.randperm(len(x))]
    between = reference + torch.rand(len(x), 1) * (x - reference)
    return (x - reference) * gradient(model, between)


def x_gradient(model: nn.Module, x: Tensor) -> Tensor:
    """Integrated gradients of the network without bias, differentiable."""
    return biasprop.XGradient(model, degree=1, check=False).attribute(x, create_graph=True)  # type: ignore[no-any-return]


METHODS: dict[str, tuple[Attribute | None, bool]] = {
    "X-Gradient, no bias": (x_gradient, False),
    "expected gradients, 1 reference": (expected_gradients, True),
    "gradient": (gradient, True),
    "none": (None, True),
    "none, no bias": (None, False),
}


def train(x: Tensor, y: Tensor, attribute: Attribute | None, bias: bool, strength: float) -> nn.Module:
    """Adam on the whole batch; the loss is binary cross entropy plus strength times the sparsity loss."""
    model = network(x.shape[1], bias)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(STEPS):
        loss = F.binary_cross_entropy_with_logits(model(x), y)
        if attribute is not None:
            loss = loss + strength * biasprop.sparsity_loss(attribute(model, x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def score(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """ROC-AUC."""
    return float(nhanes.auc(model(x), y))


def split(x: Tensor, y: Tensor, seed: int) -> dict[str, float]:
    """Test ROC-AUC of each method on one random split; the strength with the best validation ROC-AUC."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    parts = order[:ROWS], order[ROWS : 2 * ROWS], order[2 * ROWS :]
    mean, spread = x[parts[0]].mean(0), x[parts[0]].std(0).clamp_min(1e-6)
    (train_x, train_y), validation, test = (((x[p] - mean) / spread, y[p]) for p in parts)
    found = {}
    for name, (attribute, bias) in METHODS.items():
        tried = []
        for strength in STRENGTHS if attribute else (0.0,):
            torch.manual_seed(seed)
            model = train(train_x, train_y, attribute, bias, strength)
            tried.append((score(model, *validation), score(model, *test)))
        found[name] = max(tried)[1]
    return found


def draw(results: list[dict[str, float]], path: Path) -> None:
    """Mean and standard error of each method, and the splits behind them."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axis = figure.subplots()
    for i, name in enumerate(METHODS):
        values = [r[name] for r in results]
        axis.plot(values, [i + 0.18] * len(values), "|", color="0.6")
        axis.errorbar(fmean(values), i, xerr=error(values), fmt="o", color="C0", capsize=4)
        axis.annotate(f"{fmean(values):.3f}", (fmean(values), i), (0, 7), textcoords="offset points", ha="center")
    axis.set_yticks(range(len(METHODS)), METHODS)
    axis.set_ylim(len(METHODS) - 0.5, -0.7)
    axis.set_xlabel(f"test ROC-AUC, {len(results)} splits: mean and standard error (marks: single splits)")
    figure.savefig(path, dpi=120)


def error(values: list[float]) -> float:
    """Standard error of the mean."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def main() -> None:
    """Train on every split that has no result yet, then show all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("attribution_prior"))
    arguments = parser.parse_args()
    folder = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    _, x, y = nhanes.read(folder)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "attribution_prior.json"
    results: list[dict[str, float]] = json.loads(path.read_text()) if path.exists() else []
    for seed in track(range(len(results), arguments.splits), "splits"):
        results.append(split(x, y, seed))
        write_atomically(path, lambda temporary: Path(temporary).write_text(json.dumps(results, indent=1)))
    results = results[: arguments.splits]
    table = Table("attribution prior", "test ROC-AUC", "standard error", title=f"{len(results)} splits of NHANES I")
    for name in METHODS:
        values = [r[name] for r in results]
        table.add_row(name, f"{fmean(values):.3f}", f"{error(values):.3f}")
    Console().print(table)
    draw(results, arguments.output / "attribution_prior.png")


if __name__ == "__main__":
    main()
