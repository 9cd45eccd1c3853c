"""What a pass of the sweep carries, and what it has gathered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..graph import Node
from ..results import BiasSource, table_of

__all__ = ["Carried", "Passage", "Reached", "join"]

Reached = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Value of a tensor, and what has come to it: gradient, bias and what was handed over of the weight part."""


@dataclass(eq=False)
class Passage:
    """What one pass for some of the targets has gathered so far."""

    unattributed: Tensor
    withheld: Tensor
    reached: dict[Node, Reached] = field(default_factory=dict)
    sources: list[BiasSource] = field(default_factory=list)

    def enter(self, name: str, operation: str, amount: Tensor) -> None:
        """Bias of a source, ``(J, N)``; what has passed different hand-overs enters one after the other, as one row."""
        if self.sources and self.sources[-1].name == name:
            amount = self.sources.pop().amount + amount
        self.sources.append(BiasSource(name, operation, amount))


@dataclass(eq=False)
class Carried:
    """What has come to a tensor so far.

    Attributes:
        open: gradient and bias, ``(J, *shape)`` each, by the hand-overs that they have passed.
        handed: weight part and bias part of what has been handed over, ``(2 J, *shape)``; None above all hand-overs.
        fresh: whether nobody else reads these tensors.
    """

    open: dict[frozenset[Node], tuple[Tensor, Tensor]]
    handed: Tensor | None = None
    fresh: bool = False

    def join(self, other: "Carried") -> None:
        """A tensor with several consumers adds up what each sends it; in place of what is fresh, which is used up."""
        alike = self.open.keys() == other.open.keys() and (self.handed is None) == (other.handed is None)
        self.fresh = alike or (self.fresh and other.fresh)  # sums are new
        for passed, (g, beta) in other.open.items():
            here = self.open.get(passed)
            self.open[passed] = (g, beta) if here is None else (other.plus(g, here[0]), other.plus(beta, here[1]))
        if other.handed is not None:
            self.handed = other.handed if self.handed is None else other.plus(other.handed, self.handed)

    def plus(self, own: Tensor, other: Tensor) -> Tensor:
        """The sum of one of these tensors and another."""
        return torch.add(own, other, out=self.room(own))

    def room(self, own: Tensor) -> Tensor | None:
        """Where the next value of one of these tensors may be written: in its place, if nobody else reads it."""
        return own if self.fresh and 0 not in own.stride() else None


def join(passages: Sequence[Passage]) -> Passage:
    """Passes over one input for some targets each, as one for all of these; what one does not reach is 0 there."""
    if len(passages) == 1:
        return passages[0]

    def joined(tensors: list[Tensor | None]) -> Tensor:
        shape = next(t.shape[1:] for t in tensors if t is not None)
        sizes = [len(one.unattributed) for one in passages]
        like = passages[0].unattributed
        return torch.cat([like.new_zeros(n, *shape) if t is None else t for t, n in zip(tensors, sizes, strict=True)])

    reached = {}
    for node, (value, _, _, _) in {n: r for one in passages for n, r in one.reached.items()}.items():
        found = [one.reached.get(node, (value, None, None, None)) for one in passages]
        _, g, beta, handed = zip(*found, strict=True)
        over = None if all(one is None for one in handed) else joined(list(handed))
        reached[node] = (value, joined(list(g)), joined(list(beta)), over)
    sources = table_of([one.sources for one in passages], [one.unattributed for one in passages], 0)
    unattributed, withheld = (torch.cat([getattr(one, n) for one in passages]) for n in ("unattributed", "withheld"))
    return Passage(unattributed, withheld, reached, sources)
