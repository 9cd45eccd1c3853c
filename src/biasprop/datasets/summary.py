"""Sum up a folder of attributions in one pass."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..extras import require
from ..files import write_atomically
from ..loading import Source
from ..report.page import html_of_overall
from ..version import __version__
from .attributions import Attributions
from .overview import Outlier, Overview
from .page import overall_of
from .summary_picture import draw_summary
from .tallies import Tally, add_table, integers, numbers

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

__all__ = ["Summary", "summarize"]

BY = ("target", "label")


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Overview):
    """The attributions of a data set, summed up; see `biasprop.datasets.overview.Overview` for what it holds.

    ``attributions``: what is summed up.
    """

    attributions: Attributions

    def plot(self, most: int = 6) -> "Figure":
        """Share of the bias by class, the sources, and the mean maps of the largest classes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return draw_summary(self, most)

    def html(self, path: "str | PathLike[str] | None" = None, data: Source | None = None) -> str:
        """A page of the data set, one file: how much is bias, sources, classes, and examples that stand out to open.

        Args:
            path: where to write it, atomically; None: nowhere.
            data: the data set, see `biasprop.loading.source_of`: examples are shown with their photos.

        Returns:
            The page.

        Raises:
            FileError: a file of the attributions is damaged, or the folder cannot be written to.
            MissingExtra: Pillow is not installed.
        """
        page = html_of_overall(overall_of(self, self.attributions, data), __version__)
        if path is not None:
            write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))
        return page


def summarize(path: "str | PathLike[str] | Attributions", by: str = "target", most: int = 5) -> Summary:
    """Sum up a folder of attributions, in one pass that holds a few rows at a time.

    Args:
        path: the folder that `attribute` has written, also while it is being written.
        by: classes are those that are explained, ``"target"``, or the true ones, ``"label"``.
        most: how many examples that stand out are named, of each kind.

    Raises:
        FileError: a file is missing or damaged.
        InputError: nothing is explained yet, or ``by`` is something else.
    """
    if by not in BY:
        raise InputError(f"by must be {' or '.join(map(repr, BY))}, not {by!r}.")
    found = path if isinstance(path, Attributions) else Attributions(path)
    manifest = found.manifest
    by_class: dict[int, Tally] = {}
    whole: dict[int, Tally] = {}
    heaps: dict[str, list[tuple[float, str, int, float]]] = {"bias": [], "lost": [], "terms": []}
    for table in found.tables():
        add_table(table, by_class, by)
        _add_whole(table, whole)
        _keep(heaps, table, most)
    if not whole:
        raise InputError(f"{found.path} holds no example that could be explained; {len(found.errors)} could not.")
    order = sorted(by_class, key=lambda one: -by_class[one].count)
    named = {kind: [Outlier(*one[1:]) for one in sorted(heap, reverse=True)] for kind, heap in heaps.items()}
    return Summary(
        {one: by_class[one] for one in order},
        whole[0],
        manifest.classes,
        manifest.features,
        by,
        found.folder.counts()[1],
        named["bias"],
        [one for one in named["lost"] if one.value > 0],
        named["terms"],
        manifest.data,
        found,
    )


def _add_whole(table: "pa.Table", whole: dict[int, Tally]) -> None:
    """All as one class."""
    pa = require("pyarrow", "parquet")
    one = table.append_column("all", pa.array(np.zeros(len(table), np.int64)))
    add_table(one, whole, "all")


def _keep(heaps: dict[str, list[tuple[float, str, int, float]]], table: "pa.Table", most: int) -> None:
    """The rows that stand out, with those from before."""
    output, bias = numbers(table, "output"), numbers(table, "bias")
    share = np.divide(bias, output, out=np.zeros_like(bias), where=output != 0)
    lost = np.abs(numbers(table, "unattributed"))
    kinds: list[tuple[str, Any, Any]] = [("bias", np.abs(share), share), ("lost", lost, lost)]
    if "class_of_weights" in table.column_names:
        apart = integers(table, "class_of_weights") != integers(table, "class_of_bias")
        kinds.append(("terms", np.where(apart, output, -np.inf), output))
    ids, targets = table.column("id").to_pylist(), integers(table, "target")
    for kind, order, values in kinds:
        for k in np.argsort(-order)[:most].tolist():
            if np.isfinite(order[k]):
                _push(heaps[kind], (float(order[k]), ids[k], int(targets[k]), float(values[k])), most)


def _push(heap: list[Any], one: tuple[float, str, int, float], most: int) -> None:
    put: Callable[..., Any] = heapq.heappush if len(heap) < most else heapq.heappushpop
    put(heap, one)
