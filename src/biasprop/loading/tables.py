"""Rows of ``.csv`` and ``.parquet`` tables: numbers, or a column of images, texts or lists of numbers."""

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FileError, InputError
from ..extras import require
from .items import Item, Preparation, as_label, refuse_larger
from .records import record_item

__all__ = ["ColumnRows", "TableRows", "table_rows"]

Table = tuple[list[str], list[list[Any]]]
"""Names of the columns, and the values of each."""


def table_rows(path: Path, preparation: Preparation) -> Sequence[Item]:
    """The rows of a table, of all its numbers or of the column that is named."""
    return TableRows(path, preparation) if preparation.column is None else ColumnRows(path, preparation)


class ColumnRows(Sequence[Item]):
    """One column of a table, of images, texts or lists of numbers."""

    def __init__(self, path: Path, preparation: Preparation) -> None:
        """Reads the table.

        Raises:
            FileError: the file cannot be read as a table.
            InputError: a column does not exist.
            MissingExtra: pyarrow is not installed, for parquet.
        """
        names, columns = _read(path)
        wanted = [name for name in (preparation.column, preparation.labels) if name is not None]
        _require_columns(path, wanted, names)
        self.path, self.preparation = path, preparation
        self.columns = {name: columns[names.index(name)] for name in wanted}
        self.rows = range(max(map(len, columns), default=0))[preparation.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """A row; raises what `record_item` does."""
        row = self.rows[index]
        record = {name: values[row] for name, values in self.columns.items()}
        made = record_item(f"{self.path.stem}_{row}", record, self.preparation)
        return replace(made, path=self.path, row=row)


class TableRows(Sequence[Item]):
    """The rows of a table, each ``(columns,)`` without the columns that are dropped or hold the labels."""

    def __init__(self, path: Path, preparation: Preparation) -> None:
        """Reads the table.

        Raises:
            FileError: the file cannot be read as a table.
            InputError: a column does not exist, or holds text.
            MissingExtra: pyarrow is not installed, for parquet.
        """
        names, columns = _read(path)
        labels = preparation.labels
        aside = [*preparation.drop, *([labels] if labels else [])]
        _require_columns(path, aside, names)
        kept = [i for i, n in enumerate(names) if n not in aside]
        if not kept:
            raise InputError(f"{path} has no column left to explain.")
        self.path, self.names = path, [names[i] for i in kept]
        self.labels = columns[names.index(labels)] if labels else None
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused below
            self.numbers = np.stack([_numbers(path, names[i], columns[i]).astype(np.float32) for i in kept], axis=1)
        self.rows = range(len(self.numbers))[preparation.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """A row.

        Raises:
            InputError: it holds no finite number in some column.
        """
        row = self.rows[index]
        missing = np.flatnonzero(~np.isfinite(self.numbers[row]))
        if len(missing):
            raise InputError(
                f"{self.path}, row {row}: column {self.names[missing[0]]!r} is missing or infinite. Fill it in, choose "
                "other rows with --rows, or drop the column with --drop."
            )
        x = torch.from_numpy(self.numbers[row])
        label = None if self.labels is None else as_label(self.labels[row])
        return Item(f"{self.path.stem}_{row}", self.path, x, None, self.names, label, row=row)


def _require_columns(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InputError(f"{path} has no column {unknown[0]!r}; it has {', '.join(names)}.")


def _numbers(path: Path, name: str, values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v is None or v == "" else float(v) for v in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: the column {name!r} holds text ({error}). Encode it as numbers, leave it out with "
            f"--drop {name!r}, or explain it alone, as images or texts, with --column {name!r}."
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
