"""The file that an audit is kept in: what it has found so far, of which network and of which examples."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from ..files import read_tensors, write_tensors
from .entry import Entry
from .exact import read_exact, written
from .findings import Findings

__all__ = ["FORMAT", "State", "read_state", "write_state"]

FORMAT = "biasprop-audit-3"

DIGEST = re.compile("[0-9a-f]{64}")

TENSORS = {  # type; how long the row of an example is
    "positions": (torch.int64, ()),
    "labels": (torch.int64, ()),
    "classes": (torch.int64, (3,)),
    "outputs": (torch.float64, ()),
    "biases": (torch.float64, ()),
}


@dataclass(frozen=True, eq=False)
class State:
    """What was found, and the fingerprint of the network."""

    entry: Entry
    network: str


def write_state(state: State, path: Path) -> None:
    """Atomically.

    Raises:
        FileError: the folder cannot be written to.
    """
    sources = [[*source, written(amount), written(mass)] for source, (amount, mass) in state.entry.sources.items()]
    header = {"network": state.network, "data": f"{state.entry.digest:064x}", "sources": sources}
    write_tensors(path, FORMAT, state.entry.tensors, header)


def read_state(path: Path) -> State:
    """Read what `write_state` wrote.

    Raises:
        FileError: the file is damaged, or is not an audit.
    """
    header, tensors = read_tensors(path, FORMAT)
    try:
        return _made(header, tensors)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileError(f"{path} is not a complete audit: {why}. Remove it or choose another.") from error


def _made(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
    names = [(name, operation) for name, operation, _, _ in header["sources"]]
    _require(all(isinstance(text, str) for source in names for text in source), "a source has no name")
    _require(len(set(names)) == len(names), "a source is there twice")
    _require(all(isinstance(header[name], str) for name in ("network", "data")), "a digest is no text")
    _require(DIGEST.fullmatch(header["data"]) is not None, "a digest is no number")
    _require(set(tensors) == set(TENSORS), f"its tensors are {sorted(tensors)}, not {sorted(TENSORS)}"[:500])
    count = len(tensors["positions"])
    for name, (dtype, row) in TENSORS.items():
        tensor, shape = tensors[name], (count, *row)
        _require(tensor.dtype == dtype, f"{name!r} is {tensor.dtype}, and must be {dtype}")
        _require(tuple(tensor.shape) == shape, f"{name!r} has shape {tuple(tensor.shape)}, and must have {shape}")
        _require(bool(tensor.isfinite().all()), f"{name!r} holds NaN or infinite values")
    _require(count > 0, "it holds no example")
    positions = tensors["positions"]
    _require(bool((positions >= 0).all() and (positions.diff() > 0).all()), "its positions are not in order")
    sums = [(read_exact(amount), read_exact(mass)) for _, _, amount, mass in header["sources"]]
    entry = Entry(tensors, dict(zip(names, sums, strict=True)), int(header["data"], 16))
    _require_sums(entry.findings())
    return State(entry, header["network"])


def _require_sums(found: Findings) -> None:
    _require(not bool((found.labels < 0).any() or (found.classes < 0).any()), "a class is negative")
    _require(bool((found.masses >= found.amounts.abs() * (1 - 1e-9)).all()), "a mass is smaller than its amount")
    missing = (found.amounts.sum() - found.biases.sum()).abs()
    size = found.masses.sum() + found.biases.abs().sum() + found.outputs.abs().sum()
    _require(bool(missing <= 2e-3 * size), "the amounts of its sources do not add up to the bias")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
