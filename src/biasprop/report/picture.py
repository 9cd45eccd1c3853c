"""Pictures of an explanation: a map on the photo (`photo`), words of a text (`word_picture`), bars of a table's row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..results import Decomposition, Part, Tokenizer, tokens_of
from .amounts import draw_equation, draw_sources
from .photo import draw_photo
from .style import BIAS, GREY, TOTAL, WEIGHT, Array, figure_of, plain
from .summary import equation, feature_name, named_target
from .word_picture import draw_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(
    explanation: Decomposition[Any],
    example: int = 0,
    *,
    part: int = 0,
    image: Any = None,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    patch: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> "Figure":
    """Draw one example.

    Images, and hidden tensors with two spatial dimensions, give the map of ``w * x + beta`` (channels summed), large
    on the photo, and those of ``w * x`` and ``beta`` beside it, all on one scale: red adds to the output, blue takes
    away. Texts give their words, coloured. Everything else gives one bar per feature.

    Args:
        explanation: what to draw.
        example: which of the batch.
        part: which tensor of an explanation of several.
        image: the picture to show, ``(H, W)`` or ``(H, W, 3)``, values 0-1 or 0-255; default: x, stretched to 0-1.
        title: first line above the equation; default: the target, with its probability where there are classes.
        classes: names of the outputs.
        feature_names: names of tabular features.
        patch: side of the squares in pixels over which maps are summed; 1: of single pixels; default: about a 28th.
        tokenizer: of a text: puts its tokens together to words; without it their ids are drawn.

    Returns:
        A matplotlib ``Figure`` that belongs to no window; save it with ``figure.savefig``.

    Raises:
        InputError: there is no such example or part, the image does not fit, or there are several targets.
        MissingExtra: matplotlib is not installed.
    """
    if explanation.several:
        raise InputError("A picture is of one target: explanation.for_target(0).plot().")
    if not -len(explanation) <= example < len(explanation):
        raise InputError(f"There is no example {example}: the explanation has {len(explanation)}.")
    if not 0 <= part < len(explanation.parts):
        raise InputError(f"There is no part {part}: the explanation has {len(explanation.parts)}.")
    chosen = explanation.parts[part]
    first = named_target(explanation, example, classes) if title is None else title
    heading = "\n".join([*([first] if first else []), equation(explanation, example)])
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    text = next((one for one in texts if part in one.parts), None)
    if text is not None:
        return draw_words(explanation, text, example, heading, tokenizer)
    tensors = (chosen.value, chosen.product[0], chosen.beta[0])
    values, w, beta = (_example(chosen, t, example) for t in tensors)
    if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
        figure, (left, right) = draw_photo(values, w, beta, image, patch)
    else:
        figure, (left, right) = _draw_bars(chosen, values, w, beta, feature_names)
    draw_equation(left, explanation, example)
    draw_sources(right, explanation, example)
    figure.suptitle(plain(heading), fontsize=13)
    return figure


def _example(part: Part, values: Any, example: int) -> Array:
    array = values.movedim(part.batch_dim, 0)[example].detach().double().cpu().numpy()
    return np.asarray(array, dtype=np.float64)


def _draw_bars(
    part: Part, values: Array, w: Array, beta: Array, names: Sequence[str] | None, most: int = 20
) -> tuple["Figure", tuple["Axes", "Axes"]]:
    """The largest features; the figure, and the axes that are left."""
    flat, w, beta = values.ravel(), w.ravel(), beta.ravel()
    order = np.argsort(-np.abs(w + beta), kind="stable")[:most][::-1]
    figure = figure_of(figsize=(13, max(3.4, 1.6 + 0.32 * len(order))), layout="constrained")
    grid = figure.subplot_mosaic([["features", "equation"], ["features", "sources"]], width_ratios=[2, 1])
    axis = grid["features"]
    rows = np.arange(len(order))
    axis.barh(rows + 0.2, w[order], 0.36, color=WEIGHT, label="w * x")
    axis.barh(rows - 0.2, beta[order], 0.36, color=BIAS, label="beta")
    axis.plot((w + beta)[order], rows, "D", color=TOTAL, markersize=5, label="w * x + beta")
    labels = [f"{feature_name(part, int(k), names)} = {flat[k]:.4g}" for k in order]
    axis.set_yticks(rows, [plain(label) for label in labels])
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("share of f(x)")
    left = len(flat) - len(order)
    axis.set_title(f"the {len(order)} largest features ({left} more not shown)" if left else "all features")
    axis.legend(loc="best", fontsize=9)
    return figure, (grid["equation"], grid["sources"])
