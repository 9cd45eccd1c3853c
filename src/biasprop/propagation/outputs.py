"""What a model returns that is not one tensor: how to say what it is, and how a target picks a number from it."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

__all__ = ["described_output", "example_of"]


def described_output(returned: Any) -> str:
    """Its type, and the names or places of what is in it."""
    kind = f"a {type(returned).__name__}"
    if isinstance(returned, tuple | list) and not hasattr(returned, "_fields"):
        return f"{kind} of {len(returned)}"
    names = [step.strip("[].") for step, _ in _items(returned)]
    return f"{kind} with {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else kind


def example_of(returned: Any, batch: int) -> str:
    """A target that works on it: the first of its tensors that has a row per example, the logits where it has any."""
    usable = list(_usable("out", returned, batch))
    chosen = next((text for text in usable if "logits" in text), next(iter(usable), None))
    return chosen or "out[:, 0]; but first let forward return a tensor with a row per example: there is none in it"


def _items(value: Any) -> list[tuple[str, Any]]:
    """How to reach what is in a structure, and what that is."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", one) for key, one in value.items()]
    if hasattr(value, "_fields"):  # a named tuple
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, tuple | list):
        return [(f"[{i}]", one) for i, one in enumerate(value)]
    if is_dataclass(value):
        return [(f".{field.name}", getattr(value, field.name)) for field in fields(value)]
    return []


def _usable(path: str, value: Any, batch: int) -> Iterable[str]:
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.dim() > 0 and value.shape[0] == batch and value.numel() > 0:
            yield path + (f"[:, {', '.join(['0'] * (value.dim() - 1))}]" if value.dim() > 1 else "")
    else:
        for step, one in _items(value):
            yield from _usable(path + step, one, batch)
