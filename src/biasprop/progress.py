"""Progress bars: on a terminal, on standard error, gone when done; none where rich is not installed."""

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["track"]

T = TypeVar("T")


def track(items: Iterable[T], label: str, shown: bool = True) -> Iterable[T]:
    """``items``, with a bar while they are taken if this is a terminal and ``shown``."""
    try:
        from rich.console import Console
        from rich.progress import track as bar
    except ImportError:
        return items
    console = Console(stderr=True)
    try:
        total = len(items)  # type: ignore[arg-type]
    except TypeError:  # a generator, or a DataLoader of an IterableDataset
        total = None
    return bar(items, label, total, transient=True, console=console, disable=not (shown and console.is_terminal))
