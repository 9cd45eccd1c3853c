"""Image files, prepared as torchvision's evaluation transforms do."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FileError, InputError
from ..extras import require
from .items import Item, Preparation, refuse_larger

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageFile", "picture_item", "pixels", "read_image"]


class ImageFile(Sequence[Item]):
    """The one example that an image file is."""

    def __init__(self, path: Path, preparation: Preparation) -> None:
        self.path, self.preparation = path, preparation

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        """The image.

        Raises:
            FileError, InputError, MissingExtra: see `read_image`.
        """
        return [read_image(self.path, self.preparation)][index]


FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name. Of the others it knows, one (EPS) is a program that it runs."""


def read_image(path: Path, preparation: Preparation) -> Item:
    """An image file as ``x`` of shape ``(C, H, W)`` and as the picture that the model sees.

    Raises:
        FileError: it cannot be read as an image, or would take more memory than one example may.
        InputError: the mean or standard deviation does not fit its channels.
        MissingExtra: Pillow is not installed.
    """
    if not os.path.isfile(path):
        raise FileError(f"Cannot read {path} as an image: it is no file, or a link that leads nowhere.")
    return picture_item(path.stem, path, path, preparation)


def picture_item(name: str, path: Path, content: Path | IO[bytes], preparation: Preparation) -> Item:
    """The same of what is in a file, or was in one; ``path`` says in messages where it comes from."""
    pillow = require("PIL.Image", "cli")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are judged here
            with pillow.open(content, formats=FORMATS) as opened:
                shown = np.asarray(_prepared(opened, path, preparation))
    except (FileError, InputError):
        raise
    except Exception as error:  # whatever a damaged file makes Pillow's many readers raise
        raise FileError(f"Cannot read {path} as an image: {error or type(error).__name__}.") from error
    return _item(name, path, shown, preparation)


def pixels(name: str, path: Path, picture: "Image", preparation: Preparation) -> Item:
    """An image that is open already, as `read_image` makes it."""
    return _item(name, path, np.asarray(_prepared(picture, path, preparation)), preparation)


def _item(name: str, path: Path, shown: NDArray[Any], preparation: Preparation) -> Item:
    channels = shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)
    return Item(name, path, preparation.normalise(torch.from_numpy(channels / np.float32(255))), shown)


def _prepared(opened: "Image", path: Path, preparation: Preparation) -> "Image":
    """Nothing is decoded or enlarged before its size is known."""
    channels = 1 if preparation.grey else 3
    refuse_larger(path, "the picture has", *opened.size, channels)
    size = opened.size
    if preparation.resize:
        short = min(size)
        width, height = (int(preparation.resize * side / short) for side in size)
        size = width, height
        refuse_larger(path, f"resized to {preparation.resize} on its short side the picture has", *size, channels)
    if preparation.crop:
        refuse_larger(path, "cropped the picture has", preparation.crop, preparation.crop, channels)
    picture = _eight_bit(opened, path).convert("L" if preparation.grey else "RGB")
    if preparation.resize:
        picture = picture.resize(size, require("PIL.Image", "cli").Resampling.BILINEAR)
    if preparation.crop:
        left, above = (round((side - preparation.crop) / 2) for side in picture.size)
        picture = picture.crop((left, above, left + preparation.crop, above + preparation.crop))
    return picture


def _eight_bit(picture: "Image", path: Path) -> "Image":
    """16-bit images scaled to 8 bits, which Pillow's conversion would clip; others with more are refused."""
    if picture.mode.startswith("I;16"):
        scaled: Image = require("PIL.Image", "cli").fromarray((np.asarray(picture) // 257).astype(np.uint8))
        return scaled
    if picture.mode in ("I", "F"):
        raise FileError(
            f"{path} holds 32-bit numbers, whose range is not known: save it as .npy, scaled for the model."
        )
    return picture
