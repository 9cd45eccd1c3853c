"""How a result is shown to a person: printed summaries and pictures.

Uses `biasprop.results` and sees nothing else; matplotlib is imported when a picture is drawn.
"""

from .naming import equation, feature_name, named_target, source_name
from .photo import CLIP
from .picture import draw
from .printable import shown
from .style import BIAS, COLOURS, GREY, TOTAL, WEIGHT
from .summary import summarize

__all__ = [
    "BIAS",
    "CLIP",
    "COLOURS",
    "GREY",
    "TOTAL",
    "WEIGHT",
    "draw",
    "equation",
    "feature_name",
    "named_target",
    "shown",
    "source_name",
    "summarize",
]
