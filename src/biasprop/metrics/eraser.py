"""Comprehensiveness and sufficiency of token attributions (DeYoung et al., ACL 2020), averaged over shares (AOPC)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["SHARES", "Erasure", "erasure"]

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Published: shares of the tokens, at least one token each."""


@dataclass(frozen=True, eq=False)
class Erasure:
    """What the prediction loses, of each example, mean over the shares.

    Attributes:
        comprehensiveness: ``p(all) - p(without the most important tokens)``, ``(N,)``: higher is better.
        sufficiency: ``p(all) - p(the most important tokens alone)``, ``(N,)``: lower is better.
    """

    comprehensiveness: Tensor
    sufficiency: Tensor

    def __str__(self) -> str:
        return (
            f"comprehensiveness {float(self.comprehensiveness.mean()):.3f} (higher is better), sufficiency "
            f"{float(self.sufficiency.mean()):.3f} (lower), over {len(self.sufficiency)} examples"
        )


@torch.no_grad()
def erasure(
    probability: Callable[[Tensor], Tensor],
    scores: Tensor,
    present: Tensor | None = None,
    shares: Sequence[float] = SHARES,
) -> Erasure:
    """Take away the tokens with the largest scores, or all others.

    Args:
        probability: of the explained class ``(N,)``, where a mask ``(N, L)`` says which tokens are shown; how the
            others are hidden is the caller's.
        scores: of the tokens, ``(N, L)``, e.g. ``explanation.tokens.attribution``.
        present: which of them are words, ``(N, L)``; padding and special tokens always stay. None: all.
        shares: of the tokens that are present.

    Raises:
        InputError: shapes do not fit, an example has no token, or a share is not between 0 and 1.
    """
    present = torch.ones_like(scores, dtype=torch.bool) if present is None else present.bool()
    if scores.dim() != 2 or present.shape != scores.shape or not present.any(1).all():
        raise InputError("Scores and present must be (N, L), with a token that is present in each example.")
    if not shares or not all(0 < share <= 1 for share in shares):
        raise InputError(f"Shares must be above 0 and at most 1, not {shares!r}.")
    if not scores.isfinite().all():
        raise InputError("The scores hold NaN or infinite values.")
    rank = scores.masked_fill(~present, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    count = present.sum(1, keepdim=True)
    whole = probability(torch.ones_like(present)).double()
    without, alone = [], []
    for share in shares:
        top = (rank < (count * share).ceil()) & present
        without.append(whole - probability(~top).double())
        alone.append(whole - probability(top | ~present).double())
    return Erasure(torch.stack(without).mean(0), torch.stack(alone).mean(0))
