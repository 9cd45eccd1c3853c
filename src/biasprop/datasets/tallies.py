"""Sums over many examples, class by class, taken up a table at a time; of each example one number is kept, b / f."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NO_CLASS", "Tally", "add_table"]

SHAPES = 4
"""Maps of so many shapes are summed for a class; where each photo has a size of its own, there is no mean to show."""

NO_CLASS = -1
"""Of examples whose output has no index, or whose label is not known."""


@dataclass
class Tally:
    """Sums over the examples of one class.

    ``maps`` by shape: how many, the sum of ``w * x + beta``, and of ``beta``. ``sources``: amount and magnitude.
    ``labelled`` and ``right``: of those with a label, and how often the class that is explained is it. ``agreeing``:
    with the network, of w.x alone and of b alone, out of ``compared``.
    """

    count: int = 0
    output: float = 0.0
    bias: float = 0.0
    unattributed: float = 0.0
    labelled: int = 0
    right: int = 0
    compared: int = 0
    agreeing: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    shares: list[NDArray[np.float64]] = field(default_factory=list)
    maps: dict[tuple[int, ...], tuple[int, NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    sources: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Median of b over f; NaN where every f is 0."""
        values = np.concatenate(self.shares) if self.shares else np.zeros(0)
        return float(np.median(values)) if len(values) else float("nan")

    def map(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Mean of ``w * x + beta`` and of ``beta``, of the commonest of the first `SHAPES` shapes."""
        if not self.maps:
            return None
        count, whole, bias = max(self.maps.values(), key=lambda found: found[0])
        return whole / count, bias / count


def add_table(table: "pa.Table", tallies: dict[int, Tally], by: str) -> None:
    """Take up the rows of a table, each in the tally of its class (``by``: the column that holds it)."""
    classes = integers(table, by)
    for one in np.unique(classes).tolist():
        rows = np.flatnonzero(classes == one)
        _add(table.take(rows), tallies.setdefault(one, Tally()))


def integers(table: "pa.Table", name: str) -> NDArray[np.int64]:
    """A column of classes; `NO_CLASS` where there is none."""
    found: NDArray[np.int64] = table.column(name).fill_null(NO_CLASS).to_numpy().astype(np.int64)
    return found


def numbers(table: "pa.Table", name: str) -> NDArray[np.float64]:
    """A column of numbers; NaN where there is none."""
    found: NDArray[np.float64] = table.column(name).to_numpy().astype(np.float64)
    return found


def _add(table: "pa.Table", tally: Tally) -> None:
    output, bias = numbers(table, "output"), numbers(table, "bias")
    tally.count += len(table)
    tally.output += output.sum()
    tally.bias += bias.sum()
    tally.unattributed += np.abs(numbers(table, "unattributed")).sum()
    tally.shares.append(bias[output != 0] / output[output != 0])
    label, target = integers(table, "label"), integers(table, "target")
    tally.labelled += int((label >= 0).sum())
    tally.right += int(((label == target) & (label >= 0)).sum())
    if "class_of_weights" in table.column_names:
        terms = [integers(table, name) for name in ("class_of_weights", "class_of_bias")]
        tally.compared += len(table)
        tally.agreeing += np.array([(term == target).sum() for term in terms])
    _add_maps(table, tally)
    if "sources" in table.column_names:
        _add_sources(table, tally)


def _add_maps(table: "pa.Table", tally: Tally) -> None:
    """Of texts, whose lengths differ, the tokens instead."""
    whole, bias = (_rows(table, name) for name in ("attribution", "bias_attribution"))
    shapes, tokens = table.column("shape").to_pylist(), table.column("tokens").to_pylist()
    for k, shape in enumerate(shapes):
        if shape is None:
            continue
        if tokens[k] is not None:
            for token, value in zip(tokens[k], whole[k], strict=True):
                tally.tokens[token] = tally.tokens.get(token, 0.0) + float(value)
            continue
        if tuple(shape) not in tally.maps and len(tally.maps) == SHAPES:
            continue
        count, first, second = tally.maps.get(tuple(shape), (0, np.zeros(shape), np.zeros(shape)))
        tally.maps[tuple(shape)] = count + 1, first + whole[k].reshape(shape), second + bias[k].reshape(shape)


def _rows(table: "pa.Table", name: str) -> Sequence[Any]:
    found: Sequence[Any] = table.column(name).to_numpy()
    return found


def _add_sources(table: "pa.Table", tally: Tally) -> None:
    lists = table.column("sources").combine_chunks()
    pairs = lists.flatten()
    names, which = np.unique(pairs.field("name").to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    amounts = pairs.field("amount").to_numpy(zero_copy_only=False)
    sums = [np.bincount(which, weights=values, minlength=len(names)) for values in (amounts, np.abs(amounts))]
    for k, name in enumerate(names.tolist()):
        before = tally.sources.get(name, np.zeros(2))
        tally.sources[name] = before + np.array([values[k] for values in sums])
