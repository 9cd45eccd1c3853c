"""The command line as a whole: its subcommands, groups of options, and what it says where packages are missing."""

import inspect
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from typing import Annotated

import pytest
import typer

import biasprop
import biasprop.cli
from biasprop.cli.application import subcommands
from biasprop.cli.groups import with_groups


def python(code, *arguments):
    """A fresh interpreter that runs the code."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_help_names_the_commands(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "explain" in out
    assert "demo" in out


def test_every_module_of_commands_is_a_subcommand(run):
    found = [module.__name__.rpartition(".")[2] for module in subcommands()]
    assert found == ["audit", "compile", "demo", "explain", "map", "report", "summarize", "xdnn"]
    for name in found:
        status, out, err = run(name, "--help")
        assert status == 0, err
        assert "Usage" in out


def test_version(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out == f"biasprop {biasprop.__version__}\n"


def test_python_m_is_the_command_line():
    command = [sys.executable, "-m", "biasprop", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("biasprop ")


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("typer", "The command line needs typer"),
        ("rich", "The command line needs rich"),
        ("PIL", "Reading images needs Pillow"),
        ("matplotlib", "Drawing needs matplotlib"),
    ],
)
def test_a_missing_package_is_one_message(hidden, message, run, monkeypatch):
    monkeypatch.setitem(sys.modules, hidden, None)
    status, out, err = run("explain", "--help")
    assert status == 2
    assert err == f"error: {message}, which is not installed: pip install 'biasprop[cli]'.\n"
    assert not out


BARE = """
import sys
for name in ("matplotlib", "PIL", "typer", "rich", "torchvision", "timm", "sklearn", "pyarrow", "captum", "scipy"):
    sys.modules[name] = None
import torch
import biasprop
import biasprop.cli
import biasprop.loading
model = torch.nn.Linear(2, 1).eval()
x = torch.ones(3, 2)
print(biasprop.audit(model, [(x, torch.ones(3, dtype=torch.long))]).classes.shape)
"""


@pytest.mark.slow
def test_the_library_needs_none_of_them():
    done = python(BARE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "torch.Size([3, 3])\n"


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="In pixels.", min=1)]
    height: Annotated[int, typer.Option()] = 2


def test_a_group_of_options_is_spelled_out_and_handed_over():
    @with_groups
    def command(name: str, size: Size, *, loud: bool = False) -> tuple[str, Size, bool]:
        return name, size, loud

    assert list(inspect.signature(command).parameters) == ["name", "width", "height", "loud"]
    assert inspect.signature(command).parameters["height"].default == 2
    assert command(name="a", width=1, height=3, loud=True) == ("a", Size(1, 3), True)
    with pytest.raises(TypeError, match="spells height, width twice"):

        @with_groups
        def twice(one: Size, other: Size) -> None: ...


def test_no_function_hides_a_module_of_its_name():
    for package in (biasprop.cli, import_module("biasprop.loading"), import_module("biasprop.metrics")):
        for found in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(found.name)
            parent, _, name = found.name.rpartition(".")
            assert inspect.ismodule(getattr(sys.modules[parent], name)), found.name
