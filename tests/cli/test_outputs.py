"""No file that is read is written, whatever its path is called."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from toys import IMAGE, TABLE, mlp

from biasprop import FileError
from biasprop.cli.outputs import Sources, folded


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unchanged(before):
    return all(path.read_bytes() == content for path, content in before.items())


def test_a_picture_that_is_an_input_too(folder, run):
    (folder / "od").mkdir()
    (folder / "images" / "n01_cat.png").rename(folder / "od" / "p.png")
    Image.open(folder / "images" / "n02_dog.png").save(folder / "p.jpg")
    before = contents(folder)
    status, _, err = run("explain", "p.jpg", "od/p.png", *IMAGE, "-o", "od")
    assert status == 0, err
    assert unchanged(before)
    assert {p.name for p in (folder / "od").iterdir()} == {"p.png", "p_2.png", "p_3.png", "summary.json"}
    names = [row["name"] for row in json.loads((folder / "od" / "summary.json").read_text())["inputs"]]
    assert names == ["p_2", "p_3"]


@pytest.mark.parametrize("link", [os.link, os.symlink, None])
def test_weights_in_the_output_folder(link, folder, run):
    (folder / "od").mkdir()
    weights = folder / "od" / "table_0.safetensors"
    if link is None:
        (folder / "mlp.safetensors").rename(weights)
    else:
        link(folder / "mlp.safetensors", weights)
    before = contents(folder)
    arguments = ("explain", "table.csv", "--rows", "0", "--model", "toys:mlp", "--save", "-o", "od")
    status, _, err = run(*arguments, "--weights", weights)
    assert status == 0, err
    assert unchanged(before)
    assert (folder / "od" / "table_0_2.safetensors").exists()


@pytest.mark.parametrize("name", ["summary.json", "SUMMARY.json"])
def test_class_names_called_like_the_summary(name, folder, run):
    (folder / "od").mkdir()
    (folder / "od" / name).write_text((folder / "classes.txt").read_text())
    before = contents(folder)
    status, _, err = run("explain", "images", *IMAGE, "--classes", f"od/{name}", "-o", "od")
    assert status == 2
    assert "summary.json would be written, and is also the input" in err
    assert contents(folder) == before


@pytest.mark.parametrize("output", ["audit.json", "audit.png", "audit.safetensors"])
def test_an_audit_writes_over_nothing_that_it_reads(output, folder, run):
    (folder / "od").mkdir()
    if output == "audit.safetensors":
        arguments = ["images", "--classes", "classes.txt", *IMAGE, "--weights", "od/audit.safetensors"]
        (folder / "od" / output).write_bytes((folder / "net.safetensors").read_bytes())
    elif output == "audit.json":
        arguments = ["images", *IMAGE, "--classes", "od/audit.json"]
        (folder / "od" / output).write_text((folder / "classes.txt").read_text())
    else:
        arguments = ["link.png", *IMAGE, "--classes", "classes.txt"]
        (folder / "images" / "n01_cat.png").rename(folder / "od" / output)
        (folder / "link.png").symlink_to(folder / "od" / output)
    before = contents(folder)
    status, _, err = run("audit", *arguments, "-o", "od")
    assert status == 2
    assert f"{output} would be written, and is also the input" in err
    assert contents(folder) == before


def test_an_output_folder_that_is_an_input(folder, run):
    (folder / "again").symlink_to(folder / "images")
    for command in ("explain", "audit"):
        status, _, err = run(command, "images", *IMAGE, "-o", "again")
        assert status == 2
        assert "also the input" in err


def test_conversion_writes_over_no_weights(folder, run):
    os.link(folder / "mlp.safetensors", folder / "free.safetensors")
    before = contents(folder)
    for output in ("mlp.safetensors", "free.safetensors", "./images/../mlp.safetensors"):
        status, _, err = run("xdnn", "convert", output, *TABLE, "--shape", "3")
        assert status == 2
        assert "also the input" in err
    assert contents(folder) == before


def test_names_that_differ_only_in_case(folder, run):
    (folder / "images" / "N01_CAT.png").write_bytes((folder / "images" / "n01_cat.png").read_bytes())
    status, _, err = run("explain", "images", *IMAGE, "-o", "out")
    assert status == 0, err
    assert {p.name for p in (folder / "out").glob("*.png")} == {"N01_CAT.png", "n01_cat_2.png", "n02_dog.png"}
    assert folded("Stra\u00dfe\u0301") == folded("STRASSE\u0301")


def test_sources(tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    sources = Sources([tmp_path / "a", tmp_path / "loop", None])
    assert tmp_path / "x" / ".." / "a" in sources
    assert tmp_path / "A" in sources
    assert tmp_path / "loop" in sources
    assert tmp_path / "b" not in sources
    with pytest.raises(FileError, match="a would be written"):
        sources.refuse(tmp_path / "b", tmp_path / "a")


@pytest.mark.slow
def test_odd_file_names(folder, run):
    """Bytes that are no Unicode, commands for the terminal, formulas, very long names."""
    torch.manual_seed(0)
    content = (folder / "images" / "n01_cat.png").read_bytes()
    names = ["\x1b[31mred", os.fsdecode(b"caf\xe9"), r"$\frac$", "a" * 250, "new\nline"]
    for name in names:
        (folder / "images" / f"{name}.png").write_bytes(content)
    (folder / "classes.txt").write_text("\x1b]0;owned\x07\n$\\frac{\nhen\n")
    save_file(mlp().state_dict(), folder / "mlp.safetensors")
    status, out, err = run("explain", "images", *IMAGE, "--classes", "classes.txt", "-o", "out", "--save")
    assert status == 0, err
    assert not set(out) & {"\x1b", "\x07", "\udce9"}
    rows = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))["inputs"]
    assert len(rows) == 7
    assert len(list((folder / "out").glob("*.safetensors"))) == 7
    assert "_[31mred" in {row["name"] for row in rows}
    status, out, err = run("explain", Path("images", "\x1b[31mred.png"), "--model", "toys:nothing")
    assert status == 2
    status, out, err = run("explain", "\x1b[31mno.png", *IMAGE)
    assert "There is no file or folder \\x1b[31mno.png" in err
    (folder / "rows.csv").write_text("\x1b[2Jage,w$eight,height\n1,2,3\n")
    status, out, err = run("explain", "rows.csv", *TABLE, "-o", "out")
    assert status == 0, err
    status, out, err = run("explain", "rows.csv", *TABLE, "--drop", "b", "-o", "out")
    assert "it has \\x1b[2Jage, w$eight, height" in err


def test_links_that_lead_to_themselves(folder, run):
    (folder / "images" / "loop.png").symlink_to(folder / "images" / "loop.png")
    (folder / "images" / "up").symlink_to(folder / "images")
    status, _, err = run("explain", "images", *IMAGE, "-o", "out")
    assert status == 2
    assert "loop.png as an image: it is no file" in err
    for arguments in (["--classes", "images/loop.png"], ["--weights", "images/loop.png"]):
        status, _, err = run("explain", "images/n01_cat.png", *IMAGE[:2], *arguments, "-o", "out")
        assert status == 2
        assert err.startswith("error: ")
