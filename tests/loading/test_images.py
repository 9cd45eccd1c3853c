"""Image files: what the model sees is what torchvision would give it."""

import numpy as np
import pytest
import torch
from PIL import Image

from biasprop import FileError
from biasprop.loading import IMAGENET_MEAN, IMAGENET_STD, Preparation
from biasprop.loading.images import read_image


def test_images_are_prepared_as_torchvision_does(tmp_path):
    transforms = pytest.importorskip("torchvision").transforms
    compose = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    path = tmp_path / "one.png"
    for size in ((300, 200), (201, 333), (64, 64)):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
        with Image.open(path) as opened:
            expected = compose(opened.convert("RGB"))
        torch.testing.assert_close(read_image(path, Preparation()).x, expected, rtol=0, atol=1e-6)


def test_images_with_16_bits_are_scaled_and_with_32_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "a.png")
    x = read_image(tmp_path / "a.png", Preparation(0, 0, (0.0,), (1.0,), grey=True)).x
    assert x.mean() == pytest.approx(0.5, abs=0.01)
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(FileError, match="32-bit"):
        read_image(tmp_path / "a.tif", Preparation())
