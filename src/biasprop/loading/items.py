"""One example as it is read from a file, and how it is prepared for the model."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import FileError, InputError
from .encoder import Encoder

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "LARGEST", "Item", "Preparation", "as_label", "refuse_larger"]

LARGEST = 2**28
"""So many numbers may be one example, or one table, at any step from the file to the model: a gibibyte in float32. A
file that claims more is refused before memory is asked for."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of each channel over ImageNet's training images, 0 to 1: what networks trained on them expect to be subtracted."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""The standard deviation of the same."""


@dataclass(frozen=True)
class Item:
    """One example: ``x`` without a batch dimension, of a ``text`` its token ids, and what is needed to show it.

    ``row``: which of its file; None where a file is one example.
    """

    name: str
    path: Path
    x: Tensor
    picture: NDArray[Any] | None = None
    feature_names: list[str] | None = None
    label: int | str | None = None
    text: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class Preparation:
    """How inputs become tensors: resize the short side, crop the centre, scale to 0-1, normalise.

    Attributes:
        resize: images: short side in pixels; 0 leaves them.
        crop: images: side of the centre crop; 0 leaves them.
        mean: images: of each channel, subtracted.
        std: images: of each channel, then divided by.
        key: arrays: which one of a file.
        rows: arrays, tables and files of texts: which rows.
        drop: tables: columns to leave out.
        grey: images: read as one channel.
        labels: arrays and tables: the array or column of labels.
        column: tables and data sets: the one column to explain, of images, texts or lists of numbers.
        encoder: texts: makes token ids of them.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    key: str | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    drop: tuple[str, ...] = ()
    grey: bool = False
    labels: str | None = None
    column: str | None = None
    encoder: Encoder | None = None

    def normalise(self, x: Tensor) -> Tensor:
        """``(x - mean) / std`` per channel, for ``(C, H, W)``.

        Raises:
            InputError: there is not one mean and one standard deviation for each channel.
        """
        if len(self.mean) not in (1, x.shape[0]) or len(self.std) not in (1, x.shape[0]):
            raise InputError(
                f"--mean and --std have {len(self.mean)} and {len(self.std)} values, the image {x.shape[0]} channels."
            )
        return (x - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


def as_label(value: Any) -> int | str:
    """A whole number, also where a table writes it as 1.0; anything else is the name of a class."""
    try:
        if float(value) == int(float(value)) and abs(float(value)) < 2**31:
            return int(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def refuse_larger(path: Path, what: str, *sizes: int) -> None:
    """Refuse what would take more than `LARGEST` numbers.

    Raises:
        FileError: it would.
    """
    if math.prod(sizes) > LARGEST:
        shape = " x ".join(map(str, sizes))
        raise FileError(f"{path}: {what} {shape} numbers, and at most {LARGEST} are taken (2^28, a gibibyte).")
