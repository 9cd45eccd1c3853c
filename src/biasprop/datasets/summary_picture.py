"""The picture of a data set: share of the bias by class, where it comes from, and mean maps of the largest classes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import BIAS, COLOURS, GREY, TOTAL, Array, figure_of, legend_below, open_frame, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .overview import Overview

__all__ = ["draw_summary"]

ROWS = 12


def draw_summary(summary: "Overview", most: int = 6) -> "Figure":
    """Draw a summary.

    Args:
        summary: what to draw.
        most: of how many classes mean maps are shown.
    """
    shown = [(i, found) for i, tally in summary.tallies.items() if (found := tally.map()) is not None][:most]
    pictures = [(i, found) for i, found in shown if found[0].ndim == 2]
    bars = [(i, found) for i, found in shown if found[0].ndim == 1]
    rows = 1 + (2 if pictures else 1 if bars else 0)
    figure = figure_of(figsize=(13, 4.4 + (4.8 if rows > 1 else 0)), layout="constrained")
    figure.suptitle(plain(summary.headline()), fontsize=12)
    parts: Any = figure.subfigures(1 if rows == 1 else 2, 1, squeeze=False)[:, 0]
    shares, sources = parts[0].subplots(1, 2)
    _draw_shares(shares, summary)
    _draw_sources(sources, summary)
    if pictures:
        _draw_maps(parts[1], summary, pictures)
    elif bars:
        _draw_features(parts[1].subplots(), summary, bars[0])
    return figure


def _draw_shares(axis: "Axes", summary: "Overview") -> None:
    """Quartiles of b over f of each class."""
    chosen = [(i, t) for i, t in summary.tallies.items() if any(len(s) for s in t.shares)][:ROWS][::-1]
    values = [100 * np.concatenate(tally.shares) for _, tally in chosen]
    if values:
        boxes = axis.boxplot(values, orientation="horizontal", showfliers=False, patch_artist=True, widths=0.6)
        for box in boxes["boxes"]:
            box.set(facecolor=BIAS, alpha=0.7)
        for line in boxes["medians"]:
            line.set(color="black")
    axis.set_yticks(range(1, len(chosen) + 1), [plain(f"{summary.name(i)[:24]} ({t.count})") for i, t in chosen])
    for level in (0, 100):
        axis.axvline(level, color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xlabel("b, % of the output (box: quartiles; 0: all of it is w.x, 100: all of it is b)")
    left = len(summary.tallies) - len(chosen)
    axis.set_title("how much is bias, by class" + (f" ({left} smaller ones not shown)" if left else ""))
    open_frame(axis)


def _draw_sources(axis: "Axes", summary: "Overview") -> None:
    found = summary.sources()
    chosen = found[:ROWS][::-1]
    count = max(len(summary), 1)
    axis.barh(range(len(chosen)), [pair[1] / count for _, pair in chosen], color=BIAS, label="mean magnitude")
    axis.plot(
        [pair[0] / count for _, pair in chosen], range(len(chosen)), "D", color="black", ms=5, label="mean amount"
    )
    axis.set_yticks(range(len(chosen)), [plain(name) for name, _ in chosen], fontsize=9)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("amount of the output")
    left = len(found) - len(chosen)
    axis.set_title("where b comes from" + (f" ({left} smaller sources not shown)" if left else ""))
    if chosen:
        legend_below(axis)
    open_frame(axis)


def _draw_maps(figure: Any, summary: "Overview", chosen: list[tuple[int, tuple[Array, Array]]]) -> None:
    """Mean of w * x + beta, and of beta, of each class; a scale for each of the two."""
    axes = figure.subplots(2, len(chosen), squeeze=False)
    for row, name in enumerate(("w * x + beta", "beta")):
        values = [pair[row] for _, pair in chosen]
        limit = max(float(np.percentile(np.abs(one), 99.5)) for one in values) or 1.0
        for axis, one in zip(axes[row], values, strict=True):
            image = axis.imshow(one, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[row, 0].set_ylabel(f"mean {name}")
        figure.colorbar(image, ax=axes[row], fraction=0.02, extend="both").set_label("share of the output")
    for axis, (index, _) in zip(axes[0], chosen, strict=True):
        axis.set_title(plain(summary.name(index)[:22]), fontsize=10)


def _draw_features(axis: "Axes", summary: "Overview", one: tuple[int, tuple[Array, Array]]) -> None:
    """Of a table: the features of the largest class."""
    index, (whole, bias) = one
    order = np.argsort(-np.abs(whole))[: 2 * ROWS][::-1]
    names = summary.features or [f"feature {k}" for k in range(len(whole))]
    axis.barh(range(len(order)), whole[order], color=TOTAL, label="w * x + beta")
    axis.barh(range(len(order)), bias[order], height=0.35, color=BIAS, label="of it beta")
    axis.set_yticks(range(len(order)), [plain(names[k]) for k in order], fontsize=9)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("mean share of the output")
    axis.set_title(plain(f"features, {summary.name(index)}"))
    legend_below(axis)
    open_frame(axis)
