"""An explanation as plain values, for JSON, and as a table."""

import math
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..extras import require
from ..results import Decomposition
from .naming import feature_name

__all__ = ["frame_of", "plain_values"]


def plain_values(explanation: Decomposition[Any]) -> dict[str, Any]:
    """See `biasprop.Explanation.to_dict`."""
    return {
        "rule": explanation.rule,
        "temperature": explanation.temperature,
        "linearization": explanation.linearization,
        "handover": explanation.handover,
        "examples": [_example(explanation, i) for i in range(len(explanation))],
    }


def _example(explanation: Decomposition[Any], i: int) -> dict[str, Any]:
    numbers = ("output", "bias", "unattributed", "withheld", "bypassed", "completeness_error", "probability")
    values = {name: getattr(explanation, name) for name in numbers}
    target, sources = explanation.target, explanation.sources
    amounts = sources.amounts[i]
    parts = []
    for part in explanation.parts:
        w, beta = (_of_example(explanation, part, kind, i) for kind in (part.product, part.beta))
        parts.append({"name": part.name, "weight_attribution": w.tolist(), "bias_attribution": beta.tolist()})
    return {
        "target": [_of(one, i) for one in target] if explanation.several else _of(target, i),
        **{name: None if value is None else value[i].tolist() for name, value in values.items()},
        "sources": [
            {"name": one.name, "operation": one.operation, "amount": amounts[..., k].tolist()}
            for k, one in enumerate(sources)
        ],
        "inputs": parts,
    }


def _of(target: Any, i: int) -> Any:
    return target[i] if isinstance(target, list) and target else target


def _of_example(explanation: Decomposition[Any], part: Any, kind: Tensor, i: int) -> Tensor:
    """Of one example, like the tensor; with several targets one below the other."""
    found = part.by_example(kind, len(explanation))[:, i].reshape(len(kind), *part.shape)
    return found if explanation.several else found[0]  # type: ignore[no-any-return]


def frame_of(explanation: Decomposition[Any]) -> Any:
    """See `biasprop.Explanation.to_pandas`."""
    if explanation.several:
        raise InputError("A table is of one target: explanation.for_target(0).to_pandas().")
    pandas = require("pandas", "pandas")
    n, tables = len(explanation), []
    for part in explanation.parts:
        labels = [feature_name(part, k, explanation.features) for k in range(math.prod(part.shape))]
        value = part.by_example(part.value[None], n)[0]
        w, beta = (part.by_example(kind, n)[0] for kind in (part.product, part.beta))
        columns = {"value": value, "weight_attribution": w, "bias_attribution": beta, "attribution": w + beta}
        flat = {name: kind.detach().cpu().flatten().numpy() for name, kind in columns.items()}
        examples = [i for i in range(n) for _ in labels]
        tables.append(pandas.DataFrame({"example": examples, "input": part.name, "feature": labels * n, **flat}))
    return pandas.concat(tables, ignore_index=True)
