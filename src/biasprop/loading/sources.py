"""Data sets by position: what a worker anywhere can read on its own, example by example, bad ones told from good."""

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import BiaspropError, FileError, InputError
from ..extras import require
from .classes import Classes
from .encoder import Encoder
from .folders import is_saved
from .items import Item, Preparation
from .reading import Files, read
from .records import record_item

__all__ = ["Example", "FileSource", "IndexedSource", "RowSource", "Source", "source_of"]


@dataclass(frozen=True)
class Example:
    """One of a data set: what was read, or why it could not be.

    Attributes:
        id: tells it from all others.
        item: None where it could not be read.
        label: its true class, if it is known.
        error: why not.
    """

    id: str
    item: Item | None = None
    label: int | None = None
    error: str = ""


@runtime_checkable
class Source(Protocol):
    """A data set, in a fixed order."""

    @property
    def name(self) -> str:
        """What it is called, wherever it lies."""

    @property
    def classes(self) -> list[str]:
        """Names of its classes, as far as they are known."""

    def __len__(self) -> int: ...

    def id(self, position: int) -> str:
        """Of an example, without reading it."""

    def take(self, positions: Any) -> list[Example]:
        """Some of its examples, read."""

    def encoded(self, encoder: Encoder | None) -> "Source":
        """The same, with what makes token ids of texts."""


@dataclass(frozen=True)
class FileSource:
    """Files, and folders of images."""

    files: Files
    names: Classes = field(default_factory=Classes)

    @property
    def name(self) -> str:
        """The names of the inputs; of more than three, their number and a digest."""
        names = [Path(os.path.abspath(path)).name for path in self.files.inputs]
        if len(names) <= 3:
            return ", ".join(names)
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return f"{len(names)} files and folders in {self.files.base.name} ({digest})"

    @property
    def classes(self) -> list[str]:
        """From the file of classes, or the folders."""
        return self.names.names

    def __len__(self) -> int:
        return len(self.files)

    def id(self, position: int) -> str:
        """The path below the input, and the row."""
        return self.files.id(position)

    def take(self, positions: Sequence[int]) -> list[Example]:
        """Of these positions."""
        return [_taken(self.id(k), lambda k=k: self.files[k], self.names) for k in positions]  # type: ignore[misc]

    def encoded(self, encoder: Encoder | None) -> "FileSource":
        """With a tokenizer."""
        return replace(self, files=replace(self.files, preparation=replace(self.files.preparation, encoder=encoder)))


@dataclass(frozen=True)
class IndexedSource:
    """A ``torch.utils.data.Dataset``, or anything else with a length and a record at each index."""

    records: Any
    preparation: Preparation
    called: str = ""

    @property
    def name(self) -> str:
        """As it was called, or the name of its type."""
        return self.called or type(self.records).__name__

    @cached_property
    def classes(self) -> list[str]:
        """As torchvision's data sets, and the label features of Hugging Face's, name them."""
        features = getattr(self.records, "features", None)
        for key in (self.preparation.labels, "label", "labels"):
            named = getattr(features[key], "names", None) if isinstance(features, Mapping) and key in features else None
            if named:
                return [str(name) for name in named]
        named = getattr(self.records, "classes", None)
        return [str(name) for name in named] if isinstance(named, list | tuple) else []

    def __len__(self) -> int:
        return len(self.records)

    def id(self, position: int) -> str:
        """The position."""
        return str(position)

    def take(self, positions: Sequence[int]) -> list[Example]:
        """Of these positions."""
        names = Classes(self.classes, {name: i for i, name in enumerate(self.classes)})
        return [
            _taken(str(k), lambda k=k: record_item(str(k), self.records[k], self.preparation), names)  # type: ignore[misc]
            for k in positions
        ]

    def encoded(self, encoder: Encoder | None) -> "IndexedSource":
        """With a tokenizer."""
        return replace(self, preparation=replace(self.preparation, encoder=encoder))


@dataclass(frozen=True)
class RowSource:
    """Rows as Ray Data gives them: columns of a batch, one of which may be the id; without those that are done."""

    preparation: Preparation
    column: str = "id"
    names: Classes = field(default_factory=Classes)
    done: Container[str] = ()

    name = "rows"

    @property
    def classes(self) -> list[str]:
        """As they are given."""
        return self.names.names

    def __len__(self) -> int:
        return 0

    def id(self, position: int) -> str:
        """The position."""
        return str(position)

    def take(self, positions: Mapping[str, Sequence[Any]]) -> list[Example]:
        """All rows of a batch ``{column: values}``."""
        count = max(map(len, positions.values()), default=0)
        columns = {key: values for key, values in positions.items() if key != self.column}
        ids = positions.get(self.column, range(count))

        def made(k: int) -> Item:
            return record_item(str(ids[k]), {key: values[k] for key, values in columns.items()}, self.preparation)

        wanted = [k for k in range(count) if str(ids[k]) not in self.done]
        return [_taken(str(ids[k]), lambda k=k: made(k), self.names) for k in wanted]  # type: ignore[misc]

    def encoded(self, encoder: Encoder | None) -> "RowSource":
        """With a tokenizer."""
        return replace(self, preparation=replace(self.preparation, encoder=encoder))


def source_of(data: Any, preparation: Preparation, classes: Classes | None = None, skip: Path | None = None) -> Source:
    """A data set, whatever it is given as.

    Args:
        data: a path, or several: files, folders of images, a folder that ``datasets.Dataset.save_to_disk`` wrote; or a
            data set with a length and a record at each index (see `record_item`).
        preparation: how its examples are prepared.
        classes: their classes; default: the folders that images lie in.
        skip: a folder whose files are left out.

    Raises:
        FileError: there is no such file or folder.
        InputError: it is nothing of these.
        MissingExtra: a package that reads it is not installed.
    """
    if isinstance(data, str | os.PathLike):
        data = [data]
    if isinstance(data, Iterable) and (paths := list(data) if isinstance(data, list | tuple) else []):
        if not all(isinstance(path, str | os.PathLike) for path in paths):
            raise InputError("A list must be of paths; give examples as a data set, with a length and indices.")
        return _of_paths([Path(path) for path in paths], preparation, classes, skip)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping | list | tuple):
        return IndexedSource(data, preparation)
    raise InputError(
        f"A {type(data).__name__} is no data set that can be read by position: give paths, or an object with "
        "__len__ and __getitem__, such as a torch.utils.data.Dataset (of a DataLoader: loader.dataset)."
    )


def _of_paths(paths: list[Path], preparation: Preparation, classes: Classes | None, skip: Path | None) -> Source:
    saved = [path for path in paths if is_saved(path)]
    if not saved:
        names = Classes.of_folders(paths, skip) if classes is None else classes
        return FileSource(read(paths, preparation, skip), names)
    if len(paths) > 1:
        raise InputError(f"{saved[0]} is a data set of Hugging Face: give it alone.")
    return IndexedSource(_of_hugging_face(saved[0]), preparation, Path(os.path.abspath(saved[0])).name)


def _of_hugging_face(folder: Path) -> Any:
    datasets = require("datasets", "datasets")
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever a damaged folder makes it raise
        raise FileError(f"Cannot read the data set in {folder}: {error or type(error).__name__}.") from error
    if isinstance(found, Mapping):
        raise InputError(f"{folder} holds several data sets: give one of {', '.join(str(folder / n) for n in found)}.")
    return found


def _taken(id_: str, make: Callable[[], Item], classes: Classes) -> Example:
    try:
        item = make()
    except BiaspropError as error:
        return Example(id_, error=str(error))
    except Exception as error:  # a data set of the user's: whatever it raises, the others go on
        return Example(id_, error=f"{type(error).__name__}: {error}")
    return Example(id_, item, classes.label(item))
