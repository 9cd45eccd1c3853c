"""The documentation runs, and its tables are what the registry says."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from helpers import contrast
from torch import nn

import biasprop
from biasprop.cli import main
from biasprop.operations.__main__ import table
from scripts import caches

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(mark: str) -> list[str]:
    """The code blocks of the README that follow a comment ``<!-- mark -->``."""
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)


def test_the_readmes_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3)).eval()
    x = torch.randn(2, 3, 28, 28)
    dataset = torch.utils.data.TensorDataset(x, torch.tensor([0, 1]))
    scope = {"model": model, "x": x, "loader": [(x, torch.tensor([0, 1]))], "dataset": dataset}
    examples = blocks("example")
    assert len(examples) == 2
    for example in examples:
        exec(example, scope)
    assert contrast(tmp_path / "explanation.png") > 10
    assert len(biasprop.load(tmp_path / "explanation.safetensors")) == 2
    assert "f(x)" in (tmp_path / "explanation.html").read_text()


def test_the_photo_at_the_top_is_explained_as_it_says(tmp_path, data, monkeypatch, capsys):
    """Its Python and its commands, with the network that torchvision would download."""
    caches.main(tmp_path / "torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (block,) = blocks("photo")
    exec(block, {})
    said = capsys.readouterr().out
    assert "espresso 83 %: f(x) = 28.93 = w.x 3.747 + b 25.18 (b is 87 % of f)" in said
    assert contrast(tmp_path / "coffee.png") > 10
    assert "espresso 83 %" in (tmp_path / "coffee.html").read_text()
    commands = [line for line in README.replace("\\\n", " ").splitlines() if "explain docs/photos" in line]
    assert len(commands) == 3
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit, match="^0$"):
            main()
    said = capsys.readouterr().out
    assert "coffee: predicted espresso 83 %, f(x) = 28.93" in said
    assert "coffee: espresso - cup" in said
    assert (tmp_path / "biasprop-out" / "coffee.html").exists()


def test_two_commands_do_everything_and_ci_runs_the_second():
    assert blocks("demo") == ["make demo\n"]
    assert blocks("tests") == ["make test\n"]
    assert 'eval "$(block tests)"' in (ROOT / ".ci" / "run").read_text()
    targets = (ROOT / "Makefile").read_text()
    assert "\ndemo: $(VENV)/.demo" in targets
    assert "\ntest: $(VENV)/.test" in targets


def test_links_between_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)?(?:#[\w-]+)?\)", page.read_text())]
    assert len(links) > 20
    for page, link in links:
        if link and not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_table_of_operations_is_generated():
    path = ROOT / "docs" / "operations.md"
    assert path.read_text() == table(), "run: python -m biasprop.operations > docs/operations.md"
