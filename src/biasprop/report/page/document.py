"""A page as HTML: everything inline, everything escaped, no address of anywhere."""

import base64
import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from ..printable import shown
from .content import Array, Content, Shown

__all__ = ["POLICY", "framed", "html_of", "text_of"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the page may do: show what is in it."""


def html_of(content: Content, version: str) -> str:
    """The whole page.

    Args:
        content: what it shows.
        version: of biasprop.
    """
    here = files(__package__)
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    body = "\n".join([_head(content), _main(content), _foot(content, version)])
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text_of(content.title)}</title>\n<style>\n{style}</style></head>\n"
        f'<body class="{content.kind}">\n{body}\n'
        f'<script type="application/json" id="content">{_json(_moving(content))}</script>\n'
        f"<script>\n{script}</script>\n</body></html>\n"
    )


def framed(page: str, height: int = 640) -> str:
    """A page inside another, such as a notebook: style and script of the two do not meet."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" loading="lazy" title="biasprop"'
        f' style="width:100%;height:{height}px;border:0"></iframe>'
    )


def text_of(text: object) -> str:
    """Escaped, and what has no picture shown as such."""
    return escape(shown(text, keep="\n"))


def _head(content: Content) -> str:
    first = content.targets[0]
    return (
        f'<header><h1>{text_of(content.title)}</h1>\n<p class="sentence" id="sentence">{text_of(first.sentence)}</p>'
        f"</header>"
    )


def _foot(content: Content, version: str) -> str:
    worst = max(one.error for one in content.targets)
    lost = content.targets[0].unattributed
    said = f"; {lost:.4g} of b reaches no input" if lost else ""
    return (
        f"<footer>Complete: the parts add up to f(x) to {worst:.0e}{said}. {text_of(content.method)}. "
        f"biasprop {text_of(version)}. Red adds to f(x), blue takes away.</footer>"
    )


def _main(content: Content) -> str:
    tabs = "".join(
        f'<button type="button" role="tab" data-target="{k}" aria-selected="{"true" if k == 0 else "false"}">'
        f"{text_of(one.name)}</button>"
        for k, one in enumerate(content.targets)
    )
    tabs = f'<nav role="tablist" aria-label="what is explained">{tabs}</nav>' if len(content.targets) > 1 else ""
    panels = "".join(_panel(content, k, one) for k, one in enumerate(content.targets))
    return f"<main>{tabs}{_image(content) if content.kind == 'image' else ''}{panels}</main>"


def _panel(content: Content, k: int, one: Shown) -> str:
    """One target: what its features or words receive, and where its b comes from."""
    inner = {"features": _waterfall, "text": _words, "image": lambda content, one: ""}[content.kind](content, one)
    heading = f"<h2>{text_of(one.name)}</h2><p>{text_of(one.sentence)}</p>" if k else ""
    return f'<section class="target" data-target="{k}">{heading}{inner}{_sources(content, one, k)}</section>'


def _image(content: Content) -> str:
    """The photo with the map on it, which the script draws anew, and what changes it."""
    height, width = content.size
    longest = max(height, width)
    first = min(max(1, round(longest / 28 / content.cell)), 40)
    others = "".join(f'<option value="{k}">minus {text_of(one.name)}</option>' for k, one in enumerate(content.targets))
    compare = (
        f'<label>compare <select id="compare"><option value="">alone</option>{others}</select></label>'
        if len(content.targets) > 1
        else ""
    )
    kinds = "".join(
        f'<label><input type="radio" name="kind" value="{value}"{" checked" if value == "sum" else ""}> {name}</label>'
        for value, name in (("sum", "w * x + beta"), ("w", "w * x"), ("beta", "beta"))
    )
    return (
        f'<section class="picture"><figure><img id="overlay" src="{content.overlay}" alt="the map over the photo">'
        f'<img id="photo" src="{content.photo}" alt="the input">'
        f'<canvas id="map" width="{width}" height="{height}" tabindex="0" role="img" '
        'aria-label="the map over the photo; arrow keys move from patch to patch" aria-describedby="pointed"></canvas>'
        '<figcaption id="pointed" aria-live="polite">Point at a patch, or move there with the arrow keys.</figcaption>'
        '</figure><form id="controls" onsubmit="return false">'
        f"<fieldset><legend>show</legend>{kinds}</fieldset>{compare}"
        '<label>patches <output id="patch-said"></output>'
        f'<input id="patch" type="range" min="1" max="40" value="{first}"></label>'
        '<label>opacity<input id="opacity" type="range" min="0" max="100" value="80"></label>'
        '<div id="scale" aria-hidden="true"></div></form></section>'
    )


def _waterfall(content: Content, one: Shown) -> str:
    """Bars from 0 to f(x), each beginning where the last ended; the split of each is a thin line below it."""
    total = one.w + one.beta
    ends = np.concatenate([[0.0], np.cumsum(total)])
    reached = np.concatenate([ends, ends[:-1] + one.w])  # the thin lines may go beyond the bars
    low, high = min(0.0, float(reached.min())), max(0.0, float(reached.max()))
    span = (high - low) or 1.0

    def bar(start: float, stop: float, kind: str) -> str:
        left, width = 100 * (min(start, stop) - low) / span, 100 * abs(stop - start) / span
        return f'<i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'

    rows = []
    for k, label in enumerate(content.labels):
        start, stop = ends[k], ends[k + 1]
        split = bar(start, start + one.w[k], "w") + bar(start + one.w[k], stop, "beta")
        said = f"w * x {one.w[k]:+.4g}, beta {one.beta[k]:+.4g}"
        rows.append(
            f'<tr title="{text_of(said)}"><th scope="row">{text_of(label)}</th><td class="number">{total[k]:+.4g}</td>'
            f'<td class="bar">{bar(start, stop, "plus" if total[k] >= 0 else "minus")}{split}</td>'
            f'<td class="split">{text_of(said)}</td></tr>'
        )
    rows.append(
        f'<tr class="total"><th scope="row">f(x)</th><td class="number">{one.output:.4g}</td>'
        f'<td class="bar">{bar(0.0, one.output, "total")}</td><td class="split">w.x {one.output - one.bias:.4g}, '
        f"b {one.bias:.4g}</td></tr>"
    )
    return f'<table class="waterfall"><caption>what each feature gives</caption>{"".join(rows)}</table>'


def _words(content: Content, one: Shown) -> str:
    total = one.w + one.beta
    limit = float(np.abs(total).max()) or 1.0
    spans = []
    for word, w, beta, both in zip(content.labels, one.w, one.beta, total, strict=True):
        strength = 0.85 * (abs(both) / limit) ** 0.5
        colour = f"rgba(178,24,43,{strength:.2f})" if both > 0 else f"rgba(33,102,172,{strength:.2f})"
        said = f"{both:+.4g} = w * x {w:+.4g}, beta {beta:+.4g}"
        spans.append(
            f'<span class="word{" strong" if strength > 0.5 else ""}" tabindex="0" style="background:{colour}" '
            f'title="{text_of(said)}" data-said="{text_of(said)}">{text_of(word)}</span>'
        )
    return f'<p class="words">{" ".join(spans)}</p><p class="pointed" aria-live="polite">Point at a word.</p>'


def _sources(content: Content, one: Shown, k: int) -> str:
    if not one.sources:
        return '<p class="sources">The network has no bias: b is 0.</p>'
    limit = max(abs(amount) for _, _, amount in one.sources) or 1.0
    rows = []
    for name, operation, amount in one.sources:
        there = k == 0 and name in content.parts
        label = (
            f'<button type="button" data-source="{text_of(name)}">{text_of(name)}</button>' if there else text_of(name)
        )
        left = 50.0 if amount >= 0 else 50 - 50 * abs(amount) / limit
        bar = f'<i class="beta" style="left:{left:.1f}%;width:{50 * abs(amount) / limit:.1f}%"></i>'
        rows.append(
            f'<tr><th scope="row">{label}</th><td>{text_of(operation)}</td><td class="number">{amount:+.4g}</td>'
            f'<td class="bar">{bar}</td></tr>'
        )
    hint = " (press a name to see its part)" if k == 0 and content.parts else ""
    return (
        f'<details class="sources" {"open" if content.kind == "image" else ""}><summary>where b = {one.bias:.4g} comes '
        f"from{hint}</summary><table>{''.join(rows)}</table></details>"
    )


def _moving(content: Content) -> dict[str, Any]:
    """What the script needs beside the page itself."""
    targets = [{"name": shown(one.name), "sentence": shown(one.sentence)} for one in content.targets]
    found: dict[str, Any] = {"kind": content.kind, "targets": targets}
    if content.kind == "image":
        rows, columns = content.targets[0].w.shape
        found |= {"cell": content.cell, "rows": rows, "columns": columns, "size": content.size}
        found["maps"] = [{"w": _base64(one.w), "beta": _base64(one.beta)} for one in content.targets]
        found["parts"] = {shown(name): _base64(values) for name, values in content.parts.items()}
    return found


def _base64(values: Array) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _json(value: Any) -> str:
    """As it may stand inside a script element: no tag can begin in it."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
