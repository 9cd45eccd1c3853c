"""Records of data sets that are no files of ours: what a loader, a table of images or a row of Ray Data holds."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..extras import require
from .arrays import as_tensor
from .images import picture_item, pixels, read_image
from .items import Item, Preparation, as_label, refuse_larger
from .texts import text_item

__all__ = ["record_item"]

VALUES = ("x", "image", "img", "pixel_values", "bytes", "path", "file", "text", "sentence")
"""Columns that hold the example itself, if no other is named; the first that is there."""

LABELS = ("label", "labels", "y")
"""Columns that hold the label, likewise."""

PATHS = ("path", "file", "image_path", "filename")
"""Columns whose texts name files."""


def record_item(name: str, record: Any, preparation: Preparation) -> Item:
    """A record as an example.

    Args:
        name: what it is called.
        record: a mapping by column, ``(x, label)``, or ``x`` alone. ``x`` is a tensor, a NumPy array, a list of
            numbers, a path, a text, or an image: of Pillow, the bytes of a file (also ``{"bytes": ...}``, as data
            sets of Hugging Face hold it), or pixels of uint8. Images are resized, cropped and normalised; tensors of
            floating point are taken as they are. A mapping without a column of these is a row of a table: its numbers
            are features.
        preparation: which column is meant, and how images and texts are prepared.

    Raises:
        InputError: it holds nothing that can be explained.
        FileError: an image cannot be read.
    """
    where = Path(name)
    if not isinstance(record, Mapping):
        pair = isinstance(record, tuple | list) and len(record) == 2 and not isinstance(record[0], int | float)
        x, label = record if pair else (record, None)
        return _labelled(_item(name, where, "", x, preparation), label)
    label = preparation.labels or next((key for key in LABELS if key in record), None)
    column = preparation.column or next((key for key in VALUES if key in record), None)
    for wanted in (preparation.column, preparation.labels):
        if wanted is not None and wanted not in record:
            raise InputError(f"{name} has no column {wanted!r}; it has {', '.join(map(str, record))}.")
    if column is not None:
        item = _item(name, where, column, record[column], preparation)
    else:
        aside = {*preparation.drop, label, "id"}
        features = {key: value for key, value in record.items() if key not in aside}
        item = replace(_item(name, where, "", list(features.values()), preparation), feature_names=list(features))
    return _labelled(item, None if label is None else record[label])


def _labelled(item: Item, label: Any) -> Item:
    if isinstance(label, Tensor | np.ndarray | np.generic):
        label = label.item() if getattr(label, "size", 1) == 1 or isinstance(label, Tensor) else None
    return item if label is None else replace(item, label=as_label(label))


def _item(name: str, where: Path, column: str, value: Any, preparation: Preparation) -> Item:
    if isinstance(value, Mapping):  # {"bytes": ..., "path": ...}
        held = value.get("bytes")
        value = value.get("path") if held is None else held
        column = "path"
    if isinstance(value, bytes | bytearray | memoryview):
        return picture_item(name, where, io.BytesIO(value), preparation)
    if isinstance(value, str) and column in PATHS:
        return replace(read_image(Path(value), preparation), name=name)
    if isinstance(value, str | np.str_):
        return text_item(name, where, str(value), preparation, name)
    if isinstance(value, os.PathLike):
        return replace(read_image(Path(value), preparation), name=name)
    if isinstance(value, Tensor) and value.is_floating_point():
        return Item(name, where, _checked(name, value))
    if hasattr(value, "convert") and hasattr(value, "resize"):  # an image of Pillow
        return pixels(name, where, value, preparation)
    picture = _picture(value)
    if picture is not None:
        return pixels(name, where, require("PIL.Image", "cli").fromarray(picture), preparation)
    return _numbers(name, where, value, preparation)


def _picture(value: Any) -> NDArray[np.uint8] | None:
    """Pixels as Pillow takes them, ``(H, W)`` or ``(H, W, C)``; a tensor may have its channels in front."""
    if not isinstance(value, Tensor | np.ndarray) or str(value.dtype).removeprefix("torch.") != "uint8":
        return None
    array = np.asarray(value)
    if (
        array.ndim == 3
        and isinstance(value, Tensor)
        and array.shape[0] in (1, 3, 4)
        and array.shape[2] not in (1, 3, 4)
    ):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    return np.ascontiguousarray(array) if fits else None


def _numbers(name: str, where: Path, value: Any, preparation: Preparation) -> Item:
    try:
        array = np.asarray(value if isinstance(value, np.ndarray | Tensor | Sequence) else [value])
        if array.dtype == object:  # rows of lists, as tables of Arrow give them
            array = np.array(array.tolist())
        if array.dtype.kind not in "fiub" or array.size == 0:
            raise TypeError(f"{array.dtype} of shape {array.shape}")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} holds no numbers, image or text ({error}): name the column that does with --column, or leave "
            "columns out with --drop."
        ) from error
    x, picture = as_tensor(array, preparation)
    return Item(name, where, _checked(name, x), picture)


def _checked(name: str, x: Tensor) -> Tensor:
    refuse_larger(Path(name), "it has", *x.shape)
    return x
