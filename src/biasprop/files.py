"""Writing so that nothing is ever half-written: to a temporary file beside the target, then rename; tensors on disk."""

import json
import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import FileError

__all__ = ["make_folder", "read_tensors", "write_atomically", "write_tensors"]


def write_atomically(path: str | PathLike[str], write: Callable[[Path], object]) -> Path:
    """Call ``write(temporary)`` and rename the result to ``path``.

    Raises:
        FileError: the folder does not exist or cannot be written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise FileError(
            f"Cannot write {target}: {error.strerror or error}. Choose a folder you can write to."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(path: str | PathLike[str]) -> Path:
    """Create an output folder and check that it can be written to.

    Raises:
        FileError: it cannot.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise FileError(
            f"Cannot write to the folder {folder}: {error.strerror or error}. Choose another with --output."
        ) from error


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
