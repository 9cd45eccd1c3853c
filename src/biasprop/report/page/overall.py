"""The page of a whole data set: accuracies, how much is bias, where it comes from, classes, and examples to open."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

import numpy as np

from .content import Array, Content
from .document import POLICY, framed, html_of, text_of

__all__ = ["Card", "Overall", "html_of_overall"]


@dataclass(frozen=True)
class Card:
    """An example of the gallery: what it is, a small picture, and its own page.

    Attributes:
        caption: below the picture.
        picture: as a data URI; empty for none.
        page: what opens; None for a picture alone.
    """

    caption: str
    picture: str = ""
    page: Content | None = None


@dataclass(frozen=True)
class Overall:
    """What the page shows.

    Attributes:
        title: of the page.
        headline: the line a person can repeat to a colleague.
        facts: name and value, such as the rule.
        accuracies: name, value, and the ends of its interval, from 0 to 1.
        shares: b over f of each example.
        sources: name, operation, mean magnitude and mean amount, the largest first.
        heads: of the columns of ``classes``.
        classes: a row of cells for each.
        galleries: a title, and its cards.
        errors: id and reason of examples that are left out.
    """

    title: str
    headline: str
    facts: Sequence[tuple[str, str]] = ()
    accuracies: Sequence[tuple[str, float, float, float]] = ()
    shares: Array = field(default_factory=lambda: np.zeros(0))
    sources: Sequence[tuple[str, str, float, float]] = ()
    heads: Sequence[str] = ()
    classes: Sequence[Sequence[str]] = ()
    galleries: Sequence[tuple[str, Sequence[Card]]] = ()
    errors: Sequence[tuple[str, str]] = ()


def html_of_overall(overall: Overall, version: str) -> str:
    """The whole page, one file; see `html_of`.

    Args:
        overall: what it shows.
        version: of biasprop.
    """
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    sections = (
        _accuracies(overall.accuracies),
        _histogram(overall.shares),
        _sources(overall.sources),
        _classes(overall.heads, overall.classes),
        *(_gallery(title, cards, version) for title, cards in overall.galleries),
        _errors(overall.errors),
    )
    facts = "; ".join(f"{name}: {value}" for name, value in overall.facts)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text_of(overall.title)}</title>\n<style>\n{style}</style></head>\n"
        f'<body class="overall"><header><h1>{text_of(overall.title)}</h1>\n'
        f'<p class="sentence">{text_of(overall.headline)}</p></header>\n<main>{"".join(sections)}</main>\n'
        f"<footer>{text_of(facts)}{'. ' * bool(facts)}biasprop {text_of(version)}.</footer></body></html>\n"
    )


def _section(title: str, inner: str, note: str = "") -> str:
    said = f'<p class="note">{text_of(note)}</p>' if note else ""
    return f"<section><h2>{text_of(title)}</h2>{said}{inner}</section>\n" if inner else ""


def _accuracies(rows: Sequence[tuple[str, float, float, float]]) -> str:
    kinds = {"w.x + b": "total", "w.x alone": "w", "b alone": "beta"}
    found = []
    for name, value, low, high in rows:
        bar = f'<i class="{kinds.get(name, "total")}" style="left:0;width:{100 * value:.2f}%"></i>'
        line = f'<i class="interval" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
        found.append(
            f'<tr><th scope="row">{text_of(name)}</th><td class="number">{100 * value:.1f} %</td>'
            f'<td class="bar">{bar}{line}</td><td class="split">{100 * low:.1f} to {100 * high:.1f}</td></tr>'
        )
    table = f"<table>{''.join(found)}</table>" if found else ""
    return _section("which part is right", table, "accuracy; the thin line is its 95 % interval")


def _histogram(shares: Array, low: int = -50, high: int = 200, width: int = 5) -> str:
    """What lies outside is counted in the outermost bars."""
    if not len(shares):
        return ""
    edges = np.arange(low, high + width, width)
    counts, _ = np.histogram(np.clip(100 * shares, low, high), edges)
    top, median = counts.max(), 100 * float(np.median(shares))
    x = 600 / (high - low)
    bars = "".join(
        f'<rect x="{x * (edge - low):.1f}" y="{150 - 140 * n / top:.1f}" width="{x * width - 1:.1f}" '
        f'height="{140 * n / top:.1f}"><title>{edge} to {edge + width} %: {n} examples</title></rect>'
        for edge, n in zip(edges[:-1].tolist(), counts.tolist(), strict=True)
        if n
    )
    marks = "".join(
        f'<line x1="{x * (at - low):.1f}" x2="{x * (at - low):.1f}" y1="0" y2="150"/>'
        f'<text x="{x * (at - low):.1f}" y="166" text-anchor="middle">{at} %</text>'
        for at in (0, 100)
    )
    place = x * (min(max(median, low), high) - low)
    said = f"b, % of the output: a median {median:z.0f} % (bold line); 0: all of it is w.x, 100: all of it is b"
    picture = (
        f'<svg class="histogram" viewBox="0 0 600 172" role="img" aria-label="{text_of(said)}">{bars}{marks}'
        f'<line class="median" x1="{place:.1f}" x2="{place:.1f}" y1="0" y2="150"/></svg>'
    )
    return _section("how much is bias", picture, said)


def _sources(rows: Sequence[tuple[str, str, float, float]], most: int = 15) -> str:
    limit = max((size for _, _, size, _ in rows), default=0.0) or 1.0
    found = []
    for name, operation, size, amount in rows[:most]:
        bar = f'<i class="beta" style="left:0;width:{100 * size / limit:.1f}%"></i>'
        found.append(
            f'<tr><th scope="row">{text_of(name)}</th><td>{text_of(operation)}</td><td class="number">{size:.4g}</td>'
            f'<td class="bar">{bar}</td><td class="split">mean {amount:+.4g}</td></tr>'
        )
    left = len(rows) - most
    note = "mean magnitude of each source's amount" + (f"; {left} smaller ones are not shown" if left > 0 else "")
    return _section("where b comes from", f"<table>{''.join(found)}</table>" if found else "", note)


def _classes(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{text_of(one)}</th>' for one in heads)
    lines = "".join(
        f'<tr><th scope="row">{text_of(row[0])}</th>'
        + "".join(f'<td class="number">{text_of(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return _section("by class", f'<table class="classes"><tr>{head}</tr>{lines}</table>')


def _gallery(title: str, cards: Sequence[Card], version: str) -> str:
    """Each card opens in place; its page is loaded when it does."""
    found = []
    for card in cards:
        picture = f'<img src="{escape(card.picture)}" alt="">' if card.picture else ""
        caption = f"<span>{text_of(card.caption)}</span>"
        if card.page is None:
            found.append(f'<figure class="card">{picture}{caption}</figure>')
        else:
            inner = framed(html_of(card.page, version))
            found.append(f'<details class="card"><summary>{picture}{caption}</summary>{inner}</details>')
    return _section(title, f'<div class="cards">{"".join(found)}</div>' if found else "")


def _errors(errors: Sequence[tuple[str, str]], most: int = 50) -> str:
    if not errors:
        return ""
    rows = "".join(f'<tr><th scope="row">{text_of(one)}</th><td>{text_of(why)}</td></tr>' for one, why in errors[:most])
    more = f"; the first {most}" if len(errors) > most else ""
    return (
        f"<details><summary>{len(errors)} example{'s' * (len(errors) != 1)} left out{more}</summary>"
        f"<table>{rows}</table></details>"
    )
