"""Arrays of examples in ``.npy`` and ``.npz`` files, read without pickle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .items import Item, Preparation, as_label, refuse_larger
from .npy import opened

__all__ = ["ArrayRows", "as_tensor"]


class ArrayRows(Sequence[Item]):
    """Rows of an array; images (uint8, ``(H, W)`` or ``(H, W, C)``) are normalised, other numbers taken as they are."""

    def __init__(self, path: Path, preparation: Preparation) -> None:
        """Reads the array.

        Raises:
            FileError: the file cannot be read without pickle.
            InputError: it does not hold the array that is asked for, of numbers ``(N, ...)``, or its labels.
        """
        self.path, self.preparation = path, preparation
        with opened(path) as arrays:
            self.examples = _examples(arrays, path, preparation.key)
            self.labels = _labels(arrays, path, preparation, len(self.examples))
        self.rows = range(len(self.examples))[preparation.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        row = self.rows[index]
        x, picture = as_tensor(self.examples[row], self.preparation)
        label = None if self.labels is None else as_label(self.labels[row])
        return Item(f"{self.path.stem}_{row}", self.path, x, picture, label=label, row=row)


def as_tensor(values: NDArray[Any], preparation: Preparation) -> tuple[Tensor, NDArray[Any] | None]:
    """One example as the model takes it, and the picture that it is."""
    if values.dtype == np.uint8 and values.ndim in (2, 3):  # images as stored: H x W or H x W x C, 0-255
        channels = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        return preparation.normalise(torch.from_numpy(channels / np.float32(255))), values
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite, by name
        return torch.from_numpy(np.array(values, dtype=np.float32)), None


def _examples(arrays: Mapping[str, NDArray[Any]], path: Path, key: str | None) -> NDArray[Any]:
    names = list(arrays)
    if not names:
        raise InputError(f"{path} holds no array.")
    if key is None and len(names) != 1:
        raise InputError(f"{path} holds several arrays: choose one with --key, of {', '.join(names)}.")
    if key is not None and key not in names and path.suffix.lower() == ".npz":
        raise InputError(f"{path} has no array {key!r}; it holds {', '.join(names)}.")
    array = np.asarray(arrays[key if key in names else names[0]])
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{path} must hold numbers of shape (N, ...), not {array.dtype} of shape {array.shape}.")
    if array.size == 0 and len(array):
        raise InputError(f"{path} holds {len(array)} examples without a number in them: its shape is {array.shape}.")
    refuse_larger(path, "one example has", *array.shape[1:])
    return array


def _labels(
    arrays: Mapping[str, NDArray[Any]], path: Path, preparation: Preparation, count: int
) -> NDArray[Any] | None:
    """The array of labels that is named, or that goes with the inputs' name: ``y_test`` with ``x_test``."""
    key, names = preparation.labels, list(arrays)
    if path.suffix.lower() != ".npz" or (key is None and preparation.key is None):
        return None
    if key is None:
        key = (preparation.key or "").replace("x", "y", 1)
        if key not in names or key == preparation.key:
            return None
    if key not in names:
        raise InputError(f"{path} has no array {key!r} of labels; it holds {', '.join(names)}.")
    labels = np.asarray(arrays[key])
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise InputError(
            f"{path}: the labels {key!r} have shape {labels.shape}, and must be one per input, ({count},)."
        )
    return labels
