"""Which entries of the output a target means, in every form that a user can write it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import TargetError

__all__ = ["Target", "Targets", "Texts", "chosen_index", "described"]

Target = str | int | tuple[int, ...] | Sequence[Any] | Tensor | Callable[[Any], Tensor] | None
Targets = Sequence[Target] | Tensor | str | None
Texts = Mapping[tuple[int, ...], Tensor]
"""By its length and the size of its vocabulary, the position of the last token of each example's text, ``(N,)``."""


def described(index: tuple[Tensor, ...]) -> list[Any]:
    """The chosen index of each example, as plain numbers."""
    each = [one.tolist() for one in index]
    return each[0] if len(each) == 1 else list(zip(*each, strict=True))


def chosen_index(output: Tensor, target: Any) -> tuple[Tensor, ...]:
    """One index tensor of shape ``(N,)`` per trailing dimension of the output ``(N, ...)``.

    Raises:
        TargetError: the target is no index, or out of range.
    """
    n, trailing = output.shape[0], output.shape[1:]
    if trailing.numel() == 1 and (target is None or target == "predicted"):
        return tuple(torch.zeros(n, dtype=torch.long, device=output.device) for _ in trailing)
    if target is None:
        raise TargetError(
            f"The model has {trailing.numel()} outputs per example (shape {tuple(trailing)}): say which one to "
            "explain, e.g. target='predicted' or target=3."
        )
    if isinstance(target, str):
        if target != "predicted" or len(trailing) != 1:
            example = ", ".join(["3", *["0"] * (len(trailing) - 1)])
            remedy = f"an index such as target=({example})" if target == "predicted" else "'predicted' or an index"
            raise TargetError(f"Target {target!r} is not defined for outputs of shape {tuple(trailing)}: use {remedy}.")
        return (output.argmax(1),)
    return _checked(_indices(target, n, len(trailing)).to(output.device), trailing)


def _indices(target: Any, n: int, dims: int) -> Tensor:
    """Indices as ``(N, dims)``, from an int, a tuple, a list or a tensor."""
    try:
        given = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        raise TargetError(f"A target cannot be made of {_short(target)}: {error}.") from error
    if given.is_meta or given.layout is not torch.strided or given.is_nested or given.is_quantized:
        raise TargetError("A target must be an ordinary dense tensor of integers, or an index.")
    if given.is_floating_point() or given.dtype == torch.bool or given.is_complex():
        raise TargetError(f"Target indices must be integers, not {given.dtype}.")
    if given.dim() == 0:
        given = given.reshape(1, 1).expand(n, 1)
    elif isinstance(target, tuple) and given.dim() == 1:
        given = given.expand(n, -1)
    elif given.dim() == 1:
        given = given[:, None]
    if given.dim() != 2 or given.shape[0] != n:
        raise TargetError(
            f"The target has {given.shape[0]} entries for a batch of {n}: give one index for all examples, or one for "
            "each."
        )
    if given.shape[1] != dims:
        raise TargetError(
            f"The target has {given.shape[1]} indices per example, but the output has {dims} dimensions besides the "
            f"batch: give a tuple of {dims}."
            if dims
            else "The model returns one number per example: leave the target out."
        )
    indices = given.long()
    if not given.dtype.is_signed and (indices < 0).any():
        largest = int(indices[indices < 0][0]) + 2**64
        raise TargetError(f"Target {largest} is out of range: no output has as many entries.")
    return indices


def _short(target: Any) -> str:
    text = repr(target)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _checked(indices: Tensor, trailing: torch.Size) -> tuple[Tensor, ...]:
    found = []
    for dim, size in enumerate(trailing):
        index = indices[:, dim]
        low, high = (int(extreme) for extreme in index.aminmax())
        if high >= size or low < -size:
            wrong = index[(index >= size) | (index < -size)][0]
            raise TargetError(
                f"Target {int(wrong)} is out of range: dimension {dim + 1} of the output has {size} entries."
            )
        found.append(index % size if low < 0 else index)
    return tuple(found)
