"""From the captured graph to what reaches the inputs: the tape, the target, and the sweep (mathematics, sections 1, 2).

`linearize` runs the graph at x and records a tape of local linear models, with gates folded into their layers; `select`
makes a linear functional of the target; `sweep` carries ``(g, beta)`` from it back to the inputs. Large batches
go through all of it in `pieces`. Uses `biasprop.graph`, `biasprop.operations`, `biasprop.local_models`,
`biasprop.rules` and `biasprop.results`.
"""

from .choice import EVERY, Choice, SourceFilter, choose
from .forward import Network, split
from .functional import Functional, outputs_of, select
from .handover import AUTO, deepest_layout, hand_over
from .linearization import linearize
from .pieces import Asked, first_of, in_pieces, is_one_piece, is_separable, size_of, together
from .selection import Target, Targets, Texts, chosen_index
from .sources import bias_sources
from .sweeping import Swept, sweep
from .tape import Step, Tape

__all__ = [
    "AUTO",
    "EVERY",
    "Asked",
    "Choice",
    "Functional",
    "Network",
    "SourceFilter",
    "Step",
    "Swept",
    "Tape",
    "Target",
    "Targets",
    "Texts",
    "bias_sources",
    "choose",
    "chosen_index",
    "deepest_layout",
    "first_of",
    "hand_over",
    "in_pieces",
    "is_one_piece",
    "is_separable",
    "linearize",
    "outputs_of",
    "select",
    "size_of",
    "split",
    "sweep",
    "together",
]
