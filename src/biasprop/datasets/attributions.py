"""What `attribute` returns: the folder, to be read."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extras import require
from .folder import Folder
from .manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Attributions"]


class Attributions:
    """Attributions of a data set in a folder; nothing is read before it is asked for.

    ``path / "attributions"`` is a data set of Parquet for pandas, Polars, DuckDB or ``datasets``.
    """

    def __init__(self, folder: "Folder | str | PathLike[str]") -> None:
        self.folder = folder if isinstance(folder, Folder) else Folder(Path(folder))
        self.manifest: Manifest = self.folder.manifest()

    @property
    def path(self) -> Path:
        """Where they are."""
        return self.folder.path

    def __len__(self) -> int:
        return self.folder.counts()[0]

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Id and reason of the examples that could not be explained."""
        return self.folder.errors()

    def tables(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Some rows at a time, checked; memory holds no more of them.

        Raises:
            FileError: a file is damaged, or is not one that biasprop wrote.
        """
        return self.folder.tables(columns)

    def rows(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Some examples by their ids, each as plain values by column."""
        pa, compute = require("pyarrow", "parquet"), require("pyarrow.compute", "parquet")
        wanted = pa.array(list(ids), pa.string())
        chosen = (table.filter(compute.is_in(table.column("id"), wanted)) for table in self.tables())
        return {row["id"]: row for table in chosen for row in table.to_pylist()}

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """All of it as a ``pandas.DataFrame``, in the order of the ids."""
        pa = require("pyarrow", "parquet")
        tables = list(self.tables(columns))
        table = pa.concat_tables(tables) if tables else self.folder.schema().empty_table()
        frame = table.to_pandas()
        return frame.sort_values("id", ignore_index=True) if "id" in frame else frame

    def __repr__(self) -> str:
        rows, failed = self.folder.counts()
        return f"Attributions({rows} examples, {failed} errors, in {self.path})"
