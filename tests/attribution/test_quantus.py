"""What Quantus is given; and Quantus itself, where it is installed."""

import numpy as np
import pytest
import torch
from helpers import small_cnn

import biasprop
from biasprop import InputError

X = np.random.default_rng(0).normal(size=(3, 2, 9, 9)).astype(np.float32)
Y = np.array([0, 1, 1])


def test_numpy_in_and_out():
    model = small_cnn().float()
    found = biasprop.quantus_explain(model, X, Y, device="cpu", method="whatever")
    expected = biasprop.explain(model, torch.from_numpy(X), torch.from_numpy(Y)).attribution
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy())
    options = {"rule": "bias3", "handover": "auto"}
    summed = biasprop.quantus_explain(model, X, None, explain_kwargs=options, sum_channels=True)
    expected = biasprop.explain(model, torch.from_numpy(X), **options).map()
    np.testing.assert_allclose(summed[:, 0], expected.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="arrays of numbers"):
        biasprop.quantus_explain(model, [["a"]], Y)


@pytest.mark.filterwarnings("ignore")
def test_quantus_itself():
    quantus = pytest.importorskip("quantus")
    model = small_cnn().float()
    asked = {"explain_func": biasprop.quantus_explain, "explain_func_kwargs": {"sum_channels": True}}
    quiet = {"disable_warnings": True, "display_progressbar": False}
    sparse = quantus.Sparseness(**quiet)(model, X, Y, **asked)
    maps = biasprop.explain(model, torch.from_numpy(X), torch.from_numpy(Y)).map()
    np.testing.assert_allclose(sparse, [biasprop.gini(one.flatten()).item() for one in maps.abs()], rtol=0.05)
    flipped = quantus.PixelFlipping(features_in_step=9, perturb_baseline="black", **quiet)(model, X, Y, **asked)
    assert np.shape(flipped) == (3, 18)  # channels one by one
    assert np.isfinite(flipped).all()
