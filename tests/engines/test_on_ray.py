"""Ray as the engine, a real one on this machine: the same results, whatever dies."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from children import kill, started
from datasets_of import Digits, images_net

import biasprop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="processes are killed"),
    pytest.mark.ray,
]

KILLS = int(os.environ.get("BIASPROP_KILLS", "2"))
HERE = [str(Path(__file__).parents[1]), str(Path(biasprop.__file__).parents[1])]


def script(body, *arguments, environment=None):
    """What a script says that starts Ray in a process of its own, so that nothing of it is left here."""
    paths = os.pathsep.join([*HERE, os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + body, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


BEGIN = """
import logging, sys
from pathlib import Path
import numpy as np
import ray
import torch
import biasprop
import biasprop.loading
from datasets_of import Digits, images_net, photo_net

torch.set_num_threads(1)
folder, data = Path(sys.argv[1]), Path(sys.argv[2])
ray.init(num_cpus=2, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
"""

JOBS = """
digits = Digits(data, 300, broken=(7, 31))
found = biasprop.attribute(digits, images_net(), folder / "ray", engine="ray", batch_size=8, progress=False)
print(found)
photos = sorted((data / "imagenet").glob("*.jpg"))[:12]
how = biasprop.loading.Preparation(resize=32, crop=32)
one = {"engine": "ray", "workers": 1, "progress": False}  # a process of Ray takes longer to start than all of this
print(biasprop.attribute(photos, photo_net, folder / "photos", preparation=how, **one))

rows = ray.data.from_items([{"id": f"n{k}", "x": digits[k][0].numpy()} for k in range(40) if k not in (7, 31)])
print(biasprop.attribute(rows, images_net(), folder / "rows", **one))
print(biasprop.attribute(rows, images_net(), folder / "rows", **one))

try:
    biasprop.attribute(digits, images_net(), folder / "wrong", target=99, **one)
except biasprop.BiaspropError as error:
    print(type(error).__name__, error)
try:
    biasprop.attribute(digits, images_net(), folder / "strict", strict=True, **one)
except biasprop.BiaspropError as error:
    print(type(error).__name__, error)
try:
    biasprop.attribute(rows.drop_columns(["id"]), images_net(), folder / "nameless", **one)
except biasprop.BiaspropError as error:
    print(type(error).__name__, error)
try:
    biasprop.attribute(digits, images_net(), folder / "gpu", gpus=1, device="cpu", **one)
except biasprop.BiaspropError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ray")
    return folder, script(JOBS, folder, data)


@pytest.fixture
def _one_thread():
    """As each worker of Ray."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_jobs_on_ray_are_those_of_the_local_engine_row_by_row(jobs, tmp_path, data):
    folder, said = jobs
    here = biasprop.attribute(Digits(data, 300, broken=(7, 31)), images_net(), tmp_path / "here", progress=False)
    there = biasprop.Attributions(folder / "ray")
    assert here.errors == there.errors == [(str(k), f"ValueError: record {k} is broken") for k in (31, 7)][::-1]
    one, two = here.to_pandas(), there.to_pandas()
    assert len(one) == 298
    for name in one.columns:
        if name in ("attribution", "bias_attribution"):
            assert np.array_equal(np.stack(one[name]), np.stack(two[name]))
        else:
            assert [str(value) for value in one[name]] == [str(value) for value in two[name]]
    photos = biasprop.Attributions(folder / "photos").to_pandas()
    assert photos.id.str.contains("imagenet|n0").all()
    np.testing.assert_allclose(photos.attribution.map(np.sum), photos.output, rtol=1e-4, atol=1e-4)
    rows = biasprop.Attributions(folder / "rows").to_pandas()
    assert rows.id.tolist() == sorted(f"n{k}" for k in range(40) if k not in (7, 31))
    of_digits = two.set_index("id").output
    np.testing.assert_allclose(rows.output, [of_digits[name[1:]] for name in rows.id], rtol=1e-5)
    lines = [line for line in said.splitlines() if line.startswith(("InputError", "TargetError"))]
    assert len(lines) == 4
    assert "TargetError" in lines[0]
    assert "InputError" in lines[1]
    assert "is broken" in lines[1]
    assert "needs a column 'id'" in lines[2]
    assert "The cluster has 0 GPUs" in lines[3]


EXPLAIN = """
from biasprop.ray import Explain

digits = Digits(data, 20)
items = [{"id": f"n{k}", "x": digits[k][0].numpy()} for k in range(20)]
items.append({"id": "bad", "x": np.full((1, 28, 28), np.nan, "f4")})
dataset = ray.data.from_items(items)
explained = dataset.map_batches(
    Explain,
    fn_constructor_kwargs={"model": images_net, "map_size": 14},
    compute=ray.data.ActorPoolStrategy(size=2),
    batch_size=6,
    num_cpus=1,
)
rows = {row["id"]: row for row in explained.take_all()}
assert len(rows) == 21
assert "NaN" in rows["bad"]["error"] and np.isnan(rows["bad"]["output"])
one = biasprop.explain(images_net(), digits[3][0][None])
row = rows["n3"]
assert row["error"] == "" and row["target"] == one.target[0]
assert np.allclose(row["attribution"], one.map(2)[0], rtol=1e-3, atol=1e-5)
assert np.allclose(row["source_amounts"], one.sources.amounts[0], rtol=1e-3, atol=1e-5)
assert list(row["source_names"]) == one.sources.names

from PIL import Image
folder.joinpath("photos").mkdir()
for k in range(3):
    pixels = np.random.default_rng(k).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photos" / f"{k}.png")
how = biasprop.loading.Preparation(resize=32, crop=32)
read = ray.data.read_images(str(folder / "photos"), include_paths=True)
rows = read.map_batches(
    Explain,
    fn_constructor_kwargs={"model": photo_net, "column": "image", "preparation": how},
    compute=ray.data.ActorPoolStrategy(size=1),
    batch_size=2,
).take_all()
found = biasprop.attribute(folder / "photos", photo_net, folder / "photo maps", preparation=how, progress=False)
frame = found.to_pandas().set_index("id")
for row in rows:
    assert np.isclose(row["output"], frame.loc[Path(row["id"]).name].output)
assert len(rows) == 3

from biasprop import InputError
twice = ray.data.from_items([{"id": "a", "x": digits[k][0].numpy()} for k in range(2)])
for act in (
    lambda: biasprop.attribute(twice, images_net(), folder / "twice", engine="ray", workers=1, progress=False),
    lambda: biasprop.audit(images_net(), twice, progress=False),
    lambda: biasprop.audit(images_net(), twice, progress=False, engine="ray"),
):
    try:
        act()
    except InputError as error:
        print(error)
print("explained")
"""


def test_explain_inside_a_pipeline(tmp_path, data):
    said = script(EXPLAIN, tmp_path, data)
    assert "explained" in said
    assert "Two examples have the id 'a'" in said
    assert said.count("An audit reads its data by position") == 2


AUDIT = """
here = biasprop.audit(images_net(), Digits(data, 200, broken=(5,)), progress=False, batch_size=8)
there = biasprop.audit(images_net(), Digits(data, 200, broken=(5,)), progress=False, batch_size=8, engine="ray",
                       state=folder / "state.safetensors")
for name in ("labels", "classes", "outputs", "biases", "amounts", "masses"):
    assert torch.equal(getattr(here, name), getattr(there, name)), name
assert here.sources == there.sources and here.errors == there.errors and len(here.errors) == 1
loader = torch.utils.data.DataLoader(Digits(data, 200, broken=(5,)), batch_size=8)
again = biasprop.audit(images_net(), loader, progress=False, engine="ray", state=folder / "state.safetensors")
assert torch.equal(again.amounts, here.amounts) and len(again) == 199
for wrong in ([(torch.ones(1), [0])], torch.utils.data.DataLoader(Digits(data, 9), shuffle=True)):
    try:
        biasprop.audit(images_net(), wrong, engine="ray")
    except biasprop.InputError as error:
        print(error)
print(there.summary())
"""


def test_an_audit_on_ray_equals_the_local_one_exactly(tmp_path, data):
    said = script(AUDIT, tmp_path, data)
    assert said.count("read a data set by position") == 2
    assert "199 examples (1 more could not be read)" in said


SLOWLY = """
from biasprop.datasets import folder as written

written.SECONDS, written.ROWS = 0.2, 100
if __name__ == "__main__":
    print("begun", flush=True)
    dataset = Digits(data, 2000, pause=0.002)
    biasprop.attribute(dataset, images_net(), folder / "out", engine="ray", batch_size=16, progress=False)
    print("finished", flush=True)
"""


def workers_of(process):
    """Processes of the actors that Ray has started for this driver, not those of others on the machine."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, parents = [], {str(process.pid)}
    while parents:
        children = [row for row in rows if row[1] in parents]
        found += [int(pid) for pid, _, arguments in children if "ray::MapWorker" in arguments]
        parents = {pid for pid, _, _ in children}
    return found


def test_driver_and_workers_may_be_killed_at_any_moment(tmp_path, data):
    drawn, paths = random.Random(KILLS), os.pathsep.join([*HERE, os.environ.get("PYTHONPATH", "")])
    killed = 0
    for k in range(KILLS):
        process, line = started(BEGIN + SLOWLY, tmp_path, data, environment=os.environ | {"PYTHONPATH": paths})
        assert line == "begun"
        end = time.monotonic() + 60
        while not workers_of(process) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.2)
        time.sleep(drawn.uniform(2, 12))
        if k % 2 == 0:  # a worker, and later the driver
            for pid in workers_of(process)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            time.sleep(drawn.uniform(0, 5))
        kill(process)
        killed += 1
    assert killed > KILLS / 2
    process, _ = started(BEGIN + SLOWLY, tmp_path, data, environment=os.environ | {"PYTHONPATH": paths})
    threading.Timer(12, lambda: [os.kill(pid, signal.SIGKILL) for pid in workers_of(process)[:1]]).start()
    assert "finished" in process.communicate(timeout=300)[0].splitlines()  # beside what Ray says of who died
    found = biasprop.Attributions(tmp_path / "out")
    assert len(found) == 2000
    torch.set_num_threads(1)
    whole = biasprop.attribute(Digits(data, 2000), images_net(), tmp_path / "whole", batch_size=16, progress=False)
    one, two = found.to_pandas(), whole.to_pandas()
    assert one.id.tolist() == two.id.tolist()
    assert np.array_equal(np.stack(one.attribution), np.stack(two.attribution))
    assert one.output.tolist() == two.output.tolist()


def test_without_ray_there_is_a_clear_error(tmp_path, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(biasprop.MissingExtra, match=r"engine='ray' needs ray\[data\].*biasprop\[ray\]"):
        biasprop.attribute(Digits(data, 9), images_net(), tmp_path, engine="ray", progress=False)
