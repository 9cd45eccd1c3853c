"""Memory that large tensors leave is kept for the next ones."""

from functools import cache

import torch

__all__ = ["keep_freed_memory"]

LARGEST = 2**25 - 2**13
"""Bytes of the largest tensor that the C library of Linux learns from, a little less than 32 MiB."""


@cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MiB of what is freed, instead of giving it back to the kernel each time.

    The kernel then clears each page of the next tensor, and clearing takes longer than most operations on it. How much
    glibc keeps it learns from the largest tensor that was ever freed (``mallopt(3)``, ``M_MMAP_THRESHOLD``): this one
    is never written to, and takes no memory. Elsewhere it does nothing.
    """
    torch.empty(LARGEST, dtype=torch.uint8, device="cpu")
