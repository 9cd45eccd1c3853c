"""``biasprop demo``: offline and under a minute, on scikit-learn's handwritten digits and breast-cancer table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from typer import Option, Typer

from ...attribution import Explainer, Explanation
from ...auditing import TERMS, predicted_classes
from ...extras import require
from ...files import make_folder, write_atomically
from ...report import BIAS, COLOURS, GREY, TOTAL, WEIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["demo", "register"]

EPOCHS = 30


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(epilog="Example: biasprop demo")(demo)


@dataclass
class Subject:
    """A trained network and its test data."""

    title: str
    model: nn.Module
    x: Tensor
    y: Tensor
    feature_names: list[str] | None = None


@dataclass
class Verdict:
    """How the network does as it is, and with only one part of it."""

    accuracy: dict[str, float]
    bias_share: Tensor
    explanation: Explanation[Tensor]


def demo(
    output: Annotated[Path, Option("--output", "-o", help="Folder for the pictures.")] = Path("biasprop-demo"),
    rule: Annotated[str, Option(help="bias1, bias2 or bias3.")] = "bias1",
) -> None:
    """Train two small networks, explain their predictions completely, and draw pictures. Offline, under a minute."""
    console = Console(highlight=False, soft_wrap=True)
    folder = make_folder(output)
    torch.manual_seed(0)
    verdicts, subjects = {}, []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for make in (_digits, _tumours):
            task = progress.add_task(f"training: {make.__doc__}", total=EPOCHS + 1)
            subject = make(partial(progress.advance, task))
            verdicts[subject.title] = _judge(subject, rule)
            subjects.append(subject)
            progress.advance(task)
    digits, tumours = subjects
    table = Table("network", *TERMS, "b / logit (quartiles)", "complete to")
    for title, verdict in verdicts.items():
        low, middle, high = (f"{100 * q:.0f}" for q in verdict.bias_share.quantile(torch.tensor([0.25, 0.5, 0.75])))
        table.add_row(
            title,
            *(f"{100 * a:.1f} %" for a in verdict.accuracy.values()),
            f"{middle} % ({low} to {high})",
            f"{verdict.explanation.completeness_error.max().item():.0e}",
        )
    console.print("Accuracy on test data of the whole network and of each part alone:")
    console.print(table)
    shown = verdicts[tumours.title].explanation
    console.print("One table row, explained:")
    console.print(shown.example(0).summary(tumours.feature_names), markup=False)
    figures = {
        "digits.png": _digit_grid(digits, verdicts[digits.title].explanation),
        "tumour.png": shown.plot(0, feature_names=tumours.feature_names, title="breast-cancer table, first test row"),
        "accuracy.png": _accuracies(verdicts),
    }
    for name, figure in figures.items():
        write_atomically(folder / name, partial(figure.savefig, dpi=120))
    console.print(f"Pictures: {', '.join(str(folder / name) for name in figures)}", markup=False)


def _load(name: str) -> Any:
    return getattr(require("sklearn.datasets", "demo"), f"load_{name}")()


def _digits(advance: Callable[[], object]) -> Subject:
    """handwritten digits"""
    data = _load("digits")
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(data.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 10),
    )
    return _train("digits (CNN)", model, x, y, advance)


def _tumours(advance: Callable[[], object]) -> Subject:
    """breast-cancer table"""
    data = _load("breast_cancer")
    x = torch.tensor(data.data, dtype=torch.float32)
    model = nn.Sequential(
        Standardise(x.mean(0), x.std(0)),
        nn.Linear(30, 32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 2),
    )
    subject = _train("tumours (MLP)", model, x, torch.tensor(data.target), advance)
    subject.feature_names = [str(name) for name in data.feature_names]
    return subject


class Standardise(nn.Module):
    """``(x - mean) / std`` inside the network: the shift is a bias like any other and goes to its own feature."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise rows ``(N, features)``."""
        return (x - self.mean) / self.std


def _train(title: str, model: nn.Module, x: Tensor, y: Tensor, advance: Callable[[], object]) -> Subject:
    order = torch.randperm(len(x))
    train, test = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        advance()
    return Subject(title, model.eval(), x[test], y[test])


def _judge(subject: Subject, rule: str) -> Verdict:
    explainer = Explainer(subject.model)
    linear, bias = explainer.split(subject.x)
    classes = predicted_classes(linear, bias)
    right = (classes == subject.y[:, None]).float().mean(0)
    share = (bias / (linear + bias)).gather(1, classes[:, :1]).squeeze(1)
    accuracy = dict(zip(TERMS, right.tolist(), strict=True))
    return Verdict(accuracy, share, explainer(subject.x[:64], rule=rule))


def _digit_grid(subject: Subject, explanation: Explanation[Tensor], rows: int = 4) -> Figure:
    figure = Figure(figsize=(10.5, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, 4)
    first_of_each = [int((subject.y[: len(explanation.output)] == digit).nonzero()[0]) for digit in range(rows)]
    for i, axes in zip(first_of_each, grid, strict=True):
        maps = [
            t[i, 0].numpy()
            for t in (explanation.weight_attribution, explanation.bias_attribution, explanation.attribution)
        ]
        limit = max(float(abs(m).max()) for m in maps)
        axes[0].imshow(subject.x[i, 0].numpy(), cmap="gray_r")
        axes[0].set_ylabel(f"predicted {explanation.target[i]}", fontsize=11)
        names = ("w * x", "beta", "w * x + beta = f(x)")
        for axis, values, name in zip(axes[1:], maps, names, strict=True):
            shown = axis.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit)
            axis.set_title(f"{name}: {values.sum():.2f}", fontsize=11)
        figure.colorbar(shown, ax=list(axes[1:]), fraction=0.02, pad=0.01)
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.suptitle("Every prediction split completely: what the pixels give through the weights and through the bias")
    return figure


def _accuracies(verdicts: dict[str, Verdict]) -> Figure:
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = (TOTAL, WEIGHT, BIAS)
    for k, (title, verdict) in enumerate(verdicts.items()):
        for j, (colour, (name, accuracy)) in enumerate(zip(colours, verdict.accuracy.items(), strict=True)):
            bar = left.bar(k + 0.27 * (j - 1), 100 * accuracy, 0.25, color=colour, label=name if k == 0 else None)
            left.bar_label(bar, fmt="%.0f", padding=2)
        _box(right, k, 100 * verdict.bias_share, title)
    left.set_xticks(range(len(verdicts)), list(verdicts))
    left.set_ylabel("test accuracy, %")
    left.set_ylim(0, 118)
    left.legend(ncols=3, loc="upper center", fontsize=9)
    left.set_title("The network, and each part of it alone")
    right.set_yticks(range(len(verdicts)), list(verdicts))
    right.axvline(0, color=GREY, linewidth=0.8)
    right.set_xlabel("b as a share of the predicted logit, %")
    right.set_title("How much of a prediction is bias")
    return figure


def _box(axis: "Axes", position: int, values: Tensor, title: str) -> None:
    axis.boxplot(
        values.tolist(),
        positions=[position],
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        label=title,
    )
