"""ONNX files: the same numbers as the network they came from, explained completely; and nothing of them is run."""

import sys
import warnings

import pytest
import torch
from helpers import randomise, small_cnn
from torch import nn

import biasprop
from biasprop import FileError, MissingExtra
from biasprop.loading import load_model, load_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")
helper = pytest.importorskip("onnx.helper")


class Viewed(nn.Module):
    """Residual, and reshaped by its own sizes."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = nn.functional.adaptive_avg_pool2d(torch.relu(x + self.second(x)), 1)
        return self.last(x.view(x.size(0), -1))


class Padded(nn.Module):
    """Padding, slices, an average over sizes, resizing."""

    def forward(self, x):
        x = nn.functional.pad(x, (1, 2, 0, 1), value=0.5)[:, :, 1:, ::2]
        x = nn.functional.interpolate(torch.relu(x), scale_factor=2.0, mode="nearest")
        return torch.cat([x.mean((2, 3)), x.amax((2, 3)).unsqueeze(1).squeeze(1)], 1)


NETS = {"layers": small_cnn, "viewed": Viewed, "padded": Padded}


def export(model, x, path, dynamo, free_batch=True):
    """Write the file as a user would."""
    options = {"opset_version": 17}
    if dynamo and torch.__version__.startswith("2.9."):
        pytest.skip("the newer exporter of torch 2.9 fails to write these networks")
    if dynamo:
        options = {"dynamic_shapes": ({0: torch.export.Dim("batch")},) if free_batch else None, "opset_version": 18}
    elif free_batch:
        options["dynamic_axes"] = {"x": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), str(path), dynamo=dynamo, input_names=["x"], external_data=False, verbose=False, **options
        )
    return path


@pytest.mark.parametrize("free_batch", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_a_network_is_what_it_was_and_is_explained_completely(name, free_batch, tmp_path):
    model = randomise(NETS[name]().float())
    x = torch.randn(2 if free_batch else 1, 2, 9, 9)
    loaded = load_model(str(export(model, x, tmp_path / "net.onnx", False, free_batch)))
    for rows in (x, torch.randn(3, 2, 9, 9)):
        torch.testing.assert_close(loaded(rows), model(rows), rtol=1e-5, atol=1e-5)
        explanation = biasprop.explain(loaded, rows, target=1)
        assert explanation.completeness_error.max() < 1e-5
        torch.testing.assert_close(explanation.output, model(rows)[:, 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            explanation.weight, biasprop.explain(model, rows, target=1).weight, rtol=1e-4, atol=1e-5
        )
    assert not any(module.training for module in loaded.modules())


def test_the_other_exporter_too(tmp_path):
    pytest.importorskip("onnxscript")
    for name, make in (("layers", small_cnn), ("viewed", Viewed)):
        model = randomise(make().float())
        loaded = load_model(str(export(model, torch.randn(2, 2, 9, 9), tmp_path / f"{name}.onnx", dynamo=True)))
        x = torch.randn(3, 2, 9, 9)
        torch.testing.assert_close(loaded(x), model(x), rtol=1e-5, atol=1e-5)
        assert biasprop.explain(loaded, x, target=0).completeness_error.max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "alexnet", "mobilenet_v2"])
def test_networks_of_torchvision(name, tmp_path):
    models = pytest.importorskip("torchvision.models")
    model = randomise(models.get_model(name, weights=None))
    x = torch.randn(1, 3, *((224, 224) if name == "alexnet" else (64, 64)))
    for dynamo in (False, True):
        loaded = load_model(str(export(model, x, tmp_path / "net.onnx", dynamo, free_batch=False)))
        expected = model(x).detach()
        torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        assert biasprop.explain(loaded, x).completeness_error.max() < 1e-5


def written(path, nodes, weights=(), domain="", opset=17, **options):
    """A file of these operations, from x (N, 3) to y."""
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 3]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [*weights])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, **options)
    path.write_bytes(model.SerializeToString())
    return path


def test_names_are_not_source_code(tmp_path, capsys):
    """onnx2torch makes Python source with the names of the file in it."""
    evil = 'a") or print("code ran") or getattr(self, "a'
    nodes = [helper.make_node("Relu", ["x"], ["h"], name=evil), helper.make_node("Neg", ["h"], ["y"], name=evil)]
    loaded = load_onnx(written(tmp_path / "net.onnx", nodes))
    torch.testing.assert_close(loaded(torch.tensor([[-1.0, 0, 2]])), torch.tensor([[0.0, 0, -2]]))
    assert "code ran" not in capsys.readouterr().out
    assert all(part.isidentifier() for name, _ in loaded.named_modules() for part in name.split(".") if name)


def elsewhere(location):
    """Weights that lie in another file."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[3], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


ADD = [helper.make_node("Add", ["x", "w"], ["y"])]
CONSTANT = [helper.make_node("Constant", [], ["w"], value=elsewhere("secret.bin")), *ADD]
BRANCH = helper.make_node("If", ["x"], ["y"], then_branch=helper.make_graph([], "t", [], []))


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        (ADD, {"weights": [elsewhere("../secret.bin")]}, "keeps the weights 'w' in another file"),
        (ADD, {"weights": [elsewhere("/etc/hostname")]}, "keeps the weights 'w' in another file"),
        (CONSTANT, {}, "in another file"),
        (ADD, {"weights": [onnx.TensorProto(name="w", data_type=1, dims=[2**40], raw_data=bytes(12))]}, "Cannot read"),
        ([helper.make_node("Gelu", ["x"], ["y"])], {"opset": 20}, "the operation Gelu of opset 20"),
        ([helper.make_node("Evil", ["x"], ["y"], domain="own")], {"domain": "own"}, "operation 'Evil' of 'own'"),
        ([BRANCH], {}, "holds a graph of its own"),
        ([helper.make_node("Neg", ["nothing"], ["y"])], {}, "Cannot read"),
    ],
)
def test_refused(nodes, options, message, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    path = written(tmp_path / "net.onnx", nodes, **options)
    with pytest.raises(FileError, match=message) as caught:
        load_onnx(path)
    assert "net.onnx" in str(caught.value)


def test_what_is_no_onnx_file(tmp_path, monkeypatch):
    with pytest.raises(FileError, match="There is no file"):
        load_onnx(tmp_path / "no.onnx")
    path = tmp_path / "net.onnx"
    for content in (b"", b"\x00", b"no network" * 9, bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(FileError, match="net.onnx"):
            load_onnx(path)
    monkeypatch.setattr("biasprop.loading.onnx_file.LARGEST", 10)
    with pytest.raises(FileError, match="larger than 10 bytes"):
        load_onnx(path)


def test_without_its_packages(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"Reading ONNX files needs onnx.*biasprop\[onnx\]"):
        load_model(str(tmp_path / "net.onnx"))


def test_weights_that_are_cut_and_reshaped(tmp_path):
    """Constants are sizes for one operation and data for another."""
    numbers = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 6], [float(i) for i in range(12)])
    whole = {"start": [3], "end": [0], "axis": [1], "step": [-1], "shape": [1, 6], "wide": [1, 3]}
    sizes = [helper.make_tensor(name, onnx.TensorProto.INT64, [len(v)], v) for name, v in whole.items()]
    nodes = [
        helper.make_node("Slice", ["w", "start", "end", "axis", "step"], ["cut"]),
        helper.make_node("Reshape", ["cut", "shape"], ["row"]),
        helper.make_node("Slice", ["row", "axis", "start", "axis"], ["two"]),
        helper.make_node("Concat", ["two", "one"], ["three"], axis=1),
        helper.make_node("Reshape", ["three", "wide"], ["bias"]),
        helper.make_node("Add", ["x", "bias"], ["y"]),
    ]
    one = helper.make_tensor("one", onnx.TensorProto.FLOAT, [1, 1], [5.0])
    loaded = load_onnx(written(tmp_path / "net.onnx", nodes, weights=[numbers, one, *sizes]))
    x = torch.randn(2, 3)
    torch.testing.assert_close(loaded(x), x + torch.tensor([2.0, 1.0, 5.0]))
    assert biasprop.explain(loaded, x, target=1).bias.tolist() == [1.0, 1.0]
