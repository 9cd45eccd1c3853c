"""Files are written whole or not at all."""

import os
import stat

import pytest
import torch

from biasprop import FileError
from biasprop.files import make_folder, read_tensors, write_atomically, write_tensors

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"

    assert write_atomically(path, write) == path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_interrupts_the_writing_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="no such permissions on Windows")
def test_others_may_read_it_as_the_mask_says(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", lambda temporary: temporary.write_text("text"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_where_one_cannot_write(tmp_path):
    with pytest.raises(FileError, match=r"Cannot write .*a\.txt: No such file.*Choose a folder you can write to"):
        write_atomically(tmp_path / "nowhere" / "a.txt", lambda temporary: temporary.write_text("text"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileError, match="Cannot write to the folder .*Choose another with --output"):
        make_folder(tmp_path / "file")
    assert make_folder(tmp_path / "one" / "two").is_dir()
    assert list((tmp_path / "one" / "two").iterdir()) == []


def test_tensors_and_header_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"turned": base.T, "same": base, "part": base[1:], "empty": base[:0], "whole": torch.tensor([1, 2])}
    header = {"names": ["a", "b"], "number": 1.5, "nothing": None}
    write_tensors(path, "kind-1", tensors, header)
    found, loaded = read_tensors(path, "kind-1")
    assert found == header
    assert set(loaded) == set(tensors)
    assert all(
        torch.equal(loaded[name], tensor) and loaded[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, "kind-1", {"a": torch.ones(1)}, {})
    with pytest.raises(FileError, match=r"not one that biasprop wrote \(kind-2\)"):
        read_tensors(path, "kind-2")
    path.write_bytes(b"")
    with pytest.raises(FileError, match=r"Cannot read .*a\.safetensors.*kind-1"):
        read_tensors(path, "kind-1")
