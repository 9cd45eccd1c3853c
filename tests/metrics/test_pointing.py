"""The grid pointing game: a map that knows gets 1, one that does not gets the chance."""

import pytest
import torch

from biasprop import InputError
from biasprop.metrics import grid_pointing_game


@pytest.fixture
def images():
    classes = torch.arange(9)
    return classes[:, None, None, None].expand(9, 2, 4, 4).double() + 1, classes


def test_a_map_that_knows(images):
    x, classes = images
    found = grid_pointing_game(x, classes, lambda grid, c: (grid == c.item() + 1).double(), progress=False)
    assert found.share.tolist() == [1.0] * 8  # two grids of four; one image is left over
    assert found.chance == 0.25
    three = grid_pointing_game(x, classes, lambda grid, c: (grid == c + 1).double(), side=3, progress=False)
    assert three.mean == 1
    assert len(three.share) == 9


def test_maps_that_do_not(images):
    x, classes = images
    flat = grid_pointing_game(x, classes, lambda grid, c: torch.ones(1, 8, 8), progress=False)
    assert flat.mean == pytest.approx(0.25)
    negative = grid_pointing_game(x, classes, lambda grid, c: -grid, progress=False)
    assert negative.mean == pytest.approx(0.25)


def test_no_class_is_twice_in_a_grid(images):
    x, _ = images
    classes = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3, 3])
    seen = []
    grid_pointing_game(x, classes, lambda grid, c: seen.append(c.item()) or grid, progress=False)
    assert sorted(seen) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="not enough"):
        grid_pointing_game(x, torch.zeros(9, dtype=torch.long), lambda grid, c: grid, progress=False)
