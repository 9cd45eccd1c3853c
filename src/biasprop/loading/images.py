"""Image files, prepared as torchvision's evaluation transforms do."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import FileError, InputError
from ..extras import require
from .items import Item, Preparation, refuse_larger

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["read_image"]

FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name. Of the others it knows, one (EPS) is a program that it runs."""


def read_image(path: Path, preparation: Preparation) -> Item:
    """An image file as ``x`` of shape ``(C, H, W)`` and as the picture that the model sees.

    Raises:
        FileError: it cannot be read as an image, or would take more memory than one example may.
        InputError: the mean or standard deviation does not fit its channels.
        MissingExtra: Pillow is not installed.
    """
    pillow = require("PIL.Image", "cli")
    if not os.path.isfile(path):
        raise FileError(f"Cannot read {path} as an image: it is no file, or a link that leads nowhere.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are judged here
            with pillow.open(path, formats=FORMATS) as opened:
                shown = np.asarray(_prepared(opened, path, preparation))
    except (FileError, InputError):
        raise
    except Exception as error:  # whatever a damaged file makes Pillow's many readers raise
        raise FileError(f"Cannot read {path} as an image: {error or type(error).__name__}.") from error
    channels = shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)
    return Item(path.stem, path, preparation.normalise(torch.from_numpy(channels / np.float32(255))), shown)


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
