"""Progress bars: on a terminal, on standard error, gone when done; none where rich is not installed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

__all__ = ["counting", "track"]

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


@contextmanager
def counting(total: int | None, label: str, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Call what this gives with how many more are done: a bar with their rate and the remaining time, likewise."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda more: None
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task(label, total=total)
        yield lambda more: progress.advance(task, more)


def _rate() -> "ProgressColumn":
    """How many a second."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")

    return Rate()
