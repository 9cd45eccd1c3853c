"""Implementations of the expensive steps, `spread` and `split`, behind one interface.

- `biasprop.kernels.streaming`: plain PyTorch, for any device, dtype and rule; the reference for the others.
- `biasprop.kernels.fused`: compiled by Numba, for float32 on the CPU and the three rules;
- `biasprop.kernels.gpu`: in Triton, for float32 on an NVIDIA GPU and the three rules;
- `biasprop.kernels.convolved`: option 3 of a convolution, as convolutions.
"""

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..pieces import Settings
from ..rules import BUILT_IN
from . import streaming
from .layout import Layout

__all__ = ["Layout", "split", "spread"]


def spread(
    layout: Layout, u: Tensor, slope: Tensor | None, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """``beta_u[q] = sum_p alpha[p,q] beta[p]`` (spec section 2, step 2), by the fastest kernel that can.

    Args:
        layout: the stencil.
        u: operand, ``layout.operand``.
        slope: slope of the gate behind the stencil, ``layout.output``; None for 1.
        h: local bias of the layer, ``layout.output``.
        beta: what to distribute, ``(J, *layout.output)``, for J targets: alpha is the same for all of them.
        settings: rule, memory budget, and whether compiled kernels may be used.

    Returns:
        Beta of the operand, ``(J, *layout.operand)``, and what is lost at units that nothing is wired to, like
        ``beta`` (None where there are none).
    """
    if not beta.any():
        return beta.new_zeros(len(beta), *u.shape), None
    done: tuple[Tensor, Tensor | None] = _best(beta, settings).spread(layout, u, slope, h, beta, settings)
    return done


def split(m: Tensor, h: Tensor, support: Tensor, beta: Tensor, settings: Settings) -> Tensor:
    """The same for sums and products of a few tensors, element by element: ``alpha[i] * beta[j]``.

    Args:
        m: components, ``(operands, units)``.
        h: local bias, ``(units,)``.
        support: where the weights are not zero, ``(operands, units)``.
        beta: what to distribute, ``(J, units)``.
        settings: rule, memory budget, and whether compiled kernels may be used.

    Returns:
        ``(operands, J, units)``.
    """
    kernels = _best(beta, settings)
    done: Tensor = (kernels if hasattr(kernels, "split") else streaming).split(m, h, support, beta, settings)
    return done


def _best(beta: Tensor, settings: Settings) -> Any:
    """The module of kernels for this device, dtype and rule."""
    if settings.compiled and beta.dtype == torch.float32 and type(settings.rule) in BUILT_IN:
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
