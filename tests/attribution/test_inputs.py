"""What must hold of an input, and which inputs one captured graph serves."""

import numpy as np
import pytest
import torch
from helpers import Two, build, randomise
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
        (torch.ones(1, 4, device="meta").double(), "ordinary dense tensor"),
    ],
)
def test_bad_inputs(x, message):
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    with pytest.raises(InputError, match=message):
        biasprop.explain(model, x)


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
