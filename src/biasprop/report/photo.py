"""The picture of an image: the map to look at first, large on the photo; w * x and beta beside it, on one scale."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..extras import require
from ..results import patches
from .style import CELLS, COLOURS, NAMES, Array, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CLIP", "draw_photo", "photo_of"]

CLIP = 99.5  # percentile at which maps are clipped, so that single winners do not blank the rest


def draw_photo(
    values: Array, w: Array, beta: Array, image: Any, patch: int | None
) -> tuple["Figure", tuple["Axes", "Axes"]]:
    """Maps of ``w * x + beta``, ``w * x`` and ``beta``, channels summed, and the photo.

    Args:
        values: what is explained, ``(C, H, W)`` or ``(H, W)``.
        w: ``w * x``, like it.
        beta: like it.
        image: the photo, see `draw`.
        patch: side of the squares over which maps are summed; None: about a 28th of the image.

    Returns:
        The figure, and the axes that are left for bars.
    """
    photo = photo_of(values, image)
    whole = [m if m.ndim == 2 else m.sum(0) for m in (w, beta, w + beta)]
    size = patch or max(1, round(max(whole[0].shape) / CELLS))
    labels = patches(whole[0].shape, size).numpy()
    sums = [np.bincount(labels.ravel(), weights=m.ravel())[labels] for m in whole]
    limit = max(np.finfo(float).tiny, *(float(np.percentile(np.abs(m), CLIP)) for m in sums))
    figure = figure_of(figsize=(14, 6.4), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[1, 1.1])
    left, (above, below) = halves[0], halves[1].subfigures(2, 1, height_ratios=[1, 1.1])
    large, small = left.subplots(), above.subplots(1, 3)
    for axis, values_, every, name in zip((*small[1:], large), sums, whole, NAMES, strict=True):
        _lay(axis, photo, values_, limit)
        axis.set_title(f"{name}, sum {every.sum():.4g}", fontsize=12 if axis is large else 10)
    unit = "a pixel" if size == 1 else f"{size} x {size} pixels"
    scale = require("matplotlib.cm", "plot").ScalarMappable(_normalise(limit), COLOURS)
    bar = left.colorbar(scale, ax=large, location="left", fraction=0.04, pad=0.02, extend="both")
    bar.set_label(f"share of f(x) in {unit}, of all maps: red adds, blue takes away")
    small[0].imshow(photo, cmap="gray", vmin=0, vmax=1)
    small[0].set_title("input", fontsize=10)
    for axis in (large, *small):
        axis.set_axis_off()
    equation, sources = below.subplots(1, 2)
    return figure, (equation, sources)


def _lay(axis: "Axes", photo: Array, values: Array, limit: float) -> None:
    """A map over the photo in pale grey, the more opaque the larger a value is."""
    grey = photo if photo.ndim == 2 else photo.mean(-1)
    axis.imshow(0.5 * grey + 0.5, cmap="gray", vmin=0, vmax=1)
    opacity = np.clip(1.3 * np.sqrt(np.abs(values) / limit), 0, 0.85)
    axis.imshow(values, cmap=COLOURS, norm=_normalise(limit), alpha=opacity, interpolation="nearest")


def _normalise(limit: float) -> Any:
    return require("matplotlib.colors", "plot").Normalize(-limit, limit)


def photo_of(values: Array, image: Any) -> Array:
    """What to show as the input: the image given, or x itself stretched to 0-1."""
    if image is not None:
        given = np.asarray(image, dtype=np.float64)
        if given.shape[:2] != values.shape[-2:] or given.shape[2:] not in ((), (3,)):
            raise InputError(f"The image has shape {given.shape}, and must be (H, W) or (H, W, 3) like {values.shape}.")
        return given / 255 if given.max() > 1 else given
    shown = values if values.ndim == 2 else values.transpose(1, 2, 0)
    if shown.ndim == 3 and shown.shape[-1] not in (1, 3):
        shown = np.abs(shown).mean(-1)
    shown = shown[..., 0] if shown.ndim == 3 and shown.shape[-1] == 1 else shown
    low, high = shown.min(), shown.max()
    return np.asarray((shown - low) / (high - low) if high > low else np.zeros_like(shown))
