"""Image files, prepared as torchvision's evaluation transforms do."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import FileError
from ..extras import require
from .items import Item, Preparation

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["read_image"]


def read_image(path: Path, preparation: Preparation) -> Item:
    """An image file as ``x`` of shape ``(C, H, W)`` and as the picture that the model sees.

    Raises:
        FileError: it cannot be read as an image.
        InputError: the mean or standard deviation does not fit its channels.
        MissingExtra: Pillow is not installed.
    """
    picture = _opened(path, preparation.grey)
    if preparation.resize:
        short = min(picture.size)
        width, height = (int(preparation.resize * side / short) for side in picture.size)
        picture = picture.resize((width, height), require("PIL.Image", "cli").Resampling.BILINEAR)
    if preparation.crop:
        left, above = (round((side - preparation.crop) / 2) for side in picture.size)
        picture = picture.crop((left, above, left + preparation.crop, above + preparation.crop))
    shown = np.asarray(picture)
    channels = shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)
    return Item(path.stem, path, preparation.normalise(torch.from_numpy(channels / np.float32(255))), shown)


def _opened(path: Path, grey: bool) -> "Image":
    """With one channel or three, 8 bits each."""
    pillow = require("PIL.Image", "cli")
    try:
        with pillow.open(path) as opened:
            picture: Image = _eight_bit(opened, path).convert("L" if grey else "RGB")
            return picture
    except (OSError, ValueError, pillow.DecompressionBombError) as error:  # what is no image is an OSError
        raise FileError(f"Cannot read {path} as an image: {error}.") from error


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
