"""Which operations a graph from a file may name: those that explaining it takes, and no others."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

__all__ = ["by_name"]

EVALUATED = (
    "embedding arange full scalar_tensor ones zeros eye linspace tril_indices triu_indices "
    "__and__ __or__ __xor__ bitwise_xor logical_xor empty_permuted isinf isfinite bucketize sym_numel floor_divide "
    "remainder fmod _assert_tensor_metadata _assert_scalar"
)
"""Operations in no family, which make numbers, indices and masks of what does not depend on the input."""


def by_name(*tables: Mapping[Any, Any]) -> dict[str, OpOverload]:
    """The operations of the tables, and those that are merely evaluated, as ``{"aten.relu.default": ...}``.

    What writes into its arguments is not among them.
    """
    evaluated = [getattr(torch.ops.aten, name) for name in EVALUATED.split() if hasattr(torch.ops.aten, name)]
    found = _overloads([*evaluated, *(key for table in tables for key in table)])
    return {str(one): one for one in found if not one._schema.is_mutable}


def _overloads(operations: Iterable[Any]) -> Iterable[OpOverload]:
    for one in operations:
        if isinstance(one, OpOverloadPacket):
            yield from (getattr(one, name) for name in one.overloads())
        elif isinstance(one, OpOverload):
            yield one
