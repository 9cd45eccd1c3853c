"""``2 ** x``, most of what options 1 and 2 cost.

With AVX-512 a table of fractions of a power fits into two registers, from which one instruction takes a number for each
lane: of a polynomial two terms are left in single precision, seven in double. Elsewhere the polynomial has five or 13.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import FUSED, Lanes, everywhere, greater_of

__all__ = ["exp2", "exp2_of_product"]

# 2 ** x on [-0.5, 0.5], highest power first: minimax, relative error 1e-7 (2e-7 with the rounding of its evaluation);
# Taylor's series in x ln 2, the rest of which is below 1e-17.
SINGLE = (1.3276472e-3, 9.6755413e-3, 5.5507133e-2, 2.4022120e-1, 6.9314697e-1, 1.0)
DOUBLE = tuple(1 / math.factorial(n) for n in range(13, -1, -1))

# (2 ** x - 1) / x on [-1/64, 1/64], minimax for 2 ** x, to 5e-8; Taylor's series on [-1/32, 1/32], to 2e-18.
SINGLE_BESIDE_TABLE = (0.24022886, 0.6931573)
DOUBLE_BESIDE_TABLE = tuple(math.log(2) ** n / math.factorial(n) for n in range(7, 0, -1))


@intrinsic  # type: ignore[untyped-decorator]
def exp2(typing_context: Any, x: Any) -> Any:
    """``2 ** x`` of numbers or lanes, to the precision of their type, without a branch; where it is tiny, about 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        least = -126.0 if x in (types.float32, Lanes(types.float32)) else -1022.0
        above = greater_of(builder, everywhere(args[0].type, least), args[0])
        return _exp2(builder, above) if not _has_table(context, x) else _with_table(builder, above)

    return x(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def exp2_of_product(typing_context: Any, m: Any, factor: Any, present: Any) -> Any:
    """``2 ** (m * factor)`` of lanes of which it is known to be a normal number, 0 where ``present`` is 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        power = _with_table(builder, *args[:2]) if _has_table(context, m) else _exp2(builder, builder.fmul(*args[:2]))
        nothing = everywhere(power.type, 0.0)
        return builder.select(builder.fcmp_unordered("!=", args[2], nothing), power, nothing)

    return m(m, factor, present), generate


def _exp2(builder: Any, x: Any) -> Any:
    """To the nearest whole number goes into the exponent, the rest through a polynomial."""
    of = x.type
    single, whole = _kind(of)
    bits, powers = (23, SINGLE) if single else (52, DOUBLE)
    magic = everywhere(of, 1.5 * 2.0**bits)
    rounded = builder.fadd(x, magic)  # the nearest whole number is then in the lowest bits
    part = builder.fsub(x, builder.fsub(rounded, magic))
    if not single:
        part = builder.fmul(part, everywhere(of, math.log(2)))
    exponent = builder.shl(builder.bitcast(rounded, whole), everywhere(whole, bits))
    return builder.bitcast(builder.add(builder.bitcast(_polynomial(builder, powers, part), whole), exponent), of)


def _has_table(context: Any, of: Any) -> bool:
    """Whether the processor that is compiled for takes numbers of two registers by the lanes of a third."""
    return isinstance(of, Lanes) and "+avx512f" in context.codegen().magic_tuple()[2].split(",")


def _with_table(builder: Any, m: Any, factor: Any = None) -> Any:
    """The same of ``m * factor``, which is not rounded; steps of 1/32 are in a table, of 1/16 in double precision."""
    of = m.type
    single, whole = _kind(of)
    bits, powers, name = (23, SINGLE_BESIDE_TABLE, "d") if single else (52, DOUBLE_BESIDE_TABLE, "q")
    steps, shift = 2 * of.count, bits - (2 * of.count).bit_length() + 1
    magic = everywhere(of, 1.5 * 2.0**shift)
    rounded = _sum(builder, m, factor, magic)  # the nearest step is then in the lowest bits
    near = builder.fsub(rounded, magic)
    part = builder.fsub(m, near) if factor is None else _fma(builder, m, factor, builder.fneg(near))
    number = builder.bitcast(rounded, whole)
    first, second = (ir.Constant(whole, half.tolist()) for half in np.split(_table(steps, shift, single), 2))
    take = _function(builder, f"llvm.x86.avx512.vpermi2var.{name}.512", whole)
    step = builder.add(builder.call(take, [first, number, second]), builder.shl(number, everywhere(whole, shift)))
    step = builder.bitcast(step, of)
    return _fma(builder, step, builder.fmul(part, _polynomial(builder, powers, part)), step)


def _table(steps: int, shift: int, single: bool) -> Any:
    """Bits of ``2 ** (k / steps)``, less what the number k, shifted, will add to them below the exponent."""
    powers = np.exp2(np.arange(steps, dtype=np.longdouble) / steps).astype(np.float32 if single else np.float64)
    return powers.view(np.int32 if single else np.int64) - (np.arange(steps) << shift)


def _kind(of: Any) -> tuple[bool, Any]:
    """Whether numbers or lanes are in single precision, and the type of their bits."""
    single = (of.element if isinstance(of, ir.VectorType) else of) == ir.FloatType()
    whole = ir.IntType(32 if single else 64)
    return single, ir.VectorType(whole, of.count) if isinstance(of, ir.VectorType) else whole


def _polynomial(builder: Any, factors: Any, x: Any) -> Any:
    value = everywhere(x.type, factors[0])
    for factor in factors[1:]:
        value = builder.fadd(builder.fmul(value, x, flags=FUSED), everywhere(x.type, factor), flags=FUSED)
    return value


def _sum(builder: Any, m: Any, factor: Any, term: Any) -> Any:
    """``m + term``, or ``m * factor + term``."""
    return builder.fadd(m, term) if factor is None else _fma(builder, m, factor, term)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` of lanes, rounded once."""
    name = f"llvm.fma.v{a.type.count}f{32 if a.type.element == ir.FloatType() else 64}"
    return builder.call(_function(builder, name, a.type), [a, b, c])


def _function(builder: Any, name: str, of: Any) -> Any:
    """An operation of LLVM on three registers."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(of, [of] * 3), name)
