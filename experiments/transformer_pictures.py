"""Pictures of T1: images and sentences with the maps of their predicted class."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

import biasprop
from biasprop.report import COLOURS

from .maps import Array, picture_of, scale_bar, size_of
from .players import ImagePlayers, Players, TokenPlayers
from .study import Outcome
from .subjects import Subject
from .transformer_maps import Case, make_maps, predicted

__all__ = ["show"]

SHOWN = {
    "gradient * input": "gradient\n* input",
    "IG": "integrated\ngradients",
    "frozen: w*x": "frozen\nw*x",
    "frozen: w*x + beta, bias1": "frozen\nw*x + beta",
}
"""Of the pictures; IG from the first baseline."""


def show(outcome: Outcome, case: Case, explain: biasprop.Explainer, count: int, steps: int) -> None:
    """A picture of the first ``count`` examples, of images one for each class; ``steps`` of integrated gradients."""
    players = case.players
    if case.subject is not None:
        assert isinstance(players, ImagePlayers)
        classes = case.labels.tolist()
        chosen = sorted(classes.index(label) for label in sorted(set(classes))[:count])
        figure = _images_and_maps(case.subject, players.x[chosen], case, explain, steps)
        outcome.show(case.subject, case.subject.slug, figure)
        return
    batch = players.batches(count)[0]
    outcome.pictures["minilm_sst_2"] = _sentences_and_maps(players, batch, case, explain, steps)


def _pictured(
    players: Players, explain: biasprop.Explainer, batch: Any, steps: int
) -> tuple[dict[str, Tensor], Tensor]:
    """The maps of the picture by their labels, and the predicted classes."""
    target = predicted(players, batch)
    maps, _ = make_maps(players, {"frozen": explain}, batch, target, steps)
    first = next(name for name in maps if name.startswith("IG"))
    return {label: maps[first if name == "IG" else name] for name, label in SHOWN.items()}, target


def _images_and_maps(subject: Subject, x: Tensor, case: Case, explain: biasprop.Explainer, steps: int) -> Figure:
    """A column per image: the image and, below it, the sums of its maps in each patch, on the image in grey."""
    maps, target = _pictured(case.players, explain, x, steps)
    figure = Figure(figsize=(1.5 * len(x) + 1.2, 1.5 * (1 + len(maps)) + 1.1), layout="constrained")
    axes = figure.subplots(1 + len(maps), len(x), squeeze=False)
    for i, column in enumerate(axes.T):
        picture = picture_of(subject, x[i])
        column[0].imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        column[0].set_title(f'"{subject.name(int(target[i]))}"', fontsize=11)
        for axis, values in zip(column[1:], maps.values(), strict=True):
            axis.imshow(_on_grey(case.players.scores(values[i : i + 1]).double().numpy(), picture))
    for axis, label in zip(axes[:, 0], ("image", *maps), strict=True):
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=11)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    scale_bar(figure, axes, "sum in a patch, over the map's size; red adds to the logit, blue takes away")
    figure.suptitle(f"{case.title}: maps of the predicted class", fontsize=14)
    return figure


def _on_grey(scores: Array, picture: Array) -> Array:
    """The colour of every patch, times the image in light grey: ``(1, P)`` and ``(H, W)`` or ``(H, W, 3)``."""
    grey = 1 - picture if picture.ndim == 2 else picture.mean(2)
    side = round(scores.size**0.5)
    values = np.clip(scores / size_of(scores), -1, 1).reshape(side, side)
    of_pixels = values.repeat(len(grey) // side, 0).repeat(grey.shape[1] // side, 1)
    colours = np.asarray(colormaps[COLOURS]((of_pixels + 1) / 2))[..., :3]
    return np.asarray(colours * (0.65 + 0.35 * grey[..., None]))


def _sentences_and_maps(players: Players, batch: Any, case: Case, explain: biasprop.Explainer, steps: int) -> Figure:
    """A block of lines per sentence, a line per method, the words on the colour of their tokens."""
    assert isinstance(players, TokenPlayers)
    maps, target = _pictured(players, explain, batch, steps)
    there = players.present(batch)
    scores = {label.replace("\n", " "): players.scores(values).double() for label, values in maps.items()}
    figure = Figure(figsize=(14, 0.32 * len(target) * (len(scores) + 1) + 1.3), layout="constrained")
    axis = figure.subplots()
    line = 0.0
    widest = 0.0
    for i in range(len(target)):
        tokens = players.tokenizer.convert_ids_to_tokens(batch["input_ids"][i][there[i]])
        for label, score in scores.items():
            values = score[i][there[i]].numpy()
            widest = max(widest, _line_of_tokens(axis, line, tokens, values / size_of(values)))
            axis.text(-1, line, label, ha="right", va="center", fontsize=9)
            line += 1
        said = ("negative", "positive")[int(target[i])]
        axis.text(-19, line - (len(scores) + 1) / 2, f'"{said}"', ha="right", va="center", fontsize=11)
        line += 0.8
    axis.set(xlim=(-27, widest), ylim=(line - 0.8, -0.8))
    axis.axis("off")
    scale_bar(figure, axis, "each map divided by its own size; red adds to the logit, blue takes away")
    figure.suptitle(f"{case.title}: maps of the predicted class", fontsize=14)
    return figure


def _line_of_tokens(axis: Axes, line: float, tokens: list[str], values: Array) -> float:
    """Draw them, each as wide as it has letters; where the line ends."""
    x = 0.0
    for token, value in zip(tokens, values, strict=True):
        word = token.removeprefix("##")
        x += 0.3 * (word == token)  # parts of a word touch
        width = len(word) + 0.8
        shade = colormaps[COLOURS](float(np.clip(value, -1, 1) + 1) / 2)
        axis.add_patch(Rectangle((x, line - 0.44), width, 0.88, color=shade, linewidth=0))
        dark = float(np.dot(shade[:3], (0.299, 0.587, 0.114))) < 0.5
        axis.text(
            x + width / 2,
            line,
            word.replace("$", r"\$"),
            ha="center",
            va="center",
            fontsize=9,
            family="monospace",
            color="white" if dark else "black",
        )
        x += width
    return x
