"""Bars of amounts: the equation, and where b comes from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..results import Decomposition
from .naming import source_name
from .style import BIAS, GREY, TOTAL, WEIGHT, open_frame, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_equation", "draw_sources"]


def draw_equation(axis: "Axes", explanation: Decomposition[Any], example: int) -> None:
    """``w . x``, ``b`` and their sum."""
    f, b = explanation.output[example].item(), explanation.bias[example].item()
    past = explanation.bypassed[example].item()
    amounts = [("w . x", f - b - past), ("b", b), *([("bypassed", past)] if past else []), ("f(x)", f)]
    colours = {"w . x": WEIGHT, "b": BIAS, "bypassed": GREY, "f(x)": TOTAL}
    _draw_amounts(axis, amounts[::-1], [colours[name] for name, _ in amounts[::-1]])
    axis.set_title("f(x) = w . x + b")


def draw_sources(axis: "Axes", explanation: Decomposition[Any], example: int, most: int = 8) -> None:
    """The largest bias sources."""
    sources = explanation.sources
    names = map(source_name, sources.names, sources.operations)
    rows = sorted(zip(names, sources.amounts[example].tolist(), strict=True), key=lambda row: -abs(row[1]))
    rest = sum(amount for _, amount in rows[most:])
    more = [(f"{len(rows) - most} others", rest)] if len(rows) > most else []
    axis.set_title("where b comes from" if rows else "no bias source")
    if rows:
        _draw_amounts(axis, [*more, *rows[:most][::-1]], BIAS)
    else:
        axis.set_axis_off()


def _draw_amounts(axis: "Axes", rows: Sequence[tuple[str, float]], colour: str | Sequence[str]) -> None:
    names, amounts = [n for n, _ in rows], [a for _, a in rows]
    bars = axis.barh(range(len(rows)), amounts, color=colour)
    axis.bar_label(bars, [f"{a:.3g}" for a in amounts], padding=3, fontsize=8)
    axis.set_yticks(range(len(rows)), [plain(name) for name in names], fontsize=8)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.margins(x=0.35)  # for the labels
    axis.tick_params(axis="x", labelsize=8)
    open_frame(axis)
