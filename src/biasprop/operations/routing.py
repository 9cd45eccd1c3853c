"""Selection and rearrangement: beta moves with the index (spec section 4, last row)."""

from ..pieces import Piece, Routing
from .call import Call

__all__ = ["insertion", "routing"]


def routing(call: Call) -> Piece:
    """Every unit copies one operand: max pool, reshape, permute, slice, gather, expand, nearest upsampling."""
    leaves = call.leaves()
    return Routing(leaves, call(*leaves))


def insertion(call: Call) -> Piece:
    """Routing that may bring in constants: pad, cat, where, masked fill. They are bias sources.

    A unit that copies a constant has nothing wired to it; what bias reaches it is unattributed.
    """
    if call.node.operation == "index_put" and call.argument(3, "accumulate", False):
        raise call.unsupported("it adds up where indices repeat.")
    leaves = call.leaves()
    output = call(*leaves)
    if output.numel() == sum(u.numel() for u in leaves) and call.node.operation in ("cat", "concat", "stack"):
        return Routing(leaves, output)  # of operands alone
    constant = call.at(0.0)
    wired = call.at(1.0) != constant
    return Routing(leaves, output, constant if constant.any() else None, None if wired.all() else wired)
