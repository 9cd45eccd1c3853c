"""Selection and rearrangement."""

from collections.abc import Sequence

from torch import Tensor

from ..kernels import Settings
from .model import Distributed, Linked

__all__ = ["Routing"]


class Routing(Linked):
    """Every unit copies one operand; beta moves with the index, unconditionally."""

    by_rule = False

    def __init__(
        self,
        operands: Sequence[Tensor],
        output: Tensor,
        intercept: Tensor | None = None,
        wired: Tensor | None = None,
    ) -> None:
        """``wired`` is False at units that copy a constant (padding): their beta is lost."""
        super().__init__(operands, output)
        self.intercept, self.wired = intercept, wired

    def distribute(self, beta: Tensor, slope: Tensor | None, h: Tensor | None, settings: Settings) -> Distributed:
        """``J^T beta``."""
        lost = None if self.wired is None else beta.masked_fill(self.wired, 0)
        return self.gradient(beta), lost
