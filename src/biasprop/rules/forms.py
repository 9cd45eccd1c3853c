"""The forms that alpha can have: what the compiled kernels know of a rule, and all that they know.

A kernel matches on the form exhaustively, so a form that it does not know is a type error and never another rule.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Form", "Proportional", "Softmax"]


@dataclass(frozen=True)
class Softmax:
    """``alpha = softmax over q of scale * m``, times the sign of the local bias where ``signed``.

    Only non-zero components take part. ``sign(0) = 0``: a unit without a local bias then shares equally.
    """

    scale: float
    signed: bool

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """The shares, ``(*units, K)`` for components ``m`` ``(*units, K)`` and local biases ``h`` ``units``."""
        scores = m * (h.sign() * self.scale).unsqueeze(-1) if self.signed else m * self.scale
        scores = scores.masked_fill_(m == 0, -math.inf)
        if scores.stride(-1) != 1:  # a few operands, one behind the other in memory
            return torch.softmax(scores.movedim(-1, 0), 0).movedim(0, -1)
        return torch.softmax(scores, -1)


@dataclass(frozen=True)
class Proportional:
    """``alpha`` proportional to ``max(m, 0)``; a unit with no positive component shares among its non-zero ones."""

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `Softmax.alpha`; it does not look at the local bias."""
        positive = m.clamp_min(0)
        total = positive.sum(-1, keepdim=True)
        none = total == 0
        if none.any():
            positive = torch.where(none, (m != 0).to(m.dtype), positive)
            total = torch.where(none, positive.sum(-1, keepdim=True), total)
        return positive / total


Form = Softmax | Proportional
