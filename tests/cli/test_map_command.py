"""``biasprop map`` and ``biasprop summarize``: from files to Parquet, begun, gone on with and summed up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import classifier, wordpiece
from PIL import Image
from toys import IMAGE, TABLE

import biasprop

MAP = [*IMAGE, "--classes", "classes.txt"]


def test_images(folder, run):
    status, out, err = run("map", "images", *MAP, "--out", "out", "--terms", "--handover", "auto")
    assert status == 0, err
    assert "2 examples of images explained: b is a median" in out
    found = biasprop.Attributions(folder / "out")
    frame = found.to_pandas()
    assert frame.id.tolist() == ["n01_cat.png", "n02_dog.png"]
    assert frame.label.tolist() == [0, 1]
    assert found.manifest.classes == ["cat, tom", "dog", "hen"]
    Image.new("RGB", (20, 24)).save(folder / "images" / "n03_hen.png")
    (folder / "images" / "n02_bad.png").write_bytes(b"no image")
    status, out, err = run("map", "images", *MAP, "--out", "out", "--terms", "--handover", "auto")
    assert status == 0, err
    assert "3 examples in out/attributions, 1 error in out/errors\n  n02_bad.png: Cannot read" in out
    status, out, err = run("summarize", "out", "--by", "label")
    assert status == 0, err
    assert "cat" in out
    assert json.loads((folder / "out" / "summary.json").read_text())["examples"] == 3
    assert (folder / "out" / "summary.png").stat().st_size > 10_000


def test_tables_and_texts(folder, run):
    status, out, err = run("map", "table.csv", *TABLE, "--target", 0, "--out", "out")
    assert status == 0, err
    assert "2 examples in out/attributions, 1 error" in out
    assert biasprop.Attributions("out").manifest.features == ["age", "weight", "height"]
    pytest.importorskip("transformers")
    classifier(folder / "bert")
    wordpiece(folder / "bert")
    (folder / "t.txt").write_text("the film was good\ndull\n")
    status, out, err = run("map", "t.txt", "--model", "hf:bert", "--out", "texts", "--no-sources")
    assert status == 0, err
    assert biasprop.Attributions("texts").to_pandas().tokens[1].tolist() == ["[CLS]", "dull", "[SEP]"]


def test_a_data_set_of_hugging_face(folder, run):
    datasets = pytest.importorskip("datasets")
    pixels = np.random.default_rng(0).integers(0, 255, (3, 20, 24, 3), dtype=np.uint8)
    table = {"image": [Image.fromarray(one) for one in pixels], "label": [0, 1, 0]}
    datasets.Dataset.from_dict(table).save_to_disk(folder / "saved")
    for act in (("map", "saved", *MAP, "--out", "out"), ("audit", "saved", *MAP, "-o", "audited")):
        status, out, err = run(*act)
        assert status == 0, err
    assert "3 examples" in run("map", "saved", *MAP, "--out", "out")[1]
    assert "3 examples" in (folder / "audited" / "audit.json").read_text() or "3 examples" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images", *MAP, "--out", "images"), "also the input"),
        (("nowhere", *MAP, "--out", "out"), "There is no file or folder nowhere"),
        (("images", *IMAGE, "--out", "out", "--target", "cat"), "--target must be 'predicted', 'label', an index"),
        (("images", *MAP, "--out", "out", "--target", "cow"), "'cow' is the name of no class"),
        (("images", *MAP, "--out", "out", "--engine", "spark"), "engine must be 'local' or 'ray'"),
        (("images", *MAP, "--out", "out", "--workers", 2), "are for engine='ray'"),
        (("images", *MAP, "--out", "out", "--target", 99), "99"),
        (("table.csv", *TABLE, "--target", 0, "--out", "out", "--strict"), "column 'weight' is missing"),
        (("table.csv", *TABLE, "--target", 0, "--out", "out", "--column", "name"), "no column 'name'"),
    ],
)
def test_errors_are_one_message(run, folder, arguments, message):
    status, _, err = run("map", *arguments)
    assert status == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_summarize_refuses_what_is_no_folder_of_ours(folder, run):
    status, _, err = run("summarize", "images")
    assert status == 2
    assert "holds no attributions (manifest.json)" in err


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray(folder):
    """Relative paths, and a factory in the folder of the command, in other processes."""
    generator = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(
            folder / "images" / f"n01_{k}.png"
        )
    (folder / "mine.py").write_text("import toys\n\n\ndef net():\n    return toys.net()\n")
    here = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(biasprop.__file__).parents[1])])
    options = ["--model", "mine:net", *map(str, IMAGE[2:]), "--classes", "classes.txt", "--engine", "ray"]
    said = []
    for command in (["map", "images", *options, "--out", "out"], ["audit", "images", *options, "-o", "audit"]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "biasprop", *command],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": here},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said.append(done.stdout)
    assert "14 examples in out/attributions" in said[0]
    assert "14 examples: the network is right on" in said[1]
    assert len(biasprop.Attributions(folder / "out").to_pandas()) == 14
