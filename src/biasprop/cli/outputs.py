"""Which files a command reads, so that it writes over none of them."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import FileError
from ..loading import files_of

__all__ = ["Sources", "folded"]


class Sources:
    """The files that a command reads. They are told apart by what they are, not by how their paths are spelled."""

    def __init__(self, paths: Iterable[Path | None]) -> None:
        given = [path for path in paths if path is not None]
        self.names = {folded(os.path.realpath(path)) for path in given} | {folded(_beside(path)) for path in given}
        self.files = {identity for path in given if (identity := _identity(path)) is not None}

    @classmethod
    def of(cls, inputs: Sequence[Path], folder: Path, *others: Path | None) -> "Sources":
        """What a command reads that takes inputs, and writes into a folder of which it reads nothing on its own.

        Raises:
            FileError: the folder is itself one of the inputs, or an input is missing.
        """
        cls(inputs).refuse(folder)
        return cls([*inputs, *files_of(inputs, folder), *others])

    def __contains__(self, path: Path) -> bool:
        """Whether writing this path would destroy one of them: the same path, the same file, or a link to it."""
        names = {folded(os.path.realpath(path)), folded(_beside(path))}
        return bool(names & self.names) or _identity(path) in self.files

    def refuse(self, *outputs: Path) -> None:
        """To be called before anything is written.

        Raises:
            FileError: one of the outputs is a file that is read.
        """
        for path in outputs:
            if path in self:
                raise FileError(
                    f"{path} would be written, and is also the input (it, or a link to it, is read). Nothing was "
                    "written. Choose another output."
                )


def folded(name: str) -> str:
    """Names that some file system takes for the same: it may know no case, or compose accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _beside(path: Path) -> str:
    """The path without links in its folder; the last part may be one: writing replaces the link."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
