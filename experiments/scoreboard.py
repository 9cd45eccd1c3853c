"""Scoreboard: what each method costs and what it is worth, on six trained networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import biasprop

from .intervals import mean_interval
from .judging import Judged, flips, gains, pointing, randomisation, sensitivity
from .maps import picture_of, scale_bar, show_map
from .methods import COLOURS, LABELS, costs, make_methods
from .quality import METRICS, quality
from .study import Experiment, Outcome, Study
from .subjects import CIFAR_VIT, MNIST, PLAIN_FASHION, RESNET20, SQUEEZENET, STL, Source, Subject
from .training import Training

__all__ = ["EXPERIMENT"]

OTHERS = ("random", "w*x", "ig50", "smoothgrad", "deeplift", "gradcam", "lrp", "lrp-flat")
HANDED = ("handover", "handover-3", "handover-flat", "at", "mixture")
OURS = ("w*x+bias1", "w*x+bias3", *HANDED)
SECOND = "like the second class's"
TRANSFORMER = ("random", "w*x", "ig50", "smoothgrad", "half", "frozen", "w*x+bias1", "w*x+bias3")


@dataclass(frozen=True)
class Board:
    """What is judged of one network; see `Judged`.

    ``curves``: images for the keep and remove curves.
    """

    network: Source
    images: int = 100
    patch: int = 4
    sure: int = 0
    compared: int = 100
    randomised: int = 10
    batch: int = 20
    curves: int = 100
    methods: tuple[str, ...] = (*OTHERS, *OURS)


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        boards: networks, and how much of each.
        steps: of the relevance gain.
        pairs: of classes, for the digit flip (MNIST only).
        shown: methods of the picture.
        photos: so many of the first network.
    """

    boards: tuple[Board, ...] = (
        Board(SQUEEZENET, images=205, patch=16, sure=40, compared=40, randomised=4, batch=5, curves=40),
        Board(RESNET20, sure=40),
        Board(PLAIN_FASHION),
        Board(STL),
        Board(MNIST),
        Board(CIFAR_VIT, methods=TRANSFORMER),
    )
    steps: int = 8
    pairs: tuple[tuple[int, int], ...] = ((8, 3), (8, 6), (9, 1), (4, 1))
    shown: tuple[str, ...] = ("w*x", "ig50", "lrp", "gradcam", "w*x+bias1", "handover-3", "mixture")
    photos: int = 8


def run(study: Study[Config]) -> Outcome:
    """All that is measured of all methods on all networks, and what they cost."""
    config = study.config
    outcome = Outcome({"steps": config.steps, "networks": {}})
    for board in config.boards:
        subject = study.subject(board.network)
        judged = _judged(study, board)
        raw = {name: _measured(study, judged, board, name) for name in board.methods}
        row = {
            "origin": subject.origin,
            **{key: getattr(board, key) for key in ("images", "patch", "sure", "compared", "randomised", "curves")},
            "methods": {name: _summary(found) for name, found in raw.items() if found is not None},
            "missing": [name for name, found in raw.items() if found is None],
            "against": _against(raw),
        }
        key = f"{subject.title}: cost"
        row["cost"] = study.part(key, _costs, subject, list(row["methods"]), board.batch)
        outcome.figures["networks"][subject.title] = row
    outcome.pictures["cost"] = _draw(outcome.figures)
    first = study.subject(config.boards[0].network)
    outcome.show(first, "photos", _photos(first, config))
    return outcome


def _judged(study: Study[Config], board: Board) -> Judged:
    amounts = (board.images, board.patch, study.config.steps, board.sure, board.compared, board.randomised, board.batch)
    return Judged(study.subject(board.network), *amounts, study.seed)


def _measured(study: Study[Config], judged: Judged, board: Board, name: str) -> dict[str, Any] | None:
    """Everything about one method; None where it does not run on the network."""
    title, config = judged.subject.title, study.config
    made: dict[str, Any] | None = study.part(f"{title}: {name}, gain", _if_it_runs, judged, name)
    if made is None:
        return None
    found = dict(made)
    found["sensitivity"] = study.part(f"{title}: {name}, sensitivity", sensitivity, judged, judged.method(name))
    found["randomisation"] = study.part(f"{title}: {name}, randomisation", randomisation, judged, name)
    if judged.sure:
        found["pointing"] = study.part(f"{title}: {name}, pointing", pointing, judged, judged.method(name))
    if isinstance(board.network, Training) and board.network.data == "mnist":
        found["flip"] = study.part(f"{title}: {name}, flip", flips, judged, name, config.pairs, board.images)
    found["curves"] = quality(study, judged.subject, name, board.curves, board.batch)
    return found


def _if_it_runs(judged: Judged, name: str) -> dict[str, list[float]] | None:
    try:
        return gains(judged, judged.method(name))
    except biasprop.BiaspropError:
        raise
    except (RuntimeError, AssertionError) as error:  # of the libraries compared with
        print(f"{name} does not run on {judged.subject.title}: {error}")
        return None


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    """Means over the examples with their intervals."""
    singles = {key: found[key] for key in ("pointing", "flip") if key in found}
    kept = {key: values for key, values in found.items() if ", " in key} | singles
    kept |= {f"like the {other}'s": values for other, values in found["sensitivity"].items()}
    return {
        **{key: mean_interval(values) for key, values in kept.items()},
        "gap": float(np.median(found["gap"])),
        "randomised": found["randomisation"][-1],
        "top layer randomised": found["randomisation"][0],
        **found["curves"],
    }


def _against(raw: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
    """Gains of ours less those of integrated gradients and Grad-CAM, image by image."""
    rows: dict[str, Any] = {}
    for other in ("ig50", "gradcam", "w*x+bias1"):
        theirs = raw.get(other)
        for name, mine in raw.items():
            if theirs is None or mine is None or name == other or name not in OURS:
                continue
            keys = [key for key in mine if ", " in key]
            rows[f"{name} - {other}"] = {
                key: mean_interval(np.asarray(mine[key]) - np.asarray(theirs[key])) for key in keys
            }
    return rows


def _costs(subject: Subject, names: Sequence[str], batch: int) -> dict[str, float]:
    x, labels = subject.first(batch)
    return costs(make_methods(subject, names), subject.model, x, labels)


def gains_of(row: dict[str, Any], name: str) -> list[float]:
    """The four mean gains of a method."""
    return [values[0] for key, values in row["methods"][name].items() if ", " in key]


def _draw(figures: dict[str, Any]) -> Figure:
    """Cost against the mean gain: what a talk would show."""
    networks = figures["networks"]
    columns = 3
    lines = -(-len(networks) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.8 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.flat[len(networks) :]:
        axis.set_axis_off()
    for axis, (title, row) in zip(axes.flat, networks.items(), strict=False):
        points = {name: (row["cost"][name], float(np.mean(gains_of(row, name)))) for name in row["methods"]}
        points.pop("random", None)
        span = max(y for _, y in points.values()) - min(0, *(y for _, y in points.values()))
        height = float("inf")
        order = sorted(points.items(), key=lambda item: (-round(item[1][1] / (0.03 * span)), -item[1][0]))
        for name, (x, y) in order:  # of points of one height the right ones first, so that few lines cross
            height = min(height - 0.052 * span, y + 0.02 * span)  # labels from the top down, none on another
            axis.plot(x, y, "o", color=COLOURS[name], markersize=10 if name in OURS else 8)
            line = {"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6, "relpos": (0, 0.5)}
            weight = "bold" if name in OURS else "normal"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # no line goes through it
            axis.annotate(
                LABELS[name], (x, y), (300, height), fontsize=8.5, arrowprops=line, va="center", weight=weight, bbox=box
            )
        axis.axhline(0, color="#555555", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_xlim(0.7, 30000)
        axis.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axis.minorticks_off()
        axis.set_xlabel("cost, gradients")
        axis.set_title(title, fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
    for row_ in axes:
        row_[0].set_ylabel("symmetric relevance gain, mean of four")
    figure.suptitle("What a method costs and what it is worth: random is 0, higher is better", fontsize=14)
    return figure


def _photos(subject: Subject, config: Config) -> Figure:
    """Photos by methods, each map by its own size."""
    x, _ = subject.first(config.photos, spread=True)
    methods = make_methods(subject, config.shown)
    logits = subject.model(x).detach()
    target = logits.argmax(1)
    maps = {name: method(x, target).sum(1).double().numpy() for name, method in methods.items()}
    figure = Figure(figsize=(1.75 * (1 + len(maps)), 1.85 * len(x) + 1), layout="constrained")
    axes = figure.subplots(len(x), 1 + len(maps), squeeze=False)
    for i, row in enumerate(axes):
        row[0].imshow(picture_of(subject, x[i]), cmap="gray", vmin=0, vmax=1)
        share = 100 * logits[i].softmax(0)[target[i]].item()
        row[0].set_title(f"{subject.name(int(target[i]))} {share:.0f} %", fontsize=9)
        for axis, (name, values) in zip(row[1:], maps.items(), strict=True):
            show_map(axis, values[i])
            if i == 0:
                axis.set_title(LABELS[name].replace(", ", ",\n"), fontsize=9)
        for axis in row:
            axis.set_axis_off()
    scale_bar(figure, axes, "each map by its own size; red adds to the logit, blue takes away")
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        "Symmetric relevance gain (SRG: insertion minus deletion over one ordering, of the predicted class's "
        f"probability, {figures['steps']} steps; 0 is a random order), of pixels and of patches, replaced by a blurred "
        "image or by the mean colour. *Pointing*: share of the positive map in the right cell of 2 x 2 grids (chance "
        "0.25). *Like the second / last class's*: rank correlation of the maps of two classes (1: the map does not "
        "depend on the class). *MPRT*: rank correlation with the map of the network whose last layer, and all of whose "
        "layers, are randomised. *Gap*: how far the sum of the map is from the logit, relative to it, median. "
        "KPM, KNM, KAM, RAM as in X2. Cost in gradients. Means with their 95 % interval (bootstrap).",
        "",
    ]
    for title, row in figures["networks"].items():
        lines += [f"**{title}** ({row['origin']}; {row['images']} images)", "", *_gain_table(row), ""]
        lines += [*_other_table(row), ""]
        if row["missing"]:
            names = ", ".join(LABELS[name] for name in row["missing"])
            lines += [f"Does not run on this network: {names}.", ""]
    return "\n".join([*lines, *_bars(figures), "", _decision(figures)])


def _gain_table(row: dict[str, Any]) -> list[str]:
    keys = [key for key in next(iter(row["methods"].values())) if ", " in key]
    heads = [f"SRG {key}" for key in keys]
    if row["sure"]:
        keys, heads = [*keys, "pointing"], [*heads, "pointing"]
    if any("flip" in values for values in row["methods"].values()):
        keys, heads = [*keys, "flip"], [*heads, "digit flip, log-odds"]
    lines = [f"| method | cost | {' | '.join(heads)} |", f"|---|{'---|' * (len(heads) + 1)}"]
    for name, values in row["methods"].items():
        cells = [f"{m:.3f} ({low:.3f} to {high:.3f})" for m, low, high in (values[key] for key in keys)]
        lines.append(f"| {LABELS[name]} | {row['cost'][name]:.1f} | {' | '.join(cells)} |")
    return lines


def _other_table(row: dict[str, Any]) -> list[str]:
    metrics = [m for m in METRICS if m not in ("insertion", "deletion")]
    heads = " | ".join(f"{m} {'up' if METRICS[m] else 'down'}" for m in metrics)
    lines = [
        f"| method | gap | like the second class's | like the last class's | MPRT, last layer | MPRT, all | {heads} |",
        f"|---|---|---|---|---|---|{'---|' * len(metrics)}",
    ]
    for name, values in row["methods"].items():
        like = [f"{values[f'like the {other}' + chr(39) + 's'][0]:.2f}" for other in ("second class", "last class")]
        cells = [*like, f"{values['top layer randomised']:.2f}", f"{values['randomised']:.2f}"]
        cells += [f"{values[m]:.3g}" for m in metrics]
        lines.append(f"| {LABELS[name]} | {values['gap']:.1e} | {' | '.join(cells)} |")
    return lines


def _bars(figures: dict[str, Any]) -> list[str]:
    """Ratios to integrated gradients, and differences to Grad-CAM image by image."""
    lines = ["| network | method | SRG over that of IG, 50 steps: least to most of the four | SRG minus Grad-CAM's |"]
    lines.append("|---|---|---|---|")
    for title, row in figures["networks"].items():
        if "gradcam" not in row["methods"]:
            continue
        for name in ("w*x+bias1", *HANDED):
            ratios = np.array(gains_of(row, name)) / np.array(gains_of(row, "ig50"))
            away = [
                f"{m:+.3f} ({low:+.3f} to {high:+.3f})" for m, low, high in row["against"][f"{name} - gradcam"].values()
            ]
            lines.append(f"| {title} | {LABELS[name]} | {min(ratios):.1f} to {max(ratios):.1f} | {'; '.join(away)} |")
    return lines


LIKE = 0.9
"""A map that is as like that of the second class as this does not depend on the class."""


def _decision(figures: dict[str, Any]) -> str:
    """The three conditions, read from the figures, and what follows."""
    lines = [
        '**The default.** `handover="auto"` would be the default of `explain` if on all convolutional networks it were '
        "better in SRG than without, not worse in the pointing game, and dependent on the class (rank correlation with "
        f"the second class's map below {LIKE}). Both with bias1:",
        "",
        "| network | SRG, less that of w*x + beta, in the four settings | pointing, without and with | like the second "
        "class's, the same | digit flip, the same |",
        "|---|---|---|---|---|",
    ]
    worse: dict[str, list[str]] = {}
    for title, row in figures["networks"].items():
        if "handover" not in row["methods"]:
            continue
        plain, handed = row["methods"]["w*x+bias1"], row["methods"]["handover"]
        more = row["against"]["handover - w*x+bias1"].values()
        pairs = {key: (plain[key][0], handed[key][0]) for key in ("pointing", SECOND, "flip") if key in plain}
        cells = ["; ".join(f"{m:+.3f} ({low:+.3f} to {high:+.3f})" for m, low, high in more)]
        cells += [", ".join(f"{v:.2f}" for v in pairs.get(key, ())) for key in ("pointing", SECOND, "flip")]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        failed = [
            *(["SRG"] if min(m for m, _, _ in more) <= 0 else []),
            *(["the pointing game"] if "pointing" in pairs and pairs["pointing"][1] < pairs["pointing"][0] else []),
            *(["dependence on the class"] if pairs[SECOND][1] >= LIKE else []),
        ]
        if failed:
            worse[title] = failed
    why = "; ".join(f"{title}: {' and '.join(failed)}" for title, failed in worse.items())
    said = f"it is not met ({why}), so the default stays `None`" if worse else 'it is met: the default is `"auto"`'
    return "\n".join([*lines, "", f"The condition is on all networks at once, and {said}."])


EXPERIMENT = Experiment(
    title="Scoreboard: cost and quality",
    config=Config(),
    smoke=Config(
        boards=(
            Board(
                MNIST,
                images=8,
                randomised=1,
                batch=4,
                curves=4,
                methods=("w*x", "ig50", "gradcam", "lrp", "w*x+bias1", *HANDED),
            ),
            Board(
                RESNET20,
                images=8,
                sure=8,
                randomised=1,
                batch=4,
                curves=4,
                methods=("w*x+bias1", "deeplift", "handover"),
            ),
        ),
        steps=2,
        pairs=((8, 3),),
        shown=("w*x", "handover-3"),
        photos=2,
    ),
    run=run,
    report=report,
)
