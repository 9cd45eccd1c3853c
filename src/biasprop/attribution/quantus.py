"""What Quantus calls: an explanation with NumPy in and out (duck-typed, Quantus is not imported)."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from .one_call import explain

__all__ = ["quantus_explain"]


def quantus_explain(model: nn.Module, inputs: Any, targets: Any, **kwargs: Any) -> np.ndarray[Any, Any]:
    """The complete attribution for a metric: ``quantus.Sparseness()(model, x, y, explain_func=quantus_explain)``.

    Args:
        model: in eval mode.
        inputs: ``(N, ...)``, an array or a tensor.
        targets: the class of each, ``(N,)``; None for the predicted one.
        kwargs: options of `biasprop.explain` (``rule``, ``handover``, ...) in ``explain_kwargs``; what Quantus adds
            (``device``, ``method``, ...) is not needed.

    Returns:
        ``w * x + beta``, like the inputs; with ``sum_channels=True`` one channel of the sums.

    Raises:
        InputError: inputs are no numbers, or targets do not fit them.
        BiaspropError: as `biasprop.explain`.
    """
    parameter = next(model.parameters(), torch.empty(0))
    try:
        x = torch.as_tensor(np.asarray(inputs) if not isinstance(inputs, torch.Tensor) else inputs)
        target = None if targets is None else torch.as_tensor(np.asarray(targets)).reshape(-1).long()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Inputs and targets must be arrays of numbers: {error}.") from error
    x = x.to(parameter.device, parameter.dtype if parameter.is_floating_point() else torch.float32)
    chosen: Any = "predicted" if target is None else target.to(x.device)
    found = explain(model, x, chosen, **kwargs.get("explain_kwargs", {})).attribution
    found = found.sum(1, keepdim=True) if kwargs.get("sum_channels", False) else found
    array: np.ndarray[Any, Any] = found.cpu().numpy()
    return array
