"""In which precision a network is explained: float32 at least, float64 if any of it is (mathematics, section 6)."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["coarsest", "compute_dtype", "raised"]


@cache
def compute_dtype(dtype: torch.dtype, least: torch.dtype = torch.float32) -> torch.dtype:
    """float32 for lower precisions, which cannot hold a complete attribution; or another one as the least."""
    return torch.promote_types(dtype, least)


def raised(value: Any, least: torch.dtype = torch.float32) -> Any:
    """Tensors and dtypes of lower precision become ``least``, also within a network; the rest stays as it is."""
    if isinstance(value, Tensor):
        wanted = compute_dtype(value.dtype, least) if value.is_floating_point() else value.dtype
        return value if value.dtype is wanted else value.to(wanted)
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return compute_dtype(value, least)
    return value


def coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """Of several floating dtypes the one that rounds most."""
    return max((d for d in dtypes if d.is_floating_point), key=lambda d: torch.finfo(d).eps, default=torch.float32)
