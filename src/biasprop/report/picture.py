"""Pictures of an explanation: heat maps for images, words for texts (`word_picture`), bars for tabular features.

Colour scales are symmetric about zero, in the units of f(x); red adds, blue takes away. Each map has a scale of its
own, written beside it: b is often spread over the whole image where w * x is concentrated, or the other way round.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..results import Decomposition, Part, Tokenizer, patches, tokens_of
from .amounts import draw_equation, draw_sources
from .style import BLUE, COLOURS, GREY, NAMES, RED, Array, figure_of, plain, rgb
from .summary import equation, feature_name
from .word_picture import draw_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CLIP", "draw", "highlight"]

CLIP = 99.5  # percentile at which pixel maps are clipped, so that single winners do not blank the rest


def draw(
    explanation: Decomposition[Any],
    example: int = 0,
    *,
    part: int = 0,
    image: Any = None,
    title: str | None = None,
    feature_names: Sequence[str] | None = None,
    patch: int | None = None,
    top: float = 0.1,
    tokenizer: Tokenizer | None = None,
) -> "Figure":
    """Draw one example.

    Images, and hidden tensors with two spatial dimensions, give a panel: the image; maps of ``w * x``, ``beta`` and
    their sum (channels summed); their sums over patches laid over the image; and the ``top`` share of features with
    the largest magnitude. Texts give their words, coloured. Everything else gives one bar per feature.

    Args:
        explanation: what to draw.
        example: which of the batch.
        part: which tensor of an explanation of several.
        image: the picture to show, ``(H, W)`` or ``(H, W, 3)``, values 0-1 or 0-255; default: x, stretched to 0-1.
        title: first line above the equation.
        feature_names: names of tabular features.
        patch: side of the patches in pixels; default: about a sixteenth of the image.
        top: share of features in the last row.
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
    heading = equation(explanation, example)
    heading = f"{title}\n{heading}" if title else heading
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    text = next((one for one in texts if part in one.parts), None)
    if text is not None:
        return draw_words(explanation, text, example, heading, tokenizer)
    tensors = (chosen.value, chosen.product[0], chosen.beta[0])
    values, w, beta = (_example(chosen, t, example) for t in tensors)
    if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
        figure = _panel(values, w, beta, image, patch, top)
        axes = figure.axes[4], figure.axes[8]
    else:
        figure = _bars(chosen, values, w, beta, feature_names)
        axes = figure.axes[1], figure.axes[2]
    draw_equation(axes[0], explanation, example)
    draw_sources(axes[1], explanation, example)
    figure.suptitle(plain(heading), fontsize=13)
    return figure


def _example(part: Part, values: Any, example: int) -> Array:
    array = values.movedim(part.batch_dim, 0)[example].detach().double().cpu().numpy()
    return np.asarray(array, dtype=np.float64)


def _panel(values: Array, w: Array, beta: Array, image: Any, patch: int | None, top: float) -> "Figure":
    picture = _picture(values, image)
    maps = [m if m.ndim == 2 else m.sum(0) for m in (w, beta, w + beta)]
    figure = figure_of(figsize=(13, 9.6), layout="constrained")
    grid = figure.subplots(3, 4)
    for axis in grid[:, 1:].flat:
        axis.set_xticks([])
        axis.set_yticks([])
    grid[0, 0].imshow(picture, cmap="gray")
    grid[0, 0].set_title("input")
    grid[0, 0].axis("off")

    for axis, values_, name in zip(grid[0, 1:], maps, NAMES, strict=True):
        limit = max(float(np.percentile(np.abs(values_), CLIP)), np.finfo(float).tiny)
        shown = axis.imshow(values_, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(f"{name}, sum {values_.sum():.4g}")
        figure.colorbar(shown, ax=axis, fraction=0.045, pad=0.02, extend="both")

    size = patch or max(1, round(max(maps[0].shape) / 16))
    labels = patches(maps[0].shape, size).numpy()
    sums = [np.bincount(labels.ravel(), weights=m.ravel())[labels] for m in maps]
    dim = 0.6 * (picture if picture.ndim == 2 else picture.mean(-1)) + 0.4
    for axis, values_, name in zip(grid[1, 1:], sums, NAMES, strict=True):
        limit = max(float(np.abs(values_).max()), np.finfo(float).tiny)
        axis.imshow(dim, cmap="gray", vmin=0, vmax=1)
        shown = axis.imshow(
            values_,
            cmap=COLOURS,
            vmin=-limit,
            vmax=limit,
            alpha=np.clip(1.6 * np.abs(values_) / limit, 0, 0.85),
            interpolation="nearest",
        )
        axis.set_title(f"{name}, {size} x {size} patches")
        figure.colorbar(shown, ax=axis, fraction=0.045, pad=0.02)

    count = max(1, round(top * maps[0].size))
    for axis, values_, name in zip(grid[2, 1:], maps, NAMES, strict=True):
        axis.imshow(highlight(picture, values_, count))
        axis.set_title(f"{name}, top {100 * top:g} %")
    return figure


def _picture(values: Array, image: Any) -> Array:
    """What to show as the input: the image given, or x itself stretched to 0-1."""
    if image is not None:
        given = np.asarray(image, dtype=np.float64)
        if given.shape[:2] != values.shape[-2:] or given.shape[2:] not in ((), (3,)):
            raise InputError(f"The image has shape {given.shape}, and must be (H, W) or (H, W, 3) like {values.shape}.")
        return given / 255 if given.max() > 1 else given
    shown = values if values.ndim == 2 else values.transpose(1, 2, 0)
    if shown.ndim == 3 and shown.shape[-1] not in (1, 3):
        shown = np.abs(shown).mean(-1)
    shown = shown[..., 0] if shown.ndim == 3 and shown.shape[-1] == 1 else shown
    low, high = shown.min(), shown.max()
    return np.asarray((shown - low) / (high - low) if high > low else np.zeros_like(shown))


def highlight(picture: Array, values: Array, count: int) -> Array:
    """The picture faded to near white, its ``count`` pixels of largest magnitude in red (adds) and blue."""
    grey = picture if picture.ndim == 2 else picture.mean(-1)
    shown = np.repeat((0.3 * grey + 0.7)[..., None], 3, axis=-1)
    largest = np.zeros(values.size, dtype=bool)
    largest[np.argpartition(-np.abs(values).ravel(), min(count, values.size) - 1)[:count]] = True
    chosen = largest.reshape(values.shape) & (values != 0)
    shown[chosen & (values > 0)] = rgb(RED)
    shown[chosen & (values < 0)] = rgb(BLUE)
    return shown


def _bars(part: Part, values: Array, w: Array, beta: Array, names: Sequence[str] | None, most: int = 20) -> "Figure":
    flat, w, beta = values.ravel(), w.ravel(), beta.ravel()
    order = np.argsort(-np.abs(w + beta), kind="stable")[:most][::-1]
    figure = figure_of(figsize=(13, max(3.4, 1.6 + 0.32 * len(order))), layout="constrained")
    grid = figure.subplot_mosaic([["features", "equation"], ["features", "sources"]], width_ratios=[2, 1])
    axis = grid["features"]
    rows = np.arange(len(order))
    axis.barh(rows + 0.2, w[order], 0.36, color="#f4a582", label="w * x")
    axis.barh(rows - 0.2, beta[order], 0.36, color="#92c5de", label="beta")
    axis.plot((w + beta)[order], rows, "D", color="black", markersize=5, label="w * x + beta")
    labels = [f"{feature_name(part, int(k), names)} = {flat[k]:.4g}" for k in order]
    axis.set_yticks(rows, [plain(label) for label in labels])
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("share of f(x)")
    left = len(flat) - len(order)
    axis.set_title(f"the {len(order)} largest features ({left} more not shown)" if left else "all features")
    axis.legend(loc="best", fontsize=9)
    return figure
