"""``biasprop explain``: real files in, pictures and numbers out, every bad input one message and exit status 2."""

import json

import numpy as np
import pytest
import torch
from helpers import randomise
from PIL import Image
from toys import IMAGE, TABLE, net

import biasprop
from biasprop.loading import pretrained_classes


def test_images(folder, run):
    status, out, err = run("explain", "images", *IMAGE, "--classes", "classes.txt", "--save", "-o", "out")
    assert status == 0, err
    assert "2 predictions explained" in out
    assert "Accuracy on 2 labelled inputs" in out
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert [row["label"] for row in summary["inputs"]] == ["cat", "dog"]
    assert all(row["completeness_error"] < 1e-5 for row in summary["inputs"])
    for name in ("n01_cat", "n02_dog"):
        with Image.open(folder / "out" / f"{name}.png") as picture:
            assert min(picture.size) > 600
        loaded = biasprop.load(folder / "out" / f"{name}.safetensors")
        assert loaded.attribution.shape == (1, 3, 16, 16)
    assert loaded.output.item() == pytest.approx(summary["inputs"][1]["output"])


def test_handover(folder, run):
    status, _, err = run(
        "explain", "images", *IMAGE, "--handover", "auto", "--rule", "bias1/bias3", "--save", "-o", "out"
    )
    assert status == 0, err
    loaded = biasprop.load(folder / "out" / "n01_cat.safetensors")
    assert loaded.handover
    assert loaded.rule == "bias1/bias3"
    plain = run("explain", "images", *IMAGE, "--save", "-o", "plain")
    assert plain[0] == 0
    before = biasprop.load(folder / "plain" / "n01_cat.safetensors")
    assert loaded.bias.item() == pytest.approx(before.bias.item(), rel=1e-4)
    assert not torch.allclose(loaded.attribution, before.attribution)
    status, _, err = run("explain", "images", *IMAGE, "--handover", "nowhere", "-o", "out")
    assert status == 2
    assert "No tensor of the network is called 'nowhere'" in err


def test_files_of_one_name_do_not_overwrite_each_other(folder, run):
    (folder / "images" / "more").mkdir()
    (folder / "images" / "n01_cat.png").rename(folder / "images" / "more" / "n02_dog.png")
    status, _, err = run("explain", "images", *IMAGE, "-o", "out")
    assert status == 0, err
    assert {p.name for p in (folder / "out").glob("*.png")} == {"n02_dog.png", "n02_dog_2.png"}


def test_photographs_are_never_overwritten_and_results_never_explained(folder, run):
    photograph = folder / "images" / "n01_cat.png"
    before = photograph.read_bytes()
    status, _, err = run("explain", "images", *IMAGE, "-o", "images")
    assert status == 2
    assert "also the input" in err
    status, _, err = run("explain", photograph, *IMAGE, "-o", "images")
    assert status == 0, err
    assert photograph.read_bytes() == before
    (folder / "images" / "n01_cat_2.png").unlink()
    for _ in range(2):
        status, out, err = run("explain", ".", *IMAGE, "-o", "out")
        assert status == 0, err
        assert "2 predictions explained" in out


def test_table_rows(folder, run):
    status, out, err = run("explain", "table.csv", *TABLE, "--rows", "0:3:2", "-o", "out")
    assert status == 0, err
    assert "2 predictions explained" in out
    assert (folder / "out" / "table_2.png").stat().st_size > 10_000


def test_arrays_and_exported_programs(folder, run):
    model = randomise(net())
    program = torch.export.export(model, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "net.pt2")
    np.savez(folder / "x.npz", x=np.zeros((3, 3, 16, 16), np.float32), y=np.zeros(3))
    np.save(folder / "u8.npy", np.zeros((2, 16, 16, 3), np.uint8))
    common = ("--model", "net.pt2", "--trust", "--target", "1", "--rule", "bias3", "-o", "out")
    status, out, err = run("explain", "x.npz", "u8.npy", "--key", "x", *common)
    assert status == 0, err
    assert "5 predictions explained" in out
    expected = model(torch.zeros(1, 3, 16, 16))[0, 1].item()
    rows = json.loads((folder / "out" / "summary.json").read_text())["inputs"]
    assert rows[0]["output"] == pytest.approx(expected, rel=1e-5)


def test_what_is_done_is_kept_when_a_later_input_is_bad(folder, run):
    (folder / "images" / "z.png").write_bytes(b"not an image")
    status, _, err = run("explain", "images", *IMAGE, "-o", "out", "--batch-size", 1)
    assert status == 2
    assert "z.png as an image" in err
    assert len(json.loads((folder / "out" / "summary.json").read_text())["inputs"]) == 2


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def spoil(folder, what):
    """Make the file that a bad-input case needs."""
    if what == "pickle":
        torch.save({"0.weight": Evil()}, folder / "bad.pt")
    elif what == "truncated":
        content = (folder / "net.safetensors").read_bytes()
        (folder / "bad.safetensors").write_bytes(content[: len(content) // 2])
    elif what == "text column":
        (folder / "bad.csv").write_text("age,name\n3,Ann\n")
    elif what in ("program", "damaged program"):
        (folder / "bad.pt2").write_bytes(b"PK no program")
    elif what == "damaged onnx":
        (folder / "bad.onnx").write_bytes(b"no network")
    elif what == "torch.jit":
        torch.save({"a": 1}, folder / "jit.pt")
    elif what == "pickled array":
        np.save(folder / "bad.npy", np.array([Evil()]), allow_pickle=True)
    elif what == "locked":
        (folder / "locked").write_text("a file where the folder should be")


BAD = {
    "pickle": (["images", *IMAGE[:2], "--weights", "bad.pt"], "could run code"),
    "truncated": (["images", *IMAGE[:2], "--weights", "bad.safetensors"], "Cannot read bad.safetensors"),
    "misfit": (
        ["images", *IMAGE[:2], "--weights", "mlp.safetensors"],
        "do not fit Sequential: missing: 3.weight",
    ),
    "no weights": (["images", *IMAGE[:2], "--weights", "nothing.pt"], "no weights file"),
    "kind of weights": (["images", *IMAGE[:2], "--weights", "table.csv"], "not a weights file"),
    "no input": (["nothing.png", *IMAGE], "no file or folder nothing.png"),
    "not an image": (["net.safetensors", *IMAGE], "as an image"),
    "empty folder": ([".git", *IMAGE], "no file or folder"),
    "text column": (["bad.csv", *TABLE], "'name' holds text"),
    "missing value": (["table.csv", *TABLE], "row 1: column 'weight' is missing"),
    "unknown column": (["table.csv", *TABLE, "--drop", "name"], "no column 'name'"),
    "no rows": (["table.csv", *TABLE, "--rows", "7:9"], "No input was selected"),
    "pickled array": (["bad.npy", *IMAGE], "without pickle"),
    "program": (["images", "--model", "bad.pt2"], "Pass --trust"),
    "damaged program": (["images", "--model", "bad.pt2", "--trust"], "Cannot read bad.pt2"),
    "damaged onnx": (["images", "--model", "bad.onnx"], "bad.onnx"),
    "torch.jit": (["images", "--model", "jit.pt"], "hold weights"),
    "meta": (["images", *IMAGE, "--device", "meta"], "Cannot use the device"),
    "no such target": (["images", *IMAGE, "--target", "9" * 24], "out of range"),
    "long target": (["images", *IMAGE, "--target", "9" * 5000], "--target"),
    "long name": (["a" * 5000, *IMAGE], "There is no file"),
    "locked": (["images", *IMAGE, "-o", "locked"], "Cannot write to the folder locked"),
    "model spec": (["images", "--model", "resnet"], "Unknown model 'resnet'"),
    "model name": (["images", "--model", "torchvision:nonet"], "Cannot make the model torchvision:nonet"),
    "module": (["images", "--model", "no_such_module:net"], "Cannot import 'no_such_module'"),
    "factory": (["images", "--model", "toys:nothing"], "no function or class 'nothing'"),
    "no module made": (["images", "--model", "toys:not_a_model"], "made a int"),
    "device": (["images", *IMAGE, "--device", "abacus"], "Cannot use the device"),
    "rule": (["images", *IMAGE, "--rule", "bias9"], "Unknown rule 'bias9'"),
    "temperature": (["images", *IMAGE, "--temperature", 0], "positive number"),
    "target": (["images", *IMAGE, "--target", 17], "out of range"),
    "target text": (["images", *IMAGE, "--target", "cat"], "'predicted', an index such as 3"),
    "channels": (["images", *IMAGE, "--mean", "0,0"], "--mean and --std"),
    "shape": (["images", *IMAGE[:4], "--resize", 0, "--crop", 5], "The model itself fails on inputs of shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_no_traceback(case, folder, run):
    spoil(folder, case)
    args, message = BAD[case]
    status, out, err = run("explain", *args)
    assert status == 2
    assert any(part in err for part in message.split("|")), err
    assert "Traceback" not in err
    assert "code ran" not in out + err


def test_classes_by_name_their_difference_and_pages(folder, run):
    options = ("--classes", "classes.txt", "-o", "out")
    outputs = {}
    for target in ("dog", "Tom", "hen", "dog - hen", "1", "1 - 2"):
        status, _, err = run("explain", "images/n01_cat.png", *IMAGE, *options, "--target", target, "--html")
        assert status == 0, err
        (row,) = json.loads((folder / "out" / "summary.json").read_text())["inputs"]
        outputs[target] = row["output"]
        assert "biasprop" in (folder / "out" / "n01_cat.html").read_text()
    assert outputs["dog"] == outputs["1"]
    assert outputs["dog - hen"] == outputs["1 - 2"] == pytest.approx(outputs["dog"] - outputs["hen"])
    assert row["target"] == "1 - 2"
    status, _, err = run("explain", "images/n01_cat.png", *IMAGE, *options, "--target", "dgo")
    assert status == 2
    assert "'dgo' is the name of no class. Did you mean 'dog'?" in err


def test_the_likeliest_classes_and_panels(folder, run):
    arguments = (*IMAGE, "--classes", "classes.txt", "--top", 2, "--panels", "input,sum", "-o", "out")
    status, out, err = run("explain", "images", *arguments)
    assert status == 0, err
    rows = json.loads((folder / "out" / "summary.json").read_text())["inputs"]
    for row in rows:
        first, second = row["likeliest"]
        assert (first["target"], first["equation"]) == (row["target"], row["equation"])
        assert first["probability"] > second["probability"]
        assert f"\n  {second['target']} {100 * second['probability']:.0f} %, {second['equation']}" in out
        assert f"predicted {row['target']} " in out
    status, _, err = run("explain", "images", *IMAGE, "--panels", "features", "-o", "out")
    assert (status, "panels must be some of 'beta', 'equation', 'input'" in err) == (2, True)


def test_torchvisions_own_class_names():
    pytest.importorskip("torchvision")
    assert pretrained_classes("torchvision:squeezenet1_1")[967] == "espresso"
    assert pretrained_classes("timm:resnet18") == []
