"""The dimension of targets, in one place: in front inside, ``(J, *shape)``; behind the batch, or none, for the user."""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import UnsupportedOperation

__all__ = ["TargetAxis", "X", "by_example", "like_tensor"]

X = TypeVar("X", bound=Tensor | tuple[Tensor, ...])
"""What is attributed to: a tensor, or several in a tuple; so are the attributions."""


def by_example(values: Tensor, batch_dim: int | None, batch: int, inner: int | None = None) -> Tensor:
    """``(J, *shape)`` with one row for each example, ``(J, batch, rest)``.

    An example may be several entries of the batch dimension (tokens folded into it): ``inner`` of them lie between one
    example and the next; None for all of an example side by side.

    Raises:
        UnsupportedOperation: there is nothing, or not as much, for each of the examples.
    """
    count = values.shape[1 + (batch_dim or 0)] if values.dim() > 1 else 0
    if count == 0 or count % batch:
        raise UnsupportedOperation(
            f"A tensor of the network has {count} entries for {batch} examples: forward takes the batch apart. Write "
            "it for the whole batch, or explain one example at a time."
        )
    moved = values.movedim(1 + batch_dim, 1) if batch_dim else values
    if inner is not None and inner * batch != count:
        moved = moved.unflatten(1, (-1, batch, inner)).movedim(2, 1)
    return moved.reshape(len(values), batch, -1)


def like_tensor(values: Tensor, batch_dim: int | None, shape: torch.Size, inner: int | None = None) -> Tensor:
    """Back from ``(J, batch, rest)`` to ``(J, *shape)``."""
    dim, batch = batch_dim or 0, values.shape[1]
    rest = [size for d, size in enumerate(shape) if d != dim]
    if inner is not None and inner * batch != shape[dim]:
        values = values.reshape(len(values), batch, -1, inner, *rest).movedim(1, 2)
    return values.reshape(len(values), shape[dim], *rest).movedim(1, 1 + dim)


@dataclass(frozen=True)
class TargetAxis:
    """Which targets were explained, and whether the user asked for several.

    Attributes:
        chosen: of each of the J targets the index per example, or the name of a callable.
        several: whether results face the user with a dimension of targets (``targets=``) or without (``target=``).
    """

    chosen: tuple[Any, ...]
    several: bool

    def outward(self, values: Tensor, batch_dim: int = 0) -> Tensor:
        """From ``(J, *shape)`` to what the user sees: J after the batch, or no J."""
        return values.movedim(0, batch_dim + 1) if self.several else values[0]

    def inward(self, values: Tensor, batch_dim: int = 0) -> Tensor:
        """The way back."""
        return values.movedim(batch_dim + 1, 0) if self.several else values[None]

    def only(self, j: int) -> "TargetAxis":
        """The ``j``-th target alone."""
        return TargetAxis((self.chosen[j],), several=False)

    @property
    def target(self) -> Any:
        """What was chosen, as the user asked for it."""
        return list(self.chosen) if self.several else self.chosen[0]
