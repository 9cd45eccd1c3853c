"""Examples in front: in a network they may be any dimension of a tensor, or share one with tokens."""

from typing import Protocol

from torch import Tensor

__all__ = ["Placed", "as_it_was", "examples_first"]


class Placed(Protocol):
    """What knows where the examples of a tensor are: a node, or an attributed tensor."""

    @property
    def batch_dim(self) -> int | None:
        """Their dimension; None: there is none."""

    @property
    def batch_inner(self) -> int | None:
        """So many entries of it lie between one example and the next; None: all of an example lie together."""


def examples_first(x: Tensor, where: Placed, batch: int, before: int = 0) -> Tensor:
    """``(batch, ..., outer, inner, ...)``: what shares the dimension of the examples stays where it is, around them.

    ``before``: dimensions in front of those that ``where`` counts, such as that of targets.
    """
    dim = before + (where.batch_dim or 0)
    inner = where.batch_inner or x.shape[dim] // batch
    apart: Tensor = x.unflatten(dim, (-1, batch, inner))
    return apart.movedim(dim + 1, 0)


def as_it_was(x: Tensor, where: Placed, before: int = 0) -> Tensor:
    """Back from `examples_first`."""
    dim = before + (where.batch_dim or 0)
    return x.movedim(0, dim + 1).flatten(dim, dim + 2)
