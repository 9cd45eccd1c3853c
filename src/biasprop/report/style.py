"""What all pictures share: colours, text that is no formula, open frames; and matplotlib, when one is drawn."""

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BIAS",
    "CELLS",
    "COLOURS",
    "GREY",
    "MINUS",
    "NAMES",
    "PLUS",
    "TOTAL",
    "WEIGHT",
    "Array",
    "figure_of",
    "legend_below",
    "open_frame",
    "plain",
]

Array = NDArray[np.float64]

WEIGHT, BIAS, TOTAL, GREY = "#e08214", "#8073ac", "#01665e", "#555555"
"""Of w.x and w * x, of b and beta, and of their sum, in bars and curves; told apart by the colour-blind, too."""

COLOURS = "RdBu_r"
"""Of maps and words: red adds to the output, blue takes away; symmetric about zero."""

PLUS, MINUS = "#b2182b", "#2166ac"
"""The same, of bars."""

CELLS = 28
"""Patches along the longer side of a map, unless they are chosen."""

NAMES = ("w * x", "beta", "w * x + beta")


def figure_of(**options: Any) -> "Figure":
    """A figure that belongs to no window, and that a notebook shows on its own.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure: Figure = _shown(require("matplotlib.figure", "plot").Figure)(**options)
    return figure


@cache
def _shown(kind: Any) -> Any:
    """Figures as pictures, also where no pyplot has told the notebook how to show them."""

    def _repr_png_(figure: "Figure") -> bytes:
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=80)
        return stream.getvalue()

    return type("Figure", (kind,), {"_repr_png_": _repr_png_, "__module__": kind.__module__})


def plain(text: str) -> str:
    """Names from files are text, not formulas."""
    return text.replace("$", r"\$")


def legend_below(axis: "Axes") -> None:
    """Below the axis, where it covers nothing."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9, frameon=False, borderaxespad=0)


def open_frame(axis: "Axes") -> None:
    """Without the lines above and on the right."""
    axis.spines[["top", "right"]].set_visible(False)
