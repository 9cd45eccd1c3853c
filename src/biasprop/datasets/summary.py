"""Sum up a folder of attributions in one pass."""

import heapq
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..extras import require
from .attributions import Attributions
from .overview import Outlier, Overview
from .summary_picture import draw_summary
from .tallies import Tally, add_table, integers, numbers

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

__all__ = ["Summary", "summarize"]

BY = ("target", "label")


class Summary(Overview):
    """The attributions of a data set, summed up; see `biasprop.datasets.overview.Overview` for what it holds."""

    def plot(self, most: int = 6) -> "Figure":
        """Share of the bias by class, the sources, and the mean maps of the largest classes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return draw_summary(self, most)


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
