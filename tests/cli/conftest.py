import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import randomise
from PIL import Image
from safetensors.torch import save_file
from toys import mlp, net

from biasprop.cli import main


@pytest.fixture(autouse=True)
def _closed(nothing_left_open):
    """Here each test."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model's weights, images and tables; the current folder of the test."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    save_file(randomise(net()).state_dict(), tmp_path / "net.safetensors")
    save_file(randomise(mlp()).state_dict(), tmp_path / "mlp.safetensors")
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("n01_cat", "n02_dog"):
        pixels = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("n01 cat, tom\nn02 dog\nn03 hen\n")
    (tmp_path / "table.csv").write_text(",age,weight,height\n0,30,70,1.8\n1,40,,1.6\n2,50,60,1.7\n")
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """The command line: from arguments to exit status, standard output and standard error."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["biasprop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
            sys.exit(0)
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return command
