"""Every block of code in the documentation runs, or says why not; the README's own are in test_docs.py.

The blocks of a page share one namespace, and a folder of their own. What they take for granted (``model``, ``x``, ...)
is prepared here, by page. A comment before a block says what else is expected of it: ``<!-- not run: REASON -->``, or
``<!-- fails: 2 -->``, the exit status of a command.
"""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import classifier, wordpiece
from helpers import randomise
from PIL import Image
from torch import nn

import biasprop
from biasprop.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"])
LANGUAGES = {"python", "sh"}
SHOWN = {"diff", "json", "mermaid"}  # no code to be run; test_extending.py applies the differences
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    language: str
    code: str
    mark: str
    line: int

    @property
    def runs(self) -> bool:
        return self.language in LANGUAGES and not self.mark.startswith("not run: ")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["code"], found["mark"] or "", text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def photos(folder: Path) -> Path:
    """Small pictures of two classes."""
    generator = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / "photos" / kind).mkdir(parents=True)
        for k in range(2):
            pixels = generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{k}.png")
    return folder / "photos"


def images(folder: Path) -> dict[str, Any]:
    """A classifier of pictures, whose maps can be handed over."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    x = torch.randn(2, 3, 16, 16)
    labels = torch.tensor([0, 1])
    return {"model": randomise(model).eval(), "x": x, "labels": labels, "loader": [(x, labels)]}


def rows(folder: Path) -> dict[str, Any]:
    """A classifier of rows, and a data set."""
    model = randomise(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))).eval()
    x, labels = torch.randn(12, 6), torch.arange(12) % 3
    return {"model": model, "x": x, "dataset": torch.utils.data.TensorDataset(x, labels)}


def photos_of_classes(folder: Path) -> dict[str, Any]:
    """The same, with the photo of an example and names of the classes."""
    scope = images(folder)
    x = torch.rand(1, 3, 16, 16)
    return scope | {"x": x, "photo": x[0].permute(1, 2, 0).numpy(), "names": ["cat", "dog", "hen"]}


def sentences(folder: Path) -> dict[str, Any]:
    """A small classifier of sentences, of transformers."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    classifier(folder / "bert")
    wordpiece(folder / "bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "bert").eval()
    texts = ["the film was good", "dull"]
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder / "bert"), "texts": texts}


def one_downloaded(folder: Path) -> dict[str, Any]:
    """Images, and a small network (of random weights) where torchvision keeps what it has downloaded."""
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    keep(folder, SqueezeNet1_1_Weights.DEFAULT.url, randomise(squeezenet1_1()))
    return images(folder)


def keep(folder: Path, url: str, model: nn.Module) -> None:
    """As torchvision does."""
    target = folder / "torch" / "hub" / "checkpoints" / url.rpartition("/")[2]
    target.parent.mkdir(parents=True)
    torch.save(model.state_dict(), target)


def files_of_networks(folder: Path) -> dict[str, Any]:
    """A network, written down in the formats that the page opens."""
    scope = images(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is the older exporter, which all versions of torch have
        torch.onnx.export(scope["model"], (scope["x"],), str(folder / "net.onnx"), dynamo=False, opset_version=17)
    torch.export.save(torch.export.export(scope["model"], (scope["x"],)), folder / "net.pt2")
    np.save(folder / "x.npy", scope["x"].numpy())
    return scope


def images_for_quantus(folder: Path) -> dict[str, Any]:
    """Quantus is imported here, where the faults of its own files are no errors of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("quantus")
    return images(folder)


def downloaded(folder: Path) -> dict[str, Any]:
    """Photos, and a network (of random weights) where torchvision keeps what it has downloaded."""
    from torchvision.models import ResNet50_Weights, resnet50

    photos(folder)
    keep(folder, ResNet50_Weights.DEFAULT.url, resnet50())
    return {}


PREPARED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "docs/index.md": images,
    "docs/maps.md": photos_of_classes,
    "docs/transformers.md": sentences,
    "docs/bias-free.md": one_downloaded,
    "docs/concepts/which.md": images,
    "docs/concepts/mostly-bias.md": images,
    "docs/howto/rule.md": images,
    "docs/howto/captum.md": lambda folder: images(folder) | {"torch": torch},
    "docs/howto/quantus.md": images_for_quantus,
    "docs/howto/ray.md": rows,
    "docs/howto/security.md": files_of_networks,
    "docs/scale.md": downloaded,
}
"""What a page takes for granted. Pages that are not here bring all that they need."""

ON_RAY = {"docs/howto/ray.md"}
SLOW = {"docs/scale.md"}
RUN = [
    pytest.param(page, marks=[pytest.mark.slow] if name_of(page) in SLOW else [], id=name_of(page))
    for page in PAGES
    if any(block.runs for block in blocks(page)) and name_of(page) not in ON_RAY
]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run(page, folder, monkeypatch):
    run_page(page, folder, monkeypatch.setattr)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", sorted(ON_RAY))
def test_the_blocks_that_start_ray_run(name, folder):
    """In a process of its own, so that nothing of Ray is left here."""
    code = "\n".join(
        [
            "import logging, sys, ray, torch",
            "from pathlib import Path",
            "import test_pages",
            "ray.init(num_cpus=2, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)",
            "scope = test_pages.run_page(test_pages.ROOT / sys.argv[1], Path(), setattr)",
            "assert len(scope['explained'].take_all()) == 8",
        ]
    )
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, name],
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def run_page(page: Path, folder: Path, setattr_: Callable[..., None]) -> dict[str, Any]:
    """Run the blocks of a page in their order, in the current folder; returns its namespace."""
    torch.manual_seed(0)
    scope: dict[str, Any] = {"__name__": "page"} | PREPARED.get(name_of(page), lambda _: {})(folder)
    for block in blocks(page):
        where = f"{name_of(page)}:{block.line}"
        if block.runs and block.language == "python":
            padded = "\n" * (block.line - 1) + block.code  # a traceback names the line of the page
            exec(compile(padded, str(page), "exec"), scope)
        elif block.runs:
            expected = int(block.mark.removeprefix("fails: ")) if block.mark.startswith("fails: ") else 0
            for command in commands(block.code):
                assert command[0] == "biasprop", f"{where}: {command[0]} is no command of ours; mark the block"
                setattr_(sys, "argv", command)
                assert status(main) == expected, f"{where}: {shlex.join(command)}"
    return scope


def commands(code: str) -> list[list[str]]:
    """The commands of a block, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def status(command: Callable[[], None]) -> int:
    try:
        command()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_is_silently_left_out(page):
    """A fence that the pattern does not find, a language that nobody runs, and a mark that says nothing are errors."""
    found = blocks(page)
    fences = re.findall(r"^\s*(?:```|~~~)", page.read_text(encoding="utf-8"), re.M)
    assert len(fences) == 2 * len(found)
    for block in found:
        where = f"{name_of(page)}:{block.line}"
        assert block.language in LANGUAGES | SHOWN, f"{where}: what is {block.language!r}?"
        assert re.fullmatch(r"|fails: \d|not run: .{6,}", block.mark), f"{where}: {block.mark!r}"


def test_the_blocks_that_do_not_run_are_these():
    """Each new one is a decision: make it run, or count it here."""
    left = {
        name_of(page): sum(block.language in LANGUAGES and not block.runs for block in blocks(page)) for page in PAGES
    }
    assert {name: count for name, count in left.items() if count} == {
        "CONTRIBUTING.md": 1,
        "docs/howto/ray.md": 1,
        "docs/installing.md": 3,
        "docs/scale.md": 2,
        "docs/start.md": 1,
        "experiments/README.md": 1,
    }


def test_a_prepared_page_is_there_and_has_code():
    assert set(PREPARED) | ON_RAY <= {name_of(page) for page in PAGES if any(block.runs for block in blocks(page))}


NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs_and_end_with_what_to_do_next(path):
    """``make docs`` runs them; a cell that raises stops it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    for cell in cells:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
        compile_cell(cell)
    assert "".join(cells[0]["source"]).startswith("# ")
    assert "## What next" in "".join(cells[-1]["source"])
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}


def compile_cell(cell: dict[str, Any]) -> None:
    source = "".join(cell["source"])
    if cell["cell_type"] == "code":
        compile(re.sub(r"^%.*$", "", source, flags=re.M), "cell", "exec")


def test_links_of_all_pages_lead_somewhere():
    """Between files, also of notebooks and of pages outside ``docs``; ``make docs`` looks at anchors, too."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts[path] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    count = 0
    for page, text in texts.items():
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[\w.-]+)?\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
            if "://" in link:
                continue
            count += 1
            assert (page.parent / link).exists(), f"{name_of(page)} links to {link}"
    assert count > 100


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    named = set(re.findall(r"^::: (\S+)$", pages, re.M))
    for name in biasprop.__all__:
        if name != "__version__":
            assert f"biasprop.{name}" in named or f"biasprop.{name}." in pages, name
    whole = {f"biasprop.{module}" for module in ("metrics", "operations")}
    assert whole <= named
    assert {f"biasprop.rules.{name}" for name in biasprop.rules.__all__ if name not in ("NAMES", "Form")} <= named
    assert "biasprop.ray.Explain" in named
