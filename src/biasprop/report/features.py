"""What the features of a row have received, the largest first, and what goes elsewhere: rows that add up to f(x)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..results import Decomposition
from .naming import feature_name
from .style import Array

__all__ = ["feature_rows"]


def feature_rows(
    each: Sequence[Decomposition[Any]], part: int, example: int, most: int
) -> tuple[list[str], list[tuple[Array, Array]]]:
    """Labels, and for each of several targets ``w * x`` and ``beta`` of each row; all of them add up to its output.

    Args:
        each: an explanation of one target, for each target.
        part: which tensor.
        example: which of the batch.
        most: features at most; what the others receive is one row.
    """
    pairs = [_received(one, part, example) for one in each]
    order = np.argsort(-np.max([np.abs(w + beta) for w, beta in pairs], 0), kind="stable")
    kept, rest = order[:most], order[most:]
    tensor = each[0].parts[part]
    values = tensor.value.movedim(tensor.batch_dim, 0)[example].detach().flatten().double().cpu().numpy()
    labels = [f"{feature_name(tensor, int(k), each[0].features)} = {values[k]:.4g}" for k in kept]
    labels += [f"{len(rest)} other{'s' * (len(rest) != 1)}"] if len(rest) else []
    found = [tuple(np.append(kind[kept], [kind[rest].sum()] * bool(len(rest))) for kind in pair) for pair in pairs]
    elsewhere = [_elsewhere(one, part, example) for one in each]
    for name in elsewhere[0]:
        if any(any(amounts[name]) for amounts in elsewhere):
            labels.append(name)
            found = [
                (np.append(w, amounts[name][0]), np.append(beta, amounts[name][1]))
                for (w, beta), amounts in zip(found, elsewhere, strict=True)
            ]
    return labels, found  # type: ignore[return-value]


def _received(one: Decomposition[Any], part: int, example: int) -> tuple[Array, Array]:
    """``w * x`` and ``beta`` of each number of a tensor."""
    tensor = one.parts[part]
    w, beta = (
        tensor.by_example(kind, len(one))[0, example].detach().double().cpu().numpy()
        for kind in (tensor.product, tensor.beta)
    )
    return w, beta


def _elsewhere(one: Decomposition[Any], part: int, example: int) -> dict[str, tuple[float, float]]:
    """``w . x`` and bias that are not in this tensor."""
    others = [_received(one, k, example) for k in range(len(one.parts)) if k != part]
    return {
        "other inputs": (sum(float(w.sum()) for w, _ in others), sum(float(beta.sum()) for _, beta in others)),
        "bypassed": (one.bypassed[example].item(), 0.0),
        "unattributed": (0.0, one.unattributed[example].item()),
        "withheld sources": (0.0, one.withheld[example].item()),
    }
