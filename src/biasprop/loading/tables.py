"""Rows of numbers in ``.csv`` and ``.parquet`` tables."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FileError, InputError
from ..extras import require
from .items import Item, Preparation, as_label, refuse_larger

__all__ = ["count_rows", "table_items"]

Table = tuple[list[str], list[list[Any]]]
"""Names of the columns, and the values of each."""


def count_rows(path: Path, preparation: Preparation) -> int:
    """How many examples `table_items` gives."""
    return len(range(max(map(len, _read(path)[1]), default=0))[preparation.rows])


def table_items(path: Path, preparation: Preparation) -> Iterator[Item]:
    """The rows of a table, each ``(columns,)`` without the columns that are dropped or hold the labels.

    Raises:
        FileError: the file cannot be read as a table.
        InputError: a column does not exist, or holds text or (in a row that is asked for) no finite number.
        MissingExtra: pyarrow is not installed, for parquet.
    """
    names, columns = _read(path)
    aside = [*preparation.drop, *([preparation.labels] if preparation.labels else [])]
    unknown = [n for n in aside if n not in names]
    if unknown:
        raise InputError(f"{path} has no column {unknown[0]!r}; it has {', '.join(names)}.")
    labels = columns[names.index(preparation.labels)] if preparation.labels else None
    kept = [i for i, n in enumerate(names) if n not in aside]
    if not kept:
        raise InputError(f"{path} has no column left to explain.")
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused below
        numbers = np.stack([_numbers(path, names[i], columns[i]).astype(np.float32) for i in kept], axis=1)
    for row in range(len(numbers))[preparation.rows]:
        missing = np.flatnonzero(~np.isfinite(numbers[row]))
        if len(missing):
            raise InputError(
                f"{path}, row {row}: column {names[kept[missing[0]]]!r} is missing or infinite. Fill it in, choose "
                "other rows with --rows, or drop the column with --drop."
            )
        x = torch.from_numpy(numbers[row])
        label = None if labels is None else as_label(labels[row])
        yield Item(f"{path.stem}_{row}", path, x, None, [names[i] for i in kept], label)


def _numbers(path: Path, name: str, values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v is None or v == "" else float(v) for v in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: the column {name!r} holds text ({error}). Encode it as numbers, or leave it out with "
            f"--drop {name!r}."
        ) from error


def _read(path: Path) -> Table:
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)


def _read_csv(path: Path) -> Table:
    if not os.path.isfile(path):
        raise FileError(f"There is no file {path}.")
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


def _read_parquet(path: Path) -> Table:
    parquet = require("pyarrow.parquet", "parquet")
    try:
        with path.open("rb") as file:
            opened = parquet.ParquetFile(file)
            refuse_larger(path, "the table claims", opened.metadata.num_rows, opened.metadata.num_columns)
            table = opened.read()
        chosen = [(i, n) for i, n in enumerate(table.column_names) if not n.startswith("__index")]
        return [name for _, name in chosen], [table.column(i).to_pylist() for i, _ in chosen]
    except FileError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise OSError, ValueError, KeyError, ...
        raise FileError(f"Cannot read {path} as parquet: {error}.") from error
