"""The stencil's spread on the CPU: fused, streaming and multi-threaded, compiled by Numba (spec section 7).

For each unit with a bias the kernel runs over its window twice: components and their (un-normalised) shares go to a
buffer in the first-level cache, then the shares, scaled by ``beta / sum``, are added to the message of the output
position. Messages of a block of positions are then added to their windows. Nothing of alpha outlives its unit.

Blocks of output channels keep their weights in the cache while they are used for many positions. Every sum is taken
in an order that does not depend on the number of threads.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

__all__ = ["POSITIVE", "SOFTMAX", "messages", "scatter"]

SOFTMAX, POSITIVE = 0, 1
BOUND = np.float32(60.0)  # exp2 of a score below this can be summed without a shift
TINY = np.float32(1e-30)  # dividing a bias by less could overflow
BLOCK = 2**17  # weights of a block of output channels: 512 KiB, half of a second-level cache

# Sums may be reordered into vector lanes and products fused, but infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


@intrinsic  # type: ignore[untyped-decorator]
def _float_of_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=FAST)  # type: ignore[untyped-decorator]
def _exp2(x: Any) -> Any:
    """``2 ** x`` to float32's precision, without a branch, so that it vectorises; 2 ** -126 below that."""
    x = max(x, np.float32(-126.0))
    whole = np.floor(x + np.float32(0.5))
    part = x - whole  # in [-0.5, 0.5]: the Taylor polynomial of degree 6 is exact to 1e-7
    power = np.float32(1.5403530393381609954e-4)
    power = power * part + np.float32(1.3333558146428443423e-3)
    power = power * part + np.float32(9.6181291076284771619e-3)
    power = power * part + np.float32(5.5504108664821579953e-2)
    power = power * part + np.float32(2.4022650695910071233e-1)
    power = power * part + np.float32(6.9314718055994530942e-1)
    power = power * part + np.float32(1.0)
    return power * _float_of_bits((np.int32(whole) + np.int32(127)) << np.int32(23))


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _softmax(a: Any, u: Any, scale: Any, bounded: Any, out: Any) -> Any:
    """``out = exp2(scale a u)`` at the non-zero components, shifted by their maximum unless bounded; its sum."""
    total = np.float32(0)
    if not bounded:
        shift = np.float32(-np.inf)
        for k in range(a.size):  # the scores are stored: computed twice, they might be rounded differently
            product = a[k] * u[k]
            out[k] = product * scale if product != 0 else np.float32(-np.inf)
            shift = max(shift, out[k])
        if shift == -np.inf:
            return total
        for k in range(a.size):
            share = _exp2(out[k] - shift)
            share = share if out[k] != -np.inf else np.float32(0)
            out[k] = share
            total += share
        return total
    for k in range(a.size):
        product = a[k] * u[k]
        share = _exp2(product * scale)
        share = share if product != 0 else np.float32(0)
        out[k] = share
        total += share
    return total


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _positive(a: Any, u: Any, scale: Any, out: Any) -> Any:
    """``out = max(scale a u, 0)``, or 1 at the non-zero components if none is positive; its sum."""
    total = np.float32(0)
    for k in range(a.size):
        share = max(a[k] * u[k] * scale, np.float32(0))
        out[k] = share
        total += share
    if total == 0:
        for k in range(a.size):
            share = np.float32(1) if a[k] * u[k] != 0 else np.float32(0)
            out[k] = share
            total += share
    return total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _fallback(a: Any, window: Any, size: Any, channels: Any, out: Any) -> Any:
    """No non-zero component: equal shares over the support, else over everything wired (spec section 3)."""
    for anything in range(2):
        total = np.float32(0)
        for t in range(window.size):
            for c in range(channels):
                k = t * channels + c
                share = np.float32(1) if window[t] < size and (anything == 1 or a[k] != 0) else np.float32(0)
                out[k] = share
                total += share
        if total > 0:
            return total
    return np.float32(0)


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _gather(operand: Any, window: Any, values: Any, message: Any) -> Any:
    """The operands of a window in the order of the weights, an empty message, and the largest magnitude."""
    channels = operand.shape[1]
    largest = np.float32(0)
    for t in range(window.size):
        for c in range(channels):
            value = operand[window[t], c]
            values[t * channels + c] = value
            largest = max(largest, abs(value))
    for k in range(message.size):
        message[k] = 0
    return largest


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _add(out: Any, mass: Any, total: Any, share: Any) -> None:
    """``out += mass * share / total``."""
    if total < TINY:
        for k in range(out.size):
            share[k] /= total
        total = np.float32(1)
    factor = mass / total
    for k in range(out.size):
        out[k] += factor * share[k]


@njit(parallel=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def messages(
    mode: Any,
    u: Any,
    windows: Any,
    weight: Any,
    largest: Any,
    scale: Any,
    beta: Any,
    lost: Any,
    first: Any,
    parts: Any,
    out: Any,
) -> None:
    """The messages of a block of rows; a row is an output position of one example and group.

    Args:
        mode: `SOFTMAX` or `POSITIVE`.
        u: operand, ``(B, G, S + 1, C)``; the last position is zero and stands for "outside".
        windows: ``(L, T)`` positions.
        weight: ``(G, 1 or L, O, T * C)``.
        largest: ``max_k |weight|``, ``(G, 1 or L, O)``; infinity where it is not known.
        scale: of each component, ``(B, G, L, O)``; NaN where the gate is closed and every component is 0.
        beta: ``(B, G, L, O)``; units with 0 are skipped.
        lost: like beta, zero; receives what no operand is wired to.
        first: number of the first row.
        parts: into how many pieces of work the rows are cut; of no influence on the result.
        out: ``(pieces of O, rows, T * C)``, to be summed over the first dimension.
    """
    groups, size, channels = u.shape[1], u.shape[2] - 1, u.shape[3]
    positions = windows.shape[0]
    pieces, rows, k = out.shape
    outputs = weight.shape[2]
    shared = weight.shape[1] == 1
    block = max(1, BLOCK // k)
    parts = min(rows, parts)
    for job in prange(parts * pieces):
        part, piece = job // pieces, job % pieces
        start, stop = part * rows // parts, (part + 1) * rows // parts
        begin, end = piece * outputs // pieces, (piece + 1) * outputs // pieces
        share = np.empty(k, np.float32)
        window = np.empty((stop - start, k), np.float32)
        reach = np.zeros(stop - start, np.float32)
        for i in range(start, stop):
            position, owner = (first + i) % positions, (first + i) // positions
            operand = u[owner // groups, owner % groups]
            reach[i - start] = _gather(operand, windows[position], window[i - start], out[piece, i])
        for o0 in range(begin, end, block):
            for i in range(start, stop):
                position, owner = (first + i) % positions, (first + i) // positions
                b, g, w = owner // groups, owner % groups, 0 if shared else position
                for o in range(o0, min(o0 + block, end)):
                    mass = beta[b, g, position, o]
                    if mass == 0:
                        continue
                    a, s = weight[g, w, o], scale[b, g, position, o]
                    total = np.float32(0)
                    if not math.isnan(s):
                        if mode == SOFTMAX:
                            bounded = abs(s) * largest[g, w, o] * reach[i - start] < BOUND
                            total = _softmax(a, window[i - start], s, bounded, share)
                        else:
                            total = _positive(a, window[i - start], s, share)
                    if total == 0:
                        total = _fallback(a, windows[position], size, channels, share)
                    if total == 0:
                        lost[b, g, position, o] = mass
                    else:
                        _add(out[piece, i], mass, total, share)


@njit(parallel=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def scatter(message: Any, windows: Any, first: Any, parts: Any, received: Any) -> None:
    """Add the messages ``(pieces, rows, T * C)`` to the operands that their windows name, ``(B, G, S + 1, C)``."""
    pieces, rows, _ = message.shape
    batch, groups, _, channels = received.shape
    positions, taps = windows.shape
    strips = max(1, min(parts, channels // 16))
    for job in prange(batch * groups * strips):
        owner, strip = job // strips, job % strips
        b, g = owner // groups, owner % groups
        begin, end = strip * channels // strips, (strip + 1) * channels // strips
        for i in range(max(0, owner * positions - first), min(rows, (owner + 1) * positions - first)):
            for t in range(taps):
                s = windows[(first + i) % positions, t]
                for piece in range(pieces):
                    for c in range(begin, end):
                        received[b, g, s, c] += message[piece, i, t * channels + c]
