"""Attributions inside a pipeline of Ray Data: ``dataset.map_batches(biasprop.ray.Explain, ...)``.

    import ray
    from biasprop.ray import Explain

    explained = ray.data.read_images("photos", include_paths=True).map_batches(
        Explain,
        fn_constructor_kwargs={"model": "torchvision:resnet50", "column": "image"},
        compute=ray.data.ActorPoolStrategy(size=4),
        batch_size=16,
        num_gpus=1,
    )

To write the attributions of a whole data set, with everything that an interruption needs, call `biasprop.attribute`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Asked, Keeping, Model, Network, Worker
from .datasets.columns import NUMBERS
from .datasets.worker import Found, Rows
from .loading import Classes, Preparation, RowSource
from .modes import DEFAULT, Linearization

__all__ = ["Explain"]


class Explain:
    """A batch of rows in, a batch of explained rows out; dictionaries of NumPy arrays.

    Raises:
        BiaspropError: the model cannot be made or explained; see `biasprop.explain`.
    """

    def __init__(
        self,
        model: Network,
        *,
        column: str | None = None,
        target: Any = "predicted",
        rule: Any = "bias1",
        temperature: float = 1.0,
        linearization: Linearization = DEFAULT,
        handover: str | Sequence[str] | None = None,
        map_size: int = 56,
        half: bool = False,
        sources: bool = True,
        preparation: Preparation | None = None,
        classes: Sequence[str] = (),
        tokenizer: Any = None,
        device: str | None = None,
    ) -> None:
        """Made once in each worker of Ray: builds the model. The arguments are those of `biasprop.attribute`.

        ``column``: which column holds images (arrays, bytes or paths), texts or vectors; default: one that is called
        so, else all columns of numbers are the features of a table.
        """
        asked = Asked(target, rule, temperature, linearization, handover, False, Keeping(map_size, half, sources))
        how = replace(preparation or Preparation(), column=column)
        names = Classes(list(classes), {name: i for i, name in enumerate(classes)})
        self.explain = Worker(Model(model, device, tokenizer), RowSource(how, names=names), asked)()

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Explain a batch, ``{column: (N, ...)}``.

        Returns:
            ``id`` (of the column ``id``, else ``path``, else the row's number), ``target``, the float64 columns
            ``output``, ``bias``, ``unattributed``, ``completeness_error`` and ``probability``, the maps ``attribution``
            and ``bias_attribution`` ``(N, ...)`` (objects where examples differ in shape), ``tokens`` of texts,
            ``source_names`` and ``source_amounts`` ``(N, sources)``, and ``error``: why a row could not be explained,
            else empty; its numbers are NaN. Rows are in the order of the batch.
        """
        size = max(map(len, batch.values()), default=0)
        ids = [str(one) for one in batch.get("id", batch.get("path", np.arange(size)))]
        numbered = {**batch, "id": np.arange(size)}
        return _together(self.explain(numbered), ids)


def _together(found: Found, ids: list[str]) -> dict[str, NDArray[Any]]:
    """In the order of the batch."""
    place = {int(one): (rows, k) for rows in found.rows for k, one in enumerate(rows.ids)}
    errors = {int(one): reason for one, reason in found.errors}
    columns: dict[str, NDArray[Any]] = {
        "id": np.array(ids, dtype=object),
        "error": np.array([errors.get(k, "") for k in range(len(ids))], dtype=object),
        "target": np.array([_of(place.get(k), "target", -1) for k in range(len(ids))], dtype=np.int64),
    }
    for name in NUMBERS:
        columns[name] = np.array([_of(place.get(k), name, np.nan) for k in range(len(ids))], dtype=np.float64)
    names = {name for rows in found.rows for name in rows.columns}
    for name in ("attribution", "bias_attribution", "source_amounts"):
        if name in names:
            columns[name] = _stacked([_of(place.get(k), name, None) for k in range(len(ids))])
    if "tokens" in names:
        columns["tokens"] = _lists([_of(place.get(k), "tokens", []) for k in range(len(ids))])
    if "source_names" in names:
        columns["source_names"] = _lists([found.rows[0].columns["source_names"]] * len(ids))
    return columns


def _of(place: tuple[Rows, int] | None, name: str, otherwise: Any) -> Any:
    if place is None or place[0].columns.get(name) is None:
        return otherwise
    value = place[0].columns[name][place[1]]
    return otherwise if value is None else value


def _lists(values: list[list[str]]) -> NDArray[Any]:
    """Lists of texts, as Arrow takes them."""
    found = np.empty(len(values), dtype=object)
    for k, one in enumerate(values):
        found[k] = list(one)
    return found


def _stacked(values: list[Any]) -> NDArray[Any]:
    """One array, NaN where there is none; of objects where shapes differ."""
    arrays = [None if value is None else np.asarray(value) for value in values]
    shapes = {array.shape for array in arrays if array is not None}
    kinds = {array.dtype.kind for array in arrays if array is not None}
    if len(shapes) == 1 and (kinds == {"f"} or all(array is not None for array in arrays)):
        (shape,) = shapes
        dtype = next(array.dtype for array in arrays if array is not None)
        return np.stack([np.full(shape, np.nan, dtype) if array is None else array for array in arrays])
    found = np.empty(len(values), dtype=object)
    for k, array in enumerate(arrays):
        found[k] = array
    return found
