"""Which factor of a product is the gate: the one of the higher rank (mathematics, section 10).

The rank of a tensor is that of the operation that it comes from, looking through rearrangement, scaling, shift and
broadcasting.
"""

from collections.abc import Mapping

from ..graph import Node
from ..operations import affine, batch_norm, concatenation, family_of, gate, homogeneous_gate, insertion, routing
from ..operations.elementwise import chord, product, quotient

__all__ = ["ACTIVATION", "GATE", "STATISTIC", "VALUE", "rank_of"]

VALUE, ACTIVATION, GATE, STATISTIC = 1, 2, 3, 4

GATES = frozenset(["sigmoid", "hardsigmoid", "softmax", "_softmax", "_safe_softmax", "exp"])
STATISTICS = frozenset(["rsqrt", "reciprocal", "sqrt"])
THROUGH = (routing, insertion, concatenation, affine, batch_norm, product, quotient)


def rank_of(node: Node, active: list[Node], ranks: Mapping[Node, int]) -> int:
    """The rank of what a node gives, from those of its ``active`` operands, which depend on the input."""
    name = str(getattr(node.packet, "__name__", node.packet))
    kind = family_of(node)[0].kind
    below = [ranks.get(operand, VALUE) for operand in active]
    if name in STATISTICS or (name == "pow" and isinstance(node.args[1], int | float) and node.args[1] < 0):
        return STATISTIC
    if name in GATES:
        return GATE
    if kind is quotient and node.args[0] not in active:
        return STATISTIC
    if kind in THROUGH and (len(set(active)) == 1 or kind in (insertion, concatenation)):
        return min(below)
    if kind is quotient:
        return ranks.get(node.args[0], VALUE)
    if kind in (gate, homogeneous_gate, chord) and len(set(active)) == 1:
        return max(ACTIVATION, *below)
    return VALUE
