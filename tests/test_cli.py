"""The command line: real files in, pictures and numbers out, every bad input one message and exit status 2."""

import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import randomise
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import biasprop
from biasprop.archive import read_tensors
from biasprop.cli import main


def net() -> nn.Module:
    """Small network for 3 x 16 x 16 images; tests/ is on the path, so that test_cli:net is a model SPEC."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def pooled() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def not_a_model() -> int:
    return 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model's weights, images and tables; the current folder of the test."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    save_file(randomise(net()).state_dict(), tmp_path / "net.safetensors")
    save_file(randomise(mlp()).state_dict(), tmp_path / "mlp.safetensors")
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("n01_cat", "n02_dog"):
        pixels = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("n01 cat, tom\nn02 dog\nn03 hen\n")
    (tmp_path / "table.csv").write_text(",age,weight,height\n0,30,70,1.8\n1,40,,1.6\n2,50,60,1.7\n")
    return tmp_path


def run(monkeypatch, capsys, *args):
    """Exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["biasprop", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        main()
        sys.exit(0)
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


IMAGE = ["--model", "test_cli:net", "--weights", "net.safetensors", "--resize", 16, "--crop", 16]
TABLE = ["--model", "test_cli:mlp", "--weights", "mlp.safetensors"]


def test_images(folder, monkeypatch, capsys):
    status, out, err = run(
        monkeypatch, capsys, "explain", "images", *IMAGE, "--classes", "classes.txt", "--save", "-o", "out"
    )
    assert status == 0, err
    assert "2 predictions explained" in out
    assert "Accuracy on 2 labelled inputs" in out
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert [row["label"] for row in summary["inputs"]] == ["cat", "dog"]
    assert all(row["completeness_error"] < 1e-5 for row in summary["inputs"])
    for name in ("n01_cat", "n02_dog"):
        with Image.open(folder / "out" / f"{name}.png") as picture:
            assert min(picture.size) > 800
        loaded = biasprop.load(folder / "out" / f"{name}.safetensors")
        assert loaded.attribution.shape == (1, 3, 16, 16)
    assert loaded.output.item() == pytest.approx(summary["inputs"][1]["output"])


def test_images_are_prepared_as_torchvision_does(folder):
    from biasprop.cli.inputs import Preparation

    transforms = pytest.importorskip("torchvision").transforms
    for size in ((300, 200), (201, 333), (64, 64)):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)).save("one.png")
        compose = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )
        with Image.open("one.png") as opened:
            expected = compose(opened.convert("RGB"))
        torch.testing.assert_close(Preparation().image(folder / "one.png").x, expected, rtol=0, atol=1e-6)


def test_files_of_one_name_do_not_overwrite_each_other(folder, monkeypatch, capsys):
    (folder / "images" / "more").mkdir()
    (folder / "images" / "n01_cat.png").rename(folder / "images" / "more" / "n02_dog.png")
    status, _, err = run(monkeypatch, capsys, "explain", "images", *IMAGE, "-o", "out")
    assert status == 0, err
    assert {p.name for p in (folder / "out").glob("*.png")} == {"n02_dog.png", "n02_dog_2.png"}


def test_photographs_are_never_overwritten_and_results_never_explained(folder, monkeypatch, capsys):
    photograph = folder / "images" / "n01_cat.png"
    before = photograph.read_bytes()
    status, _, err = run(monkeypatch, capsys, "explain", "images", *IMAGE, "-o", "images")
    assert status == 2
    assert "also the input" in err
    status, _, err = run(monkeypatch, capsys, "explain", photograph, *IMAGE, "-o", "images")
    assert status == 0, err
    assert photograph.read_bytes() == before
    (folder / "images" / "n01_cat_2.png").unlink()
    for _ in range(2):
        status, out, err = run(monkeypatch, capsys, "explain", ".", *IMAGE, "-o", "out")
        assert status == 0, err
        assert "2 predictions explained" in out


def test_table_rows(folder, monkeypatch, capsys):
    status, out, err = run(monkeypatch, capsys, "explain", "table.csv", *TABLE, "--rows", "0:3:2", "-o", "out")
    assert status == 0, err
    assert "2 predictions explained" in out
    assert (folder / "out" / "table_2.png").stat().st_size > 10_000


def test_arrays_and_exported_programs(folder, monkeypatch, capsys):
    model = randomise(net())
    program = torch.export.export(model, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "net.pt2")
    np.savez(folder / "x.npz", x=np.zeros((3, 3, 16, 16), np.float32), y=np.zeros(3))
    np.save(folder / "u8.npy", np.zeros((2, 16, 16, 3), np.uint8))
    common = ("--model", "net.pt2", "--target", "1", "--rule", "bias3", "-o", "out")
    status, out, err = run(monkeypatch, capsys, "explain", "x.npz", "u8.npy", "--key", "x", *common)
    assert status == 0, err
    assert "5 predictions explained" in out
    expected = model(torch.zeros(1, 3, 16, 16))[0, 1].item()
    rows = json.loads((folder / "out" / "summary.json").read_text())["inputs"]
    assert rows[0]["output"] == pytest.approx(expected, rel=1e-5)


def test_what_is_done_is_kept_when_a_later_input_is_bad(folder, monkeypatch, capsys):
    (folder / "images" / "z.png").write_bytes(b"not an image")
    status, _, err = run(monkeypatch, capsys, "explain", "images", *IMAGE, "-o", "out", "--batch-size", 1)
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
    elif what == "unsafe pt2":
        with zipfile.ZipFile(folder / "bad.pt2", "w") as archive:
            archive.writestr("bad/data/aotinductor/model/a.so", b"\x7fELF")
    elif what == "expression":
        text = json.dumps({"range": {"expr_str": "__import__('os').system('true')"}})
        with zipfile.ZipFile(folder / "bad.pt2", "w") as archive:
            archive.writestr("bad/models/model.json", text)
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
    "not an image": (["classes.txt", *IMAGE], "as an image"),
    "empty folder": ([".git", *IMAGE], "no file or folder"),
    "text column": (["bad.csv", *TABLE], "'name' holds text"),
    "missing value": (["table.csv", *TABLE], "row 1: column 'weight' is missing"),
    "unknown column": (["table.csv", *TABLE, "--drop", "name"], "no column 'name'"),
    "no rows": (["table.csv", *TABLE, "--rows", "7:9"], "No input was selected"),
    "pickled array": (["bad.npy", *IMAGE], "without pickle"),
    "unsafe pt2": (["images", "--model", "bad.pt2"], "could run code"),
    "expression": (["images", "--model", "bad.pt2"], "not plain arithmetic"),
    "locked": (["images", *IMAGE, "-o", "locked"], "Cannot write to the folder locked"),
    "model spec": (["images", "--model", "resnet"], "Unknown model 'resnet'"),
    "model name": (["images", "--model", "torchvision:nonet"], "Cannot make the model torchvision:nonet"),
    "module": (["images", "--model", "no_such_module:net"], "Cannot import 'no_such_module'"),
    "factory": (["images", "--model", "test_cli:nothing"], "no function or class 'nothing'"),
    "no module made": (["images", "--model", "test_cli:not_a_model"], "made a int"),
    "device": (["images", *IMAGE, "--device", "abacus"], "Cannot use the device"),
    "rule": (["images", *IMAGE, "--rule", "bias9"], "Unknown rule 'bias9'"),
    "temperature": (["images", *IMAGE, "--temperature", 0], "positive number"),
    "target": (["images", *IMAGE, "--target", 17], "out of range"),
    "target text": (["images", *IMAGE, "--target", "cat"], "'predicted' or an index"),
    "channels": (["images", *IMAGE, "--mean", "0,0"], "--mean and --std"),
    "shape": (["images", *IMAGE[:4], "--resize", 0, "--crop", 5], "wrong|capture"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_no_traceback(case, folder, monkeypatch, capsys):
    spoil(folder, case)
    args, message = BAD[case]
    status, out, err = run(monkeypatch, capsys, "explain", *args)
    assert status == 2
    assert any(part in err for part in message.split("|")), err
    assert "Traceback" not in err
    assert "code ran" not in out + err


def test_demo(folder, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    status, out, err = run(monkeypatch, capsys, "demo", "-o", "pictures")
    assert status == 0, err
    assert "digits (CNN)" in out
    assert {p.name for p in (folder / "pictures").iterdir()} == {"digits.png", "tumour.png", "accuracy.png"}


def test_help_names_the_commands(monkeypatch, capsys):
    status, out, _ = run(monkeypatch, capsys, "--help")
    assert status == 0
    assert "explain" in out
    assert "demo" in out


def test_xdnn_check_and_convert(folder, monkeypatch, capsys):
    arguments = [*IMAGE[:4], "--shape", "3,16,16"]
    status, out, err = run(monkeypatch, capsys, "xdnn", "check", *arguments)
    assert status == 1, err
    assert "0 (conv2d): its bias is a constant" in out
    for name in ("free.pt2", "free.safetensors"):
        status, out, err = run(monkeypatch, capsys, "xdnn", "convert", name, *arguments)
        assert status == 0, err
        assert "Homogeneous of degree 1" in out
    assert (folder / "free.safetensors").exists()
    status, out, err = run(monkeypatch, capsys, "xdnn", "check", "--model", "free.pt2", "--shape", "3,16,16")
    assert status == 0, err
    wrong = (
        ["convert", "free.onnx", *arguments],
        ["check", "--model", "test_cli:nothing"],
        ["check", *arguments[:5], "a"],
        ["check", *arguments[:5], "4,16,16"],
    )
    for command in wrong:
        status, out, err = run(monkeypatch, capsys, "xdnn", *command)
        assert status == 2
        assert "Traceback" not in err
    assert sorted(p.name for p in folder.glob("free*")) == ["free.pt2", "free.safetensors"]


AUDIT = [*IMAGE, "--classes", "classes.txt"]


def test_audit_of_images(folder, monkeypatch, capsys):
    status, out, err = run(monkeypatch, capsys, "audit", "images", *AUDIT, "-o", "out")
    assert status == 0, err
    assert "2 examples: the network is right on" in out
    figures = json.loads((folder / "out" / "audit.json").read_text())
    assert figures["examples"] == 2
    assert {row["name"] for row in figures["sources"]} == {"0", "3"}
    assert (folder / "out" / "audit.png").stat().st_size > 10_000
    before = (folder / "out" / "audit.json").read_text()
    status, _, err = run(monkeypatch, capsys, "audit", "images", *AUDIT, "--batch-size", 1, "-o", "out")
    assert status == 0, err
    assert (folder / "out" / "audit.json").read_text() == before


def test_audit_takes_labels_from_folders_arrays_and_columns(folder, monkeypatch, capsys):
    for name, image in (("b_cat", "n01_cat.png"), ("a_dog", "n02_dog.png")):
        (folder / "sorted" / name).mkdir(parents=True)
        (folder / "images" / image).rename(folder / "sorted" / name / "1.png")
    status, out, err = run(monkeypatch, capsys, "audit", "sorted", *IMAGE, "-o", "one")
    assert status == 0, err
    assert "2 examples" in out
    pixels = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    np.savez("data.npz", x_test=pixels, y_test=np.array([[0], [1], [2], [0], [1]]), other=np.arange(5) % 3)
    images = IMAGE[:4]
    answers = []
    for labels in ((), ("--labels", "other")):
        status, out, err = run(
            monkeypatch, capsys, "audit", "data.npz", "--key", "x_test", *labels, *images, "-o", f"two{len(labels)}"
        )
        assert status == 0, err
        answers.append(json.loads((folder / f"two{len(labels)}" / "audit.json").read_text()))
    assert [a["examples"] for a in answers] == [5, 5]
    (folder / "sorted" / "empty").mkdir()  # no class
    (folder / "sorted" / "b_cat" / "a_dog_2.png").symlink_to(
        folder / "sorted" / "b_cat" / "1.png"
    )  # the folder decides
    (folder / "elsewhere").mkdir()
    (folder / "sorted" / "a_dog").rename(folder / "elsewhere" / "a_dog")
    (folder / "sorted" / "a_dog").symlink_to(folder / "elsewhere" / "a_dog")
    (folder / "sorted" / "a_dog" / "up").symlink_to(folder / "sorted")
    status, out, err = run(monkeypatch, capsys, "audit", "sorted", *IMAGE, "-o", "sorted/out")
    assert status == 0, err
    labels = read_tensors(folder / "sorted" / "out" / "audit.safetensors", "biasprop-audit-1")[1]["labels"]
    assert labels.tolist() == [0, 1, 1]
    (folder / "labelled.csv").write_text("age,weight,height,died\n30,70,1.8,1\n40,65,1.6,0.0\n50,60,1.7,1\n")
    status, out, err = run(monkeypatch, capsys, "audit", "labelled.csv", "--labels", "died", *TABLE, "-o", "three")
    assert status == 0, err
    assert "3 examples" in out
    (folder / "named.csv").write_text("age,weight,height,kind\n30,70,1.8,New York\n40,65,1.6,1\n")
    (folder / "kinds.txt").write_text("\ufeff1\nNew York\n")
    kinds = ("--labels", "kind", "--classes", "kinds.txt")
    status, out, err = run(monkeypatch, capsys, "audit", "named.csv", *kinds, *TABLE, "-o", "four")
    assert status == 0, err
    labels = read_tensors(folder / "four" / "audit.safetensors", "biasprop-audit-1")[1]["labels"]
    assert labels.tolist() == [1, 0]


def test_audit_of_images_of_several_sizes_goes_on_with_another_batch_size(folder, monkeypatch, capsys):
    for i, size in enumerate((16, 18, 16, 18, 16)):
        Image.new("RGB", (size, size), (40 * i, 30, 90)).save(folder / "images" / f"n01_{i}.png")
    options = ["--model", "test_cli:pooled", "--resize", 0, "--crop", 0, "--classes", "classes.txt"]
    for batch in (3, 2):
        status, out, err = run(monkeypatch, capsys, "audit", "images", *options, "--batch-size", batch, "-o", "out")
        assert status == 0, err
        assert "7 examples" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images", *IMAGE), "n01_cat of images/n01_cat.png has no label"),
        (("table.csv", *TABLE, "--rows", "0"), "table_0 of table.csv has no label"),
        (("table.csv", *TABLE, "--labels", "died"), "no column 'died'"),
        (
            ("data.npz", *IMAGE[:4], "--key", "x", "--labels", "z"),
            "no array 'z' of labels; it holds x, y, short, pickled, huge",
        ),
        (("data.npz", *IMAGE[:4], "--key", "x", "--labels", "short"), "must be one per input, (2,)"),
        (("n01_table.csv", *TABLE, "--drop", "kind", "--classes", "classes.txt"), "has no label"),
        (("n01_table.csv", *TABLE, "--labels", "kind", "--classes", "classes.txt"), "label 'zebra', which is no class"),
        (("data.npz", *IMAGE[:4], "--key", "x", "--labels", "pickled"), "without pickle"),
        (("data.npz", *IMAGE[:4], "--key", "x", "--labels", "huge"), "has the label"),
        (("data.npz", *IMAGE[:4], "--key", "x"), "Label 7 is not one of the model's 3 classes"),
    ],
)
def test_audit_refuses_data_without_labels(folder, monkeypatch, capsys, arguments, message):
    pixels, short = np.zeros((2, 16, 16, 3), dtype=np.uint8), np.zeros(1, dtype=int)
    others = {"short": short, "pickled": np.array([{}, 1], dtype=object), "huge": np.array([2**63, 1], dtype=np.uint64)}
    np.savez("data.npz", x=pixels, y=np.array([0, 7]), **others)
    (folder / "n01_table.csv").write_text("age,weight,height,kind\n30,70,1.8,zebra\n")
    status, _, err = run(monkeypatch, capsys, "audit", *arguments, "-o", "out")
    assert status == 2
    assert message in err
    assert "Traceback" not in err
