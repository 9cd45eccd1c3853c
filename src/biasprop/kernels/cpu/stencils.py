"""The stencil's spread on the CPU: fused and streaming (mathematics, section 7).

For each unit with a bias the kernel runs over its window twice: components and their (un-normalised) shares go to a
buffer near the processor, four units at a time, then these shares, times ``beta / sum``, are added to the messages of
the output position, one for each target. Messages of a block of positions are then added to their windows. Nothing of
alpha outlives its units.

Blocks of output channels keep their weights in the cache while they are used for many positions. Every sum is taken
in an order that does not depend on the number of threads.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from .parallel import in_parallel
from .vectors import FAST, exp2, greatest, greatest_magnitude

__all__ = ["LANES", "messages", "scatter"]

BOUND = np.float32(100.0)  # exp2 of scores below this can be summed
FAR = np.float32(1000.0)  # a greater bound says little of the scores
LEAST = np.float32(1e-24)  # what is smaller than exp2(-126), which is about 0, does not count in such a sum
LANES = 16  # of the widest vectors: rows are filled up with zeros to a multiple
BLOCK = 2**17  # weights of a block of output channels: 512 KiB, half of a second-level cache
UNITS = 16  # units whose shares are held at once, with several targets; with one, TILE
ROWS = 16  # positions of which a line of a cache holds one unit
NEAR = 2**16  # masses of several rows that are held at once
TILE = 4  # units and targets in the registers at once

# Arrays go with the numbers of rows, not as views of these: a view costs more than a short row.


@njit(forceinline=True, fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _softmaxes(
    weight: Any, rows: Any, window: Any, i: Any, scale: Any, shift: Any, share: Any, n: Any, total: Any
) -> None:
    """Of four units at once: ``share = exp2(scale weight window - shift)`` at the non-zero components, and the sums."""
    r0, r1, r2, r3 = rows[n], rows[n + 1], rows[n + 2], rows[n + 3]
    a0, a1, a2, a3 = scale[n], scale[n + 1], scale[n + 2], scale[n + 3]
    b0, b1, b2, b3 = shift[n], shift[n + 1], shift[n + 2], shift[n + 3]
    t0 = t1 = t2 = t3 = np.float32(0)
    for k in range(window.shape[1] // LANES * LANES):
        u = window[i, k]
        m0, m1, m2, m3 = weight[r0, k] * u, weight[r1, k] * u, weight[r2, k] * u, weight[r3, k] * u
        v0, v1, v2, v3 = exp2(m0 * a0 - b0), exp2(m1 * a1 - b1), exp2(m2 * a2 - b2), exp2(m3 * a3 - b3)
        v0 = v0 if m0 != 0 else np.float32(0)
        v1 = v1 if m1 != 0 else np.float32(0)
        v2 = v2 if m2 != 0 else np.float32(0)
        v3 = v3 if m3 != 0 else np.float32(0)
        share[n, k], share[n + 1, k], share[n + 2, k], share[n + 3, k] = v0, v1, v2, v3
        t0 += v0
        t1 += v1
        t2 += v2
        t3 += v3
    total[n], total[n + 1], total[n + 2], total[n + 3] = t0, t1, t2, t3


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _exactly(weight: Any, o: Any, window: Any, i: Any, scale: Any, share: Any, n: Any) -> Any:
    """Of one unit, whatever its scores: ``share[n] = exp2(score - the greatest score)``; the sum."""
    total = np.float32(0)
    if scale == 0:  # behind a closed gate there is nothing
        return total
    for k in range(share.shape[1]):  # the scores are stored: computed twice, they might be rounded differently
        product = weight[o, k] * window[i, k]
        share[n, k] = product * scale if product != 0 else np.float32(-np.inf)
    shift = greatest(share, n)
    if shift == -np.inf:
        return total
    for k in range(share.shape[1]):
        score = share[n, k]
        value = exp2(score - shift)
        value = value if score != -np.inf else np.float32(0)
        share[n, k] = value
        total += value
    return total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _fallback(weight: Any, o: Any, windows: Any, position: Any, width: Any, share: Any, n: Any) -> Any:
    """No non-zero component: equal shares over the support, else over everything wired (mathematics, section 3)."""
    taps = windows.shape[1]
    for anything in range(2):
        total = np.float32(0)
        for k in range(share.shape[1]):
            wired = k < width and windows[position, k % taps] >= 0
            value = np.float32(1) if wired and (anything == 1 or weight[o, k] != 0) else np.float32(0)
            share[n, k] = value
            total += value
        if total > 0:
            return total
    return np.float32(0)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _whatever(
    weight: Any,
    o: Any,
    window: Any,
    i: Any,
    windows: Any,
    position: Any,
    width: Any,
    scale: Any,
    share: Any,
    n: Any,
) -> Any:
    """Of one unit, whatever it is like; the sum is infinite where nothing is wired to it, and the shares are 0."""
    total = _exactly(weight, o, window, i, scale, share, n)
    if total == 0:
        total = _fallback(weight, o, windows, position, width, share, n)
    return np.float32(np.inf) if total == 0 else total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _gather(u: Any, windows: Any, row: Any, values: Any) -> None:
    """The operands ``(B * G, C, S)`` of the windows that follow ``row``, in the order of the weights: ``(rows, W)``."""
    positions, taps = windows.shape
    channels = u.shape[1]
    i = 0
    while i < len(values):  # the rows of one example and group after another
        owner, position = (row + i) // positions, (row + i) % positions
        together = min(len(values) - i, positions - position)
        for c in range(channels):
            for t in range(taps):
                for k in range(together):
                    at = windows[position + k, t]
                    values[i + k, c * taps + t] = u[owner, c, at] if at >= 0 else np.float32(0)
        i += together
    for n in range(len(values)):
        for k in range(channels * taps, values.shape[1]):
            values[n, k] = 0


@njit(forceinline=True, fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_tile_of_one(message: Any, j: Any, row: Any, f: Any, s: Any, n: Any) -> None:
    """``message[j, row] += f[j, n] s[n] + ... + f[j, n + 3] s[n + 3]``."""
    f0, f1, f2, f3 = f[j, n], f[j, n + 1], f[j, n + 2], f[j, n + 3]
    for k in range(s.shape[1] // LANES * LANES):
        message[j, row, k] += (f0 * s[n, k] + f1 * s[n + 1, k]) + (f2 * s[n + 2, k] + f3 * s[n + 3, k])


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_tile(message: Any, j: Any, row: Any, f: Any, s: Any, n: Any) -> None:
    """The same for the targets ``j`` to ``j + 3``: a tile of a matrix product, in registers."""
    a0, a1, a2, a3 = f[j, n], f[j, n + 1], f[j, n + 2], f[j, n + 3]
    b0, b1, b2, b3 = f[j + 1, n], f[j + 1, n + 1], f[j + 1, n + 2], f[j + 1, n + 3]
    c0, c1, c2, c3 = f[j + 2, n], f[j + 2, n + 1], f[j + 2, n + 2], f[j + 2, n + 3]
    d0, d1, d2, d3 = f[j + 3, n], f[j + 3, n + 1], f[j + 3, n + 2], f[j + 3, n + 3]
    for k in range(s.shape[1] // LANES * LANES):
        v0, v1, v2, v3 = s[n, k], s[n + 1, k], s[n + 2, k], s[n + 3, k]
        message[j, row, k] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
        message[j + 1, row, k] += (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3)
        message[j + 2, row, k] += (c0 * v0 + c1 * v1) + (c2 * v2 + c3 * v3)
        message[j + 3, row, k] += (d0 * v0 + d1 * v1) + (d2 * v2 + d3 * v3)


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _add(message: Any, row: Any, factor: Any, share: Any, units: Any) -> None:
    """``message[j, row] += sum over the units of factor[j, unit] share[unit]`` for every target j."""
    targets = len(factor)
    whole = targets // TILE * TILE
    for n in range(0, units, TILE):
        for j in range(0, whole, TILE):
            _add_tile(message, j, row, factor, share, n)
        for j in range(whole, targets):
            _add_tile_of_one(message, j, row, factor, share, n)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _fetch(values: Any, row: Any, count: Any, o0: Any, units: Any, into: Any) -> None:
    """``into[r, j, o] = values[j, owner, o0 + o, position]`` of the rows that follow ``row``: one after the other."""
    positions = values.shape[3]
    r = 0
    while r < count:
        owner, position = (row + r) // positions, (row + r) % positions
        together = min(count - r, positions - position)
        for j in range(len(values)):
            for o in range(units):
                for i in range(together):
                    into[r + i, j, o] = values[j, owner, o0 + o, position + i]
        r += together


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _active(mass: Any, r: Any, units: Any, some: Any, active: Any) -> Any:
    """The units at which any target has something to share out; how many."""
    for o in range(units):
        some[o] = abs(mass[r, 0, o])
    for j in range(1, mass.shape[1]):
        for o in range(units):
            some[o] += abs(mass[r, j, o])
    count = 0
    for o in range(units):  # no branch: there is no pattern in who is active
        active[count] = o
        count += some[o] != 0
    return count


@njit(error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def _messages_of(
    job: Any,
    cuts: Any,
    shared: Any,
    width: Any,
    u: Any,
    windows: Any,
    weight: Any,
    reach: Any,
    score: Any,
    beta: Any,
    lost: Any,
    first: Any,
    out: Any,
) -> None:
    """A piece of the messages of a block of rows of options 1 and 2: output positions of an example and group.

    Args:
        job: which piece.
        cuts: into how many pieces of work the rows are cut; of no influence on the result.
        shared: the positions share their weights.
        width: ``C * T``, the components of a unit; in ``weight`` and ``out`` the next multiple of `LANES`, ``W``.
        u: operand, ``(B * G, C, S)``.
        windows: ``(L, T)`` positions, -1 for none.
        weight: ``(G * (1 or L) * O, W)``.
        reach: ``max_k |weight|``, ``(G * (1 or L) * O,)``; infinity where it is not known.
        score: times ``weight * u``: the score of a component, to the base 2, ``(1, B * G, O, L)``.
        beta: ``(J, B * G, O, L)``, of J targets; units with 0 are skipped.
        lost: like beta, zero; receives what no operand is wired to (empty where that is nothing).
        first: number of the first row.
        out: ``(pieces of O, J, rows, W)``, to be summed over the first dimension.
    """
    positions = windows.shape[0]
    pieces, targets, rows, wide = out.shape
    outputs = score.shape[2]
    groups = len(weight) // (outputs if shared else outputs * positions)
    part, piece = job // pieces, job % pieces
    start, stop = part * rows // cuts, (part + 1) * rows // cuts
    from_, to = piece * outputs // pieces, (piece + 1) * outputs // pieces
    share = np.empty((TILE if targets == 1 else UNITS, wide), weight.dtype)
    factor = np.empty((targets, len(share)), weight.dtype)
    scale, shift, total = np.empty((3, len(share)), weight.dtype)
    above = np.empty(len(share), np.int64)
    block = max(1, min(to - from_, BLOCK // wide))
    together = max(1, min(ROWS, NEAR // (block * targets)))
    mass, scores = np.empty((together, targets, block), weight.dtype), np.empty((together, 1, block), weight.dtype)
    some, active = np.empty(block, weight.dtype), np.empty(block + 1, np.int64)
    window = np.empty((stop - start, wide), weight.dtype)
    _gather(u, windows, first + start, window)
    message = out[piece]
    for j in range(targets):
        for i in range(start, stop):
            for k in range(wide):
                message[j, i, k] = 0
    for o0 in range(from_, to, block):
        outs = min(block, to - o0)
        for i in range(stop - start):
            r = i % together
            if r == 0:
                _fetch(score, first + start + i, min(together, stop - start - i), o0, outs, scores)
                _fetch(beta, first + start + i, min(together, stop - start - i), o0, outs, mass)
            count = _active(mass, r, outs, some, active)
            if count == 0:
                continue
            position, owner = (first + start + i) % positions, (first + start + i) // positions
            group = owner % groups
            before = outputs * (group if shared else group * positions + position) + o0  # rows of weights
            size = greatest_magnitude(window, i)
            for head in range(0, count, len(share)):
                units = min(len(share), count - head)
                filled = (units + TILE - 1) // TILE * TILE
                for n in range(filled):  # the last one again, until the tile is full
                    o = active[head + min(n, units - 1)]
                    above[n] = before + o
                    scale[n] = scores[r, 0, o]
                    shift[n] = max(abs(scale[n]) * size * reach[before + o] - BOUND, np.float32(0))
                for n in range(0, filled, TILE):
                    _softmaxes(weight, above, window, i, scale, shift, share, n, total)
                for n in range(units):
                    o = active[head + n]
                    if not (total[n] > LEAST and shift[n] < FAR) or scale[n] == 0:
                        total[n] = _whatever(weight, above[n], window, i, windows, position, width, scale[n], share, n)
                    for j in range(targets):
                        factor[j, n] = mass[r, j, o] / total[n]
                        if total[n] == np.inf and len(lost):
                            lost[j, owner, o0 + o, position] = mass[r, j, o]
                for n in range(units, filled):
                    for j in range(targets):
                        factor[j, n] = 0
                    for k in range(wide if not total[n] < np.inf else 0):
                        share[n, k] = 0
                _add(message, start + i, factor, share, filled)


@cache
def messages(dtype: np.dtype[Any]) -> Any:
    """`_messages_of`, for all pieces of work, ``cuts * len(out)``, compiled for float32 or float64."""
    whole, dims = types.intp, [types.Array(from_dtype(dtype), d, "C") for d in range(5)]
    layer = (whole, types.boolean, whole, dims[3], types.Array(types.int32, 2, "C"), dims[2], dims[1])
    return in_parallel(_messages_of, (*layer, dims[4], dims[4], dims[4], whole, dims[4]))


@njit(error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def _scatter_strip(job: Any, strips: Any, message: Any, windows: Any, first: Any, received: Any) -> None:
    """Add the messages ``(pieces, J, rows, W)`` to the operands that their windows name, ``(J, B * G, C, S)``.

    A piece of work is a strip of the channels of one operand and target, of ``J * B * G * strips``.
    """
    pieces, _, rows, _ = message.shape
    owners, channels = received.shape[1:3]
    positions, taps = windows.shape
    strip, owner, j = job % strips, job // strips % owners, job // strips // owners
    from_, to = strip * channels // strips, (strip + 1) * channels // strips
    for i in range(max(0, owner * positions - first), min(rows, (owner + 1) * positions - first)):
        position = (first + i) % positions
        for piece in range(pieces):
            for c in range(from_, to):
                for t in range(taps):
                    if windows[position, t] >= 0:
                        received[j, owner, c, windows[position, t]] += message[piece, j, i, c * taps + t]


@cache
def scatter(dtype: np.dtype[Any]) -> Any:
    """`_scatter_strip`, for all strips, compiled for float32 or float64."""
    values, windows = types.Array(from_dtype(dtype), 4, "C"), types.Array(types.int32, 2, "C")
    return in_parallel(_scatter_strip, (types.intp, values, windows, types.intp, values))
