"""How sparsely features are used: the Gini coefficient, and the attribution prior made of it."""

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["gini", "sparsity_loss"]


def gini(values: Tensor) -> Tensor:
    """The Gini coefficient ``sum_ij |v_i - v_j| / (2 n^2 mean v)`` of non-negative values, differentiable.

    0 if all are equal, ``1 - 1/n`` if one has everything (Hesse et al., NeurIPS 2021, section 4.3).

    Args:
        values: shape ``(n,)``, not negative and not all zero.

    Raises:
        InputError: they are.
    """
    values = values.flatten()
    if not values.isfinite().all() or (values < 0).any() or not values.sum() > 0:
        raise InputError("The Gini coefficient needs finite values, none negative and not all zero.")
    n = len(values)
    rank = 2 * torch.arange(1, n + 1, device=values.device, dtype=values.dtype) - n - 1
    return (rank * values.sort().values).sum() / (n * values.sum())


def sparsity_loss(attributions: Tensor) -> Tensor:
    """``-gini(mean over the batch of |A|)``: the attribution prior for sparse use of features, to be minimised.

    Args:
        attributions: ``(N, ...)``, made with ``create_graph=True``.

    Raises:
        InputError: every attribution is zero, or one is not finite.
    """
    return -gini(attributions.abs().mean(0))
