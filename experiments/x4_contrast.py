"""X4: accuracy and attributions under reduced contrast (X-DNN paper, Fig. 3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import biasprop
from biasprop.report import GREY, WEIGHT

from .maps import picture_of, scale_bar, show_map, size_of
from .methods import make_methods
from .study import Experiment, Outcome, Study
from .subjects import CIFAR, FASHION, STL, Pair, Subject

__all__ = ["EXPERIMENT"]


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        pairs: networks with biases and without.
        contrasts: factors of the network's input.
        images: of the test set; None: all.
        shown: contrasts of the picture.
        example: which test image it shows.
    """

    pairs: tuple[Pair, ...] = (
        (FASHION, None),
        (STL, None),
        (CIFAR, None),
    )
    contrasts: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    images: int | None = 2000
    shown: tuple[float, ...] = (1.0, 0.5, 0.2)
    example: int = 3


def run(study: Study[Config]) -> Outcome:
    """Curves of every pair, and one image's attributions."""
    config = study.config
    outcome = Outcome({"contrasts": config.contrasts, "pairs": {}})
    for pair in config.pairs:
        regular, free = study.pair(pair)
        outcome.figures["pairs"][regular.title] = {
            "regular": study.part(regular.title, _curve, regular, config),
            "free": study.part(free.title, _curve, free, config),
            "scaling": study.part(f"{free.title}: scaling", _scaling, free, config),
            "images": min(len(regular), config.images or len(regular)),
        }
        outcome.show(regular, regular.slug, _show(regular, free, config))
    outcome.pictures["accuracy"] = _draw(outcome.figures)
    return outcome


@torch.no_grad()
def _curve(subject: Subject, config: Config) -> list[float]:
    """Top-1 accuracy at each contrast, in percent."""
    hits, count = [0] * len(config.contrasts), 0
    for x, labels in subject.loader(100, config.images, spread=True):
        for i, contrast in enumerate(config.contrasts):
            hits[i] += int((subject.model(contrast * x).argmax(1) == labels).sum())
        count += len(x)
    return [100 * h / count for h in hits]


def _scaling(subject: Subject, config: Config, images: int = 8) -> float:
    """How far the attributions of ``a x`` are from ``a`` times those of ``x``, at worst, relative to the largest."""
    x, labels = subject.first(images, spread=True)
    method = biasprop.XGradient(subject.model)
    whole = method.attribute(x, labels)
    return max(
        float((method.attribute(a * x, labels) / a - whole).abs().max() / whole.abs().max()) for a in config.contrasts
    )


def _draw(figures: dict[str, Any]) -> Figure:
    pairs = figures["pairs"]
    figure = Figure(figsize=(5 * len(pairs), 4), layout="constrained")
    for axis, (title, row) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs.items(), strict=True):
        axis.plot(figures["contrasts"], row["regular"], "o-", color=GREY, label="regular")
        axis.plot(figures["contrasts"], row["free"], "s-", color=WEIGHT, label="without bias")
        axis.invert_xaxis()
        axis.set_xlabel("contrast")
        axis.set_ylabel("accuracy, %")
        axis.set_ylim(0, 100)
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _show(regular: Subject, free: Subject, config: Config) -> Figure:
    """A row per contrast; one scale in each column, that of full contrast."""
    x, label = regular.data[config.example]
    columns = [
        ("regular: IG, 128 steps", regular, "ig128"),
        ("regular: w*x", regular, "w*x"),
        ("regular: w*x + beta", regular, "w*x+bias1"),
        ("without bias: X-Gradient", free, "xgradient"),
    ]
    figure = Figure(figsize=(2.4 * (len(columns) + 1), 2.3 * len(config.shown) + 1), layout="constrained")
    axes = figure.subplots(len(config.shown), len(columns) + 1, squeeze=False)
    for column, (title, subject, name) in enumerate(columns, 1):
        method = make_methods(subject, [name])[name]
        maps = [method(a * x[None], label[None])[0].sum(0).double().numpy() / a for a in config.shown]
        for row, values in enumerate(maps):
            show_map(axes[row, column], np.asarray(values), size_of(np.asarray(maps[0])))
        axes[0, column].set_title(title, fontsize=10)
    for row, contrast in enumerate(config.shown):
        picture = picture_of(regular, contrast * x)
        axes[row, 0].imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
        axes[row, 0].set_title(f"contrast {contrast:g}", fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    scale_bar(figure, axes, "attribution / contrast, in each column divided by the 99.5 % magnitude at full contrast")
    figure.suptitle(f"{regular.title}, {regular.name(int(label))}", fontsize=12)
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    shown = [i for i, a in enumerate(figures["contrasts"]) if round(10 * a) in (10, 7, 5, 3, 1)]
    head = " | ".join(f"{figures['contrasts'][i]:g}" for i in shown)
    lines = [
        "The paper shows curves without figures: the regular network loses accuracy with the contrast, the one "
        "without biases "
        "does not, and its attributions keep their pattern.",
        "",
        f"| accuracy in percent at contrast | {head} |",
        f"|---|{'---|' * len(shown)}",
    ]
    for title, row in figures["pairs"].items():
        for key, words in (("regular", title), ("free", f"{title}, without bias")):
            lines.append(f"| {words} | {' | '.join(f'{row[key][i]:.1f}' for i in shown)} |")
    worst = max(row["scaling"] for row in figures["pairs"].values())
    flat = max(max(row["free"]) - min(row["free"]) for row in figures["pairs"].values())
    images = max(row["images"] for row in figures["pairs"].values())
    lines += [
        "",
        f"{images} test images. The accuracy without biases varies by {flat:.2g} points (ties and rounding), and "
        "X-Gradient of "
        f"`a x` is `a` times that of `x` up to {worst:.0e} of the largest value (float32).",
    ]
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="Contrast (X-DNN paper, Fig. 3)",
    config=Config(),
    smoke=Config(pairs=((STL, None),), contrasts=(1.0, 0.1), images=20, shown=(1.0, 0.5)),
    run=run,
    report=report,
)
