"""One process at a time: a lock beside a file, which the system releases however the process ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from ..errors import FileError
from .processes import TAG, is_gone, tag

if sys.platform != "win32":
    import fcntl

__all__ = ["locked"]

PATIENCE = 15.0  # seconds: the workers of a loader whose process was killed hold its lock until they notice


@contextmanager
def locked(path: str | PathLike[str]) -> Iterator[None]:
    """Hold ``path`` while the block runs: another process, or thread, that wants to is refused.

    The lock is on a hidden file beside it, which is removed at the end. One that a killed process has left is free.
    Where the file system has no locks, and on Windows, nobody is refused; writing is atomic all the same.

    Raises:
        FileError: another process holds it, or the folder cannot be written to.
    """
    target = Path(path)
    if sys.platform == "win32":
        yield
        return
    side = target.with_name(f".{target.name}.lock")
    handle = _taken(side, target)
    try:
        yield
    finally:
        with suppress(OSError):  # removed before it is released: whoever takes it next sees that it is gone
            if _is_file(side, handle):
                side.unlink()
            fcntl.flock(handle, fcntl.LOCK_UN)  # a child of this process may have it open as well
        os.close(handle)


def _taken(side: Path, target: Path) -> int:
    """The open lock file, locked and marked as ours."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            handle = os.open(side, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            why = error.strerror or error
            raise FileError(f"Cannot write {target}: {why} ({side.name}). Choose a folder you can write to.") from error
        holder = _holder(handle)
        if holder is None and _is_file(side, handle):
            return handle
        os.close(handle)
        mark = TAG.fullmatch(holder or "")
        if holder is not None and (time.monotonic() > end or (mark and not is_gone(mark[0]))):
            number = f" {mark[2]}" if mark else ""
            raise FileError(
                f"{target} is in use by another process{number}: wait until that has finished, or choose another file."
            )
        time.sleep(0.05)


def _holder(handle: int) -> str | None:
    """None once it is ours (or the file system has no locks), else the tag of the process that has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 100, 0).decode(errors="replace")
    except OSError:
        return None
    os.ftruncate(handle, 0)
    os.pwrite(handle, tag().encode(), 0)
    return None


def _is_file(side: Path, handle: int) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(side), os.fstat(handle))
    except FileNotFoundError:
        return False
