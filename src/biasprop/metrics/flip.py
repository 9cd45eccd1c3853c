"""DeepLIFT's digit flip (Shrikumar et al. 2017, section 4.1): does erasing turn one class into another?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .method import check_classes, check_pair

__all__ = ["Flip", "digit_flip"]


@dataclass(frozen=True)
class Flip:
    """Change of the log-odds of each example, ``(N,)``, and whether the other class is now ahead, ``(N,)`` bool."""

    change: Tensor
    flipped: Tensor


def digit_flip(
    model: nn.Module,
    x: Tensor,
    source: int,
    target: int,
    attribution_source: Tensor,
    attribution_target: Tensor,
    erase: float = 0.2,
    reference: float = 0.0,
) -> Flip:
    """Erase what speaks for one class and against another, and see how far the prediction moves.

    Per pixel ``attribution_source - attribution_target``, summed over channels; the pixels above ``max(t, 0)`` are set
    to the reference, where t is the value just below the top ``erase`` share (Shrikumar et al. 2017, section 4.1).

    Args:
        model: from ``(N, C, H, W)`` to logits.
        x: images of the source class.
        source: that class.
        target: the other one.
        attribution_source: like x, for the logit of the source.
        attribution_target: like x, for the logit of the target.
        erase: at most this share of the pixels.
        reference: value of an erased pixel.

    Raises:
        InputError: shapes differ or values are not finite, or there is no such class.
    """
    for attribution in (attribution_source, attribution_target):
        check_pair(attribution, x)
    difference = (attribution_source - attribution_target).sum(1).flatten(1)
    most = round(erase * difference.shape[1]) + 1
    threshold = difference.topk(min(most, difference.shape[1])).values[:, -1:].clamp_min(0)
    erased = (difference > threshold).reshape(len(x), 1, *x.shape[2:])
    with torch.no_grad():
        before, after = model(x), model(torch.where(erased, reference, x))
    for one in (source, target):
        check_classes(torch.tensor([one], device=x.device), before[:1])
    odds = [y[:, source] - y[:, target] for y in (before, after)]
    return Flip(odds[0] - odds[1], odds[1] < 0)
