"""A folder of attributions: Parquet files that appear whole, and which examples they hold."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FileError, InputError
from ..files import make_folder, remove_leftovers
from .manifest import Manifest
from .tables import error_schema, errors_of, opened, read_rows, schema_of, table_of, write_table
from .worker import Found, Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Folder", "Writer"]

ROWS = 2048  # of a file, about
SECONDS = 30.0  # between two files, at most
BYTES = 2**26  # of attributions, between two files


class Folder:
    """Where everything is.

    ``manifest.json`` says what the job is; ``attributions/part-*.parquet`` hold the examples and
    ``errors/part-*.parquet`` those that could not be explained. An id is in one of these files, once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest_path = path / "manifest.json"
        self.rows, self.failures = path / "attributions", path / "errors"

    @property
    def exists(self) -> bool:
        """Whether a job has begun here."""
        return self.manifest_path.exists()

    def manifest(self) -> Manifest:
        """Of the job.

        Raises:
            FileError: it is missing or damaged.
        """
        if not self.exists:
            raise FileError(f"{self.path} holds no attributions (manifest.json): 'biasprop map' writes them.")
        return Manifest.read(self.manifest_path)

    def begin(self, manifest: Manifest) -> None:
        """Make what is missing, remove what a killed job has half-written, see that the job is the one that began here.

        Raises:
            FileError: the folder cannot be written to.
            InputError: another job began here.
        """
        for folder in (self.path, self.rows, self.failures):
            make_folder(folder)
            remove_leftovers(folder)
        if self.exists:
            manifest.require_same(self.manifest(), self.path)
        else:
            manifest.write(self.manifest_path)

    def schema(self) -> "pa.Schema":
        """Of the attributions."""
        settings = self.manifest().settings
        return schema_of(settings["keeping"]["half"], settings["keeping"]["sources"], settings["terms"])

    def parts(self) -> list[Path]:
        """The files of attributions, in the order of their names."""
        return sorted(self.rows.glob("part-*.parquet"))

    def error_parts(self) -> list[Path]:
        """The files of errors."""
        return sorted(self.failures.glob("part-*.parquet"))

    def tables(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """The attributions, some rows at a time."""
        schema = self.schema()
        for path in self.parts():
            yield from read_rows(path, schema, columns)

    def errors(self) -> list[tuple[str, str]]:
        """Id and reason of the examples that could not be explained."""
        tables = (table for path in self.error_parts() for table in read_rows(path, error_schema()))
        return [(row["id"], row["reason"]) for table in tables for row in table.to_pylist()]

    def counts(self) -> tuple[int, int]:
        """How many examples are explained, and how many could not be; from the files' ends alone."""
        kinds = ((self.parts(), self.schema()), (self.error_parts(), error_schema()))
        rows, failed = (sum(opened(path, schema).metadata.num_rows for path in paths) for paths, schema in kinds)
        return rows, failed

    def done(self) -> "Ids":
        """The ids of all examples that need not be looked at again."""
        schema = self.schema()
        tables = [table for path in self.parts() for table in read_rows(path, schema, ["id"])]
        tables += [table for path in self.error_parts() for table in read_rows(path, error_schema(), ["id"])]
        return Ids(name for table in tables for name in table.column("id").to_pylist())

    def forget_errors(self) -> None:
        """So that those examples are tried again."""
        for path in self.error_parts():
            path.unlink(missing_ok=True)


class Ids:
    """A set of ids, 16 bytes each."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.digests = np.unique(np.array([_digest(one) for one in ids], dtype="V16").view("S16").reshape(-1))

    def __len__(self) -> int:
        return len(self.digests)

    def __contains__(self, one: object) -> bool:
        wanted = np.array([_digest(str(one))], dtype="V16").view("S16")[0]
        k = int(np.searchsorted(self.digests, wanted))
        return k < len(self.digests) and self.digests[k] == wanted


class Writer:
    """Collects what is found and writes it, file by file."""

    def __init__(self, folder: Folder, schema: "pa.Schema") -> None:
        self.folder, self.schema = folder, schema
        self.rows: list[Rows] = []
        self.errors: list[tuple[str, str]] = []
        self.count, self.bytes, self.written = 0, 0, time.monotonic()
        self.seen: set[bytes] = set()

    def add(self, found: Found) -> None:
        """What came of a block; written when there is enough for a file, or it has waited.

        Raises:
            InputError: an example has the id of another.
        """
        for one in (*(name for some in found.rows for name in some.ids), *(name for name, _ in found.errors)):
            if _digest(one) in self.seen:
                raise InputError(f"Two examples have the id {one!r}: ids must tell them apart; give each file once.")
            self.seen.add(_digest(one))
        self.rows += found.rows
        self.errors += found.errors
        self.count += sum(len(some.ids) for some in found.rows) + len(found.errors)
        self.bytes += sum(_size(some) for some in found.rows)
        if self.count >= ROWS or self.bytes >= BYTES or time.monotonic() - self.written > SECONDS:
            self.write()

    def write(self) -> None:
        """What there is: errors first. Whoever stops between the two has those examples explained anew, once."""
        rows, errors = self.rows, self.errors
        self.rows, self.errors, self.count, self.bytes, self.written = [], [], 0, 0, time.monotonic()
        if errors:
            write_table(_place(self.folder.failures, [one for one, _ in errors]), errors_of(errors))
        if rows:
            table = table_of(rows, self.schema)
            write_table(_place(self.folder.rows, [one for some in rows for one in some.ids]), table)


def _size(rows: Rows) -> int:
    return sum(value.nbytes for name in ("attribution", "bias_attribution") for value in rows.columns[name] or ())


def _place(folder: Path, ids: Sequence[str]) -> Path:
    """In the order of writing; the digest makes two jobs' files differ in any case."""
    number = 1 + max((int(path.name[5:11]) for path in folder.glob(f"part-{'[0-9]' * 6}-*.parquet")), default=-1)
    return folder / f"part-{number:06d}-{hashlib.sha256(chr(0).join(ids).encode()).hexdigest()[:12]}.parquet"


def _digest(one: str) -> bytes:
    return hashlib.sha256(one.encode()).digest()[:16]
