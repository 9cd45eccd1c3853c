"""The documentation runs, and its tables are what the registry says."""

import re
from pathlib import Path

import torch
from helpers import contrast
from torch import nn

import biasprop
from biasprop.operations.__main__ import table

ROOT = Path(__file__).parents[1]


def blocks(mark: str) -> list[str]:
    """The code blocks of the README that follow a comment ``<!-- mark -->``."""
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3)).eval()
    x = torch.randn(2, 3, 28, 28)
    dataset = torch.utils.data.TensorDataset(x, torch.tensor([0, 1]))
    scope = {"model": model, "x": x, "loader": [(x, torch.tensor([0, 1]))], "dataset": dataset}
    examples = blocks("example")
    assert len(examples) == 4
    for example in examples:
        exec(example, scope)
    assert contrast(tmp_path / "explanation.png") > 10
    assert len(biasprop.load(tmp_path / "explanation.safetensors")) == 2
    assert "f(x)" in (tmp_path / "explanation.html").read_text()


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
