"""Keep and remove curves: KPM, KNM, KAM, RAM (Hesse, Schaub-Meyer & Roth, NeurIPS 2021, after Lundberg et al. 2020)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..progress import track
from .method import Attribution, area, check_classes, signed_map
from .replacement import blurred

__all__ = ["FRACTIONS", "Curves", "keep_and_remove"]

FRACTIONS = tuple(float(10 ** (-2 + 2 * i / 15)) for i in range(16))
"""Published: 16 fractions of all pixels, geometric from 0.01 to 1."""


@dataclass(frozen=True)
class Curves:
    """Keep and remove curves and the areas under them, over ``examples`` images.

    Attributes:
        fractions: of all pixels, as published.
        keep_positive: mean logit of the true class when the most positive pixels stay; area KPM (higher is better).
        keep_negative: the same for the most negative pixels; KNM (lower: better).
        keep_absolute: accuracy in percent when the pixels with the largest magnitude stay; KAM (higher: better).
        remove_absolute: accuracy in percent when those with the smallest magnitude stay; RAM (lower: better).
        examples: how many.
    """

    fractions: tuple[float, ...]
    keep_positive: tuple[float, ...]
    keep_negative: tuple[float, ...]
    keep_absolute: tuple[float, ...]
    remove_absolute: tuple[float, ...]
    examples: int

    @property
    def kpm(self) -> float:
        """Keep positive mask."""
        return area(self.keep_positive, self.fractions)

    @property
    def knm(self) -> float:
        """Keep negative mask."""
        return area(self.keep_negative, self.fractions)

    @property
    def kam(self) -> float:
        """Keep absolute mask."""
        return area(self.keep_absolute, self.fractions)

    @property
    def ram(self) -> float:
        """Remove absolute mask."""
        return area(self.remove_absolute, self.fractions)

    def __str__(self) -> str:
        return (
            f"KPM {self.kpm:.2f} (higher is better), KNM {self.knm:.2f} (lower), KAM {self.kam:.2f} (higher), "
            f"RAM {self.ram:.2f} (lower), over {self.examples} examples"
        )


def keep_and_remove(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attribute: Attribution,
    *,
    fractions: Iterable[float] = FRACTIONS,
    replacement: Callable[[Tensor], Tensor] = blurred,
    progress: bool = True,
) -> Curves:
    """Keep and remove curves of an attribution method.

    The map is the signed mean over the channels. Of its positive values (of a, -a or |a|) the ``k`` largest pixels
    stay, or for *remove* the ``k`` smallest, with ``k = min(int(p * H * W), number of positive values)``; every other
    pixel is replaced.

    Args:
        model: from ``(N, C, H, W)`` to logits ``(N, classes)``, in eval mode.
        loader: batches ``(x, labels)``.
        attribute: the method, e.g. ``lambda x, y: biasprop.explain(model, x, y).attribution``.
        fractions: p, ascending.
        replacement: from images to what replaces their pixels.
        progress: show a bar, on a terminal.

    Raises:
        InputError: a label is not a class; attributions are not finite or not like x; there is no example.
    """
    fractions = tuple(fractions)
    sums = torch.zeros(4, len(fractions), dtype=torch.float64)
    examples = 0
    for x, labels in track(loader, "keep and remove", progress):
        scores = signed_map(attribute(x, labels), x)
        with torch.no_grad():
            away, rows = replacement(x), torch.arange(len(x), device=x.device)
            for column, p in enumerate(fractions):
                kinds = ((scores, True), (-scores, True), (scores.abs(), True), (scores.abs(), False))
                for row, (score, largest) in enumerate(kinds):
                    logits = model(torch.where(_kept(score, p, largest)[:, None], x, away))
                    check_classes(labels, logits)
                    value = logits[rows, labels] if row < 2 else 100.0 * (logits.argmax(1) == labels)
                    sums[row, column] += value.double().sum().cpu()
        examples += len(x)
    if not examples:
        raise InputError("The loader holds no example.")
    curves = [tuple(curve) for curve in (sums / examples).tolist()]
    return Curves(fractions, curves[0], curves[1], curves[2], curves[3], examples)


def _kept(score: Tensor, p: float, largest: bool) -> Tensor:
    """Which pixels stay, ``(N, H, W)``: among the positive scores the k largest or the k smallest."""
    flat = score.flatten(1)
    rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    positive = (flat > 0).sum(1, keepdim=True)
    k = positive.clamp_max(int(p * flat.shape[1] + 1e-9))
    stays = rank < k if largest else (rank >= positive - k) & (rank < positive)
    return stays.reshape(score.shape)
