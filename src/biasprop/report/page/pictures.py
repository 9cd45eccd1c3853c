"""Pictures inside a page: a photo, and a map laid over it, as data URIs."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...extras import require

__all__ = ["overlaid", "thumbnail", "uri_of"]

Array = NDArray[np.float64]

PHOTO = 100  # pixels along the shorter side, from which on a picture is taken for a photo


def overlaid(photo: Array, map_: Array, cell: int) -> Array:
    """The map on the photo in pale grey, ``(H, W, 3)`` in 0-1; a number of the map is ``cell`` pixels wide."""
    grey = 0.5 * (photo if photo.ndim == 2 else photo.mean(-1)) + 0.5
    whole = map_.repeat(cell, 0).repeat(cell, 1)[: grey.shape[0], : grey.shape[1]]
    limit = float(np.percentile(np.abs(map_), 99.5)) or 1.0
    opacity = (0.9 * np.clip(np.abs(whole) / limit, 0, 1) ** 0.7)[..., None]  # as page.js has it
    colour = np.where(whole[..., None] > 0, np.array([0.70, 0.09, 0.17]), np.array([0.13, 0.40, 0.67]))
    return np.asarray(grey[..., None] * (1 - opacity) + colour * opacity)


def thumbnail(photo: Array, map_: Array, cell: int) -> str:
    """The map on the photo in patches of about a 28th of its longer side, which are still seen when it is small."""
    patch = max(1, round(max(map_.shape) / 28))
    rows, columns = (range(0, side, patch) for side in map_.shape)
    coarse = np.add.reduceat(np.add.reduceat(map_, rows, 0), columns, 1)
    return uri_of(overlaid(photo, coarse, cell * patch))


def uri_of(pixels: Any) -> str:
    """A picture of pixels in 0-1, ``(H, W)`` or ``(H, W, 3)``: small and grey ones as PNG, photos as JPEG."""
    pillow = require("PIL.Image", "plot")
    stream = io.BytesIO()
    bytes_ = (255 * np.clip(pixels, 0, 1)).round().astype(np.uint8)
    kind = "JPEG" if bytes_.ndim == 3 and min(bytes_.shape[:2]) >= PHOTO else "PNG"
    options: dict[str, Any] = {"quality": 90} if kind == "JPEG" else {"optimize": True}
    pillow.fromarray(bytes_).save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
