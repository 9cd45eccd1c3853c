"""Arrays: what is read is closed again, also where it is refused."""

import zipfile

import numpy as np
import pytest
import torch

from biasprop import FileError, InputError
from biasprop.loading import Preparation, count, read


@pytest.fixture
def arrays(tmp_path):
    """A file of several arrays."""
    path = tmp_path / "a.npz"
    pickled = np.array([{}, 1], dtype=object)
    np.savez_compressed(
        path, x_test=np.ones((4, 3), np.float32), y_test=np.arange(4)[:, None], flat=np.ones(4), o=pickled
    )
    return path


def test_rows_and_labels(arrays):
    how = Preparation(key="x_test", rows=slice(1, None, 2))
    items = list(read([arrays], how))
    assert count([arrays], how) == len(items) == 2
    assert [item.label for item in items] == [1, 3]
    assert [item.name for item in items] == ["a_1", "a_3"]
    torch.testing.assert_close(items[0].x, torch.ones(3))


def test_stored_images_are_normalised(tmp_path):
    np.save(tmp_path / "u8.npy", np.full((2, 4, 5, 3), 255, np.uint8))
    item = next(read([tmp_path / "u8.npy"], Preparation(mean=(0.5,), std=(0.25,))))
    torch.testing.assert_close(item.x, torch.full((3, 4, 5), 2.0))
    assert item.picture.shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "several arrays"),
        ({"key": "z"}, InputError, "no array 'z'"),
        ({"key": "flat"}, InputError, "must hold numbers"),
        ({"key": "o"}, FileError, "without pickle"),
        ({"key": "x_test", "labels": "z"}, InputError, "no array 'z' of labels"),
        ({"key": "x_test", "labels": "x_test"}, InputError, "one per input"),
        ({"key": "x_test", "labels": "o"}, FileError, "without pickle"),
    ],
)
def test_refused(arrays, options, error, message):
    with pytest.raises(error, match=message):
        list(read([arrays], Preparation(**options)))


def test_damaged_files(arrays, tmp_path):
    content = bytearray(arrays.read_bytes())
    with zipfile.ZipFile(arrays) as archive:
        start = archive.getinfo("x_test.npy").header_offset + 60
    content[start : start + 20] = bytes(20)
    arrays.write_bytes(content)
    (tmp_path / "cut.npz").write_bytes(content[:100])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("a.npz", "cut.npz", "text.npy", "empty.npz"):
        with pytest.raises(FileError, match="Cannot read"):
            list(read([tmp_path / name], Preparation(key="x_test")))
