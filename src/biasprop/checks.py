"""What must hold of an input before, and of an explanation after: a sum that misses is an error too."""

from typing import Any

import torch
from torch import Tensor, nn

from .errors import CompletenessError, InputError
from .explanation import Explanation

__all__ = ["check_input", "check_labels", "require_complete"]


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


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ``InputError`` unless every label is one of the model's classes."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise InputError(f"Label {wrong[0].item()} is not one of the model's {classes} classes.")


def require_complete(explanation: Explanation) -> None:
    """The last line of defence: the parts are finite and add up, and so do the sources.

    Raises:
        CompletenessError: they do not; that is never rounding, whose size these bounds exceed by far.
    """
    output = explanation.output
    tolerance = 1e-7 if output.dtype == torch.float64 else 2e-3
    size = sum(p.per_example(p.product.abs() + p.beta.abs(), len(output)) for p in explanation.parts)
    size = size + explanation.sources.amounts.abs().sum(-1) + output.abs()
    if not bool(torch.isfinite(size).all()):
        raise CompletenessError(
            "The gradient or the bias is not finite on this input, e.g. at the root or logarithm of 0: no explanation "
            "exists there. Move the input a little, or clamp inside the model."
        )
    wrong = explanation.residual.abs() > tolerance * size
    if all(part.is_input for part in explanation.parts):
        missing = explanation.sources.amounts.sum(-1) - explanation.bias
        wrong = wrong | (missing.abs() > tolerance * size)
    if wrong.any():
        raise CompletenessError(
            f"The parts do not add up to f(x) in example {int(wrong.nonzero()[0, 0])}. Either the model mixes the "
            "examples of a batch (flip, sort or index over the batch; time folded in front of the batch), or a rule or "
            "operation of your own is wrong. Explain one example at a time to see which."
        )
