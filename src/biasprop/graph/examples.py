"""Examples in front: in a network they may be any dimension of a tensor, or share one with tokens."""

from torch import Tensor

from .node import Node

__all__ = ["as_it_was", "examples_first"]


def examples_first(x: Tensor, node: Node, batch: int) -> Tensor:
    """``(batch, ..., outer, inner, ...)``: what shares the dimension of the examples stays where it is, around them."""
    dim = node.batch_dim or 0
    inner = node.batch_inner or x.shape[dim] // batch
    apart: Tensor = x.unflatten(dim, (-1, batch, inner))
    return apart.movedim(dim + 1, 0)


def as_it_was(x: Tensor, node: Node) -> Tensor:
    """Back from `examples_first`."""
    dim = node.batch_dim or 0
    return x.movedim(0, dim + 1).flatten(dim, dim + 2)
