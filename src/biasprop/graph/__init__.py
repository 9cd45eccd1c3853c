"""The captured network: what its operations are, how they are captured from a model, and the one walk over them.

Uses `biasprop.errors` alone. It knows nothing of attribution: a graph can be run, and that is all.
"""

from .examples import Placed, as_it_was, examples_first
from .export import capture
from .lookup import from_embeddings, ids_of, looked_up
from .node import Graph, Node, abbreviate, leading_to, overwrite
from .precision import coarsest, compute_dtype, raised
from .record import as_plain, from_plain, recorded, restored
from .refusals import refuse_random, require_eval, require_module
from .separation import mixes, require_separate
from .tracing import ONE_AT_A_TIME
from .walking import evaluated, filled, run, started, walk
from .weights import Weights

__all__ = [
    "ONE_AT_A_TIME",
    "Graph",
    "Node",
    "Placed",
    "Weights",
    "abbreviate",
    "as_it_was",
    "as_plain",
    "capture",
    "coarsest",
    "compute_dtype",
    "evaluated",
    "examples_first",
    "filled",
    "from_embeddings",
    "from_plain",
    "ids_of",
    "leading_to",
    "looked_up",
    "mixes",
    "overwrite",
    "raised",
    "recorded",
    "refuse_random",
    "require_eval",
    "require_module",
    "require_separate",
    "restored",
    "run",
    "started",
    "walk",
]
