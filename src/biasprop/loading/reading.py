"""Every example of files and folders, in order, whatever kind they are: one line here for a further kind."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import arrays, tables, texts
from .folders import files_of
from .images import read_image
from .items import Item, Preparation

__all__ = ["batches", "count", "has_texts", "read"]


@dataclass(frozen=True)
class _Kind:
    """How a kind of file is read."""

    count: Callable[[Path, Preparation], int]
    items: Callable[[Path, Preparation], Iterator[Item]]


def _one_image(path: Path, preparation: Preparation) -> Iterator[Item]:
    yield read_image(path, preparation)


IMAGE = _Kind(lambda path, preparation: 1, _one_image)
ARRAY = _Kind(arrays.count_rows, arrays.array_items)
TABLE = _Kind(tables.count_rows, tables.table_items)
TEXT = _Kind(texts.count_lines, texts.line_items)
KINDS = {
    ".npy": ARRAY,
    ".npz": ARRAY,
    ".csv": TABLE,
    ".parquet": TABLE,
    ".txt": TEXT,
}  # anything else is read as an image


def count(inputs: Sequence[Path], preparation: Preparation, skip: Path | None = None) -> int:
    """How many examples `read` gives.

    Raises:
        FileError: a file is missing or unreadable.
        InputError: an array file does not hold what is asked for.
    """
    return sum(_kind(path).count(path, preparation) for path in files_of(inputs, skip))


def read(inputs: Sequence[Path], preparation: Preparation, skip: Path | None = None) -> Iterator[Item]:
    """Every example of the inputs, in order; of folders, not what lies in ``skip``.

    Raises:
        FileError: a file is missing, unreadable or of an unknown kind.
        InputError: a table holds text or missing values.
        MissingExtra: a package that this kind of file needs is not installed.
    """
    for path in files_of(inputs, skip):
        yield from _kind(path).items(path, preparation)


def batches(items: Iterable[Item], size: int, pads: bool = False) -> Iterator[list[Item]]:
    """At most ``size`` consecutive items: the order stays, whatever the size.

    Those of a batch have one shape; texts, which are padded to one, are together if ``pads``, and else alone.
    """
    batch: list[Item] = []
    for item in items:
        if batch and not _together(batch[0], item, pads):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def has_texts(inputs: Sequence[Path]) -> bool:
    """Whether some of the files hold texts."""
    return any(_kind(path) is TEXT for path in inputs)


def _together(one: Item, other: Item, pads: bool) -> bool:
    if one.text is None or other.text is None:
        return one.text is other.text and one.x.shape == other.x.shape
    return pads


def _kind(path: Path) -> _Kind:
    return KINDS.get(path.suffix.lower(), IMAGE)
