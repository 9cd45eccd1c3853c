"""Tensors and a header of plain values on disk: safetensors, no pickle, with a checksum over all of it."""

import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Never

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import FileError
from .atomic import write_atomically
from .checksum import checksum

__all__ = ["read_tensors", "write_tensors"]

UNREADABLE = (
    SafetensorError,
    OSError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,  # also of JSON that is nested too deeply
)
"""What safetensors, torch and JSON raise where a file is not what it should be."""


def write_tensors(
    path: str | PathLike[str], file_format: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Tensors and a header of plain values as safetensors, atomically; ``file_format`` ends in its version.

    Raises:
        FileError: the folder cannot be written to.
    """
    ready = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    metadata = {"format": file_format, "biasprop": text, "sha256": checksum(file_format, text, ready)}
    try:
        write_atomically(path, lambda temporary: save_file(ready, temporary, metadata))
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise FileError(f"Cannot write {path}: {error}.") from error


def read_tensors(path: str | PathLike[str], file_format: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors that `write_tensors` wrote, and exactly these.

    Raises:
        FileError: the file is missing, damaged, or of another format.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            metadata = file.metadata() or {}
            _require_format(path, metadata.get("format", ""), file_format)
            # Copies: what is checked here does not change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if metadata.get("sha256") != checksum(file_format, metadata["biasprop"], tensors):
            raise FileError(
                f"{path} is damaged: its content does not match its checksum. Restore it from a copy, or remove it and "
                "make it again."
            )
        header = json.loads(metadata["biasprop"], parse_constant=_no_number)
        if not isinstance(header, dict):
            raise TypeError("its header is no mapping")
    except UNREADABLE as error:
        why = str(error).strip() or type(error).__name__
        raise FileError(f"Cannot read {path}: {why}. It must be a file that biasprop wrote ({file_format}).") from error
    return header, tensors


def _require_format(path: str | PathLike[str], found: str, file_format: str) -> None:
    kind = file_format.rpartition("-")[0]
    if found.rpartition("-")[0] == kind and found != file_format:
        raise FileError(
            f"{path} is of another version of biasprop ({found}; this one writes {file_format}, with a checksum): make "
            "it again, or read it with that version."
        )
    if found != file_format:
        raise FileError(f"{path} is a safetensors file, but not one that biasprop wrote ({file_format}).")


def _no_number(name: str) -> Never:
    raise ValueError(f"its header holds {name}")
