"""Attributions as tables of Arrow, and Parquet files of them that are read without trust."""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileError
from ..extras import require
from ..files import write_atomically
from .columns import NUMBERS
from .worker import Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["error_schema", "errors_of", "opened", "read_rows", "schema_of", "table_of", "write_table"]

LARGEST_FOOTER = 2**26  # bytes
LARGEST_GROUP = 2**31  # bytes of one row group, unpacked


def schema_of(half: bool, sources: bool, terms: bool) -> "pa.Schema":
    """The columns of a table of attributions; docs/scale.md says what each of them holds."""
    pa = require("pyarrow", "parquet")
    values = pa.list_(pa.float16() if half else pa.float32())
    amounts = pa.list_(pa.struct([("name", pa.string()), ("amount", pa.float64())]))
    classes = ("class_of_weights", "class_of_bias") if terms else ()
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            ("label", pa.int64()),
            ("target", pa.int64()),
            ("position", pa.list_(pa.int64())),
            *((name, pa.float64()) for name in NUMBERS),
            *((name, pa.int64()) for name in classes),
            ("attribution", values),
            ("bias_attribution", values),
            ("shape", pa.list_(pa.int32())),
            ("tokens", pa.list_(pa.string())),
            *([("sources", amounts)] if sources else []),
        ]
    )


def error_schema() -> "pa.Schema":
    """The columns of a table of errors."""
    pa = require("pyarrow", "parquet")
    return pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("reason", pa.string(), nullable=False)])


def errors_of(errors: Sequence[tuple[str, str]]) -> "pa.Table":
    """``(id, reason)`` as a table."""
    pa = require("pyarrow", "parquet")
    return pa.table(dict(zip(("id", "reason"), map(list, zip(*errors, strict=True)), strict=True)), error_schema())


def table_of(rows: Sequence[Rows], schema: "pa.Schema") -> "pa.Table":
    """Rows as one table."""
    pa = require("pyarrow", "parquet")
    return pa.concat_tables([_table(some, schema) for some in rows]) if rows else schema.empty_table()


def _table(rows: Rows, schema: "pa.Schema") -> "pa.Table":
    pa = require("pyarrow", "parquet")
    columns, count = rows.columns, len(rows.ids)
    made = {"id": rows.ids, "label": rows.labels, "shape": None}
    for name in ("attribution", "bias_attribution"):
        values = columns[name]
        made[name] = None if values is None else _lists(values, schema.field(name).type)
        made["shape"] = made["shape"] if values is None else [list(value.shape) for value in values]
    if "sources" in schema.names:
        made["sources"] = _sources(columns["source_names"], columns["source_amounts"], schema.field("sources").type)
    arrays = []
    for field in schema:
        values = made.get(field.name, columns.get(field.name))
        if values is None:
            arrays.append(pa.nulls(count, field.type))
        else:
            arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _lists(values: Sequence[Any], kind: "pa.ListType") -> "pa.ListArray":
    """Arrays of any shape, flattened; ``shape`` has what they were."""
    pa = require("pyarrow", "parquet")
    ends = np.cumsum([0, *(value.size for value in values)])
    flat = np.concatenate([value.reshape(-1) for value in values])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, kind.value_type), type=kind)


def _sources(names: list[str], amounts: Any, kind: "pa.ListType") -> "pa.ListArray":
    pa = require("pyarrow", "parquet")
    count, width = amounts.shape
    named = pa.DictionaryArray.from_arrays(
        np.tile(np.arange(width, dtype=np.int32), count), pa.array(names, pa.string())
    )
    fields = [kind.value_type.field(k) for k in range(2)]
    pairs = pa.StructArray.from_arrays([named.cast(pa.string()), pa.array(amounts.reshape(-1))], fields=fields)
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * width, pa.int32()), pairs, type=kind)


def write_table(path: Path, table: "pa.Table") -> None:
    """Atomically, as Parquet of columns alone: without a schema of Arrow, which may name Python types.

    Raises:
        FileError: the folder cannot be written to.
    """
    parquet = require("pyarrow.parquet", "parquet")
    write_atomically(path, lambda file: parquet.write_table(table, file, compression="zstd", store_schema=False))


def opened(path: Path, schema: "pa.Schema") -> Any:
    """A Parquet file of such columns, checked before anything of it is read.

    Raises:
        FileError: it is damaged, or holds other columns than biasprop writes.
    """
    parquet = require("pyarrow.parquet", "parquet")
    try:
        _require_plain(path)
        file = parquet.ParquetFile(path)
        found = {name: file.schema_arrow.field(name).type for name in file.schema_arrow.names}
        if found != {field.name: field.type for field in schema}:
            raise ValueError("its columns are not those of the manifest")
        for group in range(file.metadata.num_row_groups):
            if file.metadata.row_group(group).total_byte_size > LARGEST_GROUP:
                raise ValueError(f"one of its row groups has more than {LARGEST_GROUP} bytes")
    except FileError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise OSError, ValueError, KeyError, ...
        raise FileError(
            f"{path} is no file that biasprop wrote: {error or type(error).__name__}. Remove it, and the same command "
            "makes its rows again."
        ) from error
    return file


def _require_plain(path: Path) -> None:
    """No schema of Arrow in the footer: reading one can call whatever Python types are registered."""
    if not os.path.isfile(path) or os.path.islink(path):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        length, magic = struct.unpack("<I4s", file.read(8))
        if magic != b"PAR1" or length > min(size, LARGEST_FOOTER):
            raise ValueError("it is no Parquet file")
        file.seek(size - 8 - length)
        if b"ARROW:" in file.read(length):
            raise ValueError("it carries a schema of Arrow")


def read_rows(path: Path, schema: "pa.Schema", columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
    """The rows of a file, some at a time, checked.

    Raises:
        FileError: it is damaged, or its values do not fit each other.
    """
    file = opened(path, schema)
    wanted = schema.names if columns is None else list(columns)
    pa = require("pyarrow", "parquet")
    try:
        for batch in file.iter_batches(1024, columns=wanted):
            table = pa.Table.from_batches([batch])
            _require_fitting(table)
            yield table
    except FileError:
        raise
    except Exception as error:
        raise FileError(
            f"{path} is damaged: {error or type(error).__name__}. Remove it, and run the job again."
        ) from error
    finally:
        file.close()


def _require_fitting(table: "pa.Table") -> None:
    """Ids and numbers that are there, and lists as long as their shapes say."""
    compute = require("pyarrow.compute", "parquet")
    names = set(table.column_names)
    for name in names & {"id", "output", "bias", "unattributed"}:
        column = table.column(name)
        if column.null_count or (name != "id" and not compute.all(compute.is_finite(column)).as_py()):
            raise ValueError(f"a row has no {name}")
    for name in names & {"attribution", "bias_attribution", "tokens", "sources"}:
        values = table.column(name).combine_chunks().flatten()
        if values.null_count or (name == "sources" and any(values.field(k).null_count for k in range(2))):
            raise ValueError(f"its {name} has gaps")
    if "shape" not in names:
        return
    shapes = table.column("shape").to_pylist()
    for name in names & {"attribution", "bias_attribution", "tokens"}:
        lengths = compute.list_value_length(table.column(name)).to_pylist()
        for length, shape in zip(lengths, shapes, strict=True):
            fits = shape is None if length is None else shape is not None and length == _size(shape)
            if not fits and not (name == "tokens" and length is None):
                raise ValueError(f"{name} of shape {shape} has {length} numbers")


def _size(shape: Sequence[int | None]) -> int:
    """How many numbers there are; -1 where it is no shape."""
    return math.prod(side or 0 for side in shape) if all(side is not None and side > 0 for side in shape) else -1
