"""The imports of the package point downwards, as docs/architecture.md draws them; no circle, no shadowed module."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import biasprop

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "biasprop"

FLOORS = (
    ("errors", "version"),
    ("allocation", "extras", "files", "garbage", "processes", "progress"),
    ("graph", "rules", "results"),
    ("engines", "kernels", "loading", "metrics", "report"),
    ("local_models",),
    ("operations",),
    ("modes",),
    ("propagation",),
    ("attribution",),
    ("auditing", "homogeneous"),
    ("datasets",),
    ("ray",),
    ("",),  # the one namespace that users see
    ("cli",),
    ("__main__",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``biasprop``."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, source: str) -> set[str]:
    """The modules of ours that a module imports: anywhere in it, also inside functions and for types alone."""
    package = name if MODULES.get(name, Path("x")).name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.ImportFrom):
            base = statement.module or ""
            if statement.level:
                above = package.split(".") if package else []
                above = above[: len(above) - (statement.level - 1)] if statement.level > 1 else above
                base = ".".join([*above, *([base] if base else [])])
            elif base.split(".")[0] == "biasprop":
                base = base.partition(".")[2]
            else:
                continue
            for alias in statement.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                found.add(inner if inner in MODULES else base)
        elif isinstance(statement, ast.Import):
            found |= {a.name.partition(".")[2] for a in statement.names if a.name.split(".")[0] == "biasprop"}
    return found - {name}


GRAPH = {name: imports(name, path.read_text()) for name, path in MODULES.items()}


def test_the_imports_are_found():
    assert imports("kernels.fused", "from . import cpu\nfrom ..rules import Form\nimport torch") == {
        "kernels.cpu",
        "rules",
    }
    assert imports("rules", "def f():\n    from .forms import Form") == {"rules.forms"}
    assert imports("cli.commands.demo", "from ... import explain\nfrom ...errors import A") == {"", "errors"}
    assert {name.partition(".")[0] for name in MODULES} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_downwards(name):
    room = name.partition(".")[0]
    for other in GRAPH[name]:
        there = other.partition(".")[0]
        assert there == room or FLOOR[there] < FLOOR[room], f"{name or 'biasprop'} imports {other}, which is not below"


def test_there_is_no_circle():
    open_, done = [], set()

    def visit(name):
        assert name not in open_, f"circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name in done:
            return
        open_.append(name)
        for other in sorted(GRAPH[name]):
            inside = other == name.partition(".")[0] and other != name  # a submodule's own package is not its user
            if not inside:
                visit(other)
        done.add(open_.pop())

    for name in sorted(MODULES):
        visit(name)


def test_the_picture_draws_every_folder_and_no_arrow_upwards():
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = dict(re.findall(r"^    (\w+)\[\"<b>(\w+)</b>", text, re.MULTILINE))
    assert set(drawn.values()) == {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    arrows = re.findall(r"^    (\w+) --> ([\w &]+)$", text, re.MULTILINE)
    assert len(arrows) == len(drawn) - 5  # engines, metrics, files, graph and rules use no other folder
    used = {(a.partition(".")[0], b.partition(".")[0]) for a, others in GRAPH.items() for b in others}
    for start, ends in arrows:
        for end in ends.split(" & "):
            assert (drawn[start], drawn[end]) in used, f"{start} does not use {end}"


def test_every_folder_says_what_lives_there():
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 60, name


def test_no_public_function_shadows_a_module():
    for package in [
        biasprop,
        *(
            importlib.import_module(f"biasprop.{n}")
            for n in MODULES
            if n and PACKAGE in MODULES[n].parents and MODULES[n].name == "__init__.py"
        ),
    ]:
        for inside in pkgutil.iter_modules(package.__path__):
            if hasattr(package, inside.name):
                assert type(getattr(package, inside.name)).__name__ == "module", f"{package.__name__}.{inside.name}"


def test_functions_fit_on_a_screen():
    """Compiled kernels aside, which Numba and Triton want whole."""
    for name, path in MODULES.items():
        if name.startswith(("kernels.cpu", "kernels.gpu")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno + 1 < 70, f"{name}.{node.name}"


def test_importing_it_imports_no_optional_package():
    optional = ("numba", "matplotlib", "typer", "rich", "PIL", "captum", "triton", "transformers")
    script = f"import sys, biasprop; print([m for m in {optional} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
