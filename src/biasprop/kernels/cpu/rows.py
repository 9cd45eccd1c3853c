"""Rows of operands and of units, one for each output position, and back: images have their channels in front.

Numbers go from the one order to the other in squares that are transposed in registers; one by one they cost two to
five times as much, for each is in another line of a cache.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .keeping import kept
from .parallel import called, in_parallel
from .vectors import LANES, U, lanes, load, none, store, turn, where

__all__ = ["fetch", "gather", "scatter"]


@called
def _runs(windows: Any, position: Any, together: Any, length: Any, start: Any, inside: Any) -> None:
    """Where each tap begins to read neighbours at neighbouring positions, and which of these are not in the padding.

    ``start`` is -1 where they are no neighbours, or fewer than fill a square, or in part before or behind the operand,
    which has this length.
    """
    for t in range(len(start)):
        start[t] = -1
        for k in range(together if together == LANES else 0):
            at = windows[U(position + k), U(t)]
            inside[U(t), U(k)] = at >= 0
            start[t] = at - k if at >= 0 else start[t]
        for k in range(together):
            at = windows[U(position + k), U(t)]
            start[t] = -1 if at >= 0 and at - k != start[t] else start[t]
        start[t] = -1 if start[t] + LANES > length else start[t]


@called
def _is_straight(windows: Any, size: Any) -> Any:
    """Whether each output position reads the operand there and nothing else: linear layers, 1 x 1 convolutions."""
    straight = windows.shape[1] == 1 and len(windows) == size
    for position in range(size if straight else 0):
        straight &= windows[U(position), U(0)] == position
    return straight


@called
def fetch(values: Any, row: Any, count: Any, o0: Any, units: Any, into: Any) -> None:
    """``into[r, j, o] = values[j, owner, o0 + o, position]`` of the rows that follow ``row``: one after the other."""
    positions, size, r = values.shape[3], lanes(values), 0
    while r < count:
        owner, position = (row + r) // positions, (row + r) % positions
        together = min(count - r, positions - position)
        for j in range(len(values)):
            done = units // size * size if positions == 1 else 0  # they are in this order in memory
            for o in range(0, done, size):
                store(into, (U(r), U(j), U(o)), load(values, (U(j), U(owner), U(o0 + o), U(0))))
            for o in range(done, units, size):
                whole = together // size * size if o + size <= units else 0
                for i in range(0, whole, size):
                    at, to = (U(j), U(owner), U(o0 + o), U(position + i)), (U(r + i), U(j), U(o))
                    turn(values, at, positions, into, to, into.shape[1] * into.shape[2])
                for k in range(o, min(o + size, units)):
                    for i in range(whole, together):
                        into[U(r + i), U(j), U(k)] = values[U(j), U(owner), U(o0 + k), U(position + i)]
        r += together


@called
def gather(u: Any, windows: Any, row: Any, values: Any) -> None:
    """The operands ``(1, B * G, C, S)`` of the windows from ``row`` on, in the order of the weights: ``(rows, W)``."""
    positions, taps = windows.shape
    width, size = u.shape[2] * taps, lanes(u)
    if _is_straight(windows, u.shape[3]):
        fetch(u, row, len(values), 0, width, values.reshape((len(values), 1, values.shape[1])))
        for i in range(len(values)):
            for k in range(width, values.shape[1]):
                values[U(i), U(k)] = 0
        return
    square, inside = np.zeros((LANES, LANES), u.dtype), np.empty((taps, LANES), u.dtype)
    start = np.empty(taps, np.int64)
    i = 0
    while i < len(values):  # a few rows of one example and group after another
        owner, position = (row + i) // positions, (row + i) % positions
        together = min(LANES, len(values) - i, positions - position)
        _runs(windows, position, together, u.shape[3], start, inside)
        c, t = -1, taps - 1
        for k in range(0, values.shape[1], LANES):
            for n in range(LANES):
                t, c = (0, c + 1) if t + 1 == taps else (t + 1, c)
                if k + n >= width:
                    for p in range(together):
                        square[U(n), U(p)] = 0
                elif start[t] >= 0:
                    for p in range(0, LANES, size):
                        found = load(u, (U(0), U(owner), U(c), U(start[t] + p)))
                        store(square, (U(n), U(p)), where(load(inside, (U(t), U(p))), found, none(u)))
                else:
                    for p in range(together):
                        at = windows[U(position + p), U(t)]
                        square[U(n), U(p)] = u[U(0), U(owner), U(c), U(at)] if at >= 0 else np.float32(0)
            if together == LANES:
                for n in range(0, LANES, size):
                    for p in range(0, LANES, size):
                        turn(square, (U(n), U(p)), LANES, values, (U(i + p), U(k + n)), values.shape[1])
            else:
                for p in range(together):
                    for n in range(LANES):
                        values[U(i + p), U(k + n)] = square[U(n), U(p)]
        i += together


@called
def _add(
    message: Any,
    piece: Any,
    j: Any,
    row: Any,
    from_: Any,
    to: Any,
    received: Any,
    owner: Any,
    position: Any,
    together: Any,
    square: Any,
) -> None:
    """Rows of messages ``(pieces, J, rows, W)``, some of the channels, to positions of an operand that follow."""
    size, room = lanes(message), message.shape[3]
    whole = from_ + (to - from_) // size * size
    if received.shape[3] == 1:  # in the same order
        for k in range(from_, whole, size):
            here = (U(j), U(owner), U(k), U(0))
            store(received, here, load(received, here) + load(message, (U(piece), U(j), U(row), U(k))))
    else:
        turned = together // size * size
        for k in range(from_, whole, size):
            for p in range(0, turned, size):
                turn(message, (U(piece), U(j), U(row + p), U(k)), room, square, (U(0), U(0)), LANES)
                for n in range(size):
                    here = (U(j), U(owner), U(k + n), U(position + p))
                    store(received, here, load(received, here) + load(square, (U(n), U(0))))
            for n in range(k, k + size):
                for p in range(turned, together):
                    received[U(j), U(owner), U(n), U(position + p)] += message[U(piece), U(j), U(row + p), U(n)]
    for k in range(whole, to):
        for p in range(together):
            received[U(j), U(owner), U(k), U(position + p)] += message[U(piece), U(j), U(row + p), U(k)]


@kept
def _scatter_strip(job: Any, strips: Any, message: Any, windows: Any, first: Any, received: Any) -> None:
    """Add the messages ``(pieces, J, rows, W)`` to the operands that their windows name, ``(J, B * G, C, S)``.

    A piece of work is a strip of the channels of one operand and target, of ``J * B * G * strips``.
    """
    pieces, _, rows, room = message.shape
    owners, channels = received.shape[1:3]
    positions, taps = windows.shape
    size = lanes(message)
    square, inside = np.empty((LANES, LANES), message.dtype), np.empty((taps, LANES), message.dtype)
    start = np.empty(taps, np.int64)
    straight = _is_straight(windows, received.shape[3])
    strip, owner, j = job % strips, job // strips % owners, job // strips // owners
    from_, to = strip * channels // strips * taps, (strip + 1) * channels // strips * taps
    i, stop = max(0, owner * positions - first), min(rows, (owner + 1) * positions - first)
    while i < stop:
        position, together = (first + i) % positions, min(LANES, stop - i)
        for piece in range(pieces if straight else 0):
            _add(message, piece, j, i, from_, to, received, owner, position, together, square)
        _runs(windows, position, together, received.shape[3], start, inside)
        for piece in range(0 if straight else pieces):
            c, t = from_ // taps - 1, taps - 1
            for k in range(from_, to, LANES):
                count = min(LANES, to - k)
                if together == LANES and k + LANES <= room:
                    for n in range(0, LANES, size):
                        for p in range(0, LANES, size):
                            at, into = (U(piece), U(j), U(i + p), U(k + n)), (U(n), U(p))
                            turn(message, at, room, square, into, LANES)
                else:
                    for p in range(together):
                        for n in range(count):
                            square[U(n), U(p)] = message[U(piece), U(j), U(i + p), U(k + n)]
                for n in range(count):
                    t, c = (0, c + 1) if t + 1 == taps else (t + 1, c)
                    if start[t] >= 0:
                        for p in range(0, LANES, size):
                            here = (U(j), U(owner), U(c), U(start[t] + p))
                            sent = where(load(inside, (U(t), U(p))), load(square, (U(n), U(p))), none(square))
                            store(received, here, load(received, here) + sent)
                    else:
                        for p in range(together):
                            at_ = windows[U(position + p), U(t)]
                            if at_ >= 0:
                                received[U(j), U(owner), U(c), U(at_)] += square[U(n), U(p)]
        i += together


@cache
def scatter(dtype: np.dtype[Any]) -> Any:
    """`_scatter_strip`, for all strips, compiled for float32 or float64."""
    values, windows = types.Array(from_dtype(dtype), 4, "C"), types.Array(types.int32, 2, "C")
    return in_parallel(_scatter_strip, (types.intp, values, windows, types.intp, values))
