"""The page of a data set: its overview, mean maps of classes, and examples that stand out, each with its own page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..auditing import wilson
from ..errors import BiaspropError, InputError
from ..report import equation_of
from ..report.page import Card, Content, Overall, Shown, thumbnail, uri_of
from ..report.style import Array
from .attributions import Attributions
from .overview import Outlier, Overview

if TYPE_CHECKING:
    from ..loading import Source

__all__ = ["overall_of"]

CLASSES, MAPS, SOURCES, FEATURES, WORDS = 30, 12, 15, 40, 2000
BLANK = 224  # pixels along the longer side of a map without a photo, about

Photos = Callable[[str], Any]
"""The photo of an example by its id, ``(H, W, 3)``; None where there is none."""


def overall_of(summary: Overview, found: Attributions, data: "Source | None" = None) -> Overall:
    """What the page shows.

    Args:
        summary: of the attributions.
        found: the attributions.
        data: the data set itself, from which the photos of the examples are read.
    """
    manifest, photos = found.manifest, _photos(data)
    galleries = [("mean map of a class, w * x + beta", _means(summary))]
    groups = {
        "w.x alone and b alone predict different classes": summary.disagreeing,
        "largest share of bias": summary.most_bias,
        "most bias that reaches no input": summary.most_unattributed,
    }
    rows = found.rows(sorted({one.id for group in groups.values() for one in group}))
    galleries += [(title, _cards(summary, found, group, rows, photos)) for title, group in groups.items()]
    n = max(len(summary), 1)
    sources = [(name, "", float(pair[1]) / n, float(pair[0]) / n) for name, pair in summary.sources()]
    settings = manifest.settings
    names = ("rule", "linearization", "handover", "target")
    values = {name: settings[name] for name in names if settings.get(name)}
    facts = [(name, ", ".join(map(str, one)) if isinstance(one, list) else str(one)) for name, one in values.items()]
    return Overall(
        title=f"{manifest.data}, explained",
        headline=summary.headline(),
        facts=[*facts, ("examples", str(len(summary)))],
        accuracies=_accuracy(summary) if settings.get("target") == "predicted" else [],
        shares=np.concatenate(summary.whole.shares) if summary.whole.shares else np.zeros(0),
        sources=sources,
        heads=("class", "examples", "right", "f", "b", "b / f"),
        classes=[summary.cells(index) for index in list(summary.tallies)[:CLASSES]],
        galleries=[(title, cards) for title, cards in galleries if cards],
        errors=found.errors,
    )


def _accuracy(summary: Overview) -> list[tuple[str, float, float, float]]:
    """Of the network, over the examples whose label is known."""
    n = summary.whole.labelled
    return [("w.x + b", right := summary.whole.right / n, *wilson(right, n))] if n else []


def _means(summary: Overview) -> list[Card]:
    cards = []
    for index, tally in list(summary.tallies.items())[:MAPS]:
        maps = tally.map()
        if maps is not None and maps[0].ndim == 2:
            picture = thumbnail(*_blank(maps[0].shape, maps[0]))
            cards.append(Card(f"{summary.name(index)} ({tally.count})", picture))
    return cards


def _blank(shape: tuple[int, ...], map_: Array) -> tuple[Array, Array, int]:
    """A white ground, what is laid over it, and how many pixels wide its numbers are."""
    cell = max(1, BLANK // max(shape))
    return np.ones([cell * side for side in shape]), map_, cell


def _cards(
    summary: Overview, found: Attributions, group: Sequence[Outlier], rows: dict[str, Any], photos: Photos
) -> list[Card]:
    cards = []
    for one in group:
        if one.id in rows:
            page = _page(rows[one.id], summary, found, photos)
            cards.append(Card(f"{one.id}: {page.targets[0].name}", page.overlay, page))
    return cards


def _page(row: dict[str, Any], summary: Overview, found: Attributions, photos: Photos) -> Content:
    """An example, as its row says; of what was not kept nothing is shown."""
    target = summary.name_of_target(-1 if row["target"] is None else row["target"])
    chance = row["probability"]
    name = target if chance is None else f"{target} {100 * chance:.0f} %"
    if row["label"] is not None and row["label"] != row["target"]:
        name += f", labelled {summary.name_of_target(row['label'])}"
    shape = tuple(row["shape"] or ())
    bias = np.asarray(row["bias_attribution"] or (), np.float64).reshape(shape or (0,))
    whole = np.asarray(row["attribution"] or (), np.float64).reshape(shape or (0,))
    amounts = sorted(((one["name"], one["amount"]) for one in row.get("sources") or ()), key=lambda one: -abs(one[1]))
    sources = [(name, "", amount) for name, amount in amounts[:SOURCES]]
    if len(amounts) > SOURCES:
        sources.append((f"{len(amounts) - SOURCES} others", "", sum(amount for _, amount in amounts[SOURCES:])))
    numbers = (row["output"], row["bias"], row["unattributed"], row["completeness_error"] or 0.0)
    shown = Shown(name, equation_of(row["output"], row["bias"]), *numbers, whole - bias, bias, sources)
    settings = found.manifest.settings
    method = f"{settings.get('rule')}, {settings.get('linearization')}"
    title = f"{row['id']}: {name}"
    if len(shape) == 2:
        photo = photos(row["id"])
        there = photo is not None and _patches(photo, shape) == shape  # else they are other data
        pixels, _, cell = (photo, whole, _cell(photo, shape)) if there else _blank(shape, whole)
        size = (pixels.shape[0], pixels.shape[1])
        overlay = thumbnail(pixels, whole, cell)
        return Content("image", title, method, [shown], [], cell, size, uri_of(pixels), overlay)
    tokens = row.get("tokens") or []
    if tokens and len(tokens) <= WORDS:
        return Content("text", title, method, [shown], list(tokens))
    names = tokens or found.manifest.features or []
    labels = names if len(names) == whole.size else [f"feature {k}" for k in range(whole.size)]
    return Content("features", title, method, *_largest(shown, labels))


def _largest(shown: Shown, labels: Sequence[str]) -> tuple[list[Shown], list[str]]:
    """The features that have received most, what the others have, and what nobody has."""
    w, beta = shown.w.ravel(), shown.beta.ravel()
    order = np.argsort(-np.abs(w + beta), kind="stable")
    kept, rest = order[:FEATURES], order[FEATURES:]
    rows = [(labels[k], w[k], beta[k]) for k in kept]
    rows += [(f"{len(rest)} others", w[rest].sum(), beta[rest].sum())] if len(rest) else []
    rows += [("unattributed", 0.0, shown.unattributed)] if shown.unattributed else []
    amounts = np.array([row[1:] for row in rows], np.float64).reshape(-1, 2)
    return [replace(shown, w=amounts[:, 0], beta=amounts[:, 1])], [row[0] for row in rows]


def _patches(photo: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many patches of that size a photo has."""
    return tuple(int(-(-side // _cell(photo, shape))) for side in photo.shape[:2])


def _cell(photo: Array, shape: tuple[int, ...]) -> int:
    """Pixels of a photo along the side of a patch."""
    return int(-(-max(photo.shape[:2]) // max(shape)))


def _photos(data: "Source | None") -> Photos:
    """By id; what cannot be read has no photo."""
    if data is None:
        return lambda _: None
    places = {data.id(k): k for k in range(len(data))}
    if not places:
        raise InputError("The data set holds no example.")

    def photo(one: str) -> Any:
        if one not in places:
            return None
        try:
            item = data.take([places[one]])[0].item
        except BiaspropError:
            return None
        if item is None or item.picture is None:
            return None
        pixels = np.asarray(item.picture, np.float64)
        return pixels / 255 if pixels.max(initial=0) > 1 else pixels

    return photo
