"""How a result is shown to a person: printed summaries and pictures.

Uses `biasprop.results` and sees nothing else; matplotlib is imported when a picture is drawn.
"""

from .picture import CLIP, draw, highlight
from .printable import shown
from .style import BLUE, COLOURS, GREY, RED
from .summary import equation, feature_name, summarize

__all__ = [
    "BLUE",
    "CLIP",
    "COLOURS",
    "GREY",
    "RED",
    "draw",
    "equation",
    "feature_name",
    "highlight",
    "shown",
    "summarize",
]
