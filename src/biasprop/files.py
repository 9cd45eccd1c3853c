"""Writing so that nothing is ever half-written: to a temporary file beside the target, then rename."""

import os
import tempfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from .errors import FileError

__all__ = ["make_folder", "write_atomically"]


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
