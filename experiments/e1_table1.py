"""E1: how much of a network's accuracy is bias, Table 1 of the BBp paper: calls of `biasprop.audit`."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import Dataset

import biasprop
from biasprop.report import BIAS, WEIGHT

from .study import Experiment, Outcome, Study
from .subjects import CIFAR, FASHION, MNIST, RESNET20, SQUEEZENET, STL, Checkpoint, Source, Subject, without_bias
from .training import Training, accuracy

__all__ = ["EXPERIMENT", "PAPER", "Config", "origins", "run", "table"]

PAPER = {  # trained without bias, with bias, only w.x, only b: test accuracy in percent
    "cifar10": (87.0, 90.9, 71.5, 62.2),
    "cifar100": (62.8, 66.8, 40.3, 36.5),
    "fashion_mnist": (94.1, 94.7, 76.1, 24.6),
}
ZEROS = {"mean": "mean colour", "black": "black", "grey": "grey"}


@dataclass(frozen=True)
class Config:
    """What is audited.

    Attributes:
        networks: trained here, with biases and without.
        variants: trained here, with biases.
        checkpoints: trained elsewhere.
        levels: of grey from which the input is counted, for the curves.
        images: of the test set; None: all.
        recounted: so many of these with the input counted from elsewhere.
        curve_images: the same, for the curves.
        batch: images at once.
    """

    networks: tuple[Training, ...] = (FASHION, CIFAR)
    variants: tuple[Training, ...] = (STL, replace(MNIST, centring="mean"), MNIST)
    checkpoints: tuple[Checkpoint, ...] = (SQUEEZENET, RESNET20)
    levels: tuple[float, ...] = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    images: int | None = None
    recounted: int = 2000
    curve_images: int = 500
    batch: int = 50


class _Renormalise(nn.Module):
    """From pixels that are counted from another zero to what the network sees; its shift is one more bias."""

    scale: Tensor
    shift: Tensor

    def __init__(self, subject: Subject, zero: Tensor) -> None:
        """``zero``: the pixel, in 0 to 1, ``(C,)``, that the new input counts from."""
        super().__init__()
        self.register_buffer("scale", 1 / subject.std[:, None, None])
        self.register_buffer("shift", ((zero - subject.mean) / subject.std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``."""
        return x * self.scale + self.shift


class _Recounted(Dataset[tuple[Tensor, Tensor]]):
    """The images of a subject, counted from another zero."""

    def __init__(self, subject: Subject, zero: Tensor) -> None:
        self.subject, self.zero = subject, zero

    def __len__(self) -> int:
        return len(self.subject)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        x, label = self.subject.data[i]
        return self.subject.pixels(x) - self.zero[:, None, None], label


def recounted(subject: Subject, zero: Tensor) -> Subject:
    """The same function of the image, with the zero of its input moved into the network."""
    model = nn.Sequential(_Renormalise(subject, zero), subject.model).eval()
    return replace(subject, model=model, data=_Recounted(subject, zero), mean=zero, std=torch.ones_like(zero))


def _audit(study: Study[Config], subject: Subject, images: int | None) -> biasprop.Audit:
    """Interrupted, it goes on from its state in the runs folder."""
    weights = b"".join(v.numpy().tobytes() for v in subject.model.state_dict().values())
    name = hashlib.sha256(weights + f"{subject.title} {images}".encode()).hexdigest()[:16]
    state = study.runs / f"audit-{name}.safetensors"
    return biasprop.audit(subject.model, subject.loader(study.config.batch, images), state=state)


def _figures(study: Study[Config], subject: Subject, own: bool) -> dict[str, Any]:
    return _audit(study, subject, study.config.images if own else study.config.recounted).figures()


def _unbiased(study: Study[Config], subject: Subject) -> dict[str, Any]:
    """Without a bias there is nothing to audit but the accuracy."""
    pairs = list(subject.loader(study.config.batch, study.config.images))
    x, labels = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    return {"accuracy": {"w.x + b": accuracy(subject.model, x, labels) / 100}, "examples": len(x)}


def _accuracy(study: Study[Config], subject: Subject) -> dict[str, float]:
    return _audit(study, subject, study.config.curve_images).accuracy


def run(study: Study[Config]) -> Outcome:
    """Audits of every network, with its input counted from several zeros."""
    config = study.config
    figures: dict[str, Any] = {"networks": {}, "curves": {}}
    pictures: dict[str, Figure] = {}
    bare = [without_bias(t) for t in config.networks]
    sources: list[Source] = [*config.networks, *config.variants, *bare, *config.checkpoints]
    for source in sources:
        subject = study.subject(source)
        title, centring = subject.title, "mean colour"
        if isinstance(source, Training):
            centring = {"mean": "mean colour", "black": "0 to 1", "grey": "-1 to 1"}[source.centring]
            title += f", trained on inputs {'from 0 to 1' if source.centring == 'black' else 'minus their mean'}"
        row: dict[str, Any] = {"data": getattr(source, "data", None), "origin": subject.origin, "trained on": centring}
        row["bias"] = getattr(source, "bias", True)
        row["audits"] = {}
        zeros = _zeros(subject, source) if row["bias"] else {}
        for name, zero in zeros.items():
            own = torch.equal(zero, subject.mean)
            counted = subject if own else recounted(subject, zero)
            key = f"{title}, counted from {name}"
            row["audits"][name] = study.part(key, _figures, study, counted, own)
            if own and source in (*config.networks, *config.checkpoints):
                picture = _audit(study, counted, config.images).plot(title)
                pictures[subject.slug] = picture
        if not row["bias"]:
            key = f"{title}, as trained"
            row["audits"]["as trained"] = study.part(key, _unbiased, study, subject)
        elif isinstance(source, Training) and config.levels:
            figures["curves"][title] = _curve(study, subject, title)
        figures["networks"][title] = row
    figures["levels"] = config.levels
    if figures["curves"]:
        pictures["zero"] = _draw(figures)
    return Outcome(figures, pictures)


def _zeros(subject: Subject, source: Source) -> dict[str, Tensor]:
    """Where users put the zero of the input: the mean colour, black, or the middle of the range."""
    own = {"mean colour" if not isinstance(source, Training) or source.centring == "mean" else "black": subject.mean}
    return {**own, "black": torch.zeros_like(subject.mean), "grey": torch.full_like(subject.mean, 0.5)}


def _curve(study: Study[Config], subject: Subject, title: str) -> dict[str, list[float]]:
    """Accuracy of w.x alone and of b alone, by the grey level that the input is counted from."""
    found: dict[str, list[float]] = {"w.x alone": [], "b alone": []}
    for level in study.config.levels:
        counted = recounted(subject, torch.full_like(subject.mean, level))
        accuracy = study.part(f"{title}, counted from grey {level:g}", _accuracy, study, counted)
        for name, values in found.items():
            values.append(100 * accuracy[name])
    return found


def _draw(figures: dict[str, Any]) -> Figure:
    curves = figures["curves"]
    figure = Figure(figsize=(4.6 * len(curves), 4.4), layout="constrained")
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axis, (title, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(figures["levels"], curve["w.x alone"], "o-", color=WEIGHT, label="w.x alone")
        axis.plot(figures["levels"], curve["b alone"], "s-", color=BIAS, label="b alone")
        own = figures["networks"][title]["audits"]
        both = 100 * next(iter(own.values()))["accuracy"]["w.x + b"]
        axis.axhline(both, color="#555555", linewidth=0.8, linestyle=":", label="w.x + b")
        paper = PAPER.get(figures["networks"][title]["data"])
        if paper:
            axis.axhline(paper[2], color=WEIGHT, linewidth=0.8, linestyle="--", label="w.x alone, paper")
            axis.axhline(paper[3], color=BIAS, linewidth=0.8, linestyle="--", label="b alone, paper")
        axis.set_title(title.replace(", trained", ",\ntrained"), fontsize=10)
        axis.set_xlabel("zero of the input: grey level (0 black, 1 white)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy, %")
    axes[0].set_ylim(0, 100)
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle("One network, one function: the split into w.x and b depends on where the input is counted from")
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    return "\n".join([*table(figures), "", *origins(figures), "", _why(figures)])


def table(figures: dict[str, Any]) -> list[str]:
    """The paper's rows and ours."""
    networks = figures["networks"]
    bare = {row["data"]: a for row in networks.values() if not row["bias"] for a in row["audits"].values()}
    lines = [
        "| network and data | input counted from | trained without bias | trained with bias | only w.x | only b | "
        "b over logit, median |",
        "|---|---|---|---|---|---|---|",
    ]
    for data, paper in PAPER.items():
        lines.append(f"| *paper*: VGG-11, {data} | *not stated* | {' | '.join(f'{v:.1f}' for v in paper)} | |")
    for title, row in networks.items():
        if not row["bias"]:
            continue
        for zero, audit in row["audits"].items():
            accuracy = audit["accuracy"]
            free = bare.get(row["data"]) if "VGG" in title else None
            cells = [
                f"{100 * free['accuracy']['w.x + b']:.1f}" if free else "",
                *(f"{100 * accuracy[name]:.1f}" for name in ("w.x + b", "w.x alone", "b alone")),
                f"{100 * audit['bias over predicted logit']['0.5']:.0f} %",
            ]
            lines.append(f"| {title} | {zero} | {' | '.join(cells)} |")
    return lines


def origins(figures: dict[str, Any]) -> list[str]:
    """How the networks came to be, and on how much they were tested."""
    networks = figures["networks"]
    lines = dict.fromkeys(f"- {title}: {row['origin']}." for title, row in networks.items())
    examples = {a["examples"] for row in networks.values() for a in row["audits"].values()}
    return [
        f"**Data and training.** Test sets as they are ({', '.join(f'{n:,}' for n in sorted(examples))} images). "
        "CIFAR-10 is its JPEG version, in training and in testing.",
        "",
        *lines,
    ]


def _why(figures: dict[str, Any]) -> str:
    """What differs from the paper, and the test of the explanation: the same network, counted from other greys."""
    lines = [
        "**What differs and why.** A shift of x moves mass between w.x and b, and the function stays what it is; "
        "the paper "
        "does not say where its zero was. The test is the curve below: one network, its input counted from every grey "
        "level between black and white, and nothing else changed.",
        "",
    ]
    for title, curve in figures["curves"].items():
        paper = PAPER.get(figures["networks"][title]["data"])
        linear, bias = curve["w.x alone"], curve["b alone"]
        text = (
            f"- {title}: w.x alone is right on {min(linear):.0f} to {max(linear):.0f} %, b alone on {min(bias):.0f} to "
        )
        text += f"{max(bias):.0f} %."
        if paper and "VGG" in title:
            away = [abs(a - paper[2]) + abs(b - paper[3]) for a, b in zip(linear, bias, strict=True)]
            i = away.index(min(away))
            text += f" Nearest to the published {paper[2]} and {paper[3]} is grey {figures['levels'][i]:g}, with "
            text += f"{linear[i]:.1f} and {bias[i]:.1f}."
        lines.append(text)
    lines.append(
        "\nSo the zero decides much of the split, but no zero gives w.x alone the published accuracy on these two "
        "networks. They have batch norm, whose shifts are biases; the paper says nothing about it. The networks "
        "without batch norm (STL-10 network, DeepLIFT's) keep more in w.x, so that is the likely reason; e1n "
        "tests it. Accuracy is below the paper's because training stopped early, for want of time on two "
        "cores, and because CIFAR-10 is here a lossy version; the loss from giving up biases comes back (table). Rows "
        "counted from elsewhere, and curves, use the first images of the test set only."
    )
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="How much of the accuracy is bias (BBp paper, Table 1)",
    config=Config(),
    smoke=Config(
        networks=(STL,),
        variants=(),
        checkpoints=(RESNET20,),
        levels=(0.0, 1.0),
        images=20,
        recounted=20,
        curve_images=10,
    ),
    run=run,
    report=report,
)
