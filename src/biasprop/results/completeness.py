"""What must hold of every explanation: a sum that misses is an error too."""

from typing import Any

import torch

from ..errors import CompletenessError
from .decomposition import Decomposition
from .sources import Sources

__all__ = ["require_complete"]


def require_complete(explanation: Decomposition[Any]) -> None:
    """The last line of defence: the parts are finite and add up, and so do the sources.

    Raises:
        CompletenessError: they do not; that is never rounding, whose size these bounds exceed by far.
    """
    output = explanation.output
    tolerance = 1e-9 if output.dtype == torch.float64 else 1e-4
    amounts = Sources.outward(explanation.table, explanation.axis, explanation.values).amounts
    size = explanation.magnitude + amounts.abs().sum(-1) + output.abs()
    if not bool(torch.isfinite(size).all()):
        raise CompletenessError(
            "The gradient or the bias is not finite on this input, e.g. at the root or logarithm of 0: no explanation "
            "exists there. Move the input a little, or clamp inside the model."
        )
    wrong = explanation.residual.abs() > tolerance * size
    if all(part.is_input for part in explanation.parts):
        missing = amounts.sum(-1) - explanation.bias
        wrong = wrong | (missing.abs() > tolerance * size)
    if wrong.any():
        raise CompletenessError(
            f"The parts do not add up to f(x) in example {int(wrong.nonzero()[0, 0])}. Either the model mixes the "
            "examples of a batch (flip, sort or index over the batch; time folded in front of the batch), or a rule or "
            "operation of your own is wrong. Explain one example at a time to see which."
        )
