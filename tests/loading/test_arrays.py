"""Arrays: what is read is closed again, also where it is refused."""

import io
import zipfile

import numpy as np
import pytest
import torch

from biasprop import FileError, InputError
from biasprop.loading import Preparation, read


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
    assert len(read([arrays], how)) == len(items) == 2
    assert [item.label for item in items] == [1, 3]
    assert [item.name for item in items] == ["a_1", "a_3"]
    torch.testing.assert_close(items[0].x, torch.ones(3))


def test_stored_images_are_normalised(tmp_path):
    np.save(tmp_path / "u8.npy", np.full((2, 4, 5, 3), 255, np.uint8))
    item = next(iter(read([tmp_path / "u8.npy"], Preparation(mean=(0.5,), std=(0.25,)))))
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


def header(shape, dtype="<f4", fortran=False):
    """What begins an array of this shape, with twelve bytes behind it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": fortran, "shape": shape})
    return stream.getvalue() + bytes(12)


@pytest.mark.parametrize("shape", [(3 * 10**12,), (10**6, 10**6, 3), (2**40, 2**40), (2**62, 2, 2), (4,)])
def test_an_array_that_claims_more_than_the_file_holds(shape, tmp_path):
    (tmp_path / "a.npy").write_bytes(header(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header(shape))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(FileError, match=f"{name} .*claims {4 * np.prod(shape, dtype=object)} bytes.*and holds 12"):
            len(read([tmp_path / name], Preparation()))


def test_examples_without_end_and_without_numbers(tmp_path):
    (tmp_path / "a.npy").write_bytes(header((10**15, 0)))
    with pytest.raises(InputError, match="1000000000000000 examples without a number"):
        len(read([tmp_path / "a.npy"], Preparation()))


def test_one_example_has_a_bound(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.ones((1, 50, 3), np.float32))
    monkeypatch.setattr("biasprop.loading.items.LARGEST", 100)
    with pytest.raises(FileError, match="one example has 50 x 3 numbers, and at most 100"):
        len(read([tmp_path / "a.npy"], Preparation()))


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)))
    assert len(read([tmp_path / "a.npz"], Preparation())) == 1000
    monkeypatch.setattr("biasprop.loading.npy.UNPACKED", 1000)
    with pytest.raises(FileError, match="'x' unpacks to 8000128 bytes"):
        len(read([tmp_path / "a.npz"], Preparation()))


def test_odd_members(tmp_path):
    """Encrypted, packed in a way that is not known, of another kind, of objects."""
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)))
    plain = (tmp_path / "a.npz").read_bytes()
    central = plain.index(b"PK\x01\x02")
    for flags, method in ((1, 0), (0, 99)):
        odd = bytearray(plain)
        for start, shift in ((0, 6), (central, 8)):
            odd[start + shift], odd[start + shift + 2] = flags, method
        (tmp_path / "b.npz").write_bytes(odd)
        with pytest.raises(FileError, match="Cannot read .*b.npz.*(encrypted|compression)"):
            len(read([tmp_path / "b.npz"], Preparation()))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("x.npy", b"text")
    with pytest.raises(FileError, match="Cannot read .*c.npz"):
        len(read([tmp_path / "c.npz"], Preparation()))


def test_columns_first(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(x))
    items = list(read([tmp_path / "a.npy"], Preparation()))
    torch.testing.assert_close(torch.stack([item.x for item in items]), torch.from_numpy(x))
