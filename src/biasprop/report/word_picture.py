"""Pictures of a text: its words on grounds whose colour says what each has received."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import require
from ..results import Decomposition, Tokenizer, Tokens, Words, token_texts
from .amounts import draw_equation, draw_sources
from .naming import source_name
from .photo import MAPS
from .printable import shown
from .style import COLOURS, Array, figure_of, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_words"]

WIDTH, MARGIN, BELOW = 11.0, 0.45, 2.1  # inches: of the figure, around it, of the bars below the text
SIZES = ((60, 13.0), (250, 10.5), (10**9, 8.0))  # points of the letters, by the number of words
LINE, PAD, GAP = 1.9, 0.32, 0.12  # in letters: from line to line, left and right of a word, between words
HEAD = 2.9  # letters above a block, for its name

Box = tuple[float, int, float]
"""Where a word stands: its left side, its line, and its width."""


def draw_words(
    explanation: Decomposition[Any],
    text: Tokens,
    example: int,
    heading: str,
    tokenizer: Tokenizer | None,
    panels: Sequence[str] = (*MAPS, "equation", "sources"),
) -> "Figure":
    """Blocks of the same words for ``w * x``, ``beta`` and their sum, on one scale; the equation and sources below.

    Args:
        explanation: of one target.
        text: one of its texts.
        example: which of the batch.
        heading: lines above.
        tokenizer: puts the tokens together to words; without it the ids are drawn.
        panels: what of it is drawn, of the names of `MAPS`, ``"equation"`` and ``"sources"``.
    """
    words = text.words_of(example, tokenizer) if tokenizer is not None else _ids(text, example)
    letters = next(size for most, size in SIZES if len(words) <= most)
    across = 72 * (WIDTH - 2 * MARGIN)
    names = [_fitting(shown(word), letters, across) for word in words.texts]
    boxes = list(_laid_out(names, letters, across))
    height = letters * (HEAD + LINE * (1 + max((line for _, line, _ in boxes), default=0)))  # of a block, in points
    above = MARGIN + 0.27 * (1 + heading.count("\n"))
    shown_kinds = [name for name in MAPS if name in panels]
    below = [name for name in ("equation", "sources") if name in panels]
    total = above + len(shown_kinds) * height / 72 + (BELOW + 2 * MARGIN if below else 0) + MARGIN
    figure = figure_of(figsize=(WIDTH, total))
    figure.suptitle(plain(heading), fontsize=13, y=1 - 0.6 * MARGIN / total, va="top")
    kinds = (words.weight_attribution, words.bias_attribution, words.attribution)
    blocks = {name: values.detach().double().cpu().numpy() for name, values in zip(MAPS, kinds, strict=True)}
    limit = max(float(np.abs(values).max(initial=0)) for values in blocks.values())
    for k, kind in enumerate(shown_kinds):
        name, values = MAPS[kind], blocks[kind]
        bottom = total - above - (k + 1) * height / 72
        axis = figure.add_axes((MARGIN / WIDTH, bottom / total, 1 - 2 * MARGIN / WIDTH, height / 72 / total))
        axis.set(xlim=(0, across), ylim=(height, 0))
        axis.axis("off")
        _draw_block(axis, name, names, boxes, values, letters, limit, scaled=k == 0 and limit > 0)
    if below:
        _draw_bars(figure, explanation, example, total, below)
    return figure


def _ids(text: Tokens, example: int) -> Words:
    """Each token a word, as nothing says how they are put together."""
    ids = text.ids[example].flatten().tolist()
    w, beta = (kind[example].flatten() for kind in (text.weight_attribution, text.bias_attribution))
    return Words(token_texts(ids, None), [[k] for k in range(len(ids))], w, beta)


def _width(text: str, letters: float) -> float:
    """Points that a text takes."""
    found = require("matplotlib.textpath", "plot").TextPath((0, 0), plain(text), size=letters)
    return float(found.get_extents().x1) if len(found.vertices) else 0.5 * letters * len(text)


def _fitting(text: str, letters: float, across: float) -> str:
    """A word that fits into a line, its middle left out if need be."""
    most = int(across / letters)
    text = text if len(text) <= 2 * most else f"{text[:most]}…{text[-most:]}"
    while _width(text, letters) + 2 * PAD * letters > across:
        half = len(text) // 2
        text = f"{text[: half - 2]}…{text[half + 2 :]}"
    return text


def _laid_out(names: Sequence[str], letters: float, across: float) -> Iterator[Box]:
    """One word after the other, in lines."""
    left, line = 0.0, 0
    for name in names:
        width = _width(name, letters) + 2 * PAD * letters
        if left and left + width > across:
            left, line = 0.0, line + 1
        yield left, line, width
        left += width + GAP * letters


def _draw_block(
    axis: "Axes",
    name: str,
    names: Sequence[str],
    boxes: Sequence[Box],
    values: Array,
    letters: float,
    limit: float,
    scaled: bool,
) -> None:
    colours = require("matplotlib", "plot").colormaps[COLOURS](0.5 + 0.5 * values / max(limit, np.finfo(float).tiny))
    patches = require("matplotlib.patches", "plot")
    axis.text(0, 0.6 * HEAD * letters, f"{name}, sum {values.sum():.4g}", fontsize=11, va="center")
    if scaled:
        _draw_scale(axis, limit, 0.6 * HEAD * letters)
    for word, (left, line, width), colour in zip(names, boxes, colours, strict=True):
        top = letters * (HEAD + LINE * line)
        style = patches.BoxStyle("Round", pad=0, rounding_size=0.25 * letters)
        ground = patches.FancyBboxPatch(
            (left, top), width, 0.86 * LINE * letters, boxstyle=style, facecolor=colour, edgecolor="none"
        )
        axis.add_patch(ground)
        axis.text(
            left + PAD * letters,
            top + 0.6 * LINE * letters,
            plain(word),
            fontsize=letters,
            color="white" if _is_dark(colour) else "black",
        )


def _is_dark(colour: Array) -> bool:
    """So that white letters are read better on it than black ones: by its relative luminance (WCAG 2)."""
    linear = np.where(colour[:3] <= 0.04045, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    return bool(linear @ np.array([0.2126, 0.7152, 0.0722]) < 0.25)


def _draw_scale(axis: "Axes", limit: float, middle: float) -> None:
    """What the colours mean, at the right of the block's name."""
    right, long, high = axis.get_xlim()[1], 110.0, 8.0
    where = (right - long - 60, right - 60, middle + high / 2, middle - high / 2)
    axis.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, extent=where, aspect="auto", clip_on=False)
    axis.set(xlim=(0, right), ylim=axis.get_ylim())
    for x, value, side in ((where[0] - 5, -limit, "right"), (where[1] + 5, limit, "left")):
        axis.text(x, middle, f"{value:+.3g}", fontsize=9, va="center", ha=side)


def _draw_bars(
    figure: "Figure", explanation: Decomposition[Any], example: int, total: float, panels: Sequence[str]
) -> None:
    """The equation, and to its right where b comes from; the names of the sources have what room they need."""
    names = [plain(name) for name in map(source_name, explanation.sources.names, explanation.sources.operations)]
    room = min(max((_width(name, 8) for name in names), default=0) / 72, 4.5) + 0.2
    wide = (WIDTH - 3 * MARGIN - room - 0.8) / 2
    for panel, left, draw in (
        ("equation", MARGIN + 0.4, draw_equation),
        ("sources", WIDTH - MARGIN - wide, draw_sources),
    ):
        if panel in panels:
            axis = figure.add_axes((left / WIDTH, MARGIN / total, wide / WIDTH, BELOW / total))
            draw(axis, explanation, example)
