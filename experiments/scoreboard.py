"""Scoreboard: what each method costs and what it is worth, on both papers' metrics and on insertion and deletion."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from biasprop.metrics import digit_flip

from .methods import COLOURS, LABELS, costs, make_methods
from .quality import METRICS as QUALITY
from .quality import quality
from .study import Experiment, Outcome, Study
from .subjects import FASHION, MNIST, STL, Subject
from .training import Training

__all__ = ["EXPERIMENT"]

METRICS = {**QUALITY, "flip": True}


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        networks: with biases; X-Gradient comes from the same training without.
        methods: on networks with biases. Random and integrated gradients are the ends of the scale.
        free_methods: on networks without.
        images: of each test set, from everywhere in it.
        pairs: of classes, for the digit flip (MNIST only).
        batch: images at once.
    """

    networks: tuple[Training, ...] = (MNIST, FASHION, STL)
    methods: tuple[str, ...] = (
        "random",
        "w*x",
        "ig50",
        "deeplift",
        "bias1",
        "bias2",
        "bias3",
        "w*x+bias1",
        "w*x+bias3",
    )
    free_methods: tuple[str, ...] = ("random", "ig50", "xgradient")
    images: int = 100
    pairs: tuple[tuple[int, int], ...] = ((8, 3), (8, 6), (9, 1), (4, 1))
    batch: int = 50


def run(study: Study[Config]) -> Outcome:
    """All metrics of all methods on all networks, and what they cost."""
    config = study.config
    figures: dict[str, Any] = {"images": config.images, "networks": {}}
    for training in config.networks:
        regular, free = study.pair((training, None))
        row: dict[str, Any] = {"origin": regular.origin}
        for subject, names in ((regular, config.methods), (free, config.free_methods)):
            found = {}
            for name in names:
                found[name] = quality(study, subject, name, config.images, config.batch)
                if training.data == "mnist":
                    key = f"{subject.title}: {name}, digit flip"
                    found[name] = {**found[name], "flip": study.part(key, _flips, subject, name, config, study.seed)}
            cost = study.part(f"{subject.title}: cost", _costs, subject, names, config)
            row["without bias" if subject is free else "with bias"] = {"quality": found, "cost": cost}
        row["score"] = _scores(row)
        row["cost"] = {
            name: part["cost"][name] for part in (row["without bias"], row["with bias"]) for name in part["cost"]
        }
        figures["networks"][regular.title] = row
    return Outcome(figures, {"cost": _draw(figures)})


def _flips(subject: Subject, name: str, config: Config, seed: int) -> float:
    """Digit flip, median change of the log-odds, mean over the pairs; up to ``images`` images each."""
    x, labels = subject.first(len(subject))
    method = make_methods(subject, [name], baseline=subject.black, seed=seed)[name]
    medians = []
    for source, target in config.pairs:
        some = x[labels == source][: config.images]
        both = [method(some, torch.full((len(some),), c)) for c in (source, target)]
        flip = digit_flip(subject.model, some, source, target, both[0], both[1], reference=subject.black.item())
        medians.append(flip.change.double().median().item())
    return float(np.mean(medians))


def _costs(subject: Subject, names: tuple[str, ...], config: Config) -> dict[str, float]:
    x, labels = subject.first(config.batch)
    return costs(make_methods(subject, names), subject.model, x, labels)


def _scores(row: dict[str, Any]) -> dict[str, float]:
    """Mean over the metrics of the gain over random, as a share of the largest gain or loss on the method's network."""
    scores: dict[str, float] = {}
    for kind in ("without bias", "with bias"):
        found = row[kind]["quality"]
        gains = np.array([[(1 if METRICS[m] else -1) * (v[m] - found["random"][m]) for m in v] for v in found.values()])
        shares = gains / np.maximum(np.abs(gains).max(0), 1e-12)
        scores |= dict(zip(found, shares.mean(1).tolist(), strict=True))
    return scores


def _draw(figures: dict[str, Any]) -> Figure:
    networks = figures["networks"]
    figure = Figure(figsize=(5.2 * len(networks), 5), layout="constrained")
    axes = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    for axis, (title, row) in zip(axes, networks.items(), strict=True):
        height = 2.0
        for name, score in sorted(row["score"].items(), key=lambda item: -item[1]):
            if name == "random":
                continue
            height = min(height - 0.055, score + 0.02)  # labels from the top down, none on another
            fill = "white" if name in row["without bias"]["quality"] and name != "ig50" else COLOURS[name]
            axis.plot(row["cost"][name], score, "o", color=COLOURS[name], markerfacecolor=fill, markersize=10)
            axis.annotate(
                LABELS[name],
                (row["cost"][name], score),
                (1.25 * row["cost"][name], height),
                fontsize=9,
                arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6},
            )
        axis.axhline(0, color="#555555", linewidth=0.8, linestyle=":")
        axis.axhline(1, color="#555555", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_xlim(0.7, 700)
        axis.set_xlabel("cost, gradients")
        axis.set_title(title, fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("quality: random 0, best on every metric 1")
    figure.suptitle("What a method costs and what it is worth", fontsize=14)
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        f"Neither paper has this. True class, {figures['images']} test images of each network. KPM, insertion, KAM "
        "and flip "
        "(median change of the log-odds) are better higher, KNM, RAM and deletion lower. *Score*: the mean over the "
        "metrics of the gain over random, as a share of the largest gain of any method on the same network: 0 is "
        "random, 1 is "
        "best on every metric. X-Gradient runs on the network trained without biases, where it *is* integrated "
        "gradients and "
        "has only these to compare with; its score is not comparable with the others'.",
        "",
    ]
    for title, row in figures["networks"].items():
        metrics = [m for m in METRICS if m in row["with bias"]["quality"]["random"]]
        heads = " | ".join(f"{m} {'up' if METRICS[m] else 'down'}" for m in metrics)
        lines += [
            f"**{title}**",
            "",
            f"| method | cost, gradients | {heads} | score |",
            f"|---|{'---|' * (len(metrics) + 2)}",
        ]
        for kind in ("with bias", "without bias"):
            part = row[kind]
            for name, values in part["quality"].items():
                cells = " | ".join(f"{values[m]:.3g}" for m in metrics)
                own = f"{row['score'][name]:.2f}" if kind == "with bias" or name == "xgradient" else ""
                label = LABELS[name] + (", network without bias" if kind == "without bias" else "")
                lines.append(f"| {label} | {part['cost'][name]:.1f} | {cells} | {own} |")
        lines.append("")
    return "\n".join([*lines, _verdict(figures)])


def _verdict(figures: dict[str, Any]) -> str:
    """Who wins, read from the figures."""
    networks = figures["networks"]
    means = {
        name: float(np.mean([row["score"][name] for row in networks.values()]))
        for name in next(iter(networks.values()))["score"]
        if name != "random"
    }
    order = sorted(means, key=lambda name: -means[name])
    ranked = ", ".join(f"{LABELS[name]} {means[name]:.2f}" for name in order)
    return f"**Mean score over the networks:** {ranked}."


EXPERIMENT = Experiment(
    title="Scoreboard: cost and quality",
    config=Config(),
    smoke=Config(
        networks=(MNIST,), methods=("random", "w*x", "ig50", "w*x+bias1"), images=10, pairs=((8, 3),), batch=5
    ),
    run=run,
    report=report,
)
