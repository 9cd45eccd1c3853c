"""The expensive step, distributing a bias by alpha, behind one interface; alpha is never held (mathematics, section 7).

- `biasprop.kernels.streaming`: plain PyTorch, for any device, dtype and rule; the reference for the others.
- `biasprop.kernels.fused`: compiled by Numba, for float32 and float64 on the CPU and rules that have a form;
- `biasprop.kernels.gpu`: in Triton, for float32 on an NVIDIA GPU and rules that have a form;
- `biasprop.kernels.proportional`: option 3 through ordinary products;
- `biasprop.kernels.weighted`: layers without their bias, and transposed; `biasprop.kernels.dense`: of them the linear
  ones; `biasprop.kernels.slope`: of a gate;
- `biasprop.kernels.autograd`: the derivative of one operation; `biasprop.kernels.extremes`: what all entries are.

Uses `biasprop.rules` alone, and knows nothing of networks: it is given a `Layout` and tensors.
"""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from ..rules import form_of
from . import streaming
from .extremes import is_zero
from .layout import Layout, Settings
from .slope import Slope

__all__ = ["Layout", "Settings", "compile_ahead", "spread", "spread_components"]


def spread(
    layout: Layout, u: Tensor, slope: Slope, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """``beta_u[q] = sum_p alpha[p,q] beta[p]`` (mathematics, section 2, step 2), by the fastest kernel that can.

    Args:
        layout: the stencil.
        u: operand, ``layout.operand``.
        slope: of the gate behind the stencil, of units ``layout.output``.
        h: local bias of the layer where it is open, ``layout.output``.
        beta: what to distribute, ``(J, *layout.output)``, for J targets: alpha is the same for all of them.
        settings: rule, memory budget, and whether compiled kernels may be used.

    Returns:
        Beta of the operand, ``(J, *layout.operand)``, and what is lost at units that nothing is wired to, like
        ``beta`` (None where there are none).
    """
    if is_zero(beta):
        return beta.new_zeros(len(beta), *u.shape), None
    done: tuple[Tensor, Tensor | None] = _best(beta, settings).spread(layout, u, slope, h, beta, settings)
    return done


def spread_components(m: Tensor, h: Tensor, support: Tensor, beta: Tensor, settings: Settings) -> Tensor:
    """The same for sums and products of a few tensors, element by element: ``alpha[i] * beta[j]``.

    Args:
        m: components, ``(operands, units)``; they are used up.
        h: local bias, ``(units,)``, or ``(1,)`` where it is the same everywhere.
        support: where the weights are not zero, ``(operands, units)``, or ``(operands, 1)``.
        beta: what to distribute, ``(J, units)``.
        settings: rule, memory budget, and whether compiled kernels may be used.

    Returns:
        ``(operands, J, units)``.
    """
    kernels = _best(beta, settings)
    able = kernels if hasattr(kernels, "spread_components") else streaming
    done: Tensor = able.spread_components(m, h, support, beta, settings)
    return done


def compile_ahead() -> Path:
    """Compile all kernels of this processor now, and not when one is first needed; the folder that they are kept in.

    Raises:
        FileError: there is none that can be written to.
    """
    try:
        from . import fused

        return fused.compile_all()
    except (RuntimeError, OSError) as error:
        remedy = "Set NUMBA_CACHE_DIR to a folder that can be written to."
        raise FileError(f"Compiled kernels cannot be kept: {error}. {remedy}") from error


def _best(beta: Tensor, settings: Settings) -> Any:
    """The module of kernels for this device, dtype and rule."""
    dtypes = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32,)}.get(beta.device.type, ())
    if settings.compiled and beta.dtype in dtypes and form_of(settings.rule) is not None:
        return _compiled(beta.device.type)
    return streaming


@cache
def _compiled(device: str) -> Any:
    """The compiled kernels for a kind of device; their compiler takes a moment to import, so only when needed."""
    try:
        if device == "cpu":
            threads = torch.get_num_threads()
            from . import fused

            torch.set_num_threads(threads)  # Numba, where it shares OpenMP with PyTorch, sets it for both
            return fused
        if device == "cuda":
            from . import gpu

            return gpu
    except (ImportError, RuntimeError) as error:  # RuntimeError: numba finds no folder for what it compiles
        warnings.warn(
            f"The compiled kernels cannot be used, explanations will be slow: {error} (set NUMBA_CACHE_DIR to a "
            "folder that can be written to).",
            stacklevel=2,
        )
    return streaming
