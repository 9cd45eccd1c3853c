"""The picture of an image: the map to look at first, large on the photo; w * x and beta beside it, on one scale."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..extras import require
from ..results import patches
from .style import CELLS, COLOURS, NAMES, Array, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CLIP", "MAPS", "PhotoPanels", "photo_of"]

CLIP = 99.5  # percentile at which maps are clipped, so that single winners do not blank the rest

MAPS = dict(zip(("w", "beta", "sum"), NAMES, strict=True))
"""The maps by the names of their panels."""


class PhotoPanels:
    """Maps of ``w * x + beta``, ``w * x`` and ``beta``, channels summed, and the photo; what is drawn by name."""

    def __init__(self, values: Array, w: Array, beta: Array, image: Any, patch: int | None) -> None:
        """Sum the maps over patches.

        Args:
            values: what is explained, ``(C, H, W)`` or ``(H, W)``.
            w: ``w * x``, like it.
            beta: like it.
            image: the photo, see `draw`.
            patch: side of the squares over which maps are summed; None: about a 28th of the image.
        """
        self.photo = photo_of(values, image)
        whole = [m if m.ndim == 2 else m.sum(0) for m in (w, beta, w + beta)]
        self.size = patch if patch is not None else max(1, round(max(whole[0].shape) / CELLS))
        labels = patches(whole[0].shape, self.size).numpy()
        sums = [np.bincount(labels.ravel(), weights=m.ravel())[labels] for m in whole]
        self.limit = max(np.finfo(float).tiny, *(float(np.percentile(np.abs(m), CLIP)) for m in sums))
        self.draw: dict[str, Callable[[Axes], None]] = {"input": self._draw_input}
        for panel, every, values_ in zip(MAPS, whole, sums, strict=True):
            self.draw[panel] = partial(self._draw_map, MAPS[panel], values_, every.sum())

    def arranged(self) -> tuple["Figure", dict[str, "Axes"]]:
        """The sum large at the left; the photo, its two terms, and room for bars at the right."""
        figure = figure_of(figsize=(14, 6.4), layout="constrained")
        halves: Any = figure.subfigures(1, 2, width_ratios=[1, 1.1])
        left, (above, below) = halves[0], halves[1].subfigures(2, 1, height_ratios=[1, 1.1])
        axes = {"sum": left.subplots()}
        axes |= dict(zip(("input", "w", "beta"), above.subplots(1, 3), strict=True))
        axes |= dict(zip(("equation", "sources"), below.subplots(1, 2), strict=True))
        self.draw_scale(left, [axes["sum"]], "left")
        return figure, axes

    def draw_scale(self, figure: Any, axes: Sequence["Axes"], side: str) -> None:
        """The colours of all maps, beside some of them."""
        unit = "a pixel" if self.size == 1 else f"{self.size} x {self.size} pixels"
        scale = require("matplotlib.cm", "plot").ScalarMappable(_normalise(self.limit), COLOURS)
        shape = {"fraction": 0.04, "pad": 0.02} if side == "left" else {"aspect": 60, "pad": 0.03, "shrink": 0.6}
        bar = figure.colorbar(scale, ax=axes, location=side, extend="both", **shape)
        bar.set_label(f"share of f(x) in {unit}, of all maps: red adds, blue takes away")

    def _draw_input(self, axis: "Axes") -> None:
        axis.imshow(self.photo, cmap="gray", vmin=0, vmax=1)
        axis.set_title("input")
        axis.set_axis_off()

    def _draw_map(self, name: str, values: Array, total: float, axis: "Axes") -> None:
        """A map over the photo in pale grey, the more opaque the larger a value is."""
        grey = self.photo if self.photo.ndim == 2 else self.photo.mean(-1)
        axis.imshow(0.5 * grey + 0.5, cmap="gray", vmin=0, vmax=1)
        opacity = np.clip(1.3 * np.sqrt(np.abs(values) / self.limit), 0, 0.85)
        axis.imshow(values, cmap=COLOURS, norm=_normalise(self.limit), alpha=opacity, interpolation="nearest")
        axis.set_title(f"{name}, sum {total:.4g}")
        axis.set_axis_off()


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
