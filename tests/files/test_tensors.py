"""Tensors and a header on disk: they come back as they were, or not at all."""

import random

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from biasprop import FileError
from biasprop.files import read_tensors, write_tensors
from biasprop.files.checksum import checksum

pytestmark = pytest.mark.usefixtures("nothing_left_open")


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
    with pytest.raises(FileError, match=r"not one that biasprop wrote \(other-1\)"):
        read_tensors(path, "other-1")
    path.write_bytes(b"")
    with pytest.raises(FileError, match=r"Cannot read .*a\.safetensors.*kind-1"):
        read_tensors(path, "kind-1")


def test_a_file_of_another_version_is_refused_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(1)}, path, {"format": "kind-1", "biasprop": "{}"})
    with pytest.raises(FileError, match=r"another version of biasprop \(kind-1; this one writes kind-2.*make it again"):
        read_tensors(path, "kind-2")


def test_every_bit_counts(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.tensor([1.0, -2.5]), "b": torch.tensor([[3]]), "none": torch.zeros(0, 2)}
    write_tensors(path, "kind-1", tensors, {"number": 1.5, "name": "a"})
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(FileError, match=r"damaged|Cannot read|not one that biasprop|another version"):
            read_tensors(path, "kind-1")
    path.write_bytes(whole)
    assert read_tensors(path, "kind-1")[0] == {"number": 1.5, "name": "a"}


def test_changed_values_are_named_as_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, "kind-1", {"a": torch.arange(100.0)}, {})
    whole = path.read_bytes()
    drawn = random.Random(0)
    for _ in range(20):
        place = drawn.randrange(len(whole) - 400, len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ drawn.randrange(1, 256)]) + whole[place + 1 :])
        with pytest.raises(FileError, match="is damaged: its content does not match its checksum"):
            read_tensors(path, "kind-1")


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {"b": tensors["a"], "a": tensors["b"]},
        lambda tensors: {"a": tensors["a"].view(torch.int32), "b": tensors["b"]},
        lambda tensors: {"a": tensors["a"].reshape(2, 2), "b": tensors["b"]},
        lambda tensors: {"a": tensors["a"]},
        lambda tensors: tensors | {"c": torch.zeros(0)},
    ],
)
def test_name_type_and_shape_are_part_of_the_content(tmp_path, change):
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.arange(4.0), "b": torch.ones(4)}
    write_tensors(path, "kind-1", tensors, {})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(change(tensors), path, metadata)
    with pytest.raises(FileError, match="its content does not match its checksum"):
        read_tensors(path, "kind-1")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"a": NaN}', "its header holds NaN"),
        ('{"a": -Infinity}', "its header holds -Infinity"),
        ("[" * 100_000, "Cannot read"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "Cannot read"),
        ("[]", "its header is no mapping"),
        ("", "Cannot read"),
        ('{"a": ' + "9" * 10_000 + "}", "Cannot read"),
    ],
)
def test_headers_that_nobody_wrote(tmp_path, header, message):
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.ones(1)}
    proper = {"format": "kind-1", "biasprop": header, "sha256": checksum("kind-1", header, tensors)}
    save_file(tensors, path, proper)
    with pytest.raises(FileError, match=message):
        read_tensors(path, "kind-1")


def test_a_header_with_what_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_tensors(tmp_path / "a.safetensors", "kind-1", {}, {"number": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_does_not_change_with_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, "kind-1", {"a": torch.ones(1000)}, {})
    _, found = read_tensors(path, "kind-1")
    with path.open("r+b") as file:
        file.seek(-4000, 2)
        file.write(bytes(4000))
    assert found["a"].sum() == 1000
