"""Parallel loops that take a quarter of the time to compile."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from numba import njit, types

__all__ = ["in_parallel"]


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


def in_parallel(loop: Any, piece: Any, arguments: Sequence[Any]) -> Any:
    """A function of arguments of these types: a parallel ``loop`` that calls a ``piece`` of work with its number."""
    signature = types.void(types.intp, *arguments)
    compiled = njit(types.void(types.FunctionType(signature), *arguments), parallel=True, cache=True)(loop)
    (made,) = compiled.overloads.values()
    return partial(made.entry_point, _ByAddress(piece, signature))
