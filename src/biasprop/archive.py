"""Explanations and audits on disk: one safetensors file, tensors and JSON metadata, no pickle."""

import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import FileError
from .files import write_atomically
from .sweep import BiasSource

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = ["load", "read_tensors", "save", "write_tensors"]

FORMAT = "biasprop-explanation-1"


def save(explanation: "Explanation", path: str | PathLike[str]) -> None:
    """Write an explanation to ``path``, atomically.

    Raises:
        FileError: the folder cannot be written to.
    """
    tensors: dict[str, Tensor] = {
        "output": explanation.output,
        "unattributed": explanation.unattributed,
        "withheld": explanation.withheld,
        "bypassed": explanation.bypassed,
        "sources": explanation.sources.amounts,
    }
    for i, part in enumerate(explanation.parts):
        tensors |= {f"{i}.value": part.value, f"{i}.weight": part.weight, f"{i}.beta": part.beta}
    header = {
        "names": [p.name for p in explanation.parts],
        "batch_dims": [p.batch_dim for p in explanation.parts],
        "single": explanation.single,
        "sources": [[s.name, s.operation] for s in explanation.sources],
        "rule": explanation.rule,
        "temperature": explanation.temperature,
        "target": explanation.target,
    }
    write_tensors(path, FORMAT, tensors, header)


def load(path: str | PathLike[str]) -> "Explanation":
    """Read an explanation that `Explanation.save` wrote.

    Raises:
        FileError: the file is missing, damaged, or not an explanation.
    """
    from .explanation import Explanation, Part, Sources

    header, tensors = read_tensors(path, FORMAT)
    try:
        output = tensors["output"]
        rows = [
            BiasSource(str(name), str(operation), tensors["sources"][..., i])
            for i, (name, operation) in enumerate(header["sources"])
        ]
        parts = tuple(
            Part(str(name), tensors[f"{i}.value"], tensors[f"{i}.weight"], tensors[f"{i}.beta"], int(dim))
            for i, (name, dim) in enumerate(zip(header["names"], header["batch_dims"], strict=True))
        )
        return Explanation(
            parts=parts,
            single=bool(header["single"]),
            output=output,
            unattributed=tensors["unattributed"],
            withheld=tensors["withheld"],
            bypassed=tensors["bypassed"],
            sources=Sources(rows, output),
            rule=str(header["rule"]),
            temperature=float(header["temperature"]),
            target=_target(header["target"], several=output.dim() == 2),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileError(f"{path} is not a complete biasprop explanation: {error!r}.") from error


def _target(saved: Any, several: bool = False) -> Any:
    """JSON knows no tuples: an index of several dimensions comes back as a list."""
    if isinstance(saved, list):
        return [_target(t) if several else tuple(t) if isinstance(t, list) else t for t in saved]
    return saved


def write_tensors(
    path: str | PathLike[str], file_format: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Tensors and a header of plain values as safetensors, atomically.

    Raises:
        FileError: the folder cannot be written to.
    """
    metadata = {"format": file_format, "biasprop": json.dumps(header)}
    ready = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    try:
        write_atomically(path, lambda temporary: save_file(ready, temporary, metadata))
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise FileError(f"Cannot write {path}: {error}.") from error


def read_tensors(path: str | PathLike[str], file_format: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors that `write_tensors` wrote.

    Raises:
        FileError: the file is missing, damaged, or of another format.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != file_format:
                raise FileError(f"{path} is a safetensors file, but not one that biasprop wrote ({file_format}).")
            return json.loads(metadata["biasprop"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, struct.error, ValueError, KeyError) as error:
        raise FileError(
            f"Cannot read {path}: {error}. It must be a file that biasprop wrote ({file_format})."
        ) from error
