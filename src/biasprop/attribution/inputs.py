"""What must hold of an input before it is explained."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..graph import require_eval

__all__ = ["as_tuple", "check_input", "checked", "signature"]


PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


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
        others = tuple(pytree.tree_map_only(Tensor, _detached, as_tuple(extras)))
    _require_batch(detached, others, model)
    return detached, others


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
    if not isinstance(tensor, Tensor):
        raise InputError(f"{what} must be a torch.Tensor, not {type(tensor).__name__}: use torch.as_tensor(...).")
    _require_dense(tensor, what)
    if tensor.dtype not in PRECISIONS:
        raise InputError(f"{what} must be floating point, not {tensor.dtype}: {_floating_advice(tensor, model)}")
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


def _require_dense(tensor: Tensor, what: str) -> None:
    """Of what kind a tensor is, before anything is asked of it that only ordinary ones answer."""
    if tensor.is_nested:
        remedy = "a nested tensor has examples of several sizes: explain them one by one, or x.to_padded_tensor(0.0)"
    elif tensor.is_meta:
        remedy = "build it with values, on the model's device"
    elif tensor.layout is not torch.strided:
        remedy = "use x.to_dense()"
    elif tensor.is_quantized:
        remedy = "use x.dequantize()"
    else:
        return
    raise InputError(f"{what} must be an ordinary dense tensor: {remedy}.")


def _floating_advice(tensor: Tensor, model: nn.Module) -> str:
    """What to do about an input of another type: not the same for pixels, for tokens and for complex numbers."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    looked_up = next((name for name, module in model.named_modules() if isinstance(module, kinds)), None)
    if tensor.is_complex():
        return "give real and imaginary part as two channels, torch.view_as_real(x)."
    if tensor.is_floating_point():
        return "use x.float()."
    if looked_up is None:
        return "use x.float() after scaling it."
    name = looked_up or type(model).__name__
    return (
        f"token ids, which the model looks up (in {name!r}), cannot be attributed to yet. Explain a module that takes "
        "the embeddings, with the vectors looked up as x; ids that need no attribution go into "
        "additional_forward_args."
    )


def _require_batch(inputs: tuple[Tensor, ...], extras: tuple[Any, ...], model: nn.Module) -> None:
    """One example without a batch, of the shape that the model's first layer takes, on which the model fails."""
    first = next((m for m in model.modules() if isinstance(m, WEIGHTED)), None)
    x = inputs[0]
    if first is None or len(inputs) > 1 or x.shape[0] != _channels(first) or x.dim() != _dimensions(first):
        return
    try:
        with torch.no_grad():
            model(x, *extras)
    except Exception as error:  # whatever the user's code raises
        raise InputError(
            f"The input of shape {tuple(x.shape)} has no dimension of examples: make it a batch of one with x[None]. "
            f"(As it is, the model fails: {(str(error).splitlines() or [type(error).__name__])[0][:200]})"
        ) from error


def _channels(layer: nn.Module) -> Any:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _dimensions(layer: nn.Module) -> int:
    """Of one example for this layer."""
    return 1 if isinstance(layer, nn.Linear) else 1 + len(layer.kernel_size)  # type: ignore[arg-type]
