"""What must hold of every explanation: a sum that misses is an error too."""

from typing import Any

import torch

from ..errors import CompletenessError
from .decomposition import Decomposition

__all__ = ["require_complete"]


def require_complete(explanation: Decomposition[Any]) -> None:
    """The last line of defence: the parts are finite and add up, and so do the sources.

    Raises:
        CompletenessError: they do not; that is never rounding, whose size these bounds exceed by far.
    """
    values, (linear, _, size) = explanation.values, explanation._totals
    amounts = torch.stack([torch.zeros_like(values), *(source.amount for source in explanation.table)])
    size = size + amounts.abs().sum(0) + values.abs()
    if not bool(torch.isfinite(size).all()):
        raise CompletenessError(
            "The gradient or the bias is not finite on this input, e.g. at the root or logarithm of 0: no explanation "
            "exists there. Move the input a little, or clamp inside the model."
        )
    bound = (1e-9 if values.dtype == torch.float64 else 1e-4) * size
    wrong = explanation._missing.abs() > bound
    if all(part.is_input for part in explanation.parts):
        missing = linear + amounts.sum(0) + explanation.past - values
        wrong = wrong | (missing.abs() > bound)
    if wrong.any():
        raise CompletenessError(
            f"The parts do not add up to f(x) in example {int(wrong.any(0).nonzero()[0])}. Either the model mixes the "
            "examples of a batch (flip, sort or index over the batch; time folded in front of the batch), or a rule or "
            "operation of your own is wrong. Explain one example at a time to see which."
        )
