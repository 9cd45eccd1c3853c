"""Every example of files and folders, in order, whatever kind they are: one line here for a further kind."""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from .arrays import ArrayRows
from .folders import files_of
from .images import ImageFile
from .items import Item, Preparation
from .tables import table_rows
from .texts import TextLines

__all__ = ["Files", "batches", "has_texts", "read"]

Kind = Callable[[Path, Preparation], Sequence[Item]]

KINDS: dict[str, Kind] = {
    ".npy": ArrayRows,
    ".npz": ArrayRows,
    ".csv": table_rows,
    ".parquet": table_rows,
    ".txt": TextLines,
}  # anything else is read as an image


@dataclass(frozen=True)
class Files(Sequence[Item]):
    """Every example of the inputs, in order; each is read when it is asked for.

    Of files with many examples the last one that was asked for is kept in memory. Errors are those of `read`.

    Attributes:
        inputs: files, and folders of images.
        preparation: how they are read.
        skip: a folder whose files are left out.
    """

    inputs: tuple[Path, ...]
    preparation: Preparation
    skip: Path | None = None

    @cached_property
    def paths(self) -> list[Path]:
        """The files themselves."""
        return files_of(self.inputs, self.skip)

    @cached_property
    def ends(self) -> list[int]:
        """How many examples there are up to the end of each file."""
        return list(accumulate(len(self._opened(path)) for path in self.paths))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: Any) -> Any:
        path, row = self.place(index)
        return self._opened(path)[row]

    def place(self, index: int) -> tuple[Path, int]:
        """In which file example ``index`` is, and which of its examples it is.

        Raises:
            IndexError: there are fewer.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = bisect_right(self.ends, index)
        return self.paths[file], index - (self.ends[file - 1] if file else 0)

    @cached_property
    def base(self) -> Path:
        """What ids are relative to: the one folder that is given, or else what all inputs lie in."""
        paths = [Path(os.path.abspath(path)) for path in self.inputs]
        alone = len(paths) == 1 and paths[0].is_dir()
        return paths[0] if alone else Path(os.path.commonpath([path.parent for path in paths]))

    def id(self, index: int) -> str:
        """What tells an example from the others wherever the data lie: its path below `base`, and its row."""
        path, place = self.place(index)
        rows = getattr(self._opened(path), "rows", None)
        name = Path(os.path.abspath(path)).relative_to(self.base).as_posix()
        name = name.encode("utf-8", "backslashreplace").decode()  # of names that are not Unicode
        return name if rows is None else f"{name}#{rows[place]}"

    def _opened(self, path: Path) -> Sequence[Item]:
        last: tuple[Path, Sequence[Item]] | None = self.__dict__.get("_last")
        if last is None or last[0] != path:
            last = path, _kind(path)(path, self.preparation)
            self.__dict__["_last"] = last
        return last[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: another process reads on its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_last"}


def read(inputs: Sequence[Path], preparation: Preparation, skip: Path | None = None) -> Files:
    """Every example of the inputs, in order; of folders, not what lies in ``skip``.

    What comes back is a sequence, which opens files when it is asked for their number or their examples. Then it

    Raises:
        FileError: a file is missing, unreadable or of an unknown kind.
        InputError: a table holds text or missing values, or an array file does not hold what is asked for.
        MissingExtra: a package that this kind of file needs is not installed.
    """
    return Files(tuple(inputs), preparation, skip)


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
    return any(_kind(path) is TextLines for path in inputs)


def _together(one: Item, other: Item, pads: bool) -> bool:
    if one.text is None or other.text is None:
        return one.text is other.text and one.x.shape == other.x.shape
    return pads


def _kind(path: Path) -> Kind:
    return KINDS.get(path.suffix.lower(), ImageFile)
