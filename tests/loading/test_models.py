"""Models by name and from files: what is a program needs a word of trust, and names that are mistyped get others."""

import io
import json
import zipfile

import pytest
import torch
from helpers import randomise
from toys import net

from biasprop import CaptureError, FileError
from biasprop.loading import load_exported, load_model


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(randomise(net()), (torch.zeros(2, 3, 16, 16),)), path)
    return path


def test_a_program_is_loaded_only_where_it_is_trusted(program, monkeypatch):
    assert load_model(str(program), trust=True)(torch.zeros(2, 3, 16, 16)).shape == (2, 3)

    def given(*arguments, **options):
        raise AssertionError("something of the file was given to torch")

    monkeypatch.setattr(torch.export, "load", given)
    monkeypatch.setattr(torch, "load", given)
    upper = program.with_name("NET.PT2")
    upper.write_bytes(program.read_bytes())
    for path in (upper, program):
        with pytest.raises(FileError, match=r"is a \.pt2 file: a program.*Pass --trust.*\.onnx.*\.safetensors"):
            load_model(str(path))


@pytest.mark.parametrize(
    "records",
    [
        {"a/data/sample_inputs/model.PT": "pickle"},
        {"a/models/model.json": json.dumps({"range": {"expr_str": "9**9**9**9"}})},
        {"a/models/model.json": json.dumps({"range": {"expr_str": r"\137\137import\137\137('os')"}})},
        {"a/data/aotinductor/model/a.so": "\x7fELF"},
    ],
)
def test_what_slipped_through_a_filter_is_not_looked_at(records, tmp_path, capsys):
    pickled = io.BytesIO()
    torch.save({"x": Evil()}, pickled)
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        for name, content in records.items():
            archive.writestr(name, pickled.getvalue() if content == "pickle" else content)
    with pytest.raises(FileError, match="Pass --trust"):
        load_model(str(tmp_path / "net.pt2"))
    assert "code ran" not in capsys.readouterr().out


def test_a_trusted_file_may_be_damaged(program):
    content = program.read_bytes()
    for damaged in (b"", content[:100], content[: len(content) // 2], b"no archive"):
        program.write_bytes(damaged)
        with pytest.raises(FileError, match="Cannot read .*net.pt2 as a torch.export file"):
            load_exported(program, trust=True)
    with pytest.raises(FileError, match="There is no file"):
        load_exported(program.with_name("other.pt2"), trust=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnt50", "torchvision has no model of that name. Did you mean resnet50"),
        ("torchvision:nothing_like_it", r"list_models\(\) lists them"),
        ("timm:resnt50", "timm has no model of that name. Did you mean resnet50"),
        ("net.pt", "Files .pt, .pth and .safetensors hold weights"),
        ("toys:without_values", "model without values: 'weight' lies on the device 'meta'"),
    ],
)
def test_models_that_are_refused(spec, message):
    pytest.importorskip("timm")
    with pytest.raises(CaptureError, match=message):
        load_model(spec)


def test_the_device_meta():
    with pytest.raises(CaptureError, match="Cannot use the device 'meta': it holds no values"):
        load_model("toys:mlp", device="meta")
