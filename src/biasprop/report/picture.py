"""Pictures of an explanation: a map on the photo (`photo`), words of a text (`word_picture`), bars of a table's row."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..results import Decomposition, Part, Tokenizer, tokens_of
from .amounts import draw_equation, draw_sources
from .features import feature_rows
from .naming import equation, named_target
from .photo import MAPS, PhotoPanels
from .style import Array, figure_of, plain
from .waterfall import draw_waterfall
from .word_picture import draw_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

FEATURES = 20
"""Bars at most; what the other features receive is one more."""

Drawer = Callable[["Axes"], None]


def draw(
    explanation: Decomposition[Any],
    example: int = 0,
    *,
    part: int = 0,
    image: Any = None,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    label: int | str | None = None,
    panels: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    patch: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> "Figure":
    """Draw one example.

    Images, and hidden tensors with two spatial dimensions, give the map of ``w * x + beta`` (channels summed), large
    on the photo, and those of ``w * x`` and ``beta`` beside it, all on one scale: red adds to the output, blue takes
    away. Texts give their words, coloured. Everything else is a waterfall: from 0 to f(x), feature by feature.

    Args:
        explanation: what to draw.
        example: which of the batch.
        part: which tensor of an explanation of several.
        image: the picture to show, ``(H, W)`` or ``(H, W, 3)``, values 0-1 or 0-255; default: x, stretched to 0-1.
        title: first line above the equation; default: the target, with its probability where there are classes.
        classes: names of the outputs; default: those that the model itself gives them.
        label: the true class, its index or its name; the title says it where it is not the target.
        panels: what to draw, beside each other: of images ``"input"``, ``"w"``, ``"beta"``, ``"sum"``, of features
            ``"features"``, of both ``"equation"`` and ``"sources"``; of texts, one below the other, ``"w"``,
            ``"beta"``, ``"sum"``, and at the bottom ``"equation"``, ``"sources"``. Default: all.
        feature_names: names of tabular features.
        patch: side of the squares in pixels over which maps are summed; 1: of single pixels; default: about a 28th.
        tokenizer: of a text: puts its tokens together to words; without it their ids are drawn.

    Returns:
        A matplotlib ``Figure`` that belongs to no window; save it with ``figure.savefig``.

    Raises:
        InputError: there is no such example, part or panel, the image does not fit, or there are several targets.
        MissingExtra: matplotlib is not installed.
    """
    if explanation.several:
        raise InputError("A picture is of one target: explanation.for_target(0).plot().")
    if not -len(explanation) <= example < len(explanation):
        raise InputError(f"There is no example {example}: the explanation has {len(explanation)}.")
    if not 0 <= part < len(explanation.parts):
        raise InputError(f"There is no part {part}: the explanation has {len(explanation.parts)}.")
    example %= len(explanation)
    explanation = explanation.named(classes, feature_names)
    first = named_target(explanation, example, label, tokenizer) if title is None else str(title)
    heading = "\n".join([*([first] if first else []), equation(explanation, example)])
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    text = next((one for one in texts if part in one.parts), None)
    if text is not None:
        chosen = _chosen(panels, (*MAPS, "equation", "sources"))
        return draw_words(explanation, text, example, heading, tokenizer, chosen)
    figure, axes, drawers = _arranged(explanation, example, part, panels, image, patch)
    for name, axis in axes.items():
        drawers[name](axis)
    if "sum" in axes and panels is None:
        axes["sum"].title.set_fontsize(13)
    figure.suptitle(plain(heading), fontsize=13)
    return figure


def _arranged(
    explanation: Decomposition[Any],
    example: int,
    part: int,
    panels: Sequence[str] | None,
    image: Any,
    patch: int | None,
) -> tuple["Figure", dict[str, "Axes"], dict[str, Drawer]]:
    """The figure, the axes of each panel, and what is drawn on them."""
    drawers: dict[str, Drawer] = {
        "equation": lambda axis: draw_equation(axis, explanation, example),
        "sources": lambda axis: draw_sources(axis, explanation, example),
    }
    tensor = explanation.parts[part]
    values, w, beta = (_example(tensor, t, example) for t in (tensor.value, tensor.product[0], tensor.beta[0]))
    if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
        photo = PhotoPanels(values, w, beta, image, patch)
        drawers |= photo.draw
        if panels is None:
            return *photo.arranged(), drawers
        figure, axes = _in_a_row(_chosen(panels, drawers), 3.6)
        if maps := [axes[name] for name in axes if name in MAPS]:
            photo.draw_scale(figure, maps, "bottom")
        return figure, axes, drawers
    labels, [(of_w, of_beta)] = feature_rows([explanation], part, example, FEATURES)
    output = explanation.output[example].item()
    drawers["features"] = lambda axis: draw_waterfall(axis, labels, of_w, of_beta, output)
    height = max(3.6, 1.8 + 0.3 * len(labels))
    if panels is not None:
        return *_in_a_row(_chosen(panels, drawers), height, 6.5), drawers
    figure = figure_of(figsize=(13, height), layout="constrained")
    axes = figure.subplot_mosaic([["features", "equation"], ["features", "sources"]], width_ratios=[1.7, 1])
    return figure, axes, drawers


def _chosen(panels: Sequence[str] | None, known: Iterable[str]) -> list[str]:
    """The panels that are asked for."""
    names = list(known)
    given = names if panels is None else panels
    chosen = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen:
        raise InputError(f"panels must be some of {', '.join(map(repr, sorted(names)))}; not {unknown or chosen}.")
    return list(dict.fromkeys(chosen))


def _in_a_row(names: list[str], height: float, width: float = 4.0) -> tuple["Figure", dict[str, "Axes"]]:
    figure = figure_of(figsize=(width * len(names), height + 0.9), layout="constrained")
    rows: Any = [names]
    return figure, figure.subplot_mosaic(rows)


def _example(part: Part, values: Any, example: int) -> Array:
    array = values.movedim(part.batch_dim, 0)[example].detach().double().cpu().numpy()
    return np.asarray(array, dtype=np.float64)
