"""The two terms of ``f = w.x + b`` as classifiers: which class the network and each term alone predict."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["TERMS", "logits_of", "predicted_classes"]

TERMS = ("w.x + b", "w.x alone", "b alone")
"""Names of the columns of `predicted_classes`."""


def predicted_classes(linear: Tensor, bias: Tensor) -> Tensor:
    """The class that ``w.x + b``, ``w.x`` alone and ``b`` alone predict, ``(N, 3)`` int64.

    Args:
        linear: ``w.x`` of every class, ``(N, C)``: the largest decides. Of one logit, ``(N,)`` or ``(N, 1)``: its sign
            decides between class 0 and 1.
        bias: ``b``, of the same shape.
    """
    single = linear.dim() == 1 or linear.shape[1] == 1
    terms = (part.reshape(len(linear), -1) for part in (linear + bias, linear, bias))
    return torch.stack([(t[:, 0] > 0).long() if single else t.argmax(1) for t in terms], 1)


def logits_of(output: Any) -> Any:
    """What a model returns, or the ``logits`` in it where that is a mapping (models of transformers)."""
    return output["logits"] if isinstance(output, Mapping) and "logits" in output else output
