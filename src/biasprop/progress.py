"""How far a long work is: a bar on a terminal, a line every ten seconds elsewhere; on standard error.

What nobody has asked to follow, such as capture, is shown on a terminal alone, once it has taken two seconds.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

__all__ = ["counting", "in_parts", "track", "waiting"]

EVERY = 10.0  # seconds between two lines
PATIENCE = 2.0  # seconds before `waiting` shows anything
ONE_AT_A_TIME = threading.Lock()  # a terminal has room for one bar

T = TypeVar("T")


def track(items: Iterable[T], label: str, shown: bool = True) -> Iterator[T]:
    """``items``, and how many of them were taken, if ``shown``."""
    try:
        total = len(items)  # type: ignore[arg-type]
    except TypeError:  # a generator, or a DataLoader of an IterableDataset
        total = None
    with counting(total, label, shown) as more:
        for item in items:
            yield item
            more(1)


@contextmanager
def counting(
    total: int | None, label: str, shown: bool = True, interrupted: str = ""
) -> Iterator[Callable[[int], None]]:
    """Call what this gives with how many more are done: it shows their number, their rate and the remaining time.

    Args:
        total: of how many; None where that is not known.
        label: what is done.
        shown: whether anything is.
        interrupted: what to say of Ctrl-C, behind how far it came.
    """
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        show(count)

    with _alone(shown) as alone, _shown(total, label) if alone else _nothing() as show:
        try:
            yield more
        except KeyboardInterrupt:
            share = f" at {100 * done / total:.0f} %" if total else f" after {done}"
            raise KeyboardInterrupt(f"{share.strip()}{f', {interrupted}' if interrupted else ''}") from None


@contextmanager
def waiting(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show what takes so long and for how long already, on a terminal, if rich is installed; gone when done.

    Part of a work that is shown is not shown for itself.

    Args:
        label: what is done.
        total: of how many parts it consists, if they are counted: call what this gives with how many more are done.
    """
    with _alone(_is_terminal()) as alone, _timed(total, label) if alone else _nothing() as more:
        yield more


def in_parts(items: Sequence[T], label: str) -> Iterator[T]:
    """The parts of a work, shown like `waiting` where it has several."""
    if len(items) == 1:  # a small network is explained before a bar would be made
        yield items[0]
        return
    with waiting(label, len(items)) as more:
        for item in items:
            yield item
            more(1)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


@contextmanager
def _alone(wanted: bool) -> Iterator[bool]:
    """Whether something is to be shown, and nothing else is."""
    alone = wanted and ONE_AT_A_TIME.acquire(blocking=False)
    try:
        yield alone
    finally:
        if alone:
            ONE_AT_A_TIME.release()


@contextmanager
def _timed(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """A bar with the time that has passed, which appears after a while."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    except ImportError:
        yield lambda count: None
        return
    counted = () if total is None else (BarColumn(), MofNCompleteColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = progress.add_task(label, total=total)
    patience = threading.Timer(PATIENCE, progress.start)
    patience.daemon = True
    patience.start()
    try:
        yield lambda count: progress.advance(task, count)
    finally:
        patience.cancel()
        patience.join()
        progress.stop()


@contextmanager
def _shown(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """Lines, or, where rich is installed and this is a terminal, a bar that is gone when done."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _lines(total, label)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(total, label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _nothing() -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def _lines(total: int | None, label: str) -> Callable[[int], None]:
    """A line when enough time has passed since the last."""
    started = said = time.monotonic()
    done = first = 0

    def show(count: int) -> None:
        nonlocal done, first, said
        first = first or count  # what was done before counts at once, and says nothing of the rate
        done += count
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            rate = (done - first) / (now - started)
            of = f" of {total} ({100 * done / total:.0f} %)" if total else ""
            rest = f", {_time((total - done) / rate)} left" if total and rate else ""
            print(f"{label}: {done}{of}, {rate:.3g}/s{rest}", file=sys.stderr, flush=True)

    return show


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rate() -> "ProgressColumn":
    """How many a second."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")

    return Rate()
