"""What the CPU kernels compute with: functions of numbers and rows that LLVM makes vector instructions of.

Numba keeps what it has compiled until the file of a kernel changes, and looks at no other: after a change here, touch
`stencils.py` and `sums.py`.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic, overload

__all__ = ["FAST", "exp2", "greatest", "greatest_magnitude"]

# Sums may be reordered into vector lanes and products fused, but infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}

# A tile of a matrix product writes four rows and reads four: LLVM would not vectorise where it must check so many
# for overlap.
binding.set_option("biasprop", "--runtime-memory-check-threshold=64")

BITS = {types.float32: (types.int32, ir.IntType(32)), types.float64: (types.int64, ir.IntType(64))}
FLOATS = {types.int32: (types.float32, ir.FloatType()), types.int64: (types.float64, ir.DoubleType())}


@intrinsic  # type: ignore[untyped-decorator]
def _same_bits(typing_context: Any, value: Any) -> Any:
    """The float with the bits of an integer, or the other way."""
    other, as_ir = (BITS | FLOATS)[value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], as_ir)

    return other(value), generate


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _signless(x: Any) -> Any:
    """A whole number of the same order as ``abs(x)``: the maximum of floats is not vectorised, that of these is."""
    return _same_bits(abs(x))


@intrinsic  # type: ignore[untyped-decorator]
def _ordered(typing_context: Any, bits: Any) -> Any:
    """Between the bits of floats and whole numbers of the same order (its own inverse)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (x,), width = args, args[0].type.width
        negative = builder.ashr(x, ir.Constant(x.type, width - 1))
        return builder.xor(x, builder.and_(negative, ir.Constant(x.type, 2 ** (width - 1) - 1)))

    return bits(bits), generate


def exp2(x: Any) -> Any:
    """``2 ** x`` to the precision of its type, without a branch, so that it vectorises; where it is tiny, about 0."""
    raise NotImplementedError


@overload(exp2, jit_options={"forceinline": True, "fastmath": {"contract", "nsz"}})  # type: ignore[untyped-decorator]
def _exp2_of(x: Any) -> Any:
    def single(x: Any) -> Any:
        x = max(x, np.float32(-126.0))
        shifted = x + np.float32(1.5 * 2**23)  # rounds x to a whole number, which is then in the lowest bits
        part = x - (shifted - np.float32(1.5 * 2**23))
        power = np.float32(1.3395279e-3)  # minimax on [-0.5, 0.5]: relative error 1e-7
        power = power * part + np.float32(9.6184373e-3)
        power = power * part + np.float32(5.5503588e-2)
        power = power * part + np.float32(2.4022647e-1)
        power = power * part + np.float32(6.9314718e-1)
        power = power * part + np.float32(1.0)
        return _same_bits(np.int32(_same_bits(power) + (_same_bits(shifted) << np.int32(23))))

    def double(x: Any) -> Any:
        x = max(x, -1022.0)
        shifted = x + 1.5 * 2**52
        part = 0.6931471805599453 * (x - (shifted - 1.5 * 2**52))
        power = 1 / 6227020800  # Taylor's series: on [-0.35, 0.35] the rest is below 1e-17
        power = power * part + 1 / 479001600
        power = power * part + 1 / 39916800
        power = power * part + 1 / 3628800
        power = power * part + 1 / 362880
        power = power * part + 1 / 40320
        power = power * part + 1 / 5040
        power = power * part + 1 / 720
        power = power * part + 1 / 120
        power = power * part + 1 / 24
        power = power * part + 1 / 6
        power = power * part + 1 / 2
        power = power * part + 1.0
        power = power * part + 1.0
        return _same_bits(_same_bits(power) + (_same_bits(shifted) << np.int64(52)))

    return single if x == types.float32 else double


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def greatest_magnitude(values: Any, n: Any) -> Any:
    """The maximum of the absolute values of a row."""
    greatest = _signless(values[n, 0])
    for k in range(values.shape[1]):
        greatest = max(greatest, _signless(values[n, k]))
    return _same_bits(greatest)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def greatest(values: Any, n: Any) -> Any:
    """The maximum of a row."""
    greatest = _ordered(_same_bits(values[n, 0]))
    for k in range(values.shape[1]):
        greatest = max(greatest, _ordered(_same_bits(values[n, k])))
    return _same_bits(_ordered(greatest))
