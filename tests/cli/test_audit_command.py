"""``biasprop audit``: labels from folders, names, arrays and columns; what was done is not done again."""

import json

import numpy as np
import pytest
from folders import image_classifier
from PIL import Image
from toys import IMAGE, TABLE

from biasprop.auditing import FORMAT
from biasprop.files import read_tensors

AUDIT = [*IMAGE, "--classes", "classes.txt"]


def test_audit_of_images(folder, run):
    status, out, err = run("audit", "images", *AUDIT, "-o", "out")
    assert status == 0, err
    assert "2 examples: the network is right on" in out
    figures = json.loads((folder / "out" / "audit.json").read_text())
    assert figures["examples"] == 2
    assert {row["name"] for row in figures["sources"]} == {"0", "3"}
    assert (folder / "out" / "audit.png").stat().st_size > 10_000
    before = (folder / "out" / "audit.json").read_text()
    status, _, err = run("audit", "images", *AUDIT, "--batch-size", 1, "-o", "out")
    assert status == 0, err
    assert (folder / "out" / "audit.json").read_text() == before


def test_audit_takes_labels_from_folders_arrays_and_columns(folder, run):
    for name, image in (("b_cat", "n01_cat.png"), ("a_dog", "n02_dog.png")):
        (folder / "sorted" / name).mkdir(parents=True)
        (folder / "images" / image).rename(folder / "sorted" / name / "1.png")
    status, out, err = run("audit", "sorted", *IMAGE, "-o", "one")
    assert status == 0, err
    assert "2 examples" in out
    pixels = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    np.savez("data.npz", x_test=pixels, y_test=np.array([[0], [1], [2], [0], [1]]), other=np.arange(5) % 3)
    images = IMAGE[:4]
    answers = []
    for labels in ((), ("--labels", "other")):
        status, out, err = run("audit", "data.npz", "--key", "x_test", *labels, *images, "-o", f"two{len(labels)}")
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
    status, out, err = run("audit", "sorted", *IMAGE, "-o", "sorted/out")
    assert status == 0, err
    labels = read_tensors(folder / "sorted" / "out" / "audit.safetensors", FORMAT)[1]["labels"]
    assert labels.tolist() == [0, 1, 1]
    (folder / "labelled.csv").write_text("age,weight,height,died\n30,70,1.8,1\n40,65,1.6,0.0\n50,60,1.7,1\n")
    status, out, err = run("audit", "labelled.csv", "--labels", "died", *TABLE, "-o", "three")
    assert status == 0, err
    assert "3 examples" in out
    (folder / "named.csv").write_text("age,weight,height,kind\n30,70,1.8,New York\n40,65,1.6,1\n")
    (folder / "kinds.txt").write_text("\ufeff1\nNew York\n")
    kinds = ("--labels", "kind", "--classes", "kinds.txt")
    status, out, err = run("audit", "named.csv", *kinds, *TABLE, "-o", "four")
    assert status == 0, err
    labels = read_tensors(folder / "four" / "audit.safetensors", FORMAT)[1]["labels"]
    assert labels.tolist() == [1, 0]


def test_audit_of_images_of_several_sizes_goes_on_with_another_batch_size(folder, run):
    for i, size in enumerate((16, 18, 16, 18, 16)):
        Image.new("RGB", (size, size), (40 * i, 30, 90)).save(folder / "images" / f"n01_{i}.png")
    options = ["--model", "toys:pooled", "--resize", 0, "--crop", 0, "--classes", "classes.txt"]
    for batch in (3, 2):
        status, out, err = run("audit", "images", *options, "--batch-size", batch, "-o", "out")
        assert status == 0, err
        assert "7 examples" in out


def test_image_classifiers_of_transformers(folder, run):
    pytest.importorskip("transformers")
    image_classifier(folder / "vit")
    options = ("--model", "hf:vit", "--resize", 16, "--crop", 16, "--classes", "classes.txt", "-o", "out")
    status, out, err = run("audit", "images", *options)
    assert status == 0, err
    assert "2 examples: the network is right on" in out
    status, out, err = run("explain", "images", *options, "--pictures", 0)
    assert status == 0, err
    assert "Accuracy on 2 labelled inputs" in out


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
def test_audit_refuses_data_without_labels(folder, run, arguments, message):
    pixels, short = np.zeros((2, 16, 16, 3), dtype=np.uint8), np.zeros(1, dtype=int)
    others = {"short": short, "pickled": np.array([{}, 1], dtype=object), "huge": np.array([2**63, 1], dtype=np.uint64)}
    np.savez("data.npz", x=pixels, y=np.array([0, 7]), **others)
    (folder / "n01_table.csv").write_text("age,weight,height,kind\n30,70,1.8,zebra\n")
    status, _, err = run("audit", *arguments, "-o", "out")
    assert status == 2
    assert message in err
    assert "Traceback" not in err
