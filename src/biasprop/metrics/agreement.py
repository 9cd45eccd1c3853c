"""How far two attributions of the same examples agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .method import check_pair

__all__ = ["Overlap", "relative_difference", "top_overlap"]


def relative_difference(attribution: Tensor, reference: Tensor) -> Tensor:
    """``mean |A - R| / mean |R|`` of each example, ``(N,)``: 0 where the two agree (Hesse et al., Table 1).

    Args:
        attribution: ``(N, ...)``.
        reference: of the same shape, e.g. integrated gradients.

    Raises:
        InputError: the shapes differ, values are not finite, or a reference is all zero.
    """
    check_pair(attribution, reference)
    size = reference.abs().flatten(1).mean(1)
    if not (size > 0).all():
        raise InputError(f"The reference is zero everywhere in example {int((size == 0).nonzero()[0])}.")
    return (attribution - reference).abs().flatten(1).mean(1) / size


@dataclass(frozen=True)
class Overlap:
    """Share of one map's top features among the other's, ``(N,)``, and what independent maps would have."""

    share: Tensor
    chance: float


def top_overlap(first: Tensor, second: Tensor, fraction: float = 0.1) -> Overlap:
    """Which share of the ``fraction`` of features with the largest magnitude two maps have in common.

    The paper's statistic (Wang et al., ICML 2019, section 4.1) is one minus this.

    Args:
        first: ``(N, ...)``; sum over channels before for an overlap of pixels.
        second: of the same shape.
        fraction: of all features, above 0 and at most 1.

    Raises:
        InputError: the shapes differ, values are not finite, or the fraction is out of range.
    """
    check_pair(first, second)
    if not 0 < fraction <= 1:
        raise InputError(f"The fraction must be above 0 and at most 1, not {fraction!r}.")
    n = first[0].numel()
    k = max(1, round(fraction * n))

    def top(values: Tensor) -> Tensor:
        flat = values.abs().flatten(1)
        return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.topk(k).indices, True)

    return Overlap((top(first) & top(second)).sum(1) / k, k / n)
