"""X2: keep and remove curves of attribution methods on networks with and without biases (X-DNN paper, Table 2)."""

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from biasprop.metrics import keep_and_remove

from .methods import COLOURS, LABELS, make_methods
from .study import Experiment, Outcome, Study
from .subjects import CIFAR, FASHION, STL, Pair, Subject

__all__ = ["EXPERIMENT"]

METRICS = {"kpm": "KPM up", "knm": "KNM down", "kam": "KAM up", "ram": "RAM down"}
PAPER = {  # KPM, KNM, KAM, RAM on AlexNet, then on X-AlexNet
    "ig128": (7.57, 1.67, 25.22, 11.12, 7.38, 2.21, 21.79, 11.68),
    "random": (3.68, 3.68, 14.12, 14.10, 3.81, 3.81, 13.52, 13.50),
    "gradient": (3.62, 3.88, 20.78, 11.82, 3.87, 4.34, 19.75, 11.25),
    "eg1": (4.92, 2.97, 20.49, 13.76, 5.41, 3.19, 19.47, 13.19),
    "xgradient": (None, None, None, None, 7.38, 2.21, 21.83, 11.68),
}


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        pairs: networks with biases and without.
        methods: on networks with biases.
        free_methods: on networks without.
        images: from everywhere in the test set.
        batch: images at once.
    """

    pairs: tuple[Pair, ...] = (
        (FASHION, None),
        (STL, None),
        (CIFAR, None),
    )
    methods: tuple[str, ...] = ("ig128", "random", "gradient", "eg1", "w*x", "bias1", "bias2", "bias3", "w*x+bias1")
    free_methods: tuple[str, ...] = ("ig128", "random", "gradient", "eg1", "xgradient")
    images: int = 200
    batch: int = 50


def run(study: Study[Config]) -> Outcome:
    """Four areas for every method on every network."""
    config = study.config
    figures: dict[str, Any] = {"images": config.images, "networks": {}}
    pictures: dict[str, Figure] = {}
    for pair in config.pairs:
        regular, free = study.pair(pair)
        both = []
        for subject, methods in ((regular, config.methods), (free, config.free_methods)):
            found = {n: study.part(f"{subject.title}: {n}", _areas, subject, n, config, study.seed) for n in methods}
            figures["networks"][subject.title] = {"methods": found, "origin": subject.origin}
            both.append((subject.title, found))
        pictures[regular.slug] = _draw(both)
    return Outcome(figures, pictures)


def _areas(subject: Subject, name: str, config: Config, seed: int) -> dict[str, Any]:
    method = make_methods(subject, [name], seed=seed)[name]
    loader = subject.loader(config.batch, config.images, spread=True)
    curves = keep_and_remove(subject.model, loader, method)
    return {**{key: getattr(curves, key) for key in METRICS}, "curves": vars(curves)}


def _draw(networks: list[tuple[str, dict[str, Any]]]) -> Figure:
    """A row per network: the curves behind the areas."""
    kinds = {
        "keep_positive": "keep the most positive:\nmean logit of the true class",
        "keep_negative": "keep the most negative:\nmean logit of the true class",
        "keep_absolute": "keep the largest:\naccuracy, %",
        "remove_absolute": "remove the largest:\naccuracy, %",
    }
    figure = Figure(figsize=(16, 4.2 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 4, squeeze=False)
    for row, (title, found) in zip(axes, networks, strict=True):
        for axis, (kind, words) in zip(row, kinds.items(), strict=True):
            for i, (name, values) in enumerate(found.items()):
                curves = values["curves"]
                style = ("-", "--", ":", "-.")[i % 4]
                axis.plot(
                    curves["fractions"], curves[kind], style, color=COLOURS[name], label=LABELS[name], linewidth=2
                )
            axis.set_xscale("log")
            axis.set_xlabel("share of the pixels")
            axis.set_title(f"{title}\n{words}" if axis is row[0] else f"\n{words}", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].legend(fontsize=8)
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    head = " | ".join(METRICS.values())
    lines = [f"| network and data | method | {head} |", "|---|---|---|---|---|---|"]
    for first, network in ((0, "AlexNet, ImageNet"), (4, "X-AlexNet, ImageNet")):
        for name, values in PAPER.items():
            some = values[first : first + 4]
            if None not in some:
                lines.append(f"| *paper*: {network} | {LABELS[name]} | {' | '.join(map(str, some))} |")
    for title, row in figures["networks"].items():
        for name, values in row["methods"].items():
            cells = " | ".join(f"{values[key]:.2f}" for key in METRICS)
            lines.append(f"| {title} | {LABELS[name]} | {cells} |")
    lines += [
        "",
        f"{figures['images']} test images; definition as in `biasprop.metrics.keep_and_remove` (the published "
        "code's). Logit "
        "areas compare methods inside one network only.",
    ]
    return "\n".join(lines)


EXPERIMENT = Experiment(
    title="Attribution quality by keeping and removing pixels (X-DNN paper, Table 2)",
    config=Config(),
    smoke=Config(
        pairs=((STL, None),), methods=("random", "w*x", "bias1"), free_methods=("xgradient",), images=4, batch=2
    ),
    run=run,
    report=report,
)
