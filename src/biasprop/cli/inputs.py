"""Inputs of the command line: image files and folders, arrays and table rows, as batches for a model."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import FileError, InputError

__all__ = ["Item", "Preparation", "batches", "count", "images_below", "is_image", "read"]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")
ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Item:
    """One example: ``x`` without a batch dimension, and what is needed to show it."""

    name: str
    path: Path
    x: Tensor
    picture: NDArray[Any] | None = None
    feature_names: list[str] | None = None
    label: int | str | None = None


@dataclass(frozen=True)
class Preparation:
    """How inputs become tensors: resize the short side, crop the centre, scale to 0-1, normalise."""

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    key: str | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    drop: tuple[str, ...] = ()
    grey: bool = False
    labels: str | None = None

    def image(self, path: Path) -> Item:
        """An image file, prepared as torchvision's evaluation transforms do.

        Raises:
            FileError: it cannot be read as an image.
        """
        try:
            with Image.open(path) as opened:
                picture = _eight_bit(opened, path).convert("L" if self.grey else "RGB")
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise FileError(f"Cannot read {path} as an image: {error}.") from error
        if self.resize:
            short = min(picture.size)
            width, height = (int(self.resize * side / short) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        if self.crop:
            left, above = (round((side - self.crop) / 2) for side in picture.size)
            picture = picture.crop((left, above, left + self.crop, above + self.crop))
        shown = np.asarray(picture)
        channels = shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)
        return Item(path.stem, path, self.normalise(torch.from_numpy(channels / np.float32(255))), shown)

    def normalise(self, x: Tensor) -> Tensor:
        """``(x - mean) / std`` per channel, for ``(C, H, W)``."""
        if len(self.mean) not in (1, x.shape[0]) or len(self.std) not in (1, x.shape[0]):
            raise InputError(
                f"--mean and --std have {len(self.mean)} and {len(self.std)} values, the image {x.shape[0]} channels."
            )
        return (x - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


def _eight_bit(picture: Image.Image, path: Path) -> Image.Image:
    """16-bit images scaled to 8 bits, which Pillow's conversion would clip; others with more are refused."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise FileError(
            f"{path} holds 32-bit numbers, whose range is not known: save it as .npy, scaled for the model."
        )
    return picture


def is_image(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in IMAGES


def images_below(folder: Path, skip: Path | None = None) -> list[Path]:
    """The images in a folder and its sub-folders, in order, but not what lies in ``skip``; links are followed."""
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in seen else folders  # a link back up
        found += [] if real in seen else [Path(root, name) for name in files if is_image(Path(name))]
        seen.add(real)
    return sorted(path for path in found if not _within(path, skip))


def _files(inputs: Sequence[Path], skip: Path | None = None) -> list[Path]:
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = images_below(path, skip)
            if not inside:
                raise FileError(f"The folder {path} holds no image ({', '.join(IMAGES)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileError(f"There is no file or folder {path}.")
    return found


def _within(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder.resolve() in path.resolve().parents


def count(inputs: Sequence[Path], preparation: Preparation, skip: Path | None = None) -> int:
    """How many examples there are."""
    return sum(_count(path, preparation) for path in _files(inputs, skip))


def _count(path: Path, preparation: Preparation) -> int:
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return len(range(len(_read_array(path, preparation.key)))[preparation.rows])
    if suffix in TABLES:
        return len(range(max(map(len, _read_table(path)[1]), default=0))[preparation.rows])
    return 1


def batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """At most ``size`` consecutive items of one shape: the order stays, whatever the size."""
    batch: list[Item] = []
    for item in items:
        if batch and item.x.shape != batch[0].x.shape:
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def read(inputs: Sequence[Path], preparation: Preparation, skip: Path | None = None) -> Iterator[Item]:
    """Every example of the inputs, in order; of folders, not what lies in ``skip``.

    Raises:
        FileError: a file is missing, unreadable or of an unknown kind.
        InputError: a table holds text or missing values.
    """
    for path in _files(inputs, skip):
        suffix = path.suffix.lower()
        if suffix in ARRAYS:
            yield from _array_items(path, preparation)
        elif suffix in TABLES:
            yield from _table_items(path, preparation)
        else:
            yield preparation.image(path)


def _array_items(path: Path, preparation: Preparation) -> Iterator[Item]:
    array = _read_array(path, preparation.key)
    labels = _array_labels(path, preparation, len(array))
    rows = range(len(array))[preparation.rows]
    for row in rows:
        values = array[row]
        picture = None
        if values.dtype == np.uint8 and values.ndim in (2, 3):  # images as stored: H x W or H x W x C, 0-255
            picture = values
            values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
            x = preparation.normalise(torch.from_numpy(values / np.float32(255)))
        else:
            x = torch.from_numpy(np.asarray(values, dtype=np.float32))
        yield Item(f"{path.stem}_{row}", path, x, picture, label=None if labels is None else _label(labels[row]))


def _array_labels(path: Path, preparation: Preparation, count: int) -> NDArray[Any] | None:
    """The array of labels that is named, or that goes with the inputs' name: ``y_test`` with ``x_test``."""
    key = preparation.labels
    if path.suffix.lower() != ".npz" or (key is None and preparation.key is None):
        return None
    arrays = _arrays(path)
    if key is None:
        key = (preparation.key or "").replace("x", "y", 1)
        if key not in arrays or key == preparation.key:
            return None
    if key not in arrays:
        raise InputError(f"{path} has no array {key!r} of labels; it holds {', '.join(arrays)}.")
    labels = arrays[key]()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise InputError(
            f"{path}: the labels {key!r} have shape {labels.shape}, and must be one per input, ({count},)."
        )
    return labels


def _label(value: Any) -> int | str:
    """A whole number, also where a table writes it as 1.0; anything else is the name of a class."""
    try:
        if float(value) == int(float(value)) and abs(float(value)) < 2**31:
            return int(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _arrays(path: Path) -> dict[str, Callable[[], NDArray[Any]]]:
    """The arrays of a file by name, each to be read when it is asked for.

    Raises:
        FileError: the file, or then the array, cannot be read without pickle.
    """

    def guarded(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, ValueError, BadZipFile, EOFError) as error:
            raise FileError(f"Cannot read {path} as a NumPy array without pickle: {error}.") from error

    loaded = guarded(lambda: np.load(path, allow_pickle=False, mmap_mode=None))
    if isinstance(loaded, np.ndarray):
        return {"": lambda: loaded}
    return {name: lambda name=name: np.asarray(guarded(lambda: loaded[name])) for name in loaded}  # type: ignore[misc]


def _read_array(path: Path, key: str | None) -> NDArray[Any]:
    arrays = _arrays(path)
    if not arrays:
        raise InputError(f"{path} holds no array.")
    if key is None and len(arrays) != 1:
        raise InputError(f"{path} holds several arrays: choose one with --key, of {', '.join(arrays)}.")
    if key is not None and key not in arrays and path.suffix.lower() == ".npz":
        raise InputError(f"{path} has no array {key!r}; it holds {', '.join(arrays)}.")
    array = arrays.get(key or "", next(iter(arrays.values())))()
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{path} must hold numbers of shape (N, ...), not {array.dtype} of shape {array.shape}.")
    return array


def _table_items(path: Path, preparation: Preparation) -> Iterator[Item]:
    names, columns = _read_table(path)
    aside = [*preparation.drop, *([preparation.labels] if preparation.labels else [])]
    unknown = [n for n in aside if n not in names]
    if unknown:
        raise InputError(f"{path} has no column {unknown[0]!r}; it has {', '.join(names)}.")
    labels = columns[names.index(preparation.labels)] if preparation.labels else None
    kept = [i for i, n in enumerate(names) if n not in aside]
    if not kept:
        raise InputError(f"{path} has no column left to explain.")
    numbers = np.stack([_numbers(path, names[i], columns[i]) for i in kept], axis=1)
    rows = range(len(numbers))[preparation.rows]
    for row in rows:
        missing = np.flatnonzero(~np.isfinite(numbers[row]))
        if len(missing):
            raise InputError(
                f"{path}, row {row}: column {names[kept[missing[0]]]!r} is missing or infinite. Fill it in, choose "
                "other rows with --rows, or drop the column with --drop."
            )
        x = torch.from_numpy(numbers[row].astype(np.float32))
        label = None if labels is None else _label(labels[row])
        yield Item(f"{path.stem}_{row}", path, x, None, [names[i] for i in kept], label)


def _numbers(path: Path, name: str, values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v in ("", None) else float(v) for v in values])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the column {name!r} holds text ({error}). Encode it as numbers, or leave it out with "
            f"--drop {name!r}."
        ) from error


def _read_table(path: Path) -> tuple[list[str], list[list[Any]]]:
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"Cannot read {path} as a table: {error}.") from error
    if len(rows) < 2:
        raise FileError(f"{path} must have a line of column names and at least one row.")
    head, body = rows[0], rows[1:]
    for number, row in enumerate(body):
        if len(row) != len(head):
            raise FileError(f"{path}, row {number}: {len(row)} values for {len(head)} columns.")
    first = 1 if head[0] == "" else 0  # an unnamed first column is the row's number
    return head[first:], [[row[i] for row in body] for i in range(first, len(head))]


def _read_parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise FileError("Reading parquet needs pyarrow: pip install 'biasprop[parquet]'.") from error
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise FileError(f"Cannot read {path} as parquet: {error}.") from error
    names = [n for n in table.column_names if not n.startswith("__index")]
    return names, [table.column(n).to_pylist() for n in names]
