"""The default engine: this process, one block after the other."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["run_here"]

B = TypeVar("B")
R = TypeVar("R")


def run_here(work: Callable[[], Callable[[B], R]], blocks: Iterable[B]) -> Iterator[R]:
    """What the worker makes of each block, in their order."""
    worker = work()
    for block in blocks:
        yield worker(block)
