"""Memory that large tensors leave is kept for the next ones."""

import ctypes
import os
import platform

__all__ = ["keep_freed_memory"]

LEAST = 2**26  # bytes that are kept in any case

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
MOST = 2**31 - 1  # that they can be set to

_kept = 0


def keep_freed_memory(more: int = 0) -> None:
    """Let the C library keep what is freed, instead of giving it back to the kernel each time.

    The kernel then clears each page of the next tensor, and clearing takes longer than most operations on it. Kept are
    `LEAST` bytes, and twice the ``more`` that large tensors take together, as tensors of several sizes leave gaps. Only
    glibc is told (``mallopt(3)``), never to keep less than before, and nothing that the environment (``MALLOC_...``)
    says otherwise.
    """
    global _kept
    size = LEAST + 2 * more
    if size <= _kept or platform.libc_ver()[0] != "glibc":
        return
    _kept, library = size, ctypes.CDLL(None)
    for name, setting, value in (
        ("MALLOC_TRIM_THRESHOLD_", TRIM_THRESHOLD, size),
        ("MALLOC_MMAP_THRESHOLD_", MMAP_THRESHOLD, size // 2),
    ):
        if name not in os.environ:
            library.mallopt(setting, min(value, MOST))
