"""X1: what biases cost to give up, and the gap of input * gradient to integrated gradients (X-DNN paper, Table 1)."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import biasprop
from biasprop.metrics import relative_difference

from .methods import make_methods
from .study import Experiment, Outcome, Study
from .subjects import FASHION, MNIST, STL, Pair, Subject

__all__ = ["EXPERIMENT"]

PAPER = {  # top-5 accuracy of the regular network and of the one without biases, gap of both, in percent
    "AlexNet, ImageNet": (79.21, 78.54, 79.0, 1.2),
    "VGG16, ImageNet": (90.44, 90.25, 97.8, 0.4),
    "ResNet-50 (Fixup), ImageNet": (92.56, 91.12, 93.8, 0.0),
}


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        pairs: networks with biases and without.
        images: of the test set, for the accuracy; None: all.
        gap_images: for the gap, from everywhere in the test set.
        batch: images at once, over which the gap is averaged.
    """

    pairs: tuple[Pair, ...] = (
        (MNIST, None),
        (FASHION, None),
        (STL, None),
    )
    images: int | None = None
    gap_images: int = 10
    batch: int = 10


def run(study: Study[Config]) -> Outcome:
    """Accuracy and gap of every pair."""
    figures: dict[str, Any] = {"pairs": {}}
    config = study.config
    for pair in config.pairs:
        regular, free = study.pair(pair)
        row: dict[str, Any] = {"origin": regular.origin, "images": min(len(regular), config.images or len(regular))}
        for name, subject in (("regular", regular), ("free", free)):
            row[name] = {
                "accuracy": study.part(f"{subject.title}: accuracy", _accuracy, subject, config.images),
                "gap": study.part(f"{subject.title}: gap in float64", _gap, subject, config, torch.float64),
                "gap, float32": study.part(f"{subject.title}: gap in float32", _gap, subject, config, torch.float32),
            }
        removed = Subject(**{**vars(regular), "model": biasprop.remove_bias(regular.model)})
        row["removed"] = study.part(f"{regular.title}: biases removed", _accuracy, removed, config.images)
        figures["pairs"][regular.title] = row
    figures["gap images"] = config.gap_images
    return Outcome(figures)


@torch.no_grad()
def _accuracy(subject: Subject, images: int | None) -> dict[str, float]:
    """Top-1, and top-5 where there are many classes; in percent."""
    hits = {1: 0, 5: 0}
    count = 0
    for x, labels in subject.loader(100, images):
        logits = subject.model(x)
        for k in hits:
            hits[k] += int((logits.topk(min(k, logits.shape[1])).indices == labels[:, None]).any(1).sum())
        count += len(x)
    many = logits.shape[1] > 20
    return {"top-1": 100 * hits[1] / count, **({"top-5": 100 * hits[5] / count} if many else {})}


def _gap(subject: Subject, config: Config, dtype: torch.dtype) -> float:
    """``mean |IG - x * gradient| / mean |IG|`` of each batch, averaged, in percent; true class, zero baseline."""
    model: nn.Module = copy.deepcopy(subject.model).to(dtype)
    subject = Subject(**{**vars(subject), "model": model})
    methods = make_methods(subject, ["ig128", "w*x"])
    gaps = []
    for x, labels in subject.loader(config.batch, config.gap_images, spread=True):
        one, two = (method(x.to(dtype), labels) for method in methods.values())
        gaps.append(100 * relative_difference(_as_one(two), _as_one(one)).item())
    return sum(gaps) / len(gaps)


def _as_one(attributions: Tensor) -> Tensor:
    """A batch as one example: the paper averages magnitudes over it before it divides."""
    return attributions.flatten()[None]


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        "| network and data | accuracy, regular / trained without biases, % | gap to IG, regular / without, % | "
        "the same in "
        "float32 | accuracy when the biases are removed after training, % |",
        "|---|---|---|---|---|",
    ]
    for name, (regular, free, gap, free_gap) in PAPER.items():
        lines.append(f"| *paper*: {name} | {regular} / {free} (top-5) | | {gap} / {free_gap} | |")
    for title, row in figures["pairs"].items():
        best = list(row["regular"]["accuracy"])[-1]
        both = " / ".join(f"{row[name]['accuracy'][best]:.2f}" for name in ("regular", "free"))
        gaps = [" / ".join(_short(row[n][key]) for n in ("regular", "free")) for key in ("gap", "gap, float32")]
        lines.append(f"| {title} | {both} ({best}) | {gaps[0]} | {gaps[1]} | {row['removed'][best]:.2f} |")
    lines += [
        "",
        f"Gap: `mean |IG - x * gradient| / mean |IG|` of the true class, {figures['gap images']} test images, "
        "integrated "
        "gradients with 128 Gauss-Legendre steps from the zero of the normalised input.",
        "",
        "**What differs and why.** Other networks and data: there are no ImageNet networks without biases here. "
        "The gap is "
        "as large as the paper's with biases, on the two larger networks, and vanishes without. What is left is "
        "rounding and, where a background is "
        "uniform, ties: the values of a pooling window are equal, and which one is chosen changes along the path.",
        "",
        *(f"- {title}: {row['origin']}." for title, row in figures["pairs"].items()),
    ]
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.1g}"


EXPERIMENT = Experiment(
    title="Accuracy without biases, and the gap to integrated gradients (X-DNN paper, Table 1)",
    config=Config(),
    smoke=Config(pairs=((MNIST, None),), images=100, gap_images=4, batch=2),
    run=run,
    report=report,
)
