"""Image files: what the model sees is what torchvision would give it."""

import subprocess
import zlib

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


def png(path, width, height):
    """A grey PNG of one colour, a few hundred bytes however large."""

    def chunk(kind, content):
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + crc

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(bytes((width + 1) * height), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((40000, 1), {}, "resized to 256 on its short side the picture has 10240000 x 256 x 3 numbers, and at most"),
        ((1, 3_000_000), {}, "resized to 256 on its short side the picture has 256 x 768000000 x 3 numbers"),
        ((20000, 20000), {"resize": 0, "crop": 0}, "picture|Image size"),
        ((9, 9), {"resize": 10**9}, "resized to 1000000000"),
        ((9, 9), {"resize": 0, "crop": 10**9}, "cropped the picture has 1000000000 x 1000000000 x 3"),
    ],
)
def test_what_would_take_too_much_memory_is_refused_before_it_is_decoded(size, options, message, tmp_path, monkeypatch):
    def decode(*arguments, **more):
        raise AssertionError("decoded")

    path = png(tmp_path / "a.png", *size)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(FileError, match=message) as caught:
        read_image(path, Preparation(**options))
    assert "a.png" in str(caught.value)


def test_a_long_picture_within_the_bound(tmp_path):
    assert read_image(png(tmp_path / "a.png", 1000, 1), Preparation()).x.shape == (3, 224, 224)


def test_formats_that_are_programs_are_not_opened(tmp_path, monkeypatch):
    """Pillow would run Ghostscript on PostScript, whatever the file is called."""

    def start(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "check_call", start)
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(FileError, match="cannot identify image file"):
        read_image(tmp_path / "a.png", Preparation())


def test_no_file(tmp_path):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(FileError, match="a link that leads nowhere"):
        read_image(tmp_path / "loop.png", Preparation())
