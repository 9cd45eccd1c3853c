"""Insertion and deletion (Petsiuk, Das & Saenko, BMVC 2018)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..progress import track
from .method import Attribution, area, check_classes, signed_map
from .replacement import blurred

__all__ = ["Insertion", "insertion_and_deletion"]


@dataclass(frozen=True)
class Insertion:
    """Insertion and deletion curves, over ``examples`` images.

    Attributes:
        fractions: of all pixels.
        insertion: mean probability of the class when only that share of the pixels, those with the largest attribution,
            is shown; the area is better higher.
        deletion: the same when these are taken away; better lower.
        examples: how many.
    """

    fractions: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion: tuple[float, ...]
    examples: int

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve."""
        return area(self.insertion, self.fractions)

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve."""
        return area(self.deletion, self.fractions)

    def __str__(self) -> str:
        return (
            f"insertion {self.insertion_area:.3f} (higher is better), deletion {self.deletion_area:.3f} (lower), over "
            f"{self.examples} examples"
        )


def insertion_and_deletion(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attribute: Attribution,
    *,
    steps: int = 16,
    replacement: Callable[[Tensor], Tensor] = blurred,
    progress: bool = True,
) -> Insertion:
    """Insertion and deletion (Petsiuk, Das & Saenko, BMVC 2018), of the class that the loader names.

    The map is the signed mean over the channels; pixels are taken in its order, the largest first. Insertion starts
    from the replacement and shows them; deletion starts from the image and replaces them.

    Args:
        model: from ``(N, C, H, W)`` to logits ``(N, classes)``, in eval mode.
        loader: batches ``(x, classes)``; true or predicted ones.
        attribute: the method, e.g. ``lambda x, y: biasprop.explain(model, x, y).attribution``.
        steps: shares of the pixels, evenly from 0 to 1, besides 0.
        replacement: from images to what replaces their pixels.
        progress: show a bar, on a terminal.

    Raises:
        InputError: a class does not exist; attributions are not finite or not like x; there is no example.
    """
    if steps < 1:
        raise InputError(f"There must be at least one step, not {steps}.")
    fractions = tuple(i / steps for i in range(steps + 1))
    sums = torch.zeros(2, len(fractions), dtype=torch.float64)
    examples = 0
    for x, labels in track(loader, "insertion and deletion", progress):
        scores = signed_map(attribute(x, labels), x).flatten(1)
        with torch.no_grad():
            away = replacement(x)
            rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(len(x), 1, *x.shape[2:])
            for column, p in enumerate(fractions):
                first = rank < round(p * scores.shape[1])
                for row, shown in enumerate((first, ~first)):
                    logits = model(torch.where(shown, x, away))
                    check_classes(labels, logits)
                    sums[row, column] += logits.double().softmax(1).gather(1, labels[:, None]).sum().cpu()
        examples += len(x)
    if not examples:
        raise InputError("The loader holds no example.")
    insertion, deletion = (tuple(curve) for curve in (sums / examples).tolist())
    return Insertion(fractions, insertion, deletion, examples)
