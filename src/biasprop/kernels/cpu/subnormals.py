"""Numbers below the normal ones count as zero in kernels.

Shares are a softmax, most of which is next to nothing where scores are large. Of a product that is smaller than the
least normal number (1e-38 in float32) processors of Intel take some hundred cycles, in which they could take a hundred
vectors of others: the last layers of a ResNet-50 took two to ten times as long.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["flush_subnormals", "restore"]

FLUSH = 0x8040  # of the control register of x86: results (FTZ) and operands (DAZ)


@intrinsic  # type: ignore[untyped-decorator]
def flush_subnormals(typing_context: Any) -> Any:
    """From here on, in this thread; what `restore` takes. Where the processor is no x86, nothing."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        control = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(32), 0))
        if _has_control(builder):
            _call(builder, "stmxcsr", control)
            before = builder.load(control)
            _set(builder, builder.or_(before, ir.Constant(before.type, FLUSH)))
            return before
        return builder.load(control)

    return types.uint32(), generate


@intrinsic  # type: ignore[untyped-decorator]
def restore(typing_context: Any, before: Any) -> Any:
    """As it was before `flush_subnormals`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _has_control(builder):
            _set(builder, args[0])
        return context.get_dummy_value()

    return types.void(before), generate


def _has_control(builder: Any) -> bool:
    return str(builder.module.triple).startswith(("x86_64", "i686"))


def _set(builder: Any, value: Any) -> None:
    _call(builder, "ldmxcsr", cgutils.alloca_once_value(builder, value))


def _call(builder: Any, name: str, control: Any) -> None:
    address = ir.IntType(8).as_pointer()
    made = ir.FunctionType(ir.VoidType(), [address])
    function = cgutils.get_or_insert_function(builder.module, made, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(control, address)])
