"""What the local linear model of a smooth operation is: frozen, tangent or half (mathematics, section 10).

A mode is a rewrite of the captured graph: what is held becomes a constant, and nothing after the rewrite knows of it.
Uses `biasprop.graph` and `biasprop.operations`.
"""

from .choice import DEFAULT, Linearization, Modes, modes_of
from .rewriting import rewrite

__all__ = ["DEFAULT", "Linearization", "Modes", "modes_of", "rewrite"]
