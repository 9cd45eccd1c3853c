"""What a page shows, as plain values: targets, maps, features or words, and sources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...results import Decomposition, Tokenizer, in_patches, map_of, tokens_of
from ..features import feature_rows
from ..naming import equation, method_of, named_target
from ..photo import photo_of
from .pictures import thumbnail, uri_of

__all__ = ["Content", "Shown", "content_of"]

CELLS = 112
"""Cells along the longer side of a map: what the smallest patch is; larger ones are sums of them."""

FEATURES, SOURCES, WORDS = 40, 15, 2000
"""Rows and words at most; what is left out is summed up in one more."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """One target.

    Attributes:
        name: with its probability, where there are classes.
        sentence: ``f(x) = w.x + b``.
        output, bias, unattributed, error: see `Decomposition`.
        w, beta: what is shown, ``(rows, columns)`` of a map, or one for each feature or word.
        sources: name, operation and amount, the largest first.
    """

    name: str
    sentence: str
    output: float
    bias: float
    unattributed: float
    error: float
    w: Array
    beta: Array
    sources: list[tuple[str, str, float]]


@dataclass(frozen=True)
class Content:
    """A page.

    Attributes:
        kind: ``"image"``, ``"features"`` or ``"text"``.
        title: of the page.
        method: rule, linearization and hand-over.
        targets: the first is shown at first.
        labels: of features, with their values; of words what they say.
        cell: of an image, the pixels along the side of a cell.
        size: of an image, ``(height, width)`` in pixels.
        photo: a picture as a data URI.
        overlay: the same with the first map on it, for readers without JavaScript.
        parts: of some sources of the first target, the map of their share of beta.
    """

    kind: str
    title: str
    method: str
    targets: list[Shown]
    labels: list[str] = field(default_factory=list)
    cell: int = 1
    size: tuple[int, int] = (0, 0)
    photo: str = ""
    overlay: str = ""
    parts: dict[str, Array] = field(default_factory=dict)


def content_of(
    explanation: Decomposition[Any],
    example: int,
    *,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    image: Any = None,
    tokenizer: Tokenizer | None = None,
    of_source: Callable[[str], Decomposition[Any]] | None = None,
    sources: int = 6,
    cells: int = CELLS,
) -> Content:
    """What the page of one example shows.

    Args:
        explanation: of one target or of several, which are shown side by side.
        example: which of the batch.
        title: of the page; default: the first target.
        classes: names of the outputs.
        feature_names: of tabular features.
        image: the picture, ``(H, W)`` or ``(H, W, 3)``, 0-1 or 0-255; default: x, stretched to 0-1.
        tokenizer: of a text.
        of_source: explains the first target again, with the bias of one source alone.
        sources: of how many the part of beta is shown, in images.
        cells: along the longer side of a map.

    Raises:
        InputError: there is no such example, or the image does not fit.
    """
    if not -len(explanation) <= example < len(explanation):
        raise InputError(f"There is no example {example}: the explanation has {len(explanation)}.")
    example %= len(explanation)
    explanation = explanation.named(classes, feature_names)
    count = explanation.output.shape[1] if explanation.several else 1
    each = [explanation.for_target(j) if explanation.several else explanation for j in range(count)]
    part = explanation.parts[0]
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    space = part.shape[-2:] if not texts and len(part.shape) in (2, 3) and min(part.shape[-2:]) > 1 else ()
    kind = "text" if texts else "image" if space else "features"
    cell = -(-max(space) // cells) if space else 1
    labels: list[str] = []
    if texts:
        labels, values = _words(each, example, tokenizer)
    elif space:
        values = [_maps(one, example, cell) for one in each]
    else:
        labels, values = feature_rows(each, 0, example, FEATURES)
    targets = [_target(one, example, tokenizer, *pair) for one, pair in zip(each, values, strict=True)]
    heading = title if title is not None else targets[0].name
    content = Content(kind, heading, method_of(explanation), targets, labels)
    if not space:
        return content
    height, width = space
    x = part.value.movedim(part.batch_dim, 0)[example].detach().double().cpu().numpy()
    pixels = photo_of(x, image)
    photo, overlay = uri_of(pixels), thumbnail(pixels, values[0][0] + values[0][1], cell)
    parts = {}
    if of_source is not None and not explanation.handover:
        names = [name for name, _, amount in targets[0].sources[:sources] if amount]
        parts = {name: _maps(of_source(name), example, cell)[1] for name in names}
    return replace(content, cell=cell, size=(height, width), photo=photo, overlay=overlay, parts=parts)


def _target(
    one: Decomposition[Any],
    example: int,
    tokenizer: Tokenizer | None,
    w: Array,
    beta: Array,
) -> Shown:
    f, b, lost, error = (t[example].item() for t in (one.output, one.bias, one.unattributed, one.completeness_error))
    sources = zip(one.sources.names, one.sources.operations, one.sources.amounts[example].tolist(), strict=True)
    ordered = sorted(sources, key=lambda source: -abs(source[2]))
    rest = sum(amount for _, _, amount in ordered[SOURCES:])
    kept = ordered[:SOURCES] + ([(f"{len(ordered) - SOURCES} others", "", rest)] if len(ordered) > SOURCES else [])
    name = named_target(one, example, tokenizer=tokenizer) or "f(x)"
    return Shown(name, equation(one, example), f, b, lost, error, w, beta, kept)


def _maps(one: Decomposition[Any], example: int, cell: int) -> tuple[Array, Array]:
    """``w * x`` and ``beta`` in cells."""
    part, n = one.parts[0], len(one)
    if len(part.shape) == 2:  # no channels
        kinds = [part.by_example(kind, n).reshape(len(kind), n, *part.shape) for kind in (part.product, part.beta)]
    else:
        kinds = [map_of(part, n, kind) for kind in (part.product, part.beta)]
    w, beta = (in_patches(kind.double(), cell)[0, example].cpu().numpy() for kind in kinds)
    return w, beta


def _words(
    each: Sequence[Decomposition[Any]], example: int, tokenizer: Tokenizer | None
) -> tuple[list[str], list[tuple[Array, Array]]]:
    """The words of the first text; without a tokenizer the ids of its tokens."""
    texts = [tokens_of(one.parts, one.ids, one.axis)[0] for one in each]
    if tokenizer is None:
        labels = [str(one) for one in texts[0].ids[example].flatten().tolist()]
        pairs = [
            (text.weight_attribution[example].flatten(), text.bias_attribution[example].flatten()) for text in texts
        ]
    else:
        found = [text.words_of(example, tokenizer) for text in texts]
        labels = list(found[0].texts)
        pairs = [(words.weight_attribution, words.bias_attribution) for words in found]
    if len(labels) > WORDS:
        raise InputError(f"The text has {len(labels)} words, and a page shows {WORDS} at most: explain it in pieces.")
    return labels, [(w.double().cpu().numpy(), beta.double().cpu().numpy()) for w, beta in pairs]
