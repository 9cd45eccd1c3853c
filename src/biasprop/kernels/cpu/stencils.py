"""The stencil's spread on the CPU: fused and streaming (mathematics, section 7).

For each unit with a bias the kernel runs over its window twice: components and their (un-normalised) shares go to a
buffer near the processor, four units at a time, then these shares, times ``beta / sum``, are added to the messages of
the output position, one for each target: a matrix product, a tile of which stays in registers over all units that are
held. Messages of a block of positions are then added to their windows. Nothing of alpha outlives its units.

Blocks of output channels keep their weights in the cache while they are used for many positions. Every sum is taken
in an order that does not depend on the number of threads.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .keeping import kept
from .parallel import called, in_parallel, inlined
from .powers import exp2, exp2_of_product
from .products import TILE, add
from .rows import fetch, gather
from .vectors import (
    LANES,
    U,
    bottom,
    greater,
    greatest,
    lanes,
    load,
    none,
    splat,
    store,
    sum_of,
    where,
)

__all__ = ["WIDE", "messages"]

BOUND = np.float32(100.0)  # exp2 of scores up to this, of either sign, can be summed
FAR = np.float32(150.0)  # a greater shift may leave nothing of the scores: the greatest one is looked for
LEAST = np.float32(1e-24)  # what is smaller than exp2(-126), which is about 0, does not count in such a sum
WIDE = 4 * LANES  # messages are filled up to a multiple
BLOCK = 2**17  # weights of a block of output channels: 512 KiB, half of a second-level cache
UNITS = 16  # units whose shares are held at once
HELD = 9 * 2**9  # shares that are held at once with one target, near the processor: 18 KiB
ROWS = 16  # positions of which a line of a cache holds one unit
NEAR = 2**16  # masses of several rows that are held at once

# Arrays go with the numbers of rows, not as views of these: a view costs more than a short row.


@inlined
def _shift(score: Any, bound: Any) -> Any:
    """What is subtracted from scores below ``bound``, so that `exp2` of them can be summed; infinity if not known."""
    shift = max(bound - BOUND, np.float32(0))
    return shift if score != 0 and shift < FAR else np.float32(np.inf)


@called
def _reach(weight: Any, before: Any, units: Any, width: Any, reach: Any) -> Any:
    """The largest weight of each unit; whether no weight is zero."""
    zero, least = none(weight), bottom(weight)
    whole, some = width // lanes(weight) * lanes(weight), False
    for o in range(units):
        most = zero
        for k in range(0, whole, lanes(weight)):
            value = load(weight, (U(before + o), U(k)))
            size = greater(value, zero - value)
            most, least = greater(size, most), greater(zero - size, least)
        top = greatest(most)
        for k in range(whole, width):
            number = abs(weight[U(before + o), U(k)])
            top, some = max(top, number), some or number == 0
        reach[U(o)] = top
    return greatest(least) < 0 and not some


@inlined
def _shifts(score: Any, r: Any, units: Any, size: Any, bounded: Any, reach: Any, shift: Any) -> None:
    """The `_shift` of each unit: no score is above ``score * size * reach``, if that is known."""
    for o in range(units if bounded else 0):
        a = score[U(r), U(0), U(o)]
        shift[U(o)] = _shift(a, abs(a) * size * reach[U(o)])
    for o in range(0 if bounded else units):
        shift[U(o)] = np.inf


@inlined
def _greatest_magnitude(values: Any, n: Any) -> Any:
    """The maximum of the absolute values of a row, of those that are numbers."""
    top = none(values)
    for j in range(0, values.shape[1], lanes(values)):
        value = load(values, (U(n), U(j)))
        top = greater(top, greater(value, none(values) - value))
    return greatest(top)


@inlined
def _four(units: Any, head: Any) -> Any:
    """The next four units."""
    return U(units[U(head)]), U(units[U(head + 1)]), U(units[U(head + 2)]), U(units[U(head + 3)])


@inlined
def _in_all_lanes(values: Any, row: Any, o: Any) -> Any:
    """A number of each of four units."""
    v0, v1 = splat(values[(*row, o[0])]), splat(values[(*row, o[1])])
    return v0, v1, splat(values[(*row, o[2])]), splat(values[(*row, o[3])])


@inlined
def _components(weight: Any, before: Any, o: Any, u: Any, k: Any) -> Any:
    """Lanes of the components of four units."""
    m0, m1 = load(weight, (U(before) + o[0], k)) * u, load(weight, (U(before) + o[1], k)) * u
    return m0, m1, load(weight, (U(before) + o[2], k)) * u, load(weight, (U(before) + o[3], k)) * u


@inlined
def _tops(weight: Any, before: Any, units: Any, head: Any, window: Any, i: Any, score: Any, r: Any, shift: Any) -> None:
    """Of four units the greatest score of a non-zero component, as their shift; infinity behind a closed gate."""
    o = _four(units, head)
    a = _in_all_lanes(score, (U(r), U(0)), o)
    lowest = t0 = t1 = t2 = t3 = bottom(window)
    for j in range(0, window.shape[1], lanes(window)):
        m = _components(weight, before, o, load(window, (U(i), U(j))), U(j))
        t0, t1 = greater(where(m[0], m[0] * a[0], lowest), t0), greater(where(m[1], m[1] * a[1], lowest), t1)
        t2, t3 = greater(where(m[2], m[2] * a[2], lowest), t2), greater(where(m[3], m[3] * a[3], lowest), t3)
    shift[o[0]], shift[o[1]], shift[o[2]], shift[o[3]] = greatest(t0), greatest(t1), greatest(t2), greatest(t3)
    for unit in o:
        shift[unit] = shift[unit] if score[U(r), U(0), unit] != 0 else np.float32(np.inf)


@inlined
def _share(m: Any, score: Any, shift: Any, u: Any, nothing: Any) -> Any:
    """Of a component; of one that is zero, nothing."""
    return where(m, exp2(m * score - shift), nothing)


@inlined
def _plain_share(m: Any, score: Any, shift: Any, u: Any, nothing: Any) -> Any:
    """The same where there is no shift, scores are small, and a component is zero only where the operand is."""
    return exp2_of_product(m, score, u)


@inlined
def _shift_of_four(shift: Any, units: Any, head: Any) -> Any:
    """Zero where none of four units has a shift, infinity where one is not known."""
    o = _four(units, head)
    return shift[o[0]] + shift[o[1]] + shift[o[2]] + shift[o[3]]


def _softmaxes_by(share_of: Any) -> Any:
    @inlined
    def softmaxes(
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
        """Of four units: ``share = exp2(score weight window - shift)`` at the non-zero components, and the sums."""
        o = _four(units, head)
        a, b = _in_all_lanes(score, (U(r), U(0)), o), _in_all_lanes(shift, (), o)
        n0, n1, n2, n3 = U(n), U(n + 1), U(n + 2), U(n + 3)
        nothing = t0 = t1 = t2 = t3 = none(share)
        for j in range(0, window.shape[1], lanes(window)):
            k = U(j)
            u = load(window, (U(i), k))
            m = _components(weight, before, o, u, k)
            v0, v1 = share_of(m[0], a[0], b[0], u, nothing), share_of(m[1], a[1], b[1], u, nothing)
            v2, v3 = share_of(m[2], a[2], b[2], u, nothing), share_of(m[3], a[3], b[3], u, nothing)
            store(share, (n0, k), v0)
            store(share, (n1, k), v1)
            store(share, (n2, k), v2)
            store(share, (n3, k), v3)
            t0, t1, t2, t3 = t0 + v0, t1 + v1, t2 + v2, t3 + v3
        total[n0], total[n1], total[n2], total[n3] = sum_of(t0), sum_of(t1), sum_of(t2), sum_of(t3)

    return softmaxes


_softmaxes, _plain_softmaxes = _softmaxes_by(_share), _softmaxes_by(_plain_share)


@called
def _exactly(
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
    """The same, whatever the scores are."""
    _tops(weight, before, units, head, window, i, score, r, shift)
    _softmaxes(weight, before, units, head, window, i, score, r, shift, share, n, total)


@called
def _fallback(weight: Any, o: Any, windows: Any, position: Any, width: Any, share: Any, n: Any) -> Any:
    """No non-zero component: equal shares over the support, else over everything wired (mathematics, section 3).

    Their sum; infinity where nothing is wired, and the shares are 0.
    """
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
    return np.float32(np.inf)


@called
def _settle(
    weight: Any,
    before: Any,
    units: Any,
    head: Any,
    count: Any,
    window: Any,
    i: Any,
    windows: Any,
    position: Any,
    width: Any,
    score: Any,
    r: Any,
    shift: Any,
    share: Any,
    total: Any,
) -> None:
    """The shares of a few units, whatever each is like; nothing in the rest of the last tile."""
    for n in range(0, count, TILE):
        _exactly(weight, before, units, head + n, window, i, score, r, shift, share, n, total)
    for n in range(count):
        if total[n] <= LEAST:
            total[n] = _fallback(weight, before + units[head + n], windows, position, width, share, n)
    for n in range(count, (count + TILE - 1) // TILE * TILE):  # infinity or NaN times 0 would not be 0
        for k in range(share.shape[1]):
            share[n, k] = 0


@inlined
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


@kept
def _messages_of(
    job: Any,
    cuts: Any,
    shared: Any,
    bounded: Any,
    width: Any,
    u: Any,
    windows: Any,
    weight: Any,
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
        bounded: a bound of the scores is found from the weights; where it is not worth while for so few rows, the
            greatest score of each unit is looked for.
        width: ``C * T``, the components of a unit; in ``weight`` the next multiple of `LANES`, ``W``.
        u: operand, ``(1, B * G, C, S)``.
        windows: ``(L, T)`` positions, -1 for none.
        weight: ``(G * (1 or L) * O, W)``.
        score: times ``weight * u``: the score of a component, to the base 2, ``(1, B * G, O, L)``.
        beta: ``(J, B * G, O, L)``, of J targets; units with 0 are skipped.
        lost: like beta, zero; receives what no operand is wired to (empty where that is nothing).
        first: number of the first row.
        out: ``(pieces of O, J, rows, next multiple of WIDE)``, to be summed over the first dimension.
    """
    positions = windows.shape[0]
    pieces, targets, rows, room = out.shape
    wide, outputs = weight.shape[1], score.shape[2]
    groups = len(weight) // (outputs if shared else outputs * positions)
    part, piece = job // pieces, job % pieces
    start, stop = part * rows // cuts, (part + 1) * rows // cuts
    from_, to = piece * outputs // pieces, (piece + 1) * outputs // pieces
    held = UNITS if targets > 1 else max(TILE, min(UNITS, HELD // wide // TILE * TILE))
    share = np.zeros((held, room + LANES), weight.dtype)  # rows not all in one set of a cache
    factor, total = np.empty((targets, held), weight.dtype), np.empty(held, weight.dtype)
    block = max(1, min(to - from_, BLOCK // wide))
    together = max(1, min(ROWS, NEAR // (block * targets)))
    mass, scores = np.empty((together, targets, block), weight.dtype), np.empty((together, 1, block), weight.dtype)
    some, shift, reach = np.empty(block, weight.dtype), np.empty(block, weight.dtype), np.empty(block, weight.dtype)
    active = np.empty(block + TILE, np.int64)
    window = np.empty((stop - start, wide), weight.dtype)
    gather(u, windows, first + start, window)
    message = out[piece]
    for j in range(targets):
        for i in range(start, stop):
            for k in range(room):
                message[j, i, k] = 0
    for o0 in range(from_, to, block):
        outs = min(block, to - o0)
        known, plain = -1, False
        for i in range(stop - start):
            r = i % together
            if r == 0:
                fetch(score, first + start + i, min(together, stop - start - i), o0, outs, scores)
                fetch(beta, first + start + i, min(together, stop - start - i), o0, outs, mass)
            count = _active(mass, r, outs, some, active)
            if count == 0:
                continue
            position, owner = (first + start + i) % positions, (first + start + i) // positions
            group = owner % groups
            before = outputs * (group if shared else group * positions + position) + o0  # rows of weights
            if bounded and before != known:
                known, plain = before, _reach(weight, before, outs, width, reach)
            _shifts(scores, r, outs, _greatest_magnitude(window, i), bounded, reach, shift)
            for n in range(count, (count + TILE - 1) // TILE * TILE):  # the last one again, until the tile is full
                active[n] = active[count - 1]
            for head in range(0, count, len(share)):
                units = min(len(share), count - head)
                filled = (units + TILE - 1) // TILE * TILE
                for n in range(0, filled, TILE):
                    shifted = _shift_of_four(shift, active, head + n)
                    if plain and shifted == 0:
                        _plain_softmaxes(weight, before, active, head + n, window, i, scores, r, shift, share, n, total)
                    elif shifted < np.inf:
                        _softmaxes(weight, before, active, head + n, window, i, scores, r, shift, share, n, total)
                    else:
                        _exactly(weight, before, active, head + n, window, i, scores, r, shift, share, n, total)
                rare = False
                for n in range(units):
                    rare |= not total[U(n)] > LEAST
                if rare:
                    here = (window, i, windows, position, width)
                    _settle(weight, before, active, head, units, *here, scores, r, shift, share, total)
                for n in range(units if rare and len(lost) else 0):
                    for j in range(targets if total[n] == np.inf else 0):
                        o = active[head + n]
                        lost[j, owner, o0 + o, position] = mass[r, j, o]
                for j in range(targets):
                    for n in range(units):
                        factor[U(j), U(n)] = mass[U(r), U(j), U(active[U(head + n)])]
                    for n in range(units):  # all at once, unlike where they are looked up
                        factor[U(j), U(n)] /= total[U(n)]
                    for n in range(units, filled):
                        factor[j, n] = 0
                add(message, start + i, factor, share, filled)


@cache
def messages(dtype: np.dtype[Any]) -> Any:
    """`_messages_of`, for all pieces of work, ``cuts * len(out)``, compiled for float32 or float64."""
    whole, dims = types.intp, [types.Array(from_dtype(dtype), d, "C") for d in range(5)]
    layer = (whole, types.boolean, types.boolean, whole, dims[4], types.Array(types.int32, 2, "C"), dims[2])
    return in_parallel(_messages_of, (*layer, dims[4], dims[4], dims[4], whole, dims[4]))
