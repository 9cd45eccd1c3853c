"""Selection and rearrangement."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..kernels import Settings
from ..kernels.slope import Slope
from .model import Distributed, Linked

__all__ = ["Routing"]


class Routing(Linked):
    """Every unit copies one operand; beta moves with the index, unconditionally."""

    by_rule = False
    passes = True

    def __init__(
        self,
        operands: Sequence[Tensor],
        output: Tensor,
        intercept: Tensor | None = None,
        wired: Tensor | None = None,
        again: Callable[..., Tensor] | None = None,
    ) -> None:
        """``wired`` is False at units that copy a constant (padding): their beta is lost.

        ``again`` runs the operation on other operands; None where these decide which are copied.
        """
        super().__init__(operands, output)
        self.intercept, self.wired, self.again = intercept, wired, again
        self.has_constants, self.cheap = wired is not None, again is not None

    def reached(self, depends: Sequence[Tensor | None]) -> Tensor | None:
        """The units that copy an entry which depends on the network's input."""
        if self.again is None:
            return None
        ones = [
            torch.ones_like(u) if mask is None else mask.to(u) for u, mask in zip(self.operands, depends, strict=True)
        ]
        with torch.no_grad():
            return self.again(*ones) != self.again(*(torch.zeros_like(u) for u in self.operands))

    def output(self, operands: Sequence[Tensor]) -> Tensor:
        """The operation itself."""
        assert self.again is not None
        return self.again(*operands)

    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """``J^T beta``."""
        lost = None if self.wired is None else beta.masked_fill(self.wired, 0)
        return self.gradient(beta), lost
