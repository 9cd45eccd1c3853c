"""What must hold of a saved explanation before it is taken for one: every value has its type, and shapes fit together.

Its checksum says that nobody has changed the file by accident; this, that whoever wrote it wrote an explanation.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["require_consistent"]

ALL = ("output", "unattributed", "withheld", "bypassed")  # one number for each example and target
EACH = ("value", "weight", "beta")  # of every part
LONGEST = 10_000  # characters of a name


def require_consistent(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Check header and tensors against each other.

    Raises:
        ValueError: saying what does not fit.
        KeyError: a value or a tensor is missing.
    """
    _require_header(header)
    texts = {f"ids.{k}" for k in header.get("ids", []) if k is not None}
    parts = range(len(header["names"]))
    handed = {f"{i}.handed" for i in parts} & set(tensors)
    numbers = [*ALL, *({"probability"} & set(tensors))]
    expected = {*numbers, "sources", *(f"{i}.{what}" for i in parts for what in EACH), *texts, *handed}
    _require(set(tensors) == expected, f"its tensors are {sorted(tensors)}, not {sorted(expected)}"[:500])
    for name, tensor in tensors.items():
        if name in texts:
            continue
        right = tensor.dtype in (torch.float32, torch.float64)
        _require(right, f"{name!r} is {tensor.dtype}, and must be float32 or float64")
        _require(bool(tensor.isfinite().all()), f"{name!r} holds NaN or infinite values")
    output = tensors["output"].shape
    _require(len(output) in (1, 2) and output.numel() > 0, f"its output has shape {tuple(output)}")
    for name in numbers:
        _require_shape(name, tensors, output)
    _require_shape("sources", tensors, torch.Size((*output, len(header["sources"]))))
    for i, dim in enumerate(header["batch_dims"]):
        _require_part(i, dim, tensors, output)
    for k in header.get("ids", []):
        if k is not None:
            _require_ids(f"ids.{k}", tensors[f"ids.{k}"], output[0])
    several = len(output) == 2
    chosen = header["target"] if several else [header["target"]]
    count = len(chosen) if isinstance(chosen, list) else 0
    fits = count == (output[1] if several else 1) and all(_is_choice(one, output[0]) for one in chosen)
    _require(fits, "its target does not fit its output")


def _require_header(header: Mapping[str, Any]) -> None:
    names, dims, inputs = header["names"], header["batch_dims"], header["inputs"]
    lists = [names, dims, inputs, header["sources"]]
    _require(all(isinstance(one, list) for one in lists), "names, dimensions, inputs and sources must be lists")
    _require(len(names) > 0 and len(names) == len(dims) == len(inputs), "it has not one dimension for each name")
    _require(all(map(_is_text, names)) and _is_text(header["rule"]), "a name is no text, or is too long")
    _require(all(type(dim) is int for dim in dims), "a dimension is no whole number")
    _require(all(isinstance(one, bool) for one in (*inputs, header["single"])), "what is yes or no is something else")
    _require(not header["single"] or len(names) == 1, "it has several tensors, and says that it has one")
    pairs = all(isinstance(one, list) and len(one) == 2 and all(map(_is_text, one)) for one in header["sources"])
    _require(pairs, "a source is no pair of a name and an operation")
    temperature = header["temperature"]
    for name in ("linearization", "handover"):
        _require(_is_text(header.get(name, "")), f"its {name} is no text, or is too long")
    for name in ("classes", "features"):
        called = header.get(name, [])
        _require(isinstance(called, list) and all(map(_is_text, called)), f"its {name} are no names")
    ids = header.get("ids", [])
    listed = isinstance(ids, list) and all(k is None or type(k) is int for k in ids)
    _require(listed and len(ids) in (0, len(names)), "its ids are not one number, or none, for each name")
    _require(temperature is None or _is_text(temperature), "its temperature is no number")
    float(temperature or 0)  # says itself what is wrong


def _require_part(i: int, dim: int, tensors: Mapping[str, Tensor], output: torch.Size) -> None:
    """An example may be several entries of the batch dimension (tokens folded into it)."""
    shape = list(tensors[f"{i}.value"].shape)
    _require(0 <= dim < len(shape), f"dimension {dim} of '{i}.value' is not there: its shape is {tuple(shape)}")
    fits = shape[dim] > 0 and shape[dim] % output[0] == 0
    _require(fits, f"'{i}.value' of shape {tuple(shape)} does not hold {output[0]} examples")
    faced = torch.Size([*shape[: dim + 1], *output[1:], *shape[dim + 1 :]])
    for name in (f"{i}.weight", f"{i}.beta", f"{i}.handed"):
        if name in tensors:
            _require_shape(name, tensors, faced)


def _require_ids(name: str, ids: Tensor, examples: int) -> None:
    right = ids.dtype in (torch.int32, torch.int64) and ids.numel() > 0 and int(ids.min()) >= 0
    _require(right, f"{name!r} holds no ids")
    _require(
        ids.dim() > 1 and len(ids) == examples, f"{name!r} of shape {tuple(ids.shape)} is not of {examples} examples"
    )


def _require_shape(name: str, tensors: Mapping[str, Tensor], shape: torch.Size) -> None:
    found = tensors[name].shape
    _require(found == shape, f"{name!r} has shape {tuple(found)}, and must have {tuple(shape)}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _is_choice(one: Any, examples: int) -> bool:
    """The name of a callable, or an index per example: a number, several, or none where there is nothing to choose."""
    if not isinstance(one, list):
        return _is_text(one)
    return not one or (len(one) == examples and all(_is_index(t) for t in one))


def _is_index(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(type(number) is int for number in numbers)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
