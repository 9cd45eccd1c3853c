"""What must hold of an input before it is explained."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..graph import require_eval

__all__ = ["as_tuple", "check_input", "checked", "signature"]


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One or several, or None, as a tuple."""
    return () if value is None else value if isinstance(value, tuple) else (value,)


def checked(model: nn.Module, x: Any, extras: Any) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Inputs and extra arguments as tuples, checked; the inputs detached from any graph of the caller's.

    Raises:
        CaptureError: the model is in training mode.
        InputError: an input does not fit the model.
    """
    require_eval(model)
    inputs = x if isinstance(x, tuple) else (x,)
    if not inputs:
        raise InputError("There is no input: give a tensor, or a tuple of tensors.")
    for i, tensor in enumerate(inputs):
        check_input(tensor, "The input" if len(inputs) == 1 else f"Input {i}", model)
    if len({t.shape[0] for t in inputs}) > 1:
        raise InputError(f"The inputs have different batch sizes: {[t.shape[0] for t in inputs]}.")
    with torch.inference_mode(False):
        detached = tuple(_detached(t) for t in inputs)
        return detached, tuple(pytree.tree_map_only(Tensor, _detached, as_tuple(extras)))


def _detached(tensor: Tensor) -> Tensor:
    """A copy: an explanation stays what it is when the caller goes on to change x."""
    return tensor.detach().clone()


def signature(inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a captured graph is fixed to: shapes besides the batch, dtypes, structure, and every constant."""
    leaves, structure = pytree.tree_flatten((inputs, extras))
    return str(structure), *(_signature(leaf, inputs[0].shape[0]) for leaf in leaves)


def _signature(leaf: Any, batch: int) -> tuple[Any, ...]:
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__, repr(leaf)
    shape = leaf.shape[1:] if leaf.dim() and leaf.shape[0] == batch else leaf.shape
    return "tensor", shape, leaf.dtype, str(leaf.device)


def check_input(tensor: Any, what: str, model: nn.Module) -> None:
    """Raise ``InputError`` unless this is a finite dense floating tensor of the model's dtype and device."""
    if isinstance(tensor, Tensor) and (tensor.layout is not torch.strided or tensor.is_meta):
        raise InputError(f"{what} must be an ordinary dense tensor: use x.to_dense(), or build it with values.")
    if not isinstance(tensor, Tensor):
        raise InputError(f"{what} must be a torch.Tensor, not {type(tensor).__name__}: use torch.as_tensor(...).")
    if not tensor.is_floating_point():
        raise InputError(f"{what} must be floating point, not {tensor.dtype}: use x.float() after scaling it.")
    if tensor.dim() == 0 or tensor.shape[0] == 0 or tensor.numel() == 0:
        raise InputError(f"{what} has shape {tuple(tensor.shape)}: it must hold at least one example, (N, ...).")
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is not None and parameter.device != tensor.device:
        raise InputError(f"{what} is on {tensor.device}, the model on {parameter.device}: move one with .to(device).")
    if parameter is not None and parameter.dtype != tensor.dtype:
        raise InputError(f"{what} is {tensor.dtype}, the model {parameter.dtype}: use x.to({parameter.dtype}).")
    if not tensor.isfinite().all():
        bad = (~tensor.isfinite()).reshape(tensor.shape[0], -1).any(1).nonzero()[0].item()
        raise InputError(f"{what} holds NaN or infinite values (first in example {bad}): replace or drop them.")
