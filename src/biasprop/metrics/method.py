"""What the metrics ask of an attribution method and of its labels, and the area under their curves."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..results import in_patches

__all__ = ["Attribution", "area", "check_classes", "check_labels", "check_pair", "map_in_patches", "signed_map"]

Attribution = Callable[[Tensor, Tensor], Tensor]
"""From inputs ``(N, C, H, W)`` and labels ``(N,)`` to attributions like the inputs."""


def area(curve: tuple[float, ...], fractions: tuple[float, ...]) -> float:
    """Under a curve over the fractions of the pixels, by the trapezoidal rule."""
    return torch.trapezoid(torch.tensor(curve).double(), torch.tensor(fractions).double()).item()


def signed_map(attribution: Tensor, x: Tensor) -> Tensor:
    """The signed mean over channels, ``(N, H, W)``, of an attribution of images.

    Args:
        attribution: what the method returned for ``x``.
        x: ``(N, C, H, W)``.

    Raises:
        InputError: x holds no images; the attribution is no finite tensor like x.
    """
    if x.dim() != 4:
        raise InputError(f"Keep and remove curves are for images (N, C, H, W), not {tuple(x.shape)}.")
    if not isinstance(attribution, Tensor) or attribution.shape != x.shape:
        got = tuple(attribution.shape) if isinstance(attribution, Tensor) else type(attribution).__name__
        raise InputError(f"The attribution method returned {got}, and must return a tensor like x, {tuple(x.shape)}.")
    if not attribution.isfinite().all():
        raise InputError("The attribution method returned NaN or infinite values.")
    return attribution.detach().mean(1)


def map_in_patches(attribution: Tensor, x: Tensor, patch: int) -> Tensor:
    """The sum over channels and over squares of ``patch`` pixels, ``(N, rows, columns)``.

    Args:
        attribution: like x, or a map ``(N, H, W)``.
        x: images ``(N, C, H, W)``.
        patch: side of a square; the last ones may be smaller.

    Raises:
        InputError: x holds no images; the attribution is not finite, or fits neither.
    """
    if isinstance(attribution, Tensor) and x.dim() == 4 and attribution.shape == (len(x), *x.shape[2:]):
        attribution = attribution[:, None].expand_as(x) / x.shape[1]
    return in_patches(signed_map(attribution, x)[None] * x.shape[1], patch)[0]


def check_classes(labels: Tensor, logits: Tensor) -> None:
    """Raise ``InputError`` unless there is a label ``(N,)`` for each row of the logits ``(N, C)``, each a class."""
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise InputError(f"Labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}: one class an example.")
    check_labels(labels, logits.shape[1])


def check_pair(first: Tensor, second: Tensor) -> None:
    """Raise ``InputError`` unless these are two finite attributions of one shape ``(N, ...)``."""
    if first.shape != second.shape or first.dim() < 2:
        raise InputError(f"Two attributions (N, ...) of one shape are needed, not {first.shape} and {second.shape}.")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise InputError("The attributions hold NaN or infinite values.")


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ``InputError`` unless every label is one of the model's classes."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise InputError(f"Label {wrong[0].item()} is not one of the model's {classes} classes.")
