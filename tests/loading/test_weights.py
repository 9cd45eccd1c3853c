"""Weights: ordinary tensors that fit, or one message."""

import zipfile

import pytest
import torch
from safetensors.torch import save_file
from toys import mlp

from biasprop import FileError
from biasprop.loading import load_weights


def state():
    return mlp().state_dict()


def test_both_formats_whatever_the_case_of_their_ending(tmp_path):
    wanted = state()
    save_file(wanted, tmp_path / "a.SAFETENSORS")
    torch.save({"state_dict": wanted, "epoch": 3}, tmp_path / "a.PTH")
    for name in ("a.SAFETENSORS", "a.PTH"):
        model = mlp()
        load_weights(model, tmp_path / name)
        torch.testing.assert_close(model.state_dict(), wanted)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor.*:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_sparse(), "'0.weight' is sparse or nested"),
        (lambda t: t.to("meta"), "'0.weight' is without values"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "'0.weight' is quantised|pickled objects"),
        (lambda t: t.to(torch.complex64), "wrong shape or kind: 0.weight"),
        (lambda t: t[:2], "wrong shape or kind: 0.weight"),
    ],
)
def test_odd_tensors(change, message, tmp_path):
    torch.save({**state(), "0.weight": change(state()["0.weight"])}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=message):
        load_weights(mlp(), tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02", b"\x80\x02}.", b"K\x01.", bytes(300)])
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors"])
def test_files_of_a_few_bytes(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match="a\\."):
        load_weights(mlp(), tmp_path / name)


def test_what_the_reader_says_is_a_sentence(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"ab")
    with pytest.raises(FileError, match=r"a.pt: [^.]+\. It is damaged or of another kind\.$"):
        load_weights(mlp(), tmp_path / "a.pt")


def test_records_that_unpack_to_any_size(tmp_path):
    torch.save(state(), tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(FileError, match="compressed records"):
        load_weights(mlp(), tmp_path / "b.pt")


def test_a_compiled_network_holds_no_weights(tmp_path):
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    with pytest.raises(FileError, match="There is no weights file"):
        load_weights(mlp(), tmp_path / "loop.pt")
