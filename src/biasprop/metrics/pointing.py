"""Grid pointing game (Boehle, Fritz & Schiele, CVPR 2021): does the map of a class point at its own image?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..progress import track
from .method import Attribution, map_in_patches

__all__ = ["Pointing", "grid_pointing_game"]


@dataclass(frozen=True, eq=False)
class Pointing:
    """Share of the positive attribution of a class in the cell with its image.

    Attributes:
        share: of each cell of each grid, ``(grids * cells,)`` float64.
        chance: of a map that knows nothing.
    """

    share: Tensor
    chance: float

    @property
    def mean(self) -> float:
        """Over all cells."""
        return float(self.share.mean())

    def __str__(self) -> str:
        return f"grid pointing game {self.mean:.3f} (chance {self.chance:.2f}), over {len(self.share)} cells"


def grid_pointing_game(
    x: Tensor, classes: Tensor, attribute: Attribution, *, side: int = 2, seed: int = 0, progress: bool = True
) -> Pointing:
    """Images of different classes side by side, each explained for its own class.

    Args:
        x: images ``(N, C, H, W)``, best ones that the network is sure of; it must take images ``side`` times as large.
        classes: of each, ``(N,)``.
        attribute: the method; attributions like its input, or maps ``(N, H, W)``.
        side: of the grid: ``side * side`` images in each.
        seed: of the draw.
        progress: show a bar, on a terminal.

    Raises:
        InputError: there are not enough images of different classes for one grid, or attributions do not fit.
    """
    cells = side * side
    grids = _drawn(classes.tolist(), cells, seed)
    if not grids:
        raise InputError(f"A grid takes {cells} images of different classes: there are not enough among these.")
    height, width = x.shape[2:]
    shares = []
    for chosen in track(grids, "grid pointing game", progress):
        rows = [torch.cat([x[i] for i in chosen[r * side : (r + 1) * side]], 2) for r in range(side)]
        grid = torch.cat(rows, 1)[None]
        for cell, i in enumerate(chosen):
            positive = map_in_patches(attribute(grid, classes[i : i + 1]), grid, 1)[0].clamp_min(0).double()
            top, left = (cell // side) * height, (cell % side) * width
            inside = positive[top : top + height, left : left + width].sum()
            shares.append(inside / positive.sum() if positive.any() else torch.tensor(1 / cells, dtype=torch.float64))
    return Pointing(torch.stack(shares).cpu(), 1 / cells)


def _drawn(classes: Sequence[int], cells: int, seed: int) -> list[list[int]]:
    """Images in an order drawn at random, each in one grid at most, no class twice in a grid."""
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed)).tolist()
    grids: list[list[int]] = []
    while True:
        grid: list[int] = []
        for i in order:
            if len(grid) < cells and classes[i] not in {classes[j] for j in grid}:
                grid.append(i)
        if len(grid) < cells:
            return grids
        grids.append(grid)
        order = [i for i in order if i not in grid]
