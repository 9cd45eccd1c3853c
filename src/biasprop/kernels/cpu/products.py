"""Messages of a row from the shares of a few units: a product of matrices, a tile of which stays in registers."""

from typing import Any

from .parallel import inlined
from .vectors import U, lanes, load, splat, store

__all__ = ["TILE", "add"]

TILE = 4  # units in the registers at once, or targets, or lanes of a message


@inlined
def _tile(array: Any, row: Any, k: Any) -> Any:
    """Four lanes, one after the other, of a row of an array."""
    step = lanes(array)
    one, two, three = U(k + step), U(k + 2 * step), U(k + 3 * step)
    return load(array, (*row, U(k))), load(array, (*row, one)), load(array, (*row, two)), load(array, (*row, three))


@inlined
def _write(array: Any, row: Any, k: Any, values: Any) -> None:
    """A `_tile` back."""
    step = lanes(array)
    store(array, (*row, U(k)), values[0])
    store(array, (*row, U(k + step)), values[1])
    store(array, (*row, U(k + 2 * step)), values[2])
    store(array, (*row, U(k + 3 * step)), values[3])


@inlined
def _plus(sums: Any, number: Any, values: Any) -> Any:
    """``sums + number * values`` of tiles."""
    f = splat(number)
    return sums[0] + f * values[0], sums[1] + f * values[1], sums[2] + f * values[2], sums[3] + f * values[3]


@inlined
def _four_units(factor: Any, j: Any, n: Any) -> Any:
    """The factors of four units, each in all lanes."""
    return (
        splat(factor[U(j), U(n)]),
        splat(factor[U(j), U(n + 1)]),
        splat(factor[U(j), U(n + 2)]),
        splat(factor[U(j), U(n + 3)]),
    )


@inlined
def _sum_of_four(f: Any, share: Any, n: Any, k: Any) -> Any:
    """Lanes of their shares, times the factors."""
    low = f[0] * load(share, (U(n), k)) + f[1] * load(share, (U(n + 1), k))
    return low + (f[2] * load(share, (U(n + 2), k)) + f[3] * load(share, (U(n + 3), k)))


@inlined
def _add_one(message: Any, j: Any, row: Any, factor: Any, share: Any, units: Any) -> None:
    """``message[j, row] += sum over the units of factor[j, unit] share[unit]``, eight or four of them at a time."""
    for n in range(0, units // 8 * 8, 8):
        f, g = _four_units(factor, j, n), _four_units(factor, j, n + 4)
        for i in range(0, message.shape[2], lanes(message)):
            k, to = U(i), (U(j), U(row), U(i))
            store(message, to, load(message, to) + (_sum_of_four(f, share, n, k) + _sum_of_four(g, share, n + 4, k)))
    if units % 8:
        f = _four_units(factor, j, units - 4)
        for i in range(0, message.shape[2], lanes(message)):
            to = U(j), U(row), U(i)
            store(message, to, load(message, to) + _sum_of_four(f, share, units - 4, U(i)))


@inlined
def _add_four(message: Any, j: Any, row: Any, factor: Any, share: Any, units: Any, k: Any) -> None:
    """A tile of the same for the targets ``j`` to ``j + 3``."""
    j0, j1, j2, j3, row = U(j), U(j + 1), U(j + 2), U(j + 3), U(row)
    a, b = _tile(message, (j0, row), k), _tile(message, (j1, row), k)
    c, d = _tile(message, (j2, row), k), _tile(message, (j3, row), k)
    for i in range(units):
        n = U(i)
        values = _tile(share, (n,), k)
        a, b = _plus(a, factor[j0, n], values), _plus(b, factor[j1, n], values)
        c, d = _plus(c, factor[j2, n], values), _plus(d, factor[j3, n], values)
    _write(message, (j0, row), k, a)
    _write(message, (j1, row), k, b)
    _write(message, (j2, row), k, c)
    _write(message, (j3, row), k, d)


@inlined
def _add_two(message: Any, j: Any, row: Any, factor: Any, share: Any, units: Any, k: Any) -> None:
    """The same for the targets ``j`` and ``j + 1``."""
    j0, j1, row = U(j), U(j + 1), U(row)
    a, b = _tile(message, (j0, row), k), _tile(message, (j1, row), k)
    for i in range(units):
        n = U(i)
        values = _tile(share, (n,), k)
        a, b = _plus(a, factor[j0, n], values), _plus(b, factor[j1, n], values)
    _write(message, (j0, row), k, a)
    _write(message, (j1, row), k, b)


@inlined
def add(message: Any, row: Any, factor: Any, share: Any, units: Any) -> None:
    """``message[j, row] += sum over the units of factor[j, unit] share[unit]`` for every target j."""
    targets = len(factor)
    whole, even = targets // TILE * TILE, targets // 2 * 2
    for k in range(0, message.shape[2] if even else 0, TILE * lanes(message)):
        for j in range(0, whole, TILE):
            _add_four(message, j, row, factor, share, units, k)
        for j in range(whole, even, 2):
            _add_two(message, j, row, factor, share, units, k)
    if targets > even:
        _add_one(message, even, row, factor, share, units)
