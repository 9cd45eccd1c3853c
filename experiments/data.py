"""Data sets in their usual forms on disk, from the folder BIASPROP_DATA; pixels as stored, 0 to 255."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from biasprop import InputError

__all__ = ["DATA", "Images", "ImagesAndLabels", "read"]

DATA = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class ImagesAndLabels:
    """Images ``(N, C, H, W)``, uint8, and their classes ``(N,)``, int64."""

    images: Tensor
    labels: Tensor

    def first(self, count: int | None) -> "ImagesAndLabels":
        """The first ``count`` of them, or all."""
        return ImagesAndLabels(self.images[:count], self.labels[:count])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Images:
    """A data set: its name as results give it, its two parts, and the names of its classes."""

    name: str
    train: ImagesAndLabels
    test: ImagesAndLabels
    classes: tuple[str, ...]

    def centre(self, centring: str) -> tuple[Tensor, Tensor]:
        """``(mean, std)`` of each channel ``(C,)`` that a network subtracts and divides by, for pixels in 0 to 1.

        ``mean``: those of the training images. ``black``: 0 and 1, the input is 0 to 1. ``grey``: 1/2 and 1/2, the
        input is -1 to 1.
        """
        channels = self.train.images.shape[1]
        if centring == "mean":
            return _moments(self.train.images)
        constant = {"black": (0.0, 1.0), "grey": (0.5, 0.5)}[centring]
        return torch.full((channels,), constant[0]), torch.full((channels,), constant[1])

    def normalised(self, images: Tensor, centring: str) -> Tensor:
        """What a network sees, ``(N, C, H, W)`` float32."""
        mean, std = (v[:, None, None] for v in self.centre(centring))
        return (images.float() / 255 - mean) / std

    def shortened(self, train: int | None, test: int | None) -> "Images":
        """With fewer images."""
        return replace(self, train=self.train.first(train), test=self.test.first(test))


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel, from counts of the 256 values: exact, and the same however it is run."""
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.transpose(0, 1)]).double()
    values, total = torch.arange(256).double() / 255, counts.sum(1)
    mean = counts @ values / total
    return mean.float(), (counts @ values.square() / total - mean.square()).sqrt().float()


def _file(*names: str) -> Path:
    """The first of these paths under the data folder that exists."""
    for name in names:
        if (DATA / name).exists():
            return DATA / name
    raise InputError(f"There is no {' or '.join(names)} in {DATA}. Set BIASPROP_DATA to the folder that holds it.")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _grey(name: str, title: str, classes: tuple[str, ...]) -> Images:
    """MNIST and Fashion-MNIST as ``.npz``."""
    arrays = _arrays(_file(f"{name}.npz"))

    def part(which: str) -> ImagesAndLabels:
        return ImagesAndLabels(
            torch.from_numpy(arrays[f"x_{which}"])[:, None], torch.from_numpy(arrays[f"y_{which}"]).long()
        )

    return Images(title, part("train"), part("test"), classes)


def _mnist() -> Images:
    return _grey("mnist", "MNIST", tuple("0123456789"))


def _fashion_mnist() -> Images:
    names = "T-shirt trouser pullover dress coat sandal shirt sneaker bag boot"
    return _grey("fashion_mnist", "Fashion-MNIST", tuple(names.split()))


def _cifar10() -> Images:
    """The lossy version: each image a JPEG file."""
    arrays = _arrays(_file("cifar10_jpeg.npz"))

    def decoded(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(data.tobytes())) as image:
            return np.asarray(image.convert("RGB"))

    def part(which: str) -> ImagesAndLabels:
        data, offsets = arrays[f"{which}_bytes"], arrays[f"{which}_offsets"]
        images = np.stack([decoded(data[a:b]) for a, b in pairwise(offsets)])
        labels = torch.from_numpy(arrays[f"{which}_labels"].astype(np.int64))
        return ImagesAndLabels(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)

    return Images("CIFAR-10 (JPEG)", part("train"), part("test"), tuple(str(c) for c in arrays["classes"]))


def _cifar100() -> Images:
    """The binary version, ``cifar-100-binary``: records of coarse label, fine label, 3072 pixels."""
    folder = _file("cifar-100-binary")

    def part(which: str) -> ImagesAndLabels:
        records = np.fromfile(folder / f"{which}.bin", np.uint8).reshape(-1, 3074)
        return ImagesAndLabels(
            torch.from_numpy(records[:, 2:]).reshape(-1, 3, 32, 32).clone(), torch.from_numpy(records[:, 1]).long()
        )

    return Images("CIFAR-100", part("train"), part("test"), _lines(folder / "fine_label_names.txt"))


def _stl10() -> Images:
    """The binary version, ``stl10_binary``: images column by column, labels from 1."""
    folder = _file("stl10_binary")

    def part(which: str) -> ImagesAndLabels:
        images = np.fromfile(folder / f"{which}_X.bin", np.uint8).reshape(-1, 3, 96, 96)
        labels = np.fromfile(folder / f"{which}_y.bin", np.uint8)
        return ImagesAndLabels(
            torch.from_numpy(images).transpose(2, 3).contiguous(), torch.from_numpy(labels).long() - 1
        )

    return Images("STL-10", part("train"), part("test"), _lines(folder / "class_names.txt"))


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").split())


READERS: dict[str, Callable[[], Images]] = {
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "stl10": _stl10,
}


@cache
def read(name: str) -> Images:
    """One of mnist, fashion_mnist, cifar10 (the JPEG version), cifar100, stl10.

    Raises:
        InputError: its files are not in BIASPROP_DATA.
    """
    return READERS[name]()
