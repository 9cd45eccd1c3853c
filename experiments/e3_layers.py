"""E3: the bias of various layers, Fig. 2 of the BBp paper."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import biasprop

from .maps import Array, picture_of, scale_bar, show_map, size_of
from .study import Experiment, Outcome, Study
from .subjects import CIFAR, FASHION, SQUEEZENET, STL, Source, Subject

__all__ = ["EXPERIMENT"]


@dataclass(frozen=True)
class Config:
    """What is drawn.

    Attributes:
        networks: trained elsewhere or here.
        without: the numbers of first layers that are left out, as in the paper.
        shown: classes (or, where a network has none of these, the first images).
        rows: images of each network.
        rule: of BBp.
    """

    networks: tuple[Source, ...] = (SQUEEZENET, FASHION, CIFAR)
    without: tuple[int, ...] = (2, 4, 6)
    shown: tuple[str, ...] = ("brambling", "piggy bank", "folding chair", "fountain pen", "flamingo", "fire engine")
    rows: int = 6
    rule: str = "bias1"


def run(study: Study[Config]) -> Outcome:
    """All layers; all except the first few; and the groups between, whose maps add up to the whole."""
    outcome = Outcome({"networks": {}})
    for source in study.config.networks:
        subject = study.subject(source)
        found, picture = _network(study.config, subject)
        outcome.figures["networks"][subject.title] = found
        outcome.show(subject, subject.slug, picture)
    return outcome


def _network(config: Config, subject: Subject) -> tuple[dict[str, Any], Figure]:
    x, labels = _images(config, subject)
    explain = biasprop.explainer(subject.model, x)
    whole = explain(x, rule=config.rule)
    layers = _layers(whole.sources.names)
    cuts = [0, *(n for n in config.without if n < len(layers)), len(layers)]
    groups = [(a + 1, b, [s for layer in layers[a:b] for s in layer]) for a, b in pairwise(cuts)]
    parts = [explain(x, rule=config.rule, sources=names).bias_attribution for _, _, names in groups]
    beta = whole.bias_attribution
    # All except the first k: what the groups after k give together.
    suffixes = [torch.stack(parts[i:]).sum(0) for i in range(len(parts))]
    missed = (suffixes[0] - beta).abs().max() / beta.abs().max()
    amounts = [
        sum(whole.sources[name].amount for name in names).double().mean().item()  # type: ignore[union-attr]
        for _, _, names in groups
    ]
    found: dict[str, Any] = {
        "origin": subject.origin,
        "images": len(x),
        "layers": len(layers),
        "groups": [f"{a} to {b}" if a < b else str(a) for a, b, _ in groups],
        "mean amount": amounts,
        "mean b": whole.bias.double().mean().item(),
        "largest difference of the sum of the parts and the whole": missed.item(),
        "completeness error": whole.completeness_error.max().item(),
    }
    return found, _draw(subject, x, labels, found["groups"], [beta, *suffixes[1:]], parts)


def _layers(names: list[str]) -> list[list[str]]:
    """The sources layer by layer: a convolution and its batch norm are one, and so is a module of several (Fire)."""
    groups: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        key = f"{first}.{rest.split('.')[0]}" if rest else first
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _images(config: Config, subject: Subject) -> tuple[Tensor, Tensor]:
    data = [subject.data[i] for i in range(min(len(subject), 300))]
    names = [subject.name(int(label)) for _, label in data]
    wanted = [names.index(n) for n in config.shown if n in names] or list(range(len(data)))
    chosen = [data[i] for i in wanted[: config.rows]]
    return torch.stack([x for x, _ in chosen]), torch.stack([label for _, label in chosen])


def _draw(
    subject: Subject, x: Tensor, labels: Tensor, groups: list[str], left: list[Tensor], parts: list[Tensor]
) -> Figure:
    """Left the paper's columns, right the groups; one scale in each row, that of the whole map."""
    columns = 1 + len(left) + len(parts)
    figure = Figure(figsize=(1.75 * columns, 1.8 * len(x) + 1.4), layout="constrained")
    axes = figure.subplots(len(x), columns, squeeze=False)
    numbers = [group.split(" ")[0] for group in groups]
    titles = ["all layers", *(f"without the\nfirst {int(n) - 1}" for n in numbers[1:])]
    titles += [f"only layer\n{group}" for group in groups]
    for i, row in enumerate(axes):
        picture = picture_of(subject, x[i])
        row[0].imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        row[0].set_title(subject.name(int(labels[i])), fontsize=10)
        maps = [_summed(m[i]) for m in (*left, *parts)]
        for axis, values in zip(row[1:], maps, strict=True):
            show_map(axis, values, size_of(maps[0]))
            axis.text(
                0.5, -0.02, f"sum {values.sum():.3g}", transform=axis.transAxes, ha="center", va="top", fontsize=8
            )
    for axis, title in zip(axes[0, 1:], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    scale_bar(
        figure, axes, "in each row: divided by the 99.5 % magnitude of all layers' beta; red adds, blue takes away"
    )
    figure.suptitle(
        f"{subject.title}: the bias of various layers; the maps of the groups on the right add up to the first",
        fontsize=13,
    )
    return figure


def _summed(values: Tensor) -> Array:
    return np.asarray(values.sum(0).double().numpy())


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        "The paper shows VGG-11 on ImageNet, without a figure. Sources are counted in layers: a convolution with its "
        "batch norm, or a Fire module. The groups are disjoint, so their maps add up to the whole map, up to "
        "rounding in float32.",
        "",
        "| network | layers | mean amount of b by group of layers | mean b | the groups' maps miss the whole by |",
        "|---|---|---|---|---|",
    ]
    for title, row in figures["networks"].items():
        amounts = ", ".join(f"{g}: {a:.3g}" for g, a in zip(row["groups"], row["mean amount"], strict=True))
        missed = row["largest difference of the sum of the parts and the whole"]
        lines.append(
            f"| {title} | {row['layers']} | {amounts} | {row['mean b']:.3g} | {missed:.0e} of its largest value |"
        )
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="The bias of various layers (BBp paper, Fig. 2)",
    config=Config(),
    smoke=Config(networks=(STL,), rows=2),
    run=run,
    report=report,
)
