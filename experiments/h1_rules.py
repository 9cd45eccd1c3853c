"""H1: hand-over: which rule shares out below it, at which tensors, and mixtures of complete maps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import biasprop

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
    "proportional to |m|": Scored(lambda m, there: m.abs()),
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
    slow: int = 40
    """Images for rules without compiled kernels; 0: none of these."""


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        boards: networks.
        steps: of the relevance gain.
    """

    boards: tuple[Board, ...] = (
        Board(MNIST, slow=100),
        Board(STL),
        Board(RESNET20, ("layer1", "layer2"), sure=40),
        Board(SQUEEZENET, ("features.5", "features.8"), images=60, patch=16, sure=40, batch=5, slow=0),
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
        for name, (method, images) in _methods(explain, board).items():
            judged = Judged(subject, images, board.patch, config.steps, board.sure, 0, board.batch, study.seed)
            rows[name] = study.part(f"{subject.title}: {name}", _judged, judged, method)
        outcome.figures["networks"][subject.title] = rows
    return outcome


def _methods(explain: biasprop.Explainer, board: Board) -> dict[str, tuple[Method, int]]:
    """By name, each with the number of images."""

    def handed(rule: Any, where: Any = "auto") -> Method:
        return lambda x, target: explain(x, target, ("bias1", rule), handover=where).attribution

    def mixed(rule: Any, share: float) -> Method:
        """``share`` of the enlarged map, the rest of the hand-over."""

        def method(x: Tensor, target: Tensor) -> Tensor:
            made: Any = explain(x, target, ("bias1", rule), handover="auto")
            large = made.map(at=made.handover)[:, None].expand_as(x) / x.shape[1]
            return share * large + (1 - share) * made.attribution  # type: ignore[no-any-return]

        return method

    found = {"no hand-over": (lambda x, target: explain(x, target).attribution, board.images)}
    found |= {f"auto, {name}": (handed(rule), board.images) for name, rule in FAST.items()}
    if board.slow:
        found |= {f"auto, {name}": (handed(rule), board.slow) for name, rule in SLOW.items()}
    for cut in board.cuts:
        found[f"{cut}, bias3"] = (handed("bias3", cut), board.images)
    if board.cuts:
        cuts = [*board.cuts, "auto"]
        found[f"mean of {', '.join(cuts)}, bias3"] = (handed("bias3", cuts), board.images)
    for share in (0.25, 0.5, 0.75, 1.0):
        found[f"auto, bias3, and {100 * share:.0f} % of at= enlarged"] = (mixed("bias3", share), board.images)
    return found


def _judged(judged: Judged, method: Method) -> dict[str, Any]:
    made: dict[str, Any] = dict(gains(judged, method))
    made.pop("gap")
    found = {key: mean_interval(values) for key, values in made.items()} | {"images": judged.images}
    found["like the second class's"] = mean_interval(sensitivity(judged, method)["second class"])
    if judged.sure and judged.sure <= judged.images:
        found["pointing"] = mean_interval(pointing(judged, method))
    return found


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        'The rule above is bias1 everywhere. Columns as in the scoreboard; "auto" is the input of the last weighted '
        "layer, or what lies under its pooling. Rules without compiled kernels are judged on fewer images.",
        "",
    ]
    for title, rows in figures["networks"].items():
        keys = [key for key in next(iter(rows.values())) if ", " in key]
        heads = [*(f"SRG {key}" for key in keys), "like the second class's", "pointing"]
        lines += [f"**{title}**", "", f"| rule below, and where | images | {' | '.join(heads)} |"]
        lines += [f"|---|---|{'---|' * len(heads)}"]
        for name, row in rows.items():
            cells = [f"{row[key][0]:.3f}" for key in (*keys, "like the second class's")]
            cells += [f"{row['pointing'][0]:.3f}" if "pointing" in row else ""]
            lines.append(f"| {name} | {row['images']} | {' | '.join(cells)} |")
        half = max((row[key][2] - row[key][1]) / 2 for row in rows.values() for key in keys)
        lines += ["", f"Half the 95 % interval of a gain is at most {half:.3f}.", ""]
    return "\n".join([*lines, _ranks(figures)])


def _ranks(figures: dict[str, Any]) -> str:
    """The mean gain of each rule on the networks on which all of them were judged."""
    names = [f"auto, {name}" for name in (*FAST, *SLOW)]
    boards = [rows for rows in figures["networks"].values() if all(name in rows for name in names)]
    if not boards:
        return ""
    means = {
        name: float(np.mean([value[0] for rows in boards for key, value in rows[name].items() if ", " in key]))
        for name in names
    }
    order = ", ".join(
        f"{name.removeprefix('auto, ')} {means[name]:.3f}" for name in sorted(means, key=lambda n: -means[n])
    )
    return f"**Mean gain of the rules** over the {len(boards)} networks on which all were judged: {order}."


EXPERIMENT = Experiment(
    title="Hand-over: which rule below it, where, and mixtures",
    config=Config(),
    smoke=Config(
        boards=(Board(MNIST, images=4, slow=4, batch=4), Board(RESNET20, ("layer2",), 8, sure=8, slow=0)), steps=2
    ),
    run=run,
    report=report,
)
