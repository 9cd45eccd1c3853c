"""Compiled kernels are kept on disk until any file of this folder changes.

Numba looks at the file of the function alone that it keeps, not at those of the functions which are compiled into it:
after an upgrade old machine code would go on. So the name that it keeps a kernel by says what the whole folder was.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["kept", "kept_in", "stamp_of"]


def stamp_of(folder: Path) -> str:
    """Of the contents of all Python files there: 12 hexadecimal digits."""
    contents = (path.name.encode() + path.read_bytes() for path in sorted(folder.glob("*.py")))
    return sha256(b"\0".join(contents)).hexdigest()[:12]


STAMP = stamp_of(Path(__file__).parent)


def kept(function: Callable[..., Any], *signature: Any, parallel: bool = False) -> Any:
    """A kernel, compiled when it is first called, or at once for a signature."""
    function.__qualname__ = f"{function.__name__}_{STAMP}"
    return njit(*signature, error_model="numpy", parallel=parallel, cache=True)(function)


def kept_in() -> Path:
    """The folder: beside these files, in the user's cache or ``NUMBA_CACHE_DIR``."""
    return Path(kept(lambda: None).stats.cache_path)
