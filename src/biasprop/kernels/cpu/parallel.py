"""How kernels are compiled: their parts without what Python would call them by, loops in a quarter of the time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numba import njit, prange, types

from ...garbage import uncollected
from ...progress import waiting
from .keeping import kept
from .subnormals import flush_subnormals, restore

__all__ = ["called", "in_parallel", "inlined"]

F = TypeVar("F", bound=Callable[..., Any])

_part = partial(njit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


def called(function: F) -> F:
    """A part of a kernel, on its own."""
    part: F = _part()(function)
    return part


def inlined(function: F) -> F:
    """A part of a kernel, wherever it is named."""
    part: F = _part(forceinline=True)(function)
    return part


class _ByAddress(types.WrapperAddressProtocol):  # type: ignore[misc]
    """A compiled function that others call and do not contain.

    Numba builds four functions around a parallel loop, and what the loop contains is compiled with each of them.
    """

    def __init__(self, function: Any, signature: Any) -> None:
        function.compile(signature.args)
        made = function.overloads[signature.args]
        self.address = made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name)
        self.of = signature

    def __wrapper_address__(self) -> int:
        """Where it is."""
        return int(self.address)

    def signature(self) -> Any:
        """What it takes."""
        return self.of


def _loop(piece: Any, count: Any, arguments: Any) -> None:
    """All pieces of work, one thread for some of them each."""
    for job in prange(count):
        before = flush_subnormals()
        piece(np.intp(job), *arguments)
        restore(before)


def in_parallel(piece: Any, arguments: Sequence[Any]) -> Any:
    """A function of a count and a tuple of these types: it calls ``piece(number, *arguments)`` for each number."""
    signature = types.void(types.intp, *arguments)
    loop = types.void(types.FunctionType(signature), types.intp, types.Tuple(arguments))
    with uncollected(), waiting("compiling kernels, once"):
        (made,) = kept(_loop, loop, parallel=True).overloads.values()
        return partial(made.entry_point, _ByAddress(piece, signature))
