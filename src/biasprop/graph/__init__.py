"""The captured network: what its operations are, how they are captured from a model, and the one walk over them.

Uses `biasprop.errors` alone. It knows nothing of attribution: a graph can be run, and that is all.
"""

from .export import capture, require_eval
from .node import Graph, Node, abbreviate, overwrite
from .precision import compute_dtype, raised
from .walking import evaluated, filled, run, started, walk

__all__ = [
    "Graph",
    "Node",
    "abbreviate",
    "capture",
    "compute_dtype",
    "evaluated",
    "filled",
    "overwrite",
    "raised",
    "require_eval",
    "run",
    "started",
    "walk",
]
