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

U = np.uintp  # of an index: a signed one may count from the end, and looking at that costs as much as a short row
BOUND = np.float32(100.0)  # exp2 of scores below this can be summed
FAR = np.float32(1000.0)  # a greater bound says little of the scores
LEAST = np.float32(1e-24)  # what is smaller than exp2(-126), which is about 0, does not count in such a sum
LANES = 16  # of the widest vectors: rows are filled up with zeros to a multiple
BLOCK = 2**17  # weights of a block of output channels: 512 KiB, half of a second-level cache
UNITS = 16  # units whose shares are held at once
HELD = 2**11  # shares that are held at once with one target, near the processor: 8 KiB
ROWS = 16  # positions of which a line of a cache holds one unit
NEAR = 2**16  # masses of several rows that are held at once
TILE = 4  # units and targets in the registers at once
LINES = 8  # rows that are written side by side: as many as the ways of a cache, where their lines meet in one set
TOGETHER = 32  # rows that are read side by side

# Arrays go with the numbers of rows, not as views of these: a view costs more than a short row.


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _shift(score: Any, bound: Any) -> Any:
    """What is subtracted from scores below ``bound``, so that `exp2` of them can be summed; infinity if they cannot."""
    shift = max(bound - BOUND, np.float32(0))
    return shift if score != 0 and shift < FAR else np.float32(np.inf)


@njit(forceinline=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _shifts(
    score: Any, r: Any, units: Any, size: Any, reach: Any, weight: Any, before: Any, active: Any, count: Any, shift: Any
) -> None:
    """The `_shift` of each unit, or at least of the active ones: no score is above ``score * size * reach``."""
    if len(reach):
        for o in range(units):
            a = score[U(r), U(0), U(o)]
            shift[U(o)] = _shift(a, abs(a) * size * reach[U(before + o)])
    else:
        for n in range(count):
            o = active[n]
            a = score[r, 0, o]
            shift[o] = _shift(a, abs(a) * size * greatest_magnitude(weight, before + o))


@njit(forceinline=True, fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _softmaxes(
    weight: Any,
    before: Any,
    units: Any,
    head: Any,
    window: Any,
    i: Any,
    score: Any,
    r: Any,
    shift: Any,
    share: Any,
    n: Any,
    total: Any,
) -> None:
    """Of four units at once: ``share = exp2(score weight window - shift)`` at the non-zero components, and the sums."""
    o0, o1, o2, o3 = U(units[U(head)]), U(units[U(head + 1)]), U(units[U(head + 2)]), U(units[U(head + 3)])
    a0, a1, a2, a3 = score[U(r), U(0), o0], score[U(r), U(0), o1], score[U(r), U(0), o2], score[U(r), U(0), o3]
    r0, r1, r2, r3 = U(before) + o0, U(before) + o1, U(before) + o2, U(before) + o3
    n0, n1, n2, n3 = U(n), U(n + 1), U(n + 2), U(n + 3)
    b0, b1, b2, b3 = shift[o0], shift[o1], shift[o2], shift[o3]
    t0 = t1 = t2 = t3 = np.float32(0)
    for j in range(window.shape[1] // LANES * LANES):
        k = U(j)
        u = window[U(i), k]
        m0, m1, m2, m3 = weight[r0, k] * u, weight[r1, k] * u, weight[r2, k] * u, weight[r3, k] * u
        v0, v1, v2, v3 = exp2(m0 * a0 - b0), exp2(m1 * a1 - b1), exp2(m2 * a2 - b2), exp2(m3 * a3 - b3)
        v0 = v0 if m0 != 0 else np.float32(0)
        v1 = v1 if m1 != 0 else np.float32(0)
        v2 = v2 if m2 != 0 else np.float32(0)
        v3 = v3 if m3 != 0 else np.float32(0)
        share[n0, k], share[n1, k], share[n2, k], share[n3, k] = v0, v1, v2, v3
        t0 += v0
        t1 += v1
        t2 += v2
        t3 += v3
    total[n0], total[n1], total[n2], total[n3] = t0, t1, t2, t3


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
    while i < len(values):  # few rows of one example and group after another
        owner, position = (row + i) // positions, (row + i) % positions
        together = min(LINES, len(values) - i, positions - position)
        for c in range(channels):
            for t in range(taps):
                for k in range(together):
                    at = windows[U(position + k), U(t)]
                    values[U(i + k), U(c * taps + t)] = u[U(owner), U(c), U(at)] if at >= 0 else np.float32(0)
        i += together
    for n in range(len(values)):
        for k in range(channels * taps, values.shape[1]):
            values[n, k] = 0


@njit(forceinline=True, fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_tile_of_one(message: Any, j: Any, row: Any, f: Any, s: Any, n: Any) -> None:
    """``message[j, row] += f[j, n] s[n] + ... + f[j, n + 3] s[n + 3]``."""
    n0, n1, n2, n3, j, row = U(n), U(n + 1), U(n + 2), U(n + 3), U(j), U(row)
    f0, f1, f2, f3 = f[j, n0], f[j, n1], f[j, n2], f[j, n3]
    for i in range(s.shape[1] // LANES * LANES):
        k = U(i)
        message[j, row, k] += (f0 * s[n0, k] + f1 * s[n1, k]) + (f2 * s[n2, k] + f3 * s[n3, k])


@njit(fastmath=FAST, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_tile(message: Any, j: Any, row: Any, f: Any, s: Any, n: Any) -> None:
    """The same for the targets ``j`` to ``j + 3``: a tile of a matrix product, in registers."""
    n0, n1, n2, n3, row = U(n), U(n + 1), U(n + 2), U(n + 3), U(row)
    j0, j1, j2, j3 = U(j), U(j + 1), U(j + 2), U(j + 3)
    a0, a1, a2, a3 = f[j0, n0], f[j0, n1], f[j0, n2], f[j0, n3]
    b0, b1, b2, b3 = f[j1, n0], f[j1, n1], f[j1, n2], f[j1, n3]
    c0, c1, c2, c3 = f[j2, n0], f[j2, n1], f[j2, n2], f[j2, n3]
    d0, d1, d2, d3 = f[j3, n0], f[j3, n1], f[j3, n2], f[j3, n3]
    for i in range(s.shape[1] // LANES * LANES):
        k = U(i)
        v0, v1, v2, v3 = s[n0, k], s[n1, k], s[n2, k], s[n3, k]
        message[j0, row, k] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
        message[j1, row, k] += (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3)
        message[j2, row, k] += (c0 * v0 + c1 * v1) + (c2 * v2 + c3 * v3)
        message[j3, row, k] += (d0 * v0 + d1 * v1) + (d2 * v2 + d3 * v3)


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
                    into[U(r + i), U(j), U(o)] = values[U(j), U(owner), U(o0 + o), U(position + i)]
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
        active[U(count)] = o
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
        reach: ``max_k |weight|``, ``(G * (1 or L) * O,)``; empty where it is not worth while for so few rows.
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
    held = UNITS if targets > 1 else max(TILE, min(UNITS, HELD // wide // TILE * TILE))
    share = np.empty((held, wide), weight.dtype)
    factor, total = np.empty((targets, held), weight.dtype), np.empty(held, weight.dtype)
    block = max(1, min(to - from_, BLOCK // wide))
    together = max(1, min(ROWS, NEAR // (block * targets)))
    mass, scores = np.empty((together, targets, block), weight.dtype), np.empty((together, 1, block), weight.dtype)
    some, shift = np.empty(block, weight.dtype), np.empty(block, weight.dtype)
    active = np.empty(block + TILE, np.int64)
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
            _shifts(scores, r, outs, size, reach, weight, before, active, count, shift)
            for n in range(count, (count + TILE - 1) // TILE * TILE):  # the last one again, until the tile is full
                active[n] = active[count - 1]
            for head in range(0, count, len(share)):
                units = min(len(share), count - head)
                filled = (units + TILE - 1) // TILE * TILE
                for n in range(0, filled, TILE):
                    _softmaxes(weight, before, active, head + n, window, i, scores, r, shift, share, n, total)
                rare = False
                for n in range(units):
                    rare |= not total[U(n)] > LEAST
                for n in range(units if rare else 0):
                    o = active[head + n]
                    if not total[n] > LEAST:
                        total[n] = _whatever(
                            weight, before + o, window, i, windows, position, width, scores[r, 0, o], share, n
                        )
                    for j in range(targets if total[n] == np.inf and len(lost) else 0):
                        lost[j, owner, o0 + o, position] = mass[r, j, o]
                for n in range(units, filled if rare else 0):  # infinity or NaN times 0 would not be 0
                    for k in range(wide):
                        share[n, k] = 0
                for j in range(targets):
                    for n in range(units):
                        factor[U(j), U(n)] = mass[U(r), U(j), U(active[U(head + n)])] / total[U(n)]
                    for n in range(units, filled):
                        factor[j, n] = 0
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
    start, stop = max(0, owner * positions - first), min(rows, (owner + 1) * positions - first)
    for i in range(start, stop, TOGETHER):
        position, together = (first + i) % positions, min(TOGETHER, stop - i)
        for piece in range(pieces):
            for c in range(from_, to):
                for t in range(taps):
                    for k in range(together):
                        at, row = windows[U(position + k), U(t)], U(i + k)
                        if at >= 0:
                            received[U(j), U(owner), U(c), U(at)] += message[U(piece), U(j), row, U(c * taps + t)]


@cache
def scatter(dtype: np.dtype[Any]) -> Any:
    """`_scatter_strip`, for all strips, compiled for float32 or float64."""
    values, windows = types.Array(from_dtype(dtype), 4, "C"), types.Array(types.int32, 2, "C")
    return in_parallel(_scatter_strip, (types.intp, values, windows, types.intp, values))
