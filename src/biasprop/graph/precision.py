"""In which precision a network is explained: float32 at least (mathematics, section 6)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["coarsest", "compute_dtype", "raised"]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for lower precisions, which cannot hold a complete attribution."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.promote_types(dtype, torch.float32)


def raised(value: Any) -> Any:
    """Half-precision tensors and dtypes become float32, also in the middle of a network; the rest stays as it is."""
    if isinstance(value, Tensor):
        exact = value.dtype in (torch.float32, torch.float64) or not value.is_floating_point()
        return value if exact else value.to(compute_dtype(value.dtype))
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return compute_dtype(value)
    return value


def coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """Of several floating dtypes the one that rounds most."""
    return max((d for d in dtypes if d.is_floating_point), key=lambda d: torch.finfo(d).eps, default=torch.float32)
