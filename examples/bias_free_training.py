"""What do biases cost to give up, and what is the gap to integrated gradients with and without them?

The experiment of Hesse, Schaub-Meyer & Roth (NeurIPS 2021, Table 1) on small networks: a CNN trained on MNIST and on
Fashion-MNIST with biases, without, and with uncentred batch norm; its accuracy, and the difference of input * gradient
(times 1/k: X-Gradient) and integrated gradients, ``mean |IG - x * grad| / mean |IG|``, of the true class::

    python examples/bias_free_training.py                # 3 seeds, 2 epochs: a quarter of an hour on two cores
    python examples/bias_free_training.py --seeds 1 --epochs 1 --train 2000 --test 200

Also measures what taking the biases out of the *trained* network costs, before and after one more epoch. Writes
``bias_free_training.json`` to ``--output``; a second run goes on where the first stopped. The data are found through
BIASPROP_DATA (mnist.npz, fashion_mnist.npz).
"""

import argparse
import json
import os
import warnings
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import biasprop
from biasprop.files import write_atomically
from biasprop.metrics import relative_difference

DATA = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))
KINDS = ("with bias", "without bias", "uncentred batch norm, no bias")


def network(kind: str) -> nn.Module:
    """Two convolutions, two linear layers."""
    bias, norm = kind == KINDS[0], kind == KINDS[2]
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32)):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
        layers += [biasprop.UncenteredBatchNorm2d(outputs)] if norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(32 * 49, 64, bias=bias), nn.ReLU(), nn.Linear(64, 10, bias=bias)
    )


def read(name: str, train: int, test: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images ``(N, 1, 28, 28)``, standardised as a whole, and labels."""
    with np.load(DATA / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    images, labels, more, more_labels = (arrays[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    mean, std = images.float().mean(), images.float().std()

    def part(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return ((x[:count].float() - mean) / std).reshape(-1, 1, 28, 28), y[:count].long()

    return part(images, labels, train), part(more, more_labels, test)


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """Adam, batches of 128."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(x)).split(128):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """In percent."""
    return 100 * fmean(
        (model(a).argmax(1) == b).float().mean().item() for a, b in zip(x.split(500), y.split(500), strict=True)
    )


def gap(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Mean over examples, in percent, in float64."""
    model, x = model.double(), x.double()
    options = {"n_steps": 128, "method": "riemann_middle", "internal_batch_size": 500}
    reference = IntegratedGradients(model).attribute(x, target=y, **options)
    found = biasprop.XGradient(model, check=False).attribute(x, y)
    return 100 * relative_difference(found, reference).mean().item()


def one(name: str, kind: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train and measure one network."""
    torch.manual_seed(seed)
    (x, y), test = read(name, arguments.train, arguments.test)
    model = train(network(kind), x, y, arguments.epochs)
    found = {"accuracy": accuracy(model, *test)}
    if kind == KINDS[0]:
        free = biasprop.remove_bias(model)
        found["removed"] = accuracy(free, *test)
        found["removed, one more epoch"] = accuracy(train(free, x, y, 1), *test)
    found["gap"] = gap(model, test[0][:100], test[1][:100])
    return found


def show(results: dict[str, dict[str, float]], seeds: int) -> None:
    """Mean and standard deviation over the seeds."""
    names = ("accuracy", "gap", "removed", "removed, one more epoch")
    titles = ("accuracy, %", "gap to IG, %", "bias removed after training, %", "and one more epoch, %")
    table = Table("data", "network", *titles, title=f"{seeds} seeds: mean and standard deviation")
    for group in dict.fromkeys(key.rpartition("/")[0] for key in results):
        rows = [results[f"{group}/{seed}"] for seed in range(seeds)]
        cells = []
        for name in names:
            values = [row[name] for row in rows if name in row]
            spread = stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{fmean(values):.3g} ± {spread:.2g}" if values else "")
        table.add_row(*group.split("/"), *cells)
    Console(width=150).print(table)


def _write(text: str, path: str | Path) -> None:
    Path(path).write_text(text)


def main() -> None:
    """Train what has no result yet, then show all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--train", type=int, default=60_000, help="training images used")
    parser.add_argument("--test", type=int, default=10_000, help="test images used")
    parser.add_argument("--output", type=Path, default=Path("bias_free_training"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "bias_free_training.json"
    settings = {"epochs": arguments.epochs, "train": arguments.train, "test": arguments.test}
    saved = json.loads(path.read_text()) if path.exists() else {}
    results = saved.get("results", {}) if saved.get("settings") == settings else {}
    plan = [(n, k, s) for n in ("mnist", "fashion_mnist") for k in KINDS for s in range(arguments.seeds)]
    for name, kind, seed in track(plan, "training"):
        key = f"{name}/{kind}/{seed}"
        if key not in results:
            results[key] = one(name, kind, seed, arguments)
            text = json.dumps({"settings": settings, "results": results}, indent=1)
            write_atomically(path, partial(_write, text))
    show({f"{n}/{k}/{s}": results[f"{n}/{k}/{s}"] for n, k, s in plan}, arguments.seeds)


if __name__ == "__main__":
    main()
