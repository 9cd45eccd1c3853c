"""What must hold of an input, and which inputs one captured graph serves."""

import numpy as np
import pytest
import torch
from helpers import Two, build, randomise, small_cnn
from torch import nn

import biasprop
from biasprop import InputError


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((1, 4), torch.nan).double(), "NaN or infinite"),
        (torch.tensor([[1.0, 2, torch.inf, 4]]).double(), "NaN or infinite"),
        (torch.ones(1, 4, dtype=torch.long), "floating point"),
        (torch.ones(0, 4).double(), "at least one example"),
        (torch.tensor(1.0).double(), "at least one example"),
        (torch.ones(1, 4), r"is torch.float32, the model torch.float64.*x\.to"),
        (np.ones((1, 4)), "must be a torch.Tensor"),
        (torch.ones(1, 4, device="meta").double(), "ordinary dense tensor: build it with values"),
        (torch.ones(1, 4, dtype=torch.complex64), r"not torch.complex64: .*two channels, torch\.view_as_real\(x\)"),
        (torch.ones(1, 4).to(torch.float8_e4m3fn), r"not torch.float8_e4m3fn: use x\.float\(\)\."),
        (torch.ones(1, 4, dtype=torch.uint8), r"not torch.uint8: use x\.float\(\) after scaling it"),
    ],
)
def test_bad_inputs(x, message):
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    with pytest.raises(InputError, match=message):
        biasprop.explain(model, x)


@pytest.mark.filterwarnings("ignore")  # torch's own, of what it deprecates or calls a prototype
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(1, 4).double().to_sparse(), r"ordinary dense tensor: use x\.to_dense\(\)"),
        (lambda: torch.ones(1, 4).to_mkldnn(), r"ordinary dense tensor: use x\.to_dense\(\)"),
        (
            lambda: torch.nested.nested_tensor([torch.ones(4)], layout=torch.jagged),
            "a nested tensor has examples of several",
        ),
        (
            lambda: torch.quantize_per_tensor(torch.ones(1, 4), 0.1, 0, torch.quint8),
            r"use x\.dequantize\(\)",
        ),
    ],
)
def test_tensors_of_other_kinds(make, message):
    with pytest.raises(InputError, match=message):
        biasprop.explain(nn.Linear(4, 2).eval(), make())


def test_wrong_shape_and_different_batches():
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    with pytest.raises(biasprop.CaptureError, match=r"shape \(1, 5\)"):
        biasprop.explain(model, torch.ones(1, 5).double())
    with pytest.raises(InputError, match="different batch sizes"):
        biasprop.explain(Two().eval(), (torch.ones(2, 3), torch.ones(3, 4, 5)))


def test_structure_of_extra_arguments_is_part_of_the_capture():
    class Options(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x, options):
            y = self.linear(x)
            return y * options["scale"] if "scale" in options else y + options["shift"]

    model, x = randomise(Options()), torch.randn(2, 3)
    explainer = biasprop.Explainer(model)
    for options in ({"scale": 2.0}, {"shift": 2.0}, {"scale": 3.0}):
        explanation = explainer(x, 0, additional_forward_args=(options,))
        torch.testing.assert_close(explanation.output, model(x, options)[:, 0].detach())


def test_an_explanation_does_not_change_with_the_callers_tensor():
    model, x = build(torch.relu)
    explanation = biasprop.explain(model, x, 0)
    x.zero_()
    assert explanation.completeness_error.max() < 1e-12


def test_token_ids_are_not_to_be_made_floating():
    model = nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(12, 2)).eval()
    ids = torch.zeros(1, 4, dtype=torch.long)
    explanation = biasprop.explain(model, ids)
    embedded = model[0](ids).detach()
    expected = biasprop.explain(model[1:], embedded)
    torch.testing.assert_close(explanation.weight, expected.weight)
    torch.testing.assert_close(explanation.bias_attribution, expected.bias_attribution)
    with pytest.raises(InputError, match=r"token ids are integers of 64 or 32 bits, x.long\(\)"):
        biasprop.explain(model, ids.short())
    with pytest.raises(InputError, match="The id 10 is outside of the vocabulary of '0', which has 10"):
        biasprop.explain(model, ids + 10)


def convnet(normalised=True):
    layers = [nn.Conv2d(3, 4, 3), *([nn.BatchNorm2d(4)] if normalised else []), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return randomise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)))


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (convnet(), torch.randn(3, 8, 8)),
        (convnet(False), torch.randn(3, 8, 8)),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.randn(1, 8, 8)),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), torch.randn(2, 8)),
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(4)),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(4)),
        (nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(1)),
        (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)), torch.randn(4)),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(2, 3, 1)), torch.randn(2, 8, 8)),
    ],
)
def test_a_single_example_without_a_batch_is_told_how_to_make_one(model, x):
    with pytest.raises(InputError, match=r"no dimension of examples.*a batch of one with x\[None\]"):
        biasprop.explain(model.eval(), x, 0)
    target = (0,) * (model(x[None]).dim() - 1)
    assert biasprop.explain(model, x[None], target).completeness_error.max() < 1e-5


def test_a_batch_that_looks_like_a_single_example_is_explained():
    class Unsqueezes(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.unsqueeze(1)).flatten(1)

    for inner, x in ((nn.Conv2d(1, 2, 3), torch.randn(1, 8, 8)), (nn.Linear(1, 3), torch.randn(1))):
        model = Unsqueezes(inner).eval()
        torch.testing.assert_close(biasprop.explain(model, x, 0).output, model(x)[:, 0].detach())


def test_a_default_device_without_values_does_not_matter():
    model, x = small_cnn(), torch.randn(2, 2, 9, 9).double()
    expected = biasprop.explain(model, x, 0)
    torch.set_default_device("meta")
    try:
        found = biasprop.explain(model, x, 0)
    finally:
        torch.set_default_device(None)
    assert torch.equal(found.attribution, expected.attribution)
