"""Symmetric relevance gain (Bluecher et al., TMLR 2024): insertion minus deletion over one ordering."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..progress import track
from .method import Attribution, check_classes, map_in_patches
from .replacement import blurred, mean_colour

__all__ = ["REPLACEMENTS", "Gain", "Replacement", "symmetric_relevance_gain"]

Replacement = Callable[[Tensor], Tensor]
"""From images ``(N, C, H, W)`` to what replaces their pixels."""

REPLACEMENTS: Mapping[str, Replacement] = {"blur": blurred, "mean colour": mean_colour}


@dataclass(frozen=True, eq=False)
class Gain:
    """The area under the insertion curve minus that under the deletion curve, of each example.

    Attributes:
        of: by the name of the replacement, ``(N,)`` float64: 0 is a random order, higher is better.
    """

    of: Mapping[str, Tensor]

    @property
    def mean(self) -> float:
        """Over replacements and examples."""
        return float(torch.stack(list(self.of.values())).mean())

    def __str__(self) -> str:
        parts = ", ".join(f"{float(values.mean()):.3f} with {name}" for name, values in self.of.items())
        return f"symmetric relevance gain {parts}, over {len(next(iter(self.of.values())))} examples"


def symmetric_relevance_gain(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attribute: Attribution,
    *,
    patch: int = 1,
    steps: int = 16,
    replacements: Mapping[str, Replacement] = REPLACEMENTS,
    progress: bool = True,
) -> Gain:
    """Symmetric relevance gain of the class that the loader names, in its probability.

    Args:
        model: from ``(N, C, H, W)`` to logits ``(N, classes)``, in eval mode.
        loader: batches ``(x, classes)``; true or predicted ones.
        attribute: the method; attributions like x, or maps ``(N, H, W)``.
        patch: side of the squares of pixels that are taken together, in the order of their sums.
        steps: shares of the patches, evenly from 0 to 1, besides 0.
        replacements: by name.
        progress: show a bar, on a terminal.

    Raises:
        InputError: a class does not exist; attributions are not finite or do not fit; there is no example.
    """
    if steps < 1 or patch < 1:
        raise InputError(f"There must be at least one step and a patch of one pixel, not {steps} and {patch}.")
    found: dict[str, list[Tensor]] = {name: [] for name in replacements}
    for x, labels in track(loader, "symmetric relevance gain", progress):
        scores = map_in_patches(attribute(x, labels), x, patch)
        rank = scores.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        for name, replacement in replacements.items():
            found[name].append(_gain(model, x, labels, rank.reshape(scores.shape), patch, steps, replacement(x)))
    if not found or not next(iter(found.values())):
        raise InputError("The loader holds no example, or there is no replacement.")
    return Gain({name: torch.cat(parts) for name, parts in found.items()})


@torch.no_grad()
def _gain(model: nn.Module, x: Tensor, labels: Tensor, rank: Tensor, patch: int, steps: int, away: Tensor) -> Tensor:
    """Of a batch: ``rank`` of the patches, ``(N, rows, columns)``."""
    pixels = rank.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None, : x.shape[2], : x.shape[3]]
    curve = []
    for i in range(steps + 1):
        first = pixels < round(i / steps * rank[0].numel())
        inserted, deleted = (_probability(model, torch.where(m, x, away), labels) for m in (first, ~first))
        curve.append(inserted - deleted)
    return torch.trapezoid(torch.stack(curve), dx=1 / steps, dim=0).cpu()


def _probability(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    logits: Tensor = model(x)
    check_classes(labels, logits)
    return logits.double().softmax(1).gather(1, labels[:, None])[:, 0]
