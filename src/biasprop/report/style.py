"""What all pictures share: colours, text that is no formula, open frames; and matplotlib, when one is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "COLOURS", "GREY", "NAMES", "RED", "Array", "figure_of", "open_frame", "plain", "rgb"]

Array = NDArray[np.float64]

RED, BLUE, GREY = "#b2182b", "#2166ac", "#555555"

COLOURS = "RdBu_r"  # of maps: colour-blind safe, symmetric

NAMES = ("w * x", "beta", "w * x + beta")


def figure_of(**options: Any) -> "Figure":
    """A figure that belongs to no window.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure: Figure = require("matplotlib.figure", "plot").Figure(**options)
    return figure


def plain(text: str) -> str:
    """Names from files are text, not formulas."""
    return text.replace("$", r"\$")


def rgb(colour: str) -> tuple[float, ...]:
    """From ``#rrggbb`` to numbers from 0 to 1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def open_frame(axis: "Axes") -> None:
    """Without the lines above and on the right."""
    axis.spines[["top", "right"]].set_visible(False)
