"""Captured graphs in files: an explainer that loads them explains as the one that captured, and believes nothing."""

import json

import pytest
import torch
from helpers import randomise
from safetensors import safe_open
from torch import nn

import biasprop
from biasprop.errors import CaptureError, FileError
from biasprop.files import read_tensors, write_tensors

FORMAT = "biasprop-graphs-1"


class Shift(nn.Module):
    """Constants of its own, a size in its arithmetic, an infinity, several outputs."""

    def forward(self, x):
        ranks = torch.arange(x.shape[-1], dtype=x.dtype) * torch.tensor([0.5])
        hidden = (x + ranks).masked_fill(torch.arange(x.shape[-1]) > 2, 0.25).clamp(-torch.inf, 3.0)
        return {"logits": hidden * x.shape[-1], "more": (x, hidden)}


def network():
    return randomise(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    torch.manual_seed(0)
    model, path, x = network(), tmp_path_factory.mktemp("kept") / "graphs.safetensors", torch.randn(3, 2, 6, 6)
    biasprop.explainer(model, x).save(path)
    return model, x, path.read_bytes()


@pytest.fixture
def saved(written, tmp_path):
    """A model, an input, and the file of what was captured; a file of one's own."""
    model, x, held = written
    path = tmp_path / "graphs.safetensors"
    path.write_bytes(held)
    return model, x, path


def test_what_is_loaded_explains_as_what_was_captured(saved, monkeypatch):
    model, x, path = saved
    monkeypatch.setattr("biasprop.attribution.captures.capture", lambda *_: pytest.fail("captured again"))
    loaded = biasprop.Explainer(model, "tangent").load(path)
    assert len(loaded.captures) == 1
    for batch in (x, x[:1]):
        monkeypatch.undo()
        expected = biasprop.explain(model, batch, 2)
        monkeypatch.setattr("biasprop.attribution.captures.capture", lambda *_: pytest.fail("captured again"))
        assert torch.equal(loaded(batch, 2).attribution, expected.attribution)
    assert loaded(x, 2, handover="auto").completeness_error.max() < 1e-5


def test_constants_sizes_infinities_and_several_outputs(tmp_path):
    model, x = nn.Sequential(nn.Linear(4, 4), Shift()).double().eval(), torch.randn(2, 4).double()
    explainer = biasprop.explainer(model, x)
    explainer.save(tmp_path / "graphs")
    loaded = biasprop.Explainer(model).load(tmp_path / "graphs")
    assert torch.equal(loaded(x, 1).attribution, explainer(x, 1).attribution)


def test_texts(tmp_path):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.place, self.head = nn.Embedding(11, 6), nn.Embedding(20, 6), nn.Linear(6, 11)

        def forward(self, ids):
            return self.head(torch.relu(self.table(ids) + self.place(torch.arange(ids.shape[1]))))

    model, ids = Tagger().double().eval(), torch.randint(0, 11, (2, 5))
    explainer = biasprop.explainer(model, ids)
    explainer.save(tmp_path / "graphs")
    found, expected = biasprop.Explainer(model).load(tmp_path / "graphs")(ids), explainer(ids)
    assert torch.equal(found.attribution, expected.attribution)
    assert found.target == [(4, int(model(ids)[i, 4].argmax())) for i in range(2)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(dtype, tmp_path):
    model, x = network().to(dtype), torch.randn(3, 2, 6, 6).to(dtype)
    explainer = biasprop.explainer(model, x)
    explainer.save(tmp_path / "graphs")
    loaded = biasprop.Explainer(model).load(tmp_path / "graphs")
    assert torch.equal(loaded(x, 1).attribution, explainer(x, 1).attribution)


def test_two_inputs_of_a_module_that_is_used_twice(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, y):
            return self.layer(torch.relu(self.layer(x)) + self.layer(y))

    model, inputs = Twice().double().eval(), (torch.randn(2, 4).double(), torch.randn(2, 4).double())
    explainer = biasprop.explainer(model, inputs)
    explainer.save(tmp_path / "graphs")
    loaded = biasprop.Explainer(model).load(tmp_path / "graphs")
    for one, other in zip(loaded(inputs, 1).attribution, explainer(inputs, 1).attribution, strict=True):
        assert torch.equal(one, other)


def test_what_was_loaded_is_kept_again_and_no_more_than_fits(tmp_path, monkeypatch):
    model, shapes = nn.Linear(4, 3).eval(), [(2, 4), (2, 5, 4), (2, 1, 5, 4)]
    explainer = biasprop.Explainer(model)
    for shape in shapes:
        explainer.split(torch.randn(shape))
    explainer.save(tmp_path / "graphs")
    loaded = biasprop.Explainer(model).load(tmp_path / "graphs")
    loaded.save(tmp_path / "again")  # before it was used
    loaded = biasprop.Explainer(model).load(tmp_path / "again")
    assert "for 3 shapes" in repr(loaded)
    monkeypatch.setattr("biasprop.attribution.captures.GRAPHS", 2)
    for shape in shapes:
        loaded.split(torch.randn(shape))
    assert len(loaded.captures.graphs) == 2


def changed(path, change):
    """The file with a change that whoever made it signed."""
    header, tensors = read_tensors(path, FORMAT)
    text = change(json.dumps(header))
    write_tensors(path, FORMAT, tensors, json.loads(text))


def test_no_weights_and_no_pickle_are_in_it(saved):
    _, _, path = saved
    with safe_open(path, "pt") as file:
        assert not list(file.keys())
    assert path.stat().st_size < 20_000


def test_another_function_is_found_whatever_check_is(saved):
    model, x, path = saved
    changed(path, lambda text: text.replace('{"node": 0}, {"node": 1}', '{"node": 0}, null', 1))
    changed(path, lambda text: text.replace("aten.relu.default", "aten.abs.default"))
    with pytest.raises(CaptureError, match="not what Sequential computes"):
        biasprop.Explainer(model, check="never").load(path)(x, 1)


@pytest.mark.parametrize(
    "name", ["aten.from_file.default", "aten.set_.source_Tensor", "aten.relu_.default", "os.system"]
)
def test_only_known_operations_are_run(saved, name):
    model, _, path = saved
    changed(path, lambda text: text.replace("aten.relu.default", name))
    with pytest.raises(FileError, match=f"'{name}', which is none that is run"):
        biasprop.Explainer(model).load(path)


def test_randomness_is_refused(saved):
    model, x, path = saved
    changed(
        path,
        lambda text: text.replace(
            '"aten.relu.default", "args": {"tuple": [', '"aten.dropout.default", "args": {"tuple": ['
        ).replace('"kwargs": {}}, {"name": "3"', '"kwargs": {"p": 0.5, "train": true}}, {"name": "3"'),
    )
    with pytest.raises(CaptureError, match="random"):
        biasprop.Explainer(model, check="never").load(path)(x, 1)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (nn.Linear(3, 4), "is a Linear"),
        (nn.Sequential(*list(network())[:-1], nn.Linear(48, 6)), "'4.bias' is float32 .5. there and float32 .6. here"),
        (network().double(), "float64"),
    ],
)
def test_of_another_model(saved, other, why):
    with pytest.raises(FileError, match=why):
        biasprop.Explainer(other.eval()).load(saved[2])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"graphs": [', '"graphs": [3, '),
        lambda text: text.replace('"node": 1}', '"node": 99}'),
        lambda text: text.replace('"index": null', '"index": "x"', 1),
        lambda text: text.replace('"parts": [', '"parts": [], "rest": ['),
        lambda text: text.replace('"floating": true', '"floating": []', 1),
        lambda text: text.replace('"precision"', '"decision"'),
        lambda text: text.replace('"batch": null', '"batch": "two"'),
        lambda text: text.replace('"ids": 0', '"ids": []'),
        lambda text: text.replace('"given": []', '"given": ["x"]'),
    ],
)
def test_what_nobody_wrote_is_refused_in_a_sentence(saved, change):
    model, _, path = saved
    changed(path, change)
    with pytest.raises(FileError, match=r"Cannot use .*graphs"):
        biasprop.Explainer(model).load(path)


def test_a_missing_or_damaged_file(saved, tmp_path):
    model, _, path = saved
    with pytest.raises(FileError):
        biasprop.Explainer(model).load(tmp_path / "absent")
    path.write_bytes(path.read_bytes().replace(b"aten.relu.default", b"aten.relu_default"))
    with pytest.raises(FileError, match="damaged"):
        biasprop.Explainer(model).load(path)


def test_what_cannot_be_kept_is_said(tmp_path):
    class Pair:
        def __init__(self, first):
            self.first = first

    torch.utils._pytree.register_pytree_node(Pair, lambda p: ([p.first], None), lambda v, _: Pair(*v))

    class Returning(nn.Module):
        def forward(self, x):
            return Pair(x * 2)

    explainer = biasprop.explainer(Returning().eval(), torch.ones(2, 3))
    with pytest.raises(CaptureError, match="cannot be kept"):
        explainer.save(tmp_path / "graphs")
    assert not list(tmp_path.iterdir())
