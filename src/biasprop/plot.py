"""Pictures of an explanation: heat maps for images, bars for tabular features.

Colour scales are symmetric about zero, in the units of f(x); red adds, blue takes away. Each map has a scale of its
own, written beside it: b is often spread over the whole image where w * x is concentrated, or the other way round.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .errors import InputError
from .regions import patches
from .summary import equation, feature_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .audit import Audit
    from .explanation import Explanation, Part

__all__ = ["CLIP", "COLOURS", "highlight", "plot", "plot_audit"]

Array = NDArray[np.float64]

COLOURS = "RdBu_r"  # colour-blind safe, symmetric
RED, BLUE, GREY = "#b2182b", "#2166ac", "#555555"
CLIP = 99.5  # percentile at which pixel maps are clipped, so that single winners do not blank the rest
NAMES = ("w * x", "beta", "w * x + beta")


def plot(
    explanation: "Explanation",
    example: int = 0,
    *,
    part: int = 0,
    image: Any = None,
    title: str | None = None,
    feature_names: Sequence[str] | None = None,
    patch: int | None = None,
    top: float = 0.1,
) -> Figure:
    """Draw one example.

    Images, and hidden tensors with two spatial dimensions, give a panel: the image; maps of ``w * x``, ``beta`` and
    their sum (channels summed); their sums over patches laid over the image; and the ``top`` share of features with
    the largest magnitude. Everything else gives one bar per feature.

    Args:
        explanation: what to draw.
        example: which of the batch.
        part: which tensor of an explanation of several.
        image: the picture to show, ``(H, W)`` or ``(H, W, 3)``, values 0-1 or 0-255; default: x, stretched to 0-1.
        title: first line above the equation.
        feature_names: names of tabular features.
        patch: side of the patches in pixels; default: about a sixteenth of the image.
        top: share of features in the last row.

    Returns:
        A matplotlib ``Figure`` that belongs to no window; save it with ``figure.savefig``.

    Raises:
        InputError: there is no such example or part, the image does not fit, or there are several targets.
    """
    if explanation.several:
        raise InputError("A picture is of one target: explanation.for_target(0).plot().")
    if not -len(explanation.output) <= example < len(explanation.output):
        raise InputError(f"There is no example {example}: the explanation has {len(explanation.output)}.")
    if not 0 <= part < len(explanation.parts):
        raise InputError(f"There is no part {part}: the explanation has {len(explanation.parts)}.")
    chosen = explanation.parts[part]
    heading = equation(explanation, example)
    heading = f"{title}\n{heading}" if title else heading
    values, w, beta = (_example(chosen, t, example) for t in (chosen.value, chosen.product, chosen.beta))
    if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
        figure = _panel(values, w, beta, image, patch, top)
        axes = figure.axes[4], figure.axes[8]
    else:
        figure = _bars(chosen, values, w, beta, feature_names)
        axes = figure.axes[1], figure.axes[2]
    _draw_equation(axes[0], explanation, example)
    _draw_sources(axes[1], explanation, example)
    figure.suptitle(_plain(heading), fontsize=13)
    return figure


def _example(part: "Part", values: Any, example: int) -> Array:
    array = values.movedim(part.batch_dim, 0)[example].detach().double().cpu().numpy()
    return np.asarray(array, dtype=np.float64)


def _panel(values: Array, w: Array, beta: Array, image: Any, patch: int | None, top: float) -> Figure:
    picture = _picture(values, image)
    maps = [m if m.ndim == 2 else m.sum(0) for m in (w, beta, w + beta)]
    figure = Figure(figsize=(13, 9.6), layout="constrained")
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
    shown[chosen & (values > 0)] = _rgb(RED)
    shown[chosen & (values < 0)] = _rgb(BLUE)
    return shown


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _bars(part: "Part", values: Array, w: Array, beta: Array, names: Sequence[str] | None, most: int = 20) -> Figure:
    flat, w, beta = values.ravel(), w.ravel(), beta.ravel()
    order = np.argsort(-np.abs(w + beta), kind="stable")[:most][::-1]
    figure = Figure(figsize=(13, max(3.4, 1.6 + 0.32 * len(order))), layout="constrained")
    grid = figure.subplot_mosaic([["features", "equation"], ["features", "sources"]], width_ratios=[2, 1])
    axis = grid["features"]
    rows = np.arange(len(order))
    axis.barh(rows + 0.2, w[order], 0.36, color="#f4a582", label="w * x")
    axis.barh(rows - 0.2, beta[order], 0.36, color="#92c5de", label="beta")
    axis.plot((w + beta)[order], rows, "D", color="black", markersize=5, label="w * x + beta")
    labels = [f"{feature_name(part, int(k), names)} = {flat[k]:.4g}" for k in order]
    axis.set_yticks(rows, [_plain(label) for label in labels])
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("share of f(x)")
    left = len(flat) - len(order)
    axis.set_title(f"the {len(order)} largest features ({left} more not shown)" if left else "all features")
    axis.legend(loc="best", fontsize=9)
    return figure


def _plain(text: str) -> str:
    """Names from files are text, not formulas."""
    return text.replace("$", r"\$")


def _draw_equation(axis: "Axes", explanation: "Explanation", example: int) -> None:
    f, b = explanation.output[example].item(), explanation.bias[example].item()
    past = explanation.bypassed[example].item()
    amounts = [("w . x", f - b - past), ("b", b), *([("bypassed", past)] if past else []), ("f(x)", f)]
    _draw_amounts(axis, amounts[::-1])
    axis.set_title("f(x) = w . x + b")


def _draw_sources(axis: "Axes", explanation: "Explanation", example: int, most: int = 8) -> None:
    amounts = explanation.sources.amounts[example].tolist()
    rows = sorted(zip(explanation.sources.names, amounts, strict=True), key=lambda row: -abs(row[1]))
    rest = sum(amount for _, amount in rows[most:])
    more = [(f"{len(rows) - most} others", rest)] if len(rows) > most else []
    _draw_amounts(axis, [*more, *rows[:most][::-1]])
    axis.set_title("where b comes from" if rows else "no bias source")


def _draw_amounts(axis: "Axes", rows: Sequence[tuple[str, float]]) -> None:
    names, amounts = [n for n, _ in rows], [a for _, a in rows]
    bars = axis.barh(range(len(rows)), amounts, color=[RED if a > 0 else BLUE for a in amounts])
    axis.bar_label(bars, [f"{a:.3g}" for a in amounts], padding=3, fontsize=8)
    axis.set_yticks(range(len(rows)), [_plain(name) for name in names], fontsize=8)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.margins(x=0.25)
    axis.tick_params(axis="x", labelsize=8)
    _open(axis)


def plot_audit(audit: "Audit", title: str | None = None, most: int = 12) -> Figure:
    """Draw an audit: accuracy of the parts, how much of the predicted logit is bias, and where it comes from.

    Args:
        audit: what to draw.
        title: first line above the summary.
        most: so many sources are shown.

    Returns:
        A matplotlib ``Figure`` that belongs to no window.
    """
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    parts, shares, sources = figure.subplots(1, 3, width_ratios=[1, 1.2, 1.5])
    _draw_accuracy(parts, audit)
    _draw_shares(shares, audit.shares.numpy())
    _draw_masses(sources, audit, most)
    first, _, rest = audit.summary().partition("; ")
    figure.suptitle(_plain("\n".join([*([title] if title else []), f"{first};", rest])), fontsize=12)
    return figure


def _draw_accuracy(axis: "Axes", audit: "Audit") -> None:
    names, values = zip(*audit.accuracy.items(), strict=True)
    ends = np.array([audit.interval(v) for v in values]).T
    errors = 100 * np.abs(np.array(values) - ends)
    bars = axis.bar(names, [100 * v for v in values], yerr=errors, capsize=4, color=[GREY, "#f4a582", "#92c5de"])
    axis.bar_label(bars, [f"{100 * v:.1f}" for v in values], padding=3)
    axis.set_ylabel("accuracy, % (bars: 95 % interval)")
    axis.set_ylim(0, 110)
    axis.set_title("which part is right")
    _open(axis)


def _draw_shares(axis: "Axes", shares: Array) -> None:
    """What lies outside of -0.5 to 2 is drawn in the outermost bins."""
    axis.hist(np.clip(100 * shares, -50, 200), bins=50, range=(-50, 200), color="#92c5de")
    for level, name in ((0, "all of it is w.x"), (100, "all of it is b")):
        axis.axvline(level, color=GREY, linewidth=0.8, linestyle=":", label=f"{level} %: {name}")
    if len(shares):
        median = 100 * float(np.median(shares))
        axis.axvline(median, color=BLUE, linewidth=1.5, label=f"median {median:.0f} %")
    axis.set_xlabel("b, % of the predicted logit (outermost bins: and beyond)")
    axis.set_ylabel("examples")
    axis.set_title("how much is bias")
    axis.legend(fontsize=9)
    _open(axis)


def _draw_masses(axis: "Axes", audit: "Audit", most: int) -> None:
    """Bars: the mean magnitude of each source's amount; diamonds: its mean."""
    order = audit.masses.argsort(descending=True).tolist()[:most][::-1]
    rows = range(len(order))
    axis.barh(rows, [audit.masses[i].item() / len(audit) for i in order], color="#92c5de", label="mean magnitude")
    means = [audit.amounts[i].item() / len(audit) for i in order]
    axis.plot(means, rows, "D", color="black", markersize=5, label="mean")
    axis.set_yticks(rows, [_plain(audit.sources[i][0]) for i in order], fontsize=9)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("amount of the predicted logit")
    left = len(audit.sources) - len(order)
    axis.set_title("where b comes from" + (f" ({left} smaller sources not shown)" if left else ""))
    axis.legend(fontsize=9, loc="lower right")
    _open(axis)


def _open(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
