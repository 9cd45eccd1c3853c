"""Writing so that nothing is ever half-written: to a temporary file beside the target, then rename."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path

from ..errors import FileError
from .processes import TAG, is_gone, tag

__all__ = ["make_folder", "remove_leftovers", "write_atomically"]

DAY = 24 * 60 * 60.0


def write_atomically(path: str | PathLike[str], write: Callable[[Path], object]) -> Path:
    """Call ``write(temporary)`` and rename the result to ``path``.

    A process that is killed in the middle leaves its temporary file behind; the next write to ``path`` removes it.

    Raises:
        FileError: the folder does not exist or cannot be written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        _remove_leftovers(target)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{_prefix(target)}{tag()}-", suffix=target.suffix)
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


def _prefix(target: Path) -> str:
    """How the temporary files of this target begin; as short for a long name."""
    return f".biasprop-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"


def _remove_leftovers(target: Path) -> None:
    """The temporary files of this target."""
    _remove(target.parent, re.escape(_prefix(target)), re.escape(target.suffix))


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of all targets in a folder, where each write has a name of its own.

    Raises:
        OSError: the folder cannot be read.
    """
    _remove(folder, r"\.biasprop-[0-9a-f]{8}-", r"(?:\.[a-z0-9]+)?")


def _remove(folder: Path, prefix: str, suffix: str) -> None:
    """Those whose process has ended or, where one cannot know, that are a day old."""
    form = re.compile(f"{prefix}({TAG.pattern})-[a-z0-9_]+{suffix}")
    with os.scandir(folder) as entries:
        for entry in entries:
            found = form.fullmatch(entry.name)
            if found is None:
                continue
            with suppress(OSError):  # another process may be removing it as well
                regular = entry.is_file(follow_symlinks=False)
                if regular and (is_gone(found[1]) or time.time() - entry.stat().st_mtime > DAY):
                    os.unlink(entry.path)


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
