"""NumPy's file formats, read without pickle and without trust in what a header claims."""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import BiaspropError, FileError

__all__ = ["opened"]

UNPACKED = 2**31
"""Bytes that an array of a compressed file may unpack to, or 20 times the file if that is more."""


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a file by name (a lone one has none), each read when it is asked for; closed on every way out.

    Raises:
        FileError: the file is missing, damaged, holds objects, or claims more than it holds.
    """
    if not os.path.isfile(path):
        raise FileError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] == b"PK":
                with zipfile.ZipFile(file) as archive:
                    yield _Archive(archive, size)
            else:
                yield {"": _read(file, size)}
    except BiaspropError:
        raise
    except Exception as error:  # whatever a damaged or encrypted file makes zipfile and NumPy raise
        reason = str(error) or type(error).__name__
        raise FileError(f"Cannot read {path} as a NumPy array without pickle: {reason}.") from error


class _Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an ``.npz`` file."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.most = archive, max(UNPACKED, 20 * size)
        self.members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self.members[name]
        if member.file_size > self.most:
            raise ValueError(f"{name!r} unpacks to {member.file_size} bytes, and at most {self.most} are taken")
        with self.archive.open(member) as stream:
            return _read(stream, member.file_size)


def _read(stream: IO[bytes], size: int) -> NDArray[Any]:
    """One array, of ``size`` bytes with its header.

    Raises:
        ValueError: it is no array of numbers, or claims more than there is.
    """
    version = npy.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its format {version} is not one for numbers")
    shape, fortran, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds objects, which only pickle could read and which could run code")
    held, claimed = size - stream.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > held:
        raise ValueError(f"it claims {claimed} bytes as {dtype} of shape {shape}, and holds {held}")
    if not claimed:
        return np.zeros(shape, dtype)
    values = np.frombuffer(stream.read(claimed), dtype)
    return values.reshape(shape[::-1]).transpose() if fortran else values.reshape(shape)


HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
