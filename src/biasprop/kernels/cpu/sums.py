"""Shares of sums and products of a few tensors on the CPU, element by element (mathematics, section 2)."""

from functools import cache
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from .keeping import kept
from .parallel import in_parallel
from .powers import exp2

__all__ = ["POSITIVE", "SOFTMAX", "TOGETHER", "components"]

SOFTMAX, POSITIVE = 0, 1
TOGETHER = 1024  # units that are shared out together


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _raise_to_largest(m: Any, scores: Any, top: Any) -> None:
    """The largest score so far of each unit's non-zero components."""
    for k in range(len(m)):
        score = m[k] * scores[k] if m[k] != 0 else np.float32(-np.inf)
        top[k] = score if score > top[k] else top[k]


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _share(mode: Any, m: Any, scores: Any, top: Any, share: Any, total: Any) -> None:
    """The share of one component of each unit, and how much that adds to the total."""
    for k in range(len(m)):
        value = exp2(m[k] * scores[k] - top[k]) if mode == SOFTMAX else max(m[k], np.float32(0))
        value = value if m[k] != 0 else np.float32(0)
        share[k] = value
        total[k] += value


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _scale(share: Any, total: Any, beta: Any, out: Any) -> None:
    """``share / total * beta``, where there is something to share."""
    for k in range(len(share)):
        part = share[k] / total[k] * beta[k]
        out[k] = part if beta[k] != 0 else np.float32(0)


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _undecided(total: Any, beta: Any) -> Any:
    """At how many units there is something to share, and the rule is 0/0."""
    count = 0
    for k in range(len(total)):
        count += (total[k] == 0) & (beta[k] != 0)
    return count


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _equal_parts(m: Any, support: Any, p: Any, share: Any, k: Any) -> Any:
    """The rule is 0/0: equal shares among the non-zero components, or the support, or all; how many these are."""
    for kind in range(3):
        total = np.float32(0)
        for i in range(len(m)):
            weighs = support[i, p if support.shape[1] > 1 else 0]
            part = np.float32(kind == 2 or (kind == 1 and weighs) or (kind == 0 and m[i, p] != 0))
            share[i, k] = part
            total += part
        if total > 0:
            break
    return total


@kept
def _components_of(
    block: Any, mode: Any, scale: Any, signed: Any, m: Any, h: Any, support: Any, beta: Any, out: Any
) -> None:
    """Shares of a few operands, element by element, ``out[i, j] = alpha[i] * beta[j]``, at a block of units.

    Args:
        block: which one.
        mode: `SOFTMAX` or `POSITIVE`.
        scale: times ``m``: the score of a component, to the base 2.
        signed: also times the sign of ``h``.
        m: components, ``(operands, units)``.
        h: local bias, ``(units,)``, or ``(1,)``: the same everywhere.
        support: where the weight is not zero, ``(operands, units)``, or ``(operands, 1)``.
        beta: ``(J, units)``, of J targets.
        out: ``(operands, J, units)``; of one target it may be ``m`` itself.
    """
    operands, targets, units = out.shape
    first, stop = block * TOGETHER, min(units, (block + 1) * TOGETHER)
    count = stop - first
    share, scores = np.empty((operands, count), m.dtype), np.empty(count, m.dtype)
    top, total = np.full(count, -np.inf, m.dtype), np.zeros(count, m.dtype)
    local = h[first:stop] if len(h) > 1 else np.full(count, h[0], m.dtype)
    for k in range(count):
        sign = np.float32(local[k] > 0) - np.float32(local[k] < 0)
        scores[k] = scale * sign if signed else scale
    if mode == SOFTMAX:
        for i in range(operands):
            _raise_to_largest(m[i, first:stop], scores, top)
    for i in range(operands):
        _share(mode, m[i, first:stop], scores, top, share[i], total)
    undecided = 0
    for j in range(targets):
        undecided += _undecided(total, beta[j, first:stop])
    if undecided:
        for k in range(len(total)):
            if total[k] == 0:
                total[k] = _equal_parts(m, support, first + k, share, k)
    for j in range(targets):
        for i in range(operands):
            _scale(share[i], total, beta[j, first:stop], out[i, j, first:stop])


@cache
def components(dtype: np.dtype[Any]) -> Any:
    """`_components_of`, for all blocks of `TOGETHER` units, compiled for float32 or float64."""
    units, rows, targets = (types.Array(from_dtype(dtype), d, "C") for d in (1, 2, 3))
    support = types.Array(types.boolean, 2, "C")
    settings = (types.intp, from_dtype(dtype), types.boolean)
    return in_parallel(_components_of, (*settings, rows, units, support, rows, targets))
