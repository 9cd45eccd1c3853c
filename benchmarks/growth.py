"""How the cost of an explanation grows, beside that of the gradient.

    python -m benchmarks.growth                # five plots: some minutes on two cores
    python -m benchmarks.growth --only tokens

Over the size of the image, the batch, the tokens, the depth and the targets: seconds on logarithmic scales, and the
slope of the upper half of each line (1: linear). Nothing may grow faster than the gradient does. Writes
``growth.json`` and ``growth.png`` to ``--output``.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import biasprop

from .cost import gradient, logits_of, network, randomise, timed

RULES = ("bias1", "bias3")
TITLES = {
    "size": "side of the image, pixels (SqueezeNet 1.1)",
    "batch": "images in a batch (SqueezeNet 1.1, 64 px)",
    "tokens": "tokens (BERT, 2 layers of 128)",
    "depth": "convolutions (16 channels, 32 px)",
    "targets": "targets (SqueezeNet 1.1, 64 px)",
}


@dataclass(frozen=True)
class Point:
    """Median seconds of each method at one amount."""

    series: str
    amount: int
    seconds: dict[str, float]


def stack(depth: int) -> nn.Module:
    """A convolutional network of this depth."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 32 * 32, 10)).eval().requires_grad_(False)


def encoder(tokens: int) -> nn.Module:
    """A small transformer with positions for so many tokens."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": 1000,
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 512,
        "max_position_embeddings": tokens,
    }
    return randomise(BertForSequenceClassification(BertConfig(**settings))).eval().requires_grad_(False)


def works(series: str) -> Iterator[tuple[int, nn.Module, Tensor, dict[str, Any]]]:
    """Amounts, each with a network, inputs, and further arguments of the explanation."""
    torch.manual_seed(0)
    if series == "size":
        for size in (64, 96, 128, 192, 256, 384, 512):
            yield size, network("squeezenet1_1"), torch.randn(1, 3, size, size), {}
    elif series == "batch":
        for batch in (1, 2, 4, 8, 16, 32, 64):
            yield batch, network("squeezenet1_1"), torch.randn(batch, 3, 64, 64), {}
    elif series == "tokens":
        for tokens in (16, 64, 256, 1024, 2048, 4096):
            yield tokens, encoder(tokens), torch.randint(0, 1000, (1, tokens)), {}
    elif series == "depth":
        for depth in (2, 4, 8, 16, 32, 64, 128):
            yield depth, stack(depth), torch.randn(1, 3, 32, 32), {}
    else:
        for count in (1, 3, 10, 30, 100, 300, 1000):
            model, x = network("squeezenet1_1"), torch.randn(1, 3, 64, 64)
            yield count, model, x, {"targets": logits_of(model, x).topk(count).indices}


def measure(series: str, repetitions: int) -> Iterator[Point]:
    """One point after the other."""
    for amount, model, x, options in works(series):
        explainer = biasprop.explainer(model, x, check="once")
        calls: dict[str, Callable[[], Any]] = {"gradient": partial(gradient, model, x, options.get("targets"))}
        calls |= {rule: partial(explainer, x, rule=rule, **options) for rule in RULES}
        for call in calls.values():
            call()
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(repetitions):
            for name, call in calls.items():
                seconds[name].append(timed(call))
        yield Point(series, amount, {name: median(found) for name, found in seconds.items()})


def slope(points: list[Point], method: str) -> float:
    """Of the upper half of a line on logarithmic scales."""
    upper = points[(len(points) - 1) // 2 :]
    x, y = (np.log([p.amount for p in upper]), np.log([p.seconds[method] for p in upper]))
    return float(np.polyfit(x, y, 1)[0])


def draw(points: list[Point], path: Path) -> None:
    """Seconds over amounts, one panel for each series."""
    names = [name for name in TITLES if any(p.series == name for p in points)]
    figure = Figure(figsize=(4.2 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(panels, names, strict=True):
        of = [p for p in points if p.series == name]
        for method, colour in zip(("gradient", *RULES), ("#777777", "#c0392b", "#2471a3"), strict=True):
            label = f"{method}, slope {slope(of, method):.2f}"
            axis.plot([p.amount for p in of], [p.seconds[method] for p in of], "o-", color=colour, label=label)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([p.amount for p in of], [str(p.amount) for p in of], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel(TITLES[name])
        axis.legend(fontsize=8)
    panels[0].set_ylabel("seconds")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    points: list[Point] = []
    with Progress(transient=True) as progress:
        for series in progress.track(arguments.only, description="measuring"):
            points += measure(series, arguments.repetitions)
    table = Table("over", *("gradient", *RULES), title="slope on logarithmic scales, upper half")
    for series in arguments.only:
        of = [p for p in points if p.series == series]
        table.add_row(TITLES[series], *(f"{slope(of, method):.2f}" for method in ("gradient", *RULES)))
    Console(width=120).print(table)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "growth.json").write_text(json.dumps([asdict(p) for p in points], indent=1))
    draw(points, arguments.output / "growth.png")


if __name__ == "__main__":
    main()
