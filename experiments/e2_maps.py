"""E2: where weights and biases point, and how much they overlap: Fig. 4 and section 4.1 of the BBp paper."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from biasprop.metrics import top_overlap

from .intervals import mean_interval
from .maps import picture_of, rows_of_maps
from .methods import LABELS, make_methods
from .study import Experiment, Outcome, Study
from .subjects import FASHION, SQUEEZENET, STL, Source, Subject

__all__ = ["EXPERIMENT", "Config", "distances", "table"]

RULES = ("bias1", "bias2", "bias3")
PAPER = {"ImageNet, VGG-11": (59.4, 56.3, 55.2), "STL-10": (50.52, 48.29, 43.94)}
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "pixels, channels summed": lambda m: m.sum(1),
    "pixels, largest channel": lambda m: m.abs().amax(1),
    "features": lambda m: m,
}
SHOWN = (
    *("brambling", "piggy bank", "folding chair", "fountain pen"),  # the paper's
    *(
        "flamingo",
        "king penguin",
        "koala",
        "zebra",
        "fire engine",
        "schooner",
        "soccer ball",
        "teddy",
        "volcano",
        "daisy",
    ),
)


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        networks: trained elsewhere or here.
        images: of each, at most, for the overlap.
        shown: classes of the pictures of a network with that many classes; of others the first of each class.
        methods: of the pictures.
        top: share of the features.
        batch: images at once.
    """

    networks: tuple[Source, ...] = (SQUEEZENET, STL, FASHION)
    images: int = 1000
    shown: tuple[str, ...] = SHOWN
    methods: tuple[str, ...] = ("w*x", "ig50", *RULES)
    top: float = 0.1
    batch: int = 5


def run(study: Study[Config]) -> Outcome:
    """The overlap over all images, and a picture of some."""
    config = study.config
    outcome = Outcome({"top": config.top, "networks": {}})
    for source in config.networks:
        subject = study.subject(source)
        shares = _overlaps(study, subject)
        outcome.figures["networks"][subject.title] = {
            "images": len(next(iter(shares.values()))),
            "origin": subject.origin,
            "not among the top": {key: [100 * v for v in mean_interval(values)] for key, values in shares.items()},
        }
        for part, figure in enumerate(_panels(study, subject), 1):
            outcome.show(subject, f"{subject.slug}-{part}", figure)
    return outcome


def _overlaps(study: Study[Config], subject: Subject) -> dict[str, list[float]]:
    """Per image: which share of the top of beta is not among the top of ``w * x``, and of the gradient alone."""
    config = study.config
    methods = make_methods(subject, ["gradient", "w*x", *RULES])
    found: dict[str, list[float]] = {}
    for i, (x, _) in enumerate(subject.loader(config.batch, config.images, spread=True)):
        part = study.part(f"{subject.title}: batch {i}", _overlap, subject, methods, x, config.top)
        for key, values in part.items():
            found.setdefault(key, []).extend(values)
    return found


def _overlap(
    subject: Subject, methods: dict[str, Callable[[Tensor, Tensor], Tensor]], x: Tensor, top: float
) -> dict[str, list[float]]:
    with torch.no_grad():
        target = subject.model(x).argmax(1)
    maps = {name: method(x, target) for name, method in methods.items()}
    return {
        f"{rule}/{reference}/{unit}": (1 - top_overlap(pool(maps[rule]), pool(maps[reference]), top).share).tolist()
        for rule in RULES
        for reference in ("w*x", "gradient")
        for unit, pool in POOLS.items()
    }


def _panels(study: Study[Config], subject: Subject) -> list[Figure]:
    """Seven images a picture."""
    config = study.config
    chosen = _chosen(subject, config.shown)
    methods = make_methods(subject, config.methods, baseline=subject.black)
    pictures, names, rows = [], [], []
    for i in chosen:
        x, label = subject.data[i]
        with torch.no_grad():
            target = subject.model(x[None]).argmax(1)
        maps = [method(x[None], target)[0].sum(0).double().numpy() for method in methods.values()]
        said, true = subject.name(int(target)), subject.name(int(label))
        pictures.append(picture_of(subject, x))
        names.append(true if said == true else f"{true}\n(said: {said})")
        rows.append(maps)
    title = f"{subject.title}: the predicted class, through the weights and through the bias"
    labels = [LABELS[name] for name in config.methods]
    return [
        rows_of_maps(pictures[i : i + 7], names[i : i + 7], rows[i : i + 7], labels, title, config.top)
        for i in range(0, len(rows), 7)
    ]


def _chosen(subject: Subject, shown: tuple[str, ...]) -> list[int]:
    """The first image of each class to be shown; of each class, where a network knows none of these."""
    labels = [int(subject.data[i][1]) for i in range(min(len(subject), 300))]
    names = [subject.name(label) for label in labels]
    wanted = [name for name in shown if name in names] or list(dict.fromkeys(names))[:7]
    return [names.index(name) for name in wanted]


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    return f"{table(figures)}\n\n{_why(figures)}"


def table(figures: dict[str, Any]) -> str:
    """The paper's shares and ours, and how the networks came to be."""
    chance = 100 * (1 - figures["top"])
    lines = [
        f"Share of the {100 * figures['top']:g} % largest features of beta that are *not* among the largest of the "
        f"gradient, in percent; independent maps would give {chance:g}.",
        "",
        "| network and data | compared with | unit | bias1 | bias2 | bias3 |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| *paper*: {name} | *gradient* | *pixels* | {' | '.join(map(str, v))} |" for name, v in PAPER.items()]
    for title, row in figures["networks"].items():
        shares = row["not among the top"]
        for reference, word in (("w*x", "w * x"), ("gradient", "w")):
            seen = []
            for unit in POOLS:
                values = [shares[f"{rule}/{reference}/{unit}"] for rule in RULES]
                if values in seen:  # one channel: all units are the same
                    continue
                seen.append(values)
                cells = " | ".join(f"{m:.1f} ({low:.1f} to {high:.1f})" for m, low, high in values)
                name = unit if len(shares) == len(set(map(tuple, shares.values()))) else "pixels"
                lines.append(f"| {title}, {row['images']} images | {word} | {name} | {cells} |")
    origins = [f"- {title}: {row['origin']}." for title, row in figures["networks"].items()]
    return "\n".join([*lines, "", "Mean over the images and its 95 % interval (bootstrap).", "", *origins])


def distances(row: dict[str, Any], paper: str, key: str) -> str:
    """How far a network's shares are above those of one of the paper's rows, over the three options."""
    shares = row["not among the top"]
    away = [shares[f"{rule}/{key}"][0] - published for rule, published in zip(RULES, PAPER[paper], strict=True)]
    return f"{min(away):.0f} to {max(away):.0f} points"


def _why(figures: dict[str, Any]) -> str:
    """What differs, with the distances to the paper on the first network."""
    first, paper = next(iter(figures["networks"].values())), "ImageNet, VGG-11"
    return (
        "**What differs and why.** As in the paper, the maps overlap more than chance and far less than two maps of "
        "one thing would. The share itself differs: on the first network it is "
        f"{distances(first, paper, 'w*x/pixels, channels summed')} above the published one. How the paper pools "
        "channels is not stated, and that can be tested: with the largest channel instead of the sum, and the "
        "gradient instead of gradient * input, "
        f"the distance is {distances(first, paper, 'gradient/pixels, largest channel')}. What is left may be the "
        "network (SqueezeNet here, VGG-11 there; CIFAR-10 in the place of STL-10)."
    )


EXPERIMENT = Experiment(
    title="Where weights and biases point, and how much they overlap (BBp paper, Fig. 4 and section 4.1)",
    config=Config(),
    smoke=Config(networks=(STL,), images=5, methods=("w*x", "bias1", "bias3")),
    run=run,
    report=report,
)
