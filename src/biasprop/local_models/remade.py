"""Outputs that are made again when the sweep comes by, instead of being kept until then (mathematics, section 7)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .model import Kept, LocalModel, value_of

__all__ = ["Remade"]


@dataclass(frozen=True, eq=False)
class Remade:
    """The output of a cheap operation whose operands are kept anyway, or are made again themselves.

    A layer reads the output of a gate that is held, whose operand its chord needs, and that of a norm, whose operand
    its centring needs: of a transformer that is a third of what would be kept.

    Attributes:
        local: the operation.
        operands: what it reads.
        joins: how many sums of tensors are made again on the way, at most.
        length: how many operations.
    """

    local: LocalModel
    operands: Sequence[Kept]
    joins: int = field(init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        before = [kept for kept in self.operands if isinstance(kept, Remade)]
        object.__setattr__(self, "joins", self.local.joins + max((one.joins for one in before), default=0))
        object.__setattr__(self, "length", 1 + sum(one.length for one in before))

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """The output."""
        return self.local.output([value_of(u) for u in self.operands])
