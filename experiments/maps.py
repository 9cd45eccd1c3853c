"""Pictures of attributions side by side: one colour scale, symmetric about zero, the image beside the maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from biasprop.report import CLIP, COLOURS

from .subjects import Subject

__all__ = ["highlight", "picture_of", "rows_of_maps", "scale_bar", "show_map", "size_of"]

Array = NDArray[np.float64]

ADDS, TAKES = "#b2182b", "#2166ac"
"""Ends of the colours of maps."""


def picture_of(subject: Subject, x: Tensor) -> Array:
    """``(H, W)`` or ``(H, W, 3)`` in 0 to 1, of ``x`` ``(C, H, W)``."""
    image = subject.pixels(x).clamp(0, 1).permute(1, 2, 0).double().numpy()
    return np.asarray(image[..., 0] if image.shape[-1] == 1 else image)


def size_of(values: Array) -> float:
    """The magnitude at which a map is clipped: a percentile, so that single pixels do not blank the rest."""
    return max(float(np.percentile(np.abs(values), CLIP)), float(np.finfo(float).tiny))


def show_map(axis: Axes, values: Array, limit: float | None = None) -> None:
    """Channels summed; as a share of ``limit``, by default the map's own size."""
    axis.imshow(values / (limit or size_of(values)), cmap=COLOURS, vmin=-1, vmax=1, interpolation="nearest")


def scale_bar(figure: Figure, axes: Any, label: str) -> None:
    """The one scale of all maps."""
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), COLOURS),
        ax=axes,
        location="bottom",
        shrink=0.3,
        pad=0.01,
        aspect=40,
        extend="both",
    )
    bar.set_label(label)


def highlight(picture: Array, values: Array, count: int) -> Array:
    """The picture faded to near white, its ``count`` pixels of largest magnitude in red (adds) and blue."""
    grey = picture if picture.ndim == 2 else picture.mean(-1)
    shown = np.repeat((0.3 * grey + 0.7)[..., None], 3, axis=-1)
    largest = np.zeros(values.size, dtype=bool)
    largest[np.argpartition(-np.abs(values).ravel(), min(count, values.size) - 1)[:count]] = True
    chosen = largest.reshape(values.shape) & (values != 0)
    shown[chosen & (values > 0)] = to_rgb(ADDS)
    shown[chosen & (values < 0)] = to_rgb(TAKES)
    return shown


def rows_of_maps(
    pictures: Sequence[Array],
    names: Sequence[str],
    maps: Sequence[Sequence[Array]],
    labels: Sequence[str],
    title: str,
    top: float,
) -> Figure:
    """A row per image: the image, and of each method its normalised map and its ``top`` share of pixels.

    Args:
        pictures: one per row.
        names: one per row.
        maps: per row one ``(H, W)`` per method.
        labels: one per method.
        title: of the figure.
        top: share of the pixels that are marked.
    """
    columns = 1 + 2 * len(labels)
    figure = Figure(figsize=(1.55 * columns, 1.6 * len(pictures) + 1.3), layout="constrained")
    axes = figure.subplots(len(pictures), columns, squeeze=False)
    for row, picture, name, of_row in zip(axes, pictures, names, maps, strict=True):
        row[0].imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        row[0].set_title(name, fontsize=10)
        for i, values in enumerate(of_row):
            show_map(row[1 + 2 * i], values)
            row[2 + 2 * i].imshow(
                highlight(1 - picture if picture.ndim == 2 else picture, values, round(top * values.size))
            )
    for i, label in enumerate(labels):
        axes[0, 1 + 2 * i].set_title(label, fontsize=11)
        axes[0, 2 + 2 * i].set_title(f"top {100 * top:g} %", fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    scale_bar(figure, axes, f"each map divided by its own {CLIP:g} % magnitude; red adds to the logit, blue takes away")
    figure.suptitle(title, fontsize=14)
    return figure
