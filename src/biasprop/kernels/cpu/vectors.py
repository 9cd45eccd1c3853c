"""What the CPU kernels compute with: a register full of numbers.

The loops of `stencils` say which vectors are held in registers and which are read: left to itself, LLVM would find
vectors only along the innermost loop, test all rows for overlap first, and write each sum back to memory.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

__all__ = [
    "LANES",
    "Lanes",
    "U",
    "bottom",
    "everywhere",
    "greater",
    "greater_of",
    "greatest",
    "lanes",
    "load",
    "none",
    "splat",
    "store",
    "sum_of",
    "turn",
    "where",
]

U = np.uintp  # of an index: a signed one may count from the end, and looking at that costs as much as a short row
LANES = 16  # float32 of the widest registers: rows are filled up with zeros to a multiple
FUSED = ("contract",)  # products and sums may be fused


class Lanes(types.Type):  # type: ignore[misc]
    """The type of 64 bytes of float32 or float64; on processors with smaller registers LLVM takes several."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.count = dtype, LANES * 32 // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, of: Lanes) -> None:
        super().__init__(manager, of, ir.VectorType(manager.lookup(of.dtype).get_value_type(), of.count))


@intrinsic  # type: ignore[untyped-decorator]
def lanes(typing_context: Any, array: Any) -> Any:
    """How many of an array's numbers a register holds."""
    count = Lanes(array.dtype).count
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(types.intp, count)


def _address(context: Any, builder: Any, array: Any, index: Any, value: Any, at: Any) -> Any:
    """Of the lanes at an index into a contiguous array."""
    made = context.make_array(array)(context, builder, value)
    item = cgutils.get_item_pointer(context, builder, array, made, cgutils.unpack_tuple(builder, at, len(index)))
    return builder.bitcast(item, context.get_value_type(Lanes(array.dtype)).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """The lanes that begin at an index, a tuple of unsigned numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where_ = _address(context, builder, array, index, *args)
        return builder.load(where_, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, index), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, array: Any, index: Any, values: Any) -> Any:
    """Write lanes where `load` reads them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where_ = _address(context, builder, array, index, *args[:2])
        builder.store(args[2], where_, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, values), generate


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing_context: Any, number: Any) -> Any:
    """The same number in all lanes."""
    of = Lanes(number)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = context.get_value_type(of)(ir.Undefined)
        first = builder.insert_element(one, args[0], ir.IntType(32)(0))
        return _picked(builder, first, one, [0] * of.count)

    return of(number), generate


def _constant(single: float, double: float, meaning: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def lanes_of(typing_context: Any, array: Any) -> Any:
        of, number = Lanes(array.dtype), single if array.dtype == types.float32 else double

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return everywhere(context.get_value_type(of), number)

        return of(array), generate

    lanes_of.__doc__ = f"Of the type of an array's numbers: {meaning}."
    return lanes_of


none = _constant(0.0, 0.0, "zeros")
bottom = _constant(-np.inf, -np.inf, "minus infinities")


@intrinsic  # type: ignore[untyped-decorator]
def turn(typing_context: Any, source: Any, index: Any, step: Any, into: Any, to: Any, next_: Any) -> Any:
    """A square of as many rows as lanes, transposed: rows ``step`` apart, from an index, to ``next_`` apart."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of, align = Lanes(source.dtype), source.dtype.bitwidth // 8
        first = _address(context, builder, source, index, args[0], args[1])
        target = _address(context, builder, into, to, args[3], args[4])
        number = context.get_value_type(source.dtype).as_pointer()
        rows = [builder.load(_further(builder, number, first, i, args[2]), align=align) for i in range(of.count)]
        for half in (8, 4, 2, 1)[-of.count.bit_length() + 1 :]:  # change the places of ever smaller squares
            lower = [k if not k & half else of.count + k - half for k in range(of.count)]
            upper = [k + half if not k & half else of.count + k for k in range(of.count)]
            for i in (i for i in range(of.count) if not i & half):
                a, b = rows[i], rows[i + half]
                rows[i], rows[i + half] = _picked(builder, a, b, lower), _picked(builder, a, b, upper)
        for i, row in enumerate(rows):
            builder.store(row, _further(builder, number, target, i, args[5]), align=align)
        return context.get_dummy_value()

    return types.void(source, index, step, into, to, next_), generate


def _further(builder: Any, number: Any, first: Any, count: int, step: Any) -> Any:
    """The lanes ``count * step`` numbers behind; ``number`` is the type of the address of one."""
    numbers = builder.bitcast(first, number)
    return builder.bitcast(builder.gep(numbers, [builder.mul(step, step.type(count))]), first.type)


def _picked(builder: Any, a: Any, b: Any, which: Sequence[int]) -> Any:
    """Lanes of two vectors, those of the second counted behind those of the first."""
    return builder.shuffle_vector(a, b, ir.VectorType(ir.IntType(32), len(which))(list(which)))


def _elementwise(operation: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    class Both(AbstractTemplate):  # type: ignore[misc]
        key = operation

        def generic(self, args: Any, kws: Any) -> Any:
            a, b = args
            return a(a, b) if isinstance(a, Lanes) and a == b else None

    infer_global(operation)(Both)
    lower_builtin(operation, Lanes, Lanes)(lambda context, builder, signature, args: emit(builder, *args))


_elementwise(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=FUSED))
_elementwise(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=FUSED))
_elementwise(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=FUSED))


@intrinsic  # type: ignore[untyped-decorator]
def where(typing_context: Any, condition: Any, values: Any, otherwise: Any) -> Any:
    """The values where the condition is not zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_unordered("!=", args[0], everywhere(args[0].type, 0.0)), *args[1:])

    return values(condition, values, otherwise), generate


@intrinsic  # type: ignore[untyped-decorator]
def greater(typing_context: Any, a: Any, b: Any) -> Any:
    """The greater of two, lane by lane."""
    return a(a, b), lambda context, builder, signature, args: greater_of(builder, *args)


@intrinsic  # type: ignore[untyped-decorator]
def sum_of(typing_context: Any, values: Any) -> Any:
    """The sum over the lanes, in halves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _halved(builder, args[0], lambda a, b: builder.fadd(a, b))

    return values.dtype(values), generate


@intrinsic  # type: ignore[untyped-decorator]
def greatest(typing_context: Any, values: Any) -> Any:
    """The greatest of the lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _halved(builder, args[0], partial(greater_of, builder))

    return values.dtype(values), generate


def everywhere(of: Any, number: float) -> Any:
    """A constant, in every lane if it is of a vector's type."""
    return of([number] * of.count) if isinstance(of, ir.VectorType) else of(number)


def greater_of(builder: Any, a: Any, b: Any) -> Any:
    """The second where one of them is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _halved(builder: Any, values: Any, join: Callable[[Any, Any], Any]) -> Any:
    """One number of all lanes: the one half joined with the other until one is left."""
    count = values.type.count
    while count > 1:
        count //= 2
        values = join(*(_picked(builder, values, values, range(first, first + count)) for first in (0, count)))
    return builder.extract_element(values, ir.IntType(32)(0))
