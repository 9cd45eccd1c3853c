"""What every kernel is given: the shapes of a stencil, and how it is to be done."""

from dataclasses import dataclass

from torch import Tensor

from ..rules import Rule

__all__ = ["Layout", "Settings"]


@dataclass(frozen=True)
class Layout:
    """How a stencil sees its operand and output: in PyTorch's own order, so that no weight is copied.

    operand: ``(B, G, C, S)``, G groups of C channels at S positions.
    output: ``(B, G, O, L)``.
    weight: ``(G, 1 or L, O, C * T)``.
    windows: int32 ``(L, T)``, positions in ``range(S)``, -1 for none.
    """

    operand: tuple[int, int, int, int]
    output: tuple[int, int, int, int]
    weight: Tensor
    windows: Tensor


@dataclass(frozen=True)
class Settings:
    """What distributing needs besides the operation: the rule, bytes for its temporaries, and which kernels."""

    rule: Rule
    memory_budget: int
    compiled: bool = True
