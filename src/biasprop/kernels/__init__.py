"""Implementations of the one expensive step, `spread`, behind one interface.

- `biasprop.kernels.streaming`: plain PyTorch, for any device, dtype and rule; the reference for the others.
- `biasprop.kernels.fused`: compiled by Numba, for float32 on the CPU and the three rules;
- `biasprop.kernels.gpu`: in Triton, for float32 on an NVIDIA GPU and the three rules;
- `biasprop.kernels.convolved`: option 3 of a convolution, as convolutions.
"""

import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ..pieces import Settings
from ..rules import BUILT_IN
from . import streaming
from .layout import Layout

__all__ = ["Layout", "spread"]


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
    if settings.compiled and beta.dtype == torch.float32 and type(settings.rule) in BUILT_IN:
        compiled = _compiled(beta.device.type)
        if compiled is not None:
            return compiled(layout, u, slope, h, beta, settings)
    return streaming.spread(layout, u, slope, h, beta, settings)


@cache
def _compiled(device: str) -> Callable[..., tuple[Tensor, Tensor | None]] | None:
    """The compiled kernel for a kind of device; its compiler takes a moment to import, so only when it is needed."""
    try:
        if device == "cpu":
            from .fused import spread as compiled
        elif device == "cuda":
            from .gpu import spread as compiled
        else:
            return None
    except (ImportError, RuntimeError) as error:  # RuntimeError: numba finds no folder for what it compiles
        warnings.warn(
            f"The compiled kernels cannot be used, explanations will be slow: {error} (set NUMBA_CACHE_DIR to a "
            "folder that can be written to).",
            stacklevel=2,
        )
        return None
    return compiled
