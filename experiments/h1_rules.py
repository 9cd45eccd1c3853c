"""H1: hand-over: which rule shares out below it, at which tensors, and mixtures of complete maps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import biasprop
from biasprop.report import GREY, TOTAL

from .intervals import mean_interval
from .judging import Judged, gains, pointing, sensitivity
from .methods import FLAT, Method
from .study import Experiment, Outcome, Study
from .subjects import MNIST, RESNET20, SQUEEZENET, STL, Source

__all__ = ["EXPERIMENT"]

Shares = Callable[[Tensor, Tensor], Tensor]
"""From components ``(*units, K)``, and which of them are not 0, to scores that are then made to sum to 1."""


@dataclass(frozen=True)
class Scored:
    """A rule by scores; a unit whose scores are all 0 shares equally."""

    scores: Shares

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `biasprop.rules.Rule.alpha`."""
        there = m != 0
        found = self.scores(m, there) * there
        total = found.sum(-1, keepdim=True)
        return torch.where(
            total > 0, found / total.where(total > 0, 1), there / there.sum(-1, keepdim=True).clamp_min(1)
        )


def _relative(m: Tensor, there: Tensor) -> Tensor:
    """Softmax of components in units of their mean magnitude."""
    size = m.abs().sum(-1, keepdim=True) / there.sum(-1, keepdim=True).clamp_min(1)
    return torch.softmax(m / size.clamp_min(1e-30), -1)


def _half(m: Tensor, there: Tensor) -> Tensor:
    """The mean of positive and of equal shares."""
    positive = m.clamp_min(0)
    positive = positive / positive.sum(-1, keepdim=True).clamp_min(1e-30)
    return positive + there / there.sum(-1, keepdim=True).clamp_min(1)


FAST: dict[str, Any] = {"bias1": "bias1", "bias2": "bias2", "bias3 (positive part)": "bias3", "equal shares": FLAT}
SLOW: dict[str, Any] = {
    "proportional to the magnitude": Scored(lambda m, there: m.abs()),
    "square of the positive part": Scored(lambda m, there: m.clamp_min(0).square()),
    "root of the positive part": Scored(lambda m, there: m.clamp_min(0).sqrt()),
    "softmax of m over its mean magnitude": Scored(_relative),
    "positive part and equal shares, mean": Scored(_half),
}
"""Rules that have no form of the compiled kernels."""


@dataclass(frozen=True)
class Board:
    """A network, the tensors at which it hands over besides ``"auto"``, and how much is judged."""

    network: Source
    cuts: tuple[str, ...] = ()
    images: int = 100
    patch: int = 4
    sure: int = 0
    batch: int = 20
    slow: bool = True
    """Whether rules without compiled kernels are judged, too."""


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        boards: networks.
        steps: of the relevance gain.
    """

    boards: tuple[Board, ...] = (
        Board(MNIST),
        Board(STL),
        Board(RESNET20, ("layer1", "layer2"), sure=40, slow=False),
        Board(SQUEEZENET, ("features.5", "features.8"), images=60, patch=16, sure=40, batch=5, slow=False),
    )
    steps: int = 8


def run(study: Study[Config]) -> Outcome:
    """Every rule, cut and mixture on every network."""
    config = study.config
    outcome = Outcome({"networks": {}})
    for board in config.boards:
        subject = study.subject(board.network)
        explain = biasprop.Explainer(subject.model, check="once")
        rows = {}
        amounts = (board.images, board.patch, config.steps, board.sure, board.images, 0, board.batch)
        judged = Judged(subject, *amounts, study.seed)
        for name, method in _methods(explain, board).items():
            rows[name] = study.part(f"{subject.title}: {name}", _judged, judged, method)
        outcome.figures["networks"][subject.title] = {"images": board.images, "methods": rows}
    outcome.pictures["rules"] = _draw(outcome.figures)
    return outcome


def _methods(explain: biasprop.Explainer, board: Board) -> dict[str, Method]:
    """By name."""

    def handed(rule: Any, where: Any = "auto") -> Method:
        return lambda x, target: explain(x, target, ("bias1", rule), handover=where).attribution

    def mixed(rule: Any, share: float) -> Method:
        """``share`` of the enlarged map, the rest of the hand-over."""

        def method(x: Tensor, target: Tensor) -> Tensor:
            made: Any = explain(x, target, ("bias1", rule), handover="auto")
            large = made.map(at=made.handover)[:, None].expand_as(x) / x.shape[1]
            return share * large + (1 - share) * made.attribution  # type: ignore[no-any-return]

        return method

    found: dict[str, Method] = {"no hand-over": lambda x, target: explain(x, target).attribution}
    found |= {f"auto, {name}": handed(rule) for name, rule in (FAST | (SLOW if board.slow else {})).items()}
    if board.cuts:
        cuts = [*board.cuts, "auto"]
        found |= {f"{cut}, bias3": handed("bias3", cut) for cut in board.cuts}
        found[f"mean of {', '.join(cuts)}, bias3"] = handed("bias3", cuts)
    for share in (0.25, 0.5, 0.75, 1.0):
        found[f"auto, bias3, and {100 * share:.0f} % of at= enlarged"] = mixed("bias3", share)
    return found


def _judged(judged: Judged, method: Method) -> dict[str, Any]:
    made: dict[str, Any] = dict(gains(judged, method))
    made.pop("gap")
    found = {key: mean_interval(values) for key, values in made.items()}
    found["like the second class's"] = mean_interval(sensitivity(judged, method)["second class"])
    if judged.sure and judged.sure <= judged.images:
        found["pointing"] = mean_interval(pointing(judged, method))
    return found


def _draw(figures: dict[str, Any]) -> Figure:
    """A row per method, a column per network: the gain in each setting, and their mean."""
    networks = figures["networks"]
    names = list(dict.fromkeys(name for found in networks.values() for name in found["methods"]))
    figure = Figure(figsize=(3.2 * len(networks) + 3.4, 0.3 * len(names) + 1.6), layout="constrained")
    axes = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axis, (title, found) in zip(axes, networks.items(), strict=True):
        for name, row in found["methods"].items():
            place = names.index(name)
            gains = [values[0] for key, values in row.items() if ", " in key]
            axis.plot(gains, [place] * len(gains), "o", color="#b8b8b8", markersize=4)
            axis.plot(_gain(row), place, "D", color=TOTAL if place else GREY, markersize=7)
        axis.axvline(_gain(found["methods"][names[0]]), color=GREY, linewidth=0.8, linestyle=":")
        axis.set_title(title.replace(", ", ",\n"), fontsize=10)
        axis.grid(axis="y", color="#eeeeee")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.supxlabel("symmetric relevance gain: each setting (grey), their mean (diamond); dotted: no hand-over")
    figure.suptitle("Rules below a hand-over, where it is, and mixtures with the enlarged map", fontsize=13)
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        'The rule above is bias1 everywhere. Columns as in the scoreboard; "auto" is the input of the last weighted '
        "layer, or what lies under its pooling; all rows of a network are of the same images. Rules without compiled "
        "kernels take ten times as long and are judged on the smaller networks.",
        "",
    ]
    for title, found in figures["networks"].items():
        rows = found["methods"]
        keys = [key for key in next(iter(rows.values())) if ", " in key]
        heads = [*(f"SRG {key}" for key in keys), "like the second class's", "pointing"]
        lines += [f"**{title}** ({found['images']} images)", "", f"| rule below, and where | {' | '.join(heads)} |"]
        lines += [f"|---|{'---|' * len(heads)}"]
        for name, row in rows.items():
            cells = [f"{row[key][0]:.3f}" for key in (*keys, "like the second class's")]
            cells += [f"{row['pointing'][0]:.3f}" if "pointing" in row else ""]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        half = max((row[key][2] - row[key][1]) / 2 for row in rows.values() for key in keys)
        lines += ["", f"Half the 95 % interval of a gain is at most {half:.3f}.", ""]
    return "\n".join([*lines, _ranks(figures)])


def _ranks(figures: dict[str, Any]) -> str:
    """The mean gain of the rules, of those with compiled kernels on all networks, and of all on those that have all."""
    boards = [found["methods"] for found in figures["networks"].values()]
    lines = ["**What came out.** Mean gain, over the four settings and the networks:", ""]
    for rules in (list(FAST), [*FAST, *SLOW]):
        some = [rows for rows in boards if all(f"auto, {rule}" in rows for rule in rules)]
        means = {rule: float(np.mean([_gain(rows[f"auto, {rule}"]) for rows in some])) for rule in rules if some}
        order = ", ".join(f"{rule} {means[rule]:.3f}" for rule in sorted(means, key=lambda rule: -means[rule]))
        lines.append(f"- {len(some)} network{'s' * (len(some) != 1)}: {order}.")
    return "\n".join(lines)


def _gain(row: dict[str, Any]) -> float:
    return float(np.mean([values[0] for key, values in row.items() if ", " in key]))


EXPERIMENT = Experiment(
    title="Hand-over: which rule below it, where, and mixtures",
    config=Config(),
    smoke=Config(
        boards=(Board(MNIST, ("1",), images=2, batch=2), Board(RESNET20, images=8, sure=6, slow=False)), steps=2
    ),
    run=run,
    report=report,
)
