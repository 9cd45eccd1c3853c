"""Every operation that biasprop knows, each in one place (the table of mathematics, section 4).

A `Family` says how an operation is linearised, how it scales, and which operations belong to it; families of a kind
are in one file. Teaching biasprop an operation is a line there or, for one of the user's own, an argument::

    from biasprop import explain, operations

    explain(model, x, operations={torch.ops.mylib.swoosh: operations.gate})

`TABLE` is read-only: what a user adds travels as an argument, never as global state. Uses `biasprop.graph` and
`biasprop.local_models`.
"""

from collections.abc import Mapping
from typing import Any

from ..graph import Node
from . import averaging, constant, copying, degrees, elementwise, weighted
from .averaging import adaptive_average_pool, average_pool, interpolation, reduction
from .call import Call, Linearization
from .composite import decompositions
from .copying import concatenation, insertion, placement, routing
from .degrees import Broken, Degree, Scaling
from .elementwise import affine, batch_norm, gate, homogeneous_gate, product, quotient
from .family import Family, table_of
from .stored import by_name
from .weighted import addmm, convolution, linear, matmul

__all__ = [
    "FAMILIES",
    "TABLE",
    "Broken",
    "Call",
    "Degree",
    "Family",
    "Linearization",
    "Operations",
    "Scaling",
    "adaptive_average_pool",
    "addmm",
    "affine",
    "average_pool",
    "batch_norm",
    "by_name",
    "concatenation",
    "convolution",
    "decompositions",
    "family_of",
    "gate",
    "homogeneous_gate",
    "insertion",
    "interpolation",
    "linear",
    "matmul",
    "placement",
    "product",
    "quotient",
    "reduction",
    "routing",
]

FAMILIES: tuple[Family, ...] = (
    *weighted.FAMILIES,
    *averaging.FAMILIES,
    *elementwise.FAMILIES,
    *copying.FAMILIES,
    *constant.FAMILIES,
)
"""All families, in the order of the documentation."""

TABLE: Mapping[Any, Family] = table_of(FAMILIES)
"""ATen operation, or overload of one -> its family."""

Operations = Mapping[Any, Linearization | Family]
"""What a user adds: ``{torch.ops.ns.name: family or linearisation}``."""

UNKNOWN = Family(constant.refused, degrees.unknown)


def family_of(node: Node, own: Operations | None = None) -> tuple[Family, bool]:
    """The family of a node's operation, and whether it is one of ours, not the user's; `UNKNOWN` where there is none.

    An overload's own entry comes before its operation's, the user's before ours.
    """
    found = (own.get(node.function) or own.get(node.packet)) if own else None
    if found is not None:
        return found if isinstance(found, Family) else Family(found, degrees.unknown), False
    return TABLE.get(node.function) or TABLE.get(node.packet) or UNKNOWN, True
