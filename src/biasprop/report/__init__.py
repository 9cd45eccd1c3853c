"""How a result is shown to a person: printed summaries and pictures.

Uses `biasprop.results` and sees nothing else; matplotlib is imported when a picture is drawn.
"""

from .listing import frame_of, plain_values
from .naming import equation, equation_of, feature_name, source_name
from .photo import CLIP
from .picture import draw
from .printable import shown
from .received import Received, largest_received
from .style import BIAS, COLOURS, GREY, TOTAL, WEIGHT
from .summary import summarize

__all__ = [
    "BIAS",
    "CLIP",
    "COLOURS",
    "GREY",
    "TOTAL",
    "WEIGHT",
    "Received",
    "draw",
    "equation",
    "equation_of",
    "feature_name",
    "frame_of",
    "largest_received",
    "plain_values",
    "shown",
    "source_name",
    "summarize",
]
