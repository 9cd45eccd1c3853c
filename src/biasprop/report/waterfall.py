"""A row of a table, from 0 to f(x): the bar of a feature is the answer, its split into w * x and beta a detail."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import BIAS, GREY, MINUS, PLUS, TOTAL, WEIGHT, Array, open_frame, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_waterfall"]

BAR, LINE = 0.46, 0.1  # heights, of a row


def draw_waterfall(axis: "Axes", labels: list[str], w: Array, beta: Array, output: float) -> None:
    """Bars that begin where the last has ended, and below each two thin lines: ``w * x``, and back by ``beta``.

    Args:
        axis: to draw on.
        labels: of the rows.
        w: ``w * x`` of each row.
        beta: likewise.
        output: f(x), which the last bar reaches.
    """
    total = w + beta
    ends = np.concatenate([[0.0], np.cumsum(total)])
    rows = np.arange(len(total))
    axis.barh(rows, total, BAR, ends[:-1], color=[PLUS if one >= 0 else MINUS for one in total])
    below = rows + BAR / 2 + LINE
    axis.barh(below, w, LINE, ends[:-1], color=WEIGHT, label="of it w * x")
    axis.barh(below + LINE, beta, LINE, ends[:-1] + w, color=BIAS, label="of it beta")
    axis.barh([len(rows)], [output], BAR, color=TOTAL)
    for k, end in enumerate(ends[1:]):  # from the end of a bar to the next
        axis.plot([end, end], [k - BAR / 2, k + 1 + BAR / 2], color=GREY, linewidth=0.6, zorder=0)
    for k, value in enumerate(total):
        _say(axis, f"{value:+.3g}", max(ends[k], ends[k + 1]), k)
    _say(axis, f"{output:.4g}", max(output, 0.0), len(rows), weight="bold")
    axis.set_yticks(np.arange(len(rows) + 1), [plain(label) for label in [*labels, "f(x)"]], fontsize=9)
    axis.set_ylim(len(rows) + 0.7, -0.7)
    axis.use_sticky_edges = False
    axis.margins(x=0.12)  # for the numbers
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("red adds to f(x), blue takes away; each bar begins where the last has ended")
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=9, frameon=False)
    open_frame(axis)


def _say(axis: "Axes", text: str, x: float, row: int, **style: Any) -> None:
    axis.annotate(text, (x, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, **style)
