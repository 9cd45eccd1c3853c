"""X2: keep and remove curves of attribution methods on networks with and without biases (X-DNN paper, Table 2)."""

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from .methods import COLOURS, LABELS
from .quality import METRICS as QUALITY
from .quality import quality
from .study import Experiment, Outcome, Study
from .subjects import FASHION, STL, Pair

__all__ = ["EXPERIMENT"]

METRICS = ("KPM", "KNM", "KAM", "RAM")
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
    )
    methods: tuple[str, ...] = ("ig128", "random", "gradient", "eg1", "w*x", "bias1", "bias2", "bias3", "w*x+bias1")
    free_methods: tuple[str, ...] = ("ig128", "random", "gradient", "eg1", "xgradient")
    images: int = 100
    batch: int = 50


def run(study: Study[Config]) -> Outcome:
    """Four areas for every method on every network."""
    config = study.config
    figures: dict[str, Any] = {"images": config.images, "networks": {}}
    for pair in config.pairs:
        for subject, methods in zip(study.pair(pair), (config.methods, config.free_methods), strict=True):
            found = {name: quality(study, subject, name, config.images, config.batch) for name in methods}
            figures["networks"][subject.title] = {"methods": found, "origin": subject.origin}
    return Outcome(figures, {"areas": _draw(figures)})


def _draw(figures: dict[str, Any]) -> Figure:
    """A row per network, a column per area."""
    networks = figures["networks"]
    figure = Figure(figsize=(16, 2.9 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), len(METRICS), squeeze=False)
    for row, (title, found) in zip(axes, networks.items(), strict=True):
        names = list(found["methods"])
        for axis, metric in zip(row, METRICS, strict=True):
            values = [found["methods"][name][metric] for name in names]
            axis.barh(range(len(names)), values, color=[COLOURS[name] for name in names])
            axis.axvline(found["methods"]["random"][metric] if "random" in names else 0, color="#555555", linestyle=":")
            axis.set_yticks(range(len(names)), [LABELS[name] for name in names] if axis is row[0] else [])
            axis.invert_yaxis()
            axis.set_title(f"{metric} ({'more' if QUALITY[metric] else 'less'} is better)", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(title.replace(", ", ",\n"), fontsize=10)
    figure.suptitle("Areas under the keep and remove curves; dotted: a random attribution", fontsize=13)
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    head = " | ".join(f"{m} {'up' if QUALITY[m] else 'down'}" for m in METRICS)
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
