"""Attributions of whole data sets: the same as one by one, in Parquet that others read, begun and gone on with."""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from children import kill, started
from datasets_of import Digits, images_net, photo_net
from folders import classifier, wordpiece
from PIL import Image
from torch import nn

import biasprop
from biasprop import FileError, InputError, TargetError
from biasprop.datasets import Model
from biasprop.loading import Preparation

pytestmark = pytest.mark.usefixtures("nothing_left_open")

KILLS = int(os.environ.get("BIASPROP_KILLS", "5"))
PHOTOS = Preparation(resize=32, crop=32)


def run(dataset, model, out, **options):
    return biasprop.attribute(dataset, model, out, progress=False, **options)


def same(one, two):
    """Row by row, up to rounding of batches that are put together otherwise."""
    a, b = one.to_pandas(), two.to_pandas()
    assert a.columns.tolist() == b.columns.tolist()
    assert a.id.tolist() == b.id.tolist()
    assert len(set(a.id)) == len(a)
    for name in ("label", "target", "tokens", "shape"):
        assert [str(value) for value in a[name]] == [str(value) for value in b[name]]
    for name in ("output", "bias"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)
    for name in ("attribution", "bias_attribution"):
        np.testing.assert_allclose(np.stack(a[name]), np.stack(b[name]), rtol=1e-3, atol=1e-5)
    return True


@pytest.fixture
def digits(data):
    return Digits(data, 50, broken=(7, 31))


def test_every_column_is_what_an_explanation_says(tmp_path, data, digits):
    found = run(digits, images_net(), tmp_path / "out", terms=True, map_size=14, rule="bias3", batch_size=6)
    assert (len(found), found.errors) == (48, [(str(k), f"ValueError: record {k} is broken") for k in (7, 31)])
    frame = found.to_pandas().set_index("id")
    for k in (0, 8, 49):
        x, label = digits[k]
        one = biasprop.explain(images_net(), x[None], rule="bias3")
        row = frame.loc[str(k)]
        assert (row.label, row.target) == (label, one.target[0])
        for name in ("output", "bias", "probability"):
            assert row[name] == pytest.approx(getattr(one, name).item(), rel=1e-5)
        assert row["shape"].tolist() == [14, 14]
        values, bias = (row[name].copy().reshape(14, 14) for name in ("attribution", "bias_attribution"))
        torch.testing.assert_close(torch.from_numpy(values), one.map(2)[0], rtol=1e-4, atol=1e-6)
        patches = one.bias_attribution[0, 0].unfold(0, 2, 2).unfold(1, 2, 2).sum((2, 3))
        torch.testing.assert_close(torch.from_numpy(bias), patches, rtol=1e-4, atol=1e-6)
        assert {s["name"]: pytest.approx(s["amount"], rel=1e-4, abs=1e-6) for s in row.sources} == {
            source.name: source.amount.item() for source in one.sources
        }
        linear, constant = biasprop.Explainer(images_net()).split(x[None])
        assert (row.class_of_weights, row.class_of_bias) == (linear.argmax(), constant.argmax())
    sums = frame.attribution.map(np.sum) + frame.unattributed
    np.testing.assert_allclose(sums, frame.output, rtol=1e-4, atol=1e-4)


def test_pandas_polars_and_arrow_read_the_files_without_us(tmp_path, data):
    found = run(Digits(data, 9), images_net(), tmp_path / "out", half=True)
    folder = tmp_path / "out" / "attributions"
    table = pyarrow.parquet.read_table(folder)
    assert table.num_rows == 9
    assert str(table.schema.field("attribution").type) == "list<element: halffloat>"
    pandas = pytest.importorskip("pandas")
    assert len(pandas.read_parquet(folder)) == 9
    polars = pytest.importorskip("polars")
    assert polars.scan_parquet(folder / "*.parquet").select("output").collect().height == 9
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql(f"select count(*) from '{folder}/*.parquet'").fetchall() == [(9,)]
    whole = run(Digits(data, 9), images_net(), tmp_path / "float").to_pandas()
    np.testing.assert_allclose(
        np.stack(found.to_pandas().attribution), np.stack(whole.attribution), rtol=2e-3, atol=1e-4
    )


def test_photos_of_several_sizes_in_folders(tmp_path):
    for k, (name, size) in enumerate({"a/1.png": 32, "a/2.png": 40, "b/1.png": 32, "b/2.jpg": 40}.items()):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    net = torch.nn.Sequential(
        photo_net()[:2], torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    )
    found = run(
        tmp_path / "in", net.eval(), tmp_path / "out", preparation=Preparation(resize=0, crop=0), target="label"
    )
    frame = found.to_pandas()
    assert frame.id.tolist() == ["a/1.png", "a/2.png", "b/1.png", "b/2.jpg"]
    assert [value.tolist() for value in frame["shape"]] == [[32, 32], [40, 40], [32, 32], [40, 40]]
    assert frame.target.tolist() == frame.label.tolist() == [0, 0, 1, 1]
    assert found.manifest.classes == ["a", "b"]


def test_tables_with_features_and_bad_rows(tmp_path):
    lines = ["age,weight,height,died", "30,70,1.8,1", "40,,1.6,0", "50,60,1.7,1"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).eval()
    found = run(tmp_path / "t.csv", model, tmp_path / "out", target=0, preparation=Preparation(labels="died"))
    assert found.manifest.features == ["age", "weight", "height"]
    assert [name for name, _ in found.errors] == ["t.csv#1"]
    assert "column 'weight' is missing" in found.errors[0][1]
    frame = found.to_pandas()
    assert (frame.id.tolist(), frame.label.tolist()) == (["t.csv#0", "t.csv#2"], [1, 1])
    one = biasprop.explain(model, torch.tensor([[30.0, 70.0, 1.8]]), target=0)
    torch.testing.assert_close(torch.from_numpy(frame.attribution[0].copy()), one.attribution[0])
    (tmp_path / "t.csv").write_text("\n".join([*lines[:2], "40,80,1.6,0", lines[3]]))
    assert len(run(tmp_path / "t.csv", model, tmp_path / "out", target=0, preparation=Preparation(labels="died"))) == 2
    again = run(
        tmp_path / "t.csv", model, tmp_path / "out", target=0, preparation=Preparation(labels="died"), retry=True
    )
    assert (len(again), again.errors) == (3, [])
    with pytest.raises(InputError, match="t.csv#1.*missing"):
        (tmp_path / "t.csv").write_text("\n".join(lines))
        run(
            tmp_path / "t.csv",
            model,
            tmp_path / "strict",
            target=0,
            preparation=Preparation(labels="died"),
            strict=True,
        )
    assert [name for name, _ in biasprop.Attributions(tmp_path / "strict").errors] == []


def test_texts(tmp_path):
    pytest.importorskip("transformers")
    model, tokenizer = classifier(tmp_path / "bert"), wordpiece(tmp_path / "bert")
    (tmp_path / "t.txt").write_text("the film was unbelievably good\ngood\n\n" + "dull " * 40 + "\n")
    found = run(tmp_path / "t.txt", model, tmp_path / "out", tokenizer=tokenizer)
    assert [name for name, _ in found.errors] == ["t.txt#2"]
    assert "takes 24 at most" in found.errors[0][1]
    frame = found.to_pandas()
    assert frame.tokens[1].tolist() == ["[CLS]", "good", "[SEP]"]
    one = biasprop.explain(model, dict(tokenizer(["good"], return_tensors="pt")))
    np.testing.assert_allclose(frame.attribution[1], one.tokens.attribution[0], rtol=1e-3, atol=1e-6)


def test_parquet_with_images_in_it(tmp_path):
    import io

    import pyarrow as pa

    contents = []
    for k in range(3):
        stream = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 60 * k, np.uint8)).save(stream, "PNG")
        contents.append({"bytes": stream.getvalue(), "path": f"{k}.png"})
    contents[1]["bytes"] = b"no image"
    pyarrow.parquet.write_table(pa.table({"image": contents, "label": [0, 1, 4]}), tmp_path / "t.parquet")
    how = Preparation(resize=32, crop=32, column="image", labels="label")
    found = run(tmp_path / "t.parquet", photo_net(), tmp_path / "out", preparation=how)
    assert found.to_pandas()[["id", "label"]].to_numpy().tolist() == [["t.parquet#0", 0], ["t.parquet#2", 4]]
    assert [name for name, _ in found.errors] == ["t.parquet#1"]


def test_what_was_added_is_taken_up_and_nothing_done_again(tmp_path, data):
    net = images_net()
    asked = []

    class Watched(Digits):
        def __getitem__(self, k):
            asked.append(k)
            return super().__getitem__(k)

    run(Watched(data, 10), net, tmp_path / "out", batch_size=3)
    asked.clear()
    Watched.__name__ = "Watched"
    found = run(Watched(data, 20), net, tmp_path / "out", batch_size=3)
    assert sorted(set(asked)) == [0, *range(10, 20)]  # the first, to see what kind they are
    assert same(found, run(Watched(data, 20), net, tmp_path / "whole", batch_size=3))


def test_what_comes_in_front_may_have_another_shape(tmp_path):
    for name, size in (("b", (40, 50)), ("c", (40, 50))):
        Image.new("RGB", size, (90, 9, 9)).save(tmp_path / f"{name}.png")
    how = {"preparation": Preparation(resize=0, crop=0), "map_size": 8}
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert len(run(tmp_path, net, tmp_path / "out", **how)) == 2
    Image.new("RGB", (30, 30), (9, 90, 9)).save(tmp_path / "a.png")
    found = run(tmp_path, net, tmp_path / "out", **how).to_pandas()
    assert found.id.tolist() == ["a.png", "b.png", "c.png"]


def test_an_example_that_is_given_twice_is_refused(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"Two examples have the id 'a.png'"):
        run([tmp_path / "a.png", tmp_path / "a.png"], photo_net(), tmp_path / "out", preparation=PHOTOS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_types(tmp_path, data, dtype):
    found = run(Digits(data, 3), images_net().to(dtype), tmp_path / "out", batch_size=1).to_pandas()
    wanted = run(Digits(data, 3), images_net(), tmp_path / "wanted").to_pandas()
    np.testing.assert_allclose(found.output, wanted.output, rtol=0.1 if dtype == torch.bfloat16 else 1e-5, atol=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "bias2"}, "rule .bias1, now bias2"),
        ({"map_size": 7}, "keeping.map_size .56, now 7"),
        ({"target": 3}, "target .predicted, now 3"),
        ({"linearization": "half"}, "linearization"),
        ({"preparation": Preparation(mean=(0.5,))}, "preparation.mean"),
        ({"temperature": 2.0}, "temperature .1.0, now 2.0"),
    ],
)
def test_another_job_in_the_folder_is_refused(tmp_path, data, change, said):
    run(Digits(data, 3), images_net(), tmp_path / "out")
    with pytest.raises(InputError, match=f"holds the attributions of another job; .*{said}"):
        run(Digits(data, 3), images_net(), tmp_path / "out", **change)
    net = images_net()
    with torch.no_grad():
        net[0].weight[0] += 1
    with pytest.raises(InputError, match="the network or its weights"):
        run(Digits(data, 3), net, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": lambda y: y[:, 0]}, TargetError, "'predicted', 'label', an index or a tuple"),
        ({"map_size": -1}, InputError, "map_size"),
        ({"batch_size": 0}, InputError, "batch_size"),
        ({"engine": "spark"}, InputError, "engine must be 'local' or 'ray'"),
        ({"workers": 2}, InputError, "for engine='ray'"),
        ({"engine": "ray", "workers": 0}, InputError, "workers must be"),
    ],
)
def test_bad_arguments(tmp_path, data, options, error, message):
    with pytest.raises(error, match=message):
        run(Digits(data, 3), images_net(), tmp_path / "out", **options)


def test_a_data_set_without_a_good_example(tmp_path, data):
    with pytest.raises(InputError, match="No example of the data set can be explained: ValueError: record"):
        run(Digits(data, 2, broken=(0, 1)), images_net(), tmp_path / "out")


SLOWLY = """
import sys
from pathlib import Path
import torch
import biasprop
from biasprop.datasets import folder
from datasets_of import Digits, images_net

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder.SECONDS, folder.ROWS = 0.2, 100
    dataset = Digits(Path(sys.argv[1]), int(sys.argv[3]), pause=0.006)
    print("begun", flush=True)
    biasprop.attribute(dataset, images_net(), sys.argv[2], batch_size=16, progress=False)
"""


def environment():
    paths = [str(Path(__file__).parents[1]), str(Path(biasprop.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.slow
def test_killed_at_any_moment_it_loses_and_repeats_nothing(tmp_path, data):
    drawn, out, counts = random.Random(KILLS), tmp_path / "out", [0]
    for k in range(KILLS):
        before = set((out / "attributions").glob("part-*"))
        process, line = started(SLOWLY, data, out, 2000, environment=environment())
        assert line == "begun"
        while k % 4 and process.poll() is None and set((out / "attributions").glob("part-*")) == before:
            time.sleep(0.02)  # but every fourth is killed at any moment of its start
        time.sleep(drawn.uniform(0, (8 if k % 4 else 4 * KILLS) / KILLS))
        kill(process)
        if (out / "manifest.json").exists():
            counts.append(len(biasprop.Attributions(out)))
    assert counts == sorted(counts)
    assert counts[-1] > 0
    dataset = Digits(data, 2000)
    assert same(
        run(dataset, images_net(), out, batch_size=16), run(dataset, images_net(), tmp_path / "whole", batch_size=16)
    )
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.skipif(os.name != "posix", reason="no such locks on Windows")
@pytest.mark.slow
def test_two_jobs_at_once(tmp_path, data):
    process, _ = started(SLOWLY, data, tmp_path / "out", 100_000, environment=environment())
    try:
        while not (tmp_path / "out" / ".manifest.json.lock").exists():
            time.sleep(0.05)
        with pytest.raises(FileError, match=rf"in use by another process {process.pid}"):
            run(Digits(data, 2000), images_net(), tmp_path / "out", batch_size=16)
    finally:
        kill(process)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:50], "Cannot read .*manifest.json"),
        (lambda text: text.replace("bias1", "bias2"), "does not match its checksum"),
        (lambda text: "[" * 100_000, "Cannot read"),
        (lambda text: "{}", "not of the format"),
        (lambda text: json.dumps({"format": "biasprop-attributions-1"}), "checksum"),
    ],
)
def test_a_hostile_manifest(tmp_path, data, change, message):
    found = run(Digits(data, 3), images_net(), tmp_path / "out")
    path = found.path / "manifest.json"
    path.write_text(change(path.read_text()))
    for act in (
        lambda: biasprop.Attributions(found.path),
        lambda: run(Digits(data, 3), images_net(), tmp_path / "out"),
    ):
        with pytest.raises(FileError, match=message):
            act()


def _other_columns(path):
    import pyarrow as pa

    pyarrow.parquet.write_table(pa.table({"id": ["0"]}), path, store_schema=False)


def _arrow_schema(path):
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path)


def _set(name, *values):
    """A column of other values."""

    def harm(path):
        import pyarrow as pa

        table = pyarrow.parquet.read_table(path)
        k = table.schema.get_field_index(name)
        field = table.schema.field(k)
        table = table.set_column(
            k, field, pa.array([*values, *table.column(name).to_pylist()[len(values) :]], field.type)
        )
        pyarrow.parquet.write_table(table, path, store_schema=False)

    return harm


def _linked(path):
    path.rename(path.with_suffix(".x"))
    path.symlink_to(path.with_suffix(".x"))


def test_a_class_that_cannot_be_is_a_number_like_any_other(tmp_path, data):
    found = run(Digits(data, 3), images_net(), tmp_path / "out")
    (path,) = (found.path / "attributions").iterdir()
    _set("target", -7)(path)
    summary = biasprop.summarize(tmp_path / "out")
    assert "output -7" in str(summary)
    assert "output -7" in summary.html()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.write_bytes(b"PAR1 and nothing else PAR1"), "no file that biasprop wrote"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "no file that biasprop wrote"),
        (lambda path: path.write_bytes(b""), "no file that biasprop wrote"),
        (_other_columns, "its columns are not those of the manifest"),
        (_arrow_schema, "carries a schema of Arrow"),
        (_set("shape", [999, 999]), "attribution of shape .999, 999. has 784 numbers"),
        (_set("shape", [-28, -28]), "attribution of shape .-28, -28. has"),
        (_set("shape", [28, None]), "attribution of shape .28, None. has"),
        (_set("shape", None), "attribution of shape None has"),
        (_set("bias_attribution", [1.0]), "bias_attribution of shape .28, 28. has 1 numbers"),
        (_set("attribution", [None] * 784), "its attribution has gaps"),
        (_set("output", float("nan")), "a row has no output"),
        (_set("output", float("inf")), "a row has no output"),
        (_set("bias", None), "a row has no bias"),
        (_set("sources", [None]), "its sources has gaps"),
        (
            lambda path: (
                path.with_suffix(".x").write_bytes(path.read_bytes())
                and (path.unlink(), path.symlink_to(path.with_suffix(".x")))
            ),
            "no regular file",
        ),
    ],
)
def test_hostile_parquet(tmp_path, data, harm, message):
    found = run(Digits(data, 3), images_net(), tmp_path / "out")
    (path,) = (found.path / "attributions").iterdir()
    harm(path)
    with pytest.raises(FileError, match=message):
        biasprop.summarize(tmp_path / "out")


def test_a_model_that_is_made_in_the_worker(tmp_path, data):
    """A factory, with a tokenizer or without, is as good as a module."""
    found = run(Digits(data, 4), images_net, tmp_path / "out")
    assert len(found) == 4
    with pytest.raises(biasprop.CaptureError, match="must be a torch.nn.Module"):
        run(Digits(data, 4), dict, tmp_path / "none")


def test_the_users_model_is_not_moved():
    model = images_net()
    assert Model(model).made()[0] is Model(model, "cpu").made()[0] is model
    moved, _ = Model(model, "meta").made()
    assert next(moved.parameters()).device.type == "meta"
    assert next(model.parameters()).device.type == "cpu"
    with pytest.raises(biasprop.CaptureError, match="Cannot use the device 'nowhere'"):
        Model(model, "nowhere").made()
