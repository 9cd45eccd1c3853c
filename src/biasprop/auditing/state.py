"""The file that an audit is kept in: what it has found so far, of which network and of which examples."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from ..files import read_tensors, write_tensors
from .findings import Findings

__all__ = ["FORMAT", "State", "read_state", "write_state"]

FORMAT = "biasprop-audit-2"

TENSORS = {  # type; whether there is a row for each example or one for each source; how long a row is
    "labels": (torch.int64, "examples", ()),
    "classes": (torch.int64, "examples", (3,)),
    "outputs": (torch.float64, "examples", ()),
    "biases": (torch.float64, "examples", ()),
    "amounts": (torch.float64, "sources", ()),
    "masses": (torch.float64, "sources", ()),
}


@dataclass(frozen=True, eq=False)
class State:
    """What was found, the fingerprint of the network, and the digest of the examples up to there."""

    found: Findings
    network: str
    data: str


def write_state(state: State, path: Path) -> None:
    """Atomically.

    Raises:
        FileError: the folder cannot be written to.
    """
    tensors = {f.name: getattr(state.found, f.name) for f in fields(Findings) if f.name != "sources"}
    write_tensors(path, FORMAT, tensors, {"network": state.network, "data": state.data, "sources": state.found.sources})


def read_state(path: Path) -> State:
    """Read what `write_state` wrote.

    Raises:
        FileError: the file is damaged, or is not an audit.
    """
    header, tensors = read_tensors(path, FORMAT)
    try:
        return _made(header, tensors)
    except (LookupError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileError(f"{path} is not a complete audit: {why}. Remove it or choose another.") from error


def _made(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
    sources = tuple((name, operation) for name, operation in header["sources"])
    _require(all(isinstance(text, str) for source in sources for text in source), "a source has no name")
    _require(len(set(sources)) == len(sources), "a source is there twice")
    _require(all(isinstance(header[name], str) for name in ("network", "data")), "a digest is no text")
    _require(set(tensors) == set(TENSORS), f"its tensors are {sorted(tensors)}, not {sorted(TENSORS)}"[:500])
    lengths = {"examples": len(tensors["labels"]), "sources": len(sources)}
    for name, (dtype, rows, row) in TENSORS.items():
        tensor, shape = tensors[name], (lengths[rows], *row)
        _require(tensor.dtype == dtype, f"{name!r} is {tensor.dtype}, and must be {dtype}")
        _require(tuple(tensor.shape) == shape, f"{name!r} has shape {tuple(tensor.shape)}, and must have {shape}")
        _require(bool(tensor.isfinite().all()), f"{name!r} holds NaN or infinite values")
    _require(lengths["examples"] > 0, "it holds no example")
    found = Findings(**tensors, sources=sources)
    _require_sums(found)
    return State(found, header["network"], header["data"])


def _require_sums(found: Findings) -> None:
    _require(not bool((found.labels < 0).any() or (found.classes < 0).any()), "a class is negative")
    _require(bool((found.masses >= found.amounts.abs() * (1 - 1e-9)).all()), "a mass is smaller than its amount")
    missing = (found.amounts.sum() - found.biases.sum()).abs()
    size = found.masses.sum() + found.biases.abs().sum() + found.outputs.abs().sum()
    _require(bool(missing <= 2e-3 * size), "the amounts of its sources do not add up to the bias")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
