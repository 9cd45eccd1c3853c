"""The picture of an audit: accuracy of the terms, how much of the predicted logit is bias, where it comes from."""

from typing import TYPE_CHECKING

import numpy as np

from ..report import source_name
from ..report.style import BIAS, GREY, TOTAL, WEIGHT, Array, figure_of, legend_below, open_frame, plain
from .findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_audit"]


def draw_audit(audit: Findings, title: str | None = None, most: int = 12) -> "Figure":
    """Draw an audit: accuracy of the parts, how much of the predicted logit is bias, and where it comes from.

    Args:
        audit: what to draw.
        title: first line above the summary.
        most: how many sources are shown.

    Returns:
        A matplotlib ``Figure`` that belongs to no window.
    """
    figure = figure_of(figsize=(15, 4.8), layout="constrained")
    parts, shares, sources = figure.subplots(1, 3, width_ratios=[1, 1.2, 1.5])
    _draw_accuracy(parts, audit)
    _draw_shares(shares, audit.shares.numpy())
    _draw_masses(sources, audit, most)
    first, _, rest = audit.summary().partition("; ")
    figure.suptitle(plain("\n".join([*([title] if title else []), f"{first};", rest])), fontsize=12)
    return figure


def _draw_accuracy(axis: "Axes", audit: Findings) -> None:
    names, values = zip(*audit.accuracy.items(), strict=True)
    ends = np.array([audit.interval(v) for v in values]).T
    errors = 100 * np.abs(np.array(values) - ends)
    bars = axis.bar(names, [100 * v for v in values], yerr=errors, capsize=4, color=[TOTAL, WEIGHT, BIAS])
    axis.bar_label(bars, [f"{100 * v:.1f}" for v in values], padding=3)
    axis.set_ylabel("accuracy, % (bars: 95 % interval)")
    axis.set_ylim(0, 110)
    axis.set_title("which part is right")
    open_frame(axis)


def _draw_shares(axis: "Axes", shares: Array) -> None:
    """What lies outside of -0.5 to 2 is drawn in the outermost bins."""
    axis.hist(np.clip(100 * shares, -50, 200), bins=50, range=(-50, 200), color=BIAS)
    for level, name in ((0, "all of it is w.x"), (100, "all of it is b")):
        axis.axvline(level, color=GREY, linewidth=0.8, linestyle=":", label=f"{level} %: {name}")
    if len(shares):
        median = 100 * float(np.median(shares))
        axis.axvline(median, color="black", linewidth=1.5, label=f"median {median:z.0f} %")
    axis.set_xlabel("b, % of the predicted logit (outermost bins: and beyond)")
    axis.set_ylabel("examples")
    axis.set_title("how much is bias")
    legend_below(axis)
    open_frame(axis)


def _draw_masses(axis: "Axes", audit: Findings, most: int) -> None:
    """Bars: the mean magnitude of each source's amount; diamonds: its mean."""
    order = audit.masses.argsort(descending=True).tolist()[:most][::-1]
    rows = range(len(order))
    axis.barh(rows, [audit.masses[i].item() / len(audit) for i in order], color=BIAS, label="mean magnitude")
    means = [audit.amounts[i].item() / len(audit) for i in order]
    axis.plot(means, rows, "D", color="black", markersize=5, label="mean")
    axis.set_yticks(rows, [plain(source_name(*audit.sources[i])) for i in order], fontsize=9)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("amount of the predicted logit")
    left = len(audit.sources) - len(order)
    axis.set_title("where b comes from" + (f" ({left} smaller sources not shown)" if left else ""))
    legend_below(axis)
    open_frame(axis)
