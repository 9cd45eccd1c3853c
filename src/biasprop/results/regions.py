"""Sums of attributions over patches, superpixels or any region map; they stay complete.

Pixel maps of strided, max-pooled networks are grainy, because bias lands on single winners (mathematics, section 9).
Attributions add up, so sums over regions are exact and are what a person reads first.
"""

from dataclasses import dataclass
from typing import Any, Generic, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import InputError
from .part import Part
from .targets import TargetAxis, X

__all__ = ["Regions", "patches", "sum_regions"]


@dataclass(frozen=True, eq=False)
class Regions(Generic[X]):
    """Attributions summed over ``R`` regions; ``(N, R)``, or ``(N, J, R)`` with J targets (a tuple for several inputs).

    Attributes:
        labels: the region of each feature, broadcastable to the attributed tensor without its batch.
        weight_attribution: sums of ``w * x``.
        bias_attribution: sums of ``beta``.
    """

    labels: X
    weight_attribution: X
    bias_attribution: X

    @property
    def attribution(self) -> X:
        """Sums of ``w * x + beta``."""
        return cast(X, pytree.tree_map(torch.add, self.weight_attribution, self.bias_attribution))

    def __repr__(self) -> str:
        sums = self.weight_attribution if isinstance(self.weight_attribution, tuple) else (self.weight_attribution,)
        counts = " + ".join(str(one.shape[-1]) for one in sums)
        examples = len(sums[0])
        return f"Regions({counts} regions, {examples} example{'s' * (examples != 1)})"

    def paint(self, sums: Tensor) -> Tensor:
        """The sums of one example, ``(R,)``, laid back over the region map: a tensor like ``labels``."""
        labels = self.labels
        if isinstance(labels, tuple):
            raise InputError("These are regions of several tensors: paint one, as sums[labels[i]].")
        return sums[labels.to(sums.device)]


def patches(shape: torch.Size | tuple[int, ...], size: int) -> Tensor:
    """Labels of square patches of ``size`` over the last two dimensions (one patch row for one dimension)."""
    if not isinstance(size, int) or size < 1:
        raise InputError(f"The size of a patch must be a positive whole number, not {size!r}.")
    if len(shape) == 1:
        return torch.arange(shape[0]) // size
    rows, columns = shape[-2:]
    across = -(-columns // size)
    return (torch.arange(rows) // size)[:, None] * across + torch.arange(columns) // size


def sum_regions(part: Part, labels: Any, axis: TargetAxis, examples: int) -> tuple[Tensor, Tensor, Tensor]:
    """The labels, and the sums of ``w * x`` and of ``beta`` over them; see `Decomposition.regions`."""
    shape = part.shape
    if isinstance(labels, int) and not isinstance(labels, bool):
        labels = patches(shape, labels)
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Region labels cannot be made of a {type(labels).__name__}: {error}.") from error
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.is_complex():
        raise InputError(f"Region labels must be integers, not {labels.dtype}.")
    labels = labels.long()
    if labels.numel() == 0 or labels.min() < 0:
        raise InputError(
            "Region labels must be numbers from 0; give pixels outside every region a number of their own."
        )
    try:
        index = labels.to(part.value.device).broadcast_to(shape).reshape(-1)
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"Region labels of shape {tuple(labels.shape)} do not fit one example of shape {shape}."
        ) from error
    count = int(index.max()) + 1
    if count > 2**24:
        raise InputError(f"Region labels go up to {count - 1}: number the regions from 0 without large gaps.")

    def add(values: Tensor) -> Tensor:
        flat = part.by_example(values, examples)
        return axis.outward(values.new_zeros(*flat.shape[:2], count).index_add_(2, index, flat))

    return labels, add(part.product), add(part.beta)
