"""The lowest versions come from pyproject.toml, and every requirement has one."""

import subprocess
import sys
import tomllib

import pytest

from scripts.lowest import PYPROJECT, lowest, requirements


@pytest.mark.parametrize(
    ("requirement", "line"),
    [
        ("torch>=2.9", "torch==2.9"),
        ("scikit-learn >= 1.4, <2", "scikit-learn==1.4"),
        ("numba[extra]>=0.61.0", "numba==0.61.0"),
        ("triton>=3.5; sys_platform == 'linux'", "triton==3.5; sys_platform == 'linux'"),
    ],
)
def test_a_lower_bound_becomes_a_pin(requirement, line):
    assert lowest(requirement) == line


@pytest.mark.parametrize("requirement", ["torch", "torch<3", "torch==2.9", "torch~=2.9"])
def test_without_a_lower_bound_it_is_refused(requirement):
    with pytest.raises(SystemExit, match="no lower bound"):
        lowest(requirement)


def test_extras_that_name_extras():
    groups = {
        "test": ["own[demo, vision]", "pytest>=8"],
        "demo": ["own[cli]"],
        "vision": ["timm>=1"],
        "cli": ["rich>=1"],
    }
    project = {"name": "own", "dependencies": ["torch>=2"], "optional-dependencies": groups}
    assert set(requirements(project, ["test"])) == {"torch>=2", "pytest>=8", "timm>=1", "rich>=1"}
    assert list(requirements(project, [])) == ["torch>=2"]
    with pytest.raises(SystemExit, match="no extra 'tests'"):
        list(requirements(project, ["tests"]))


def test_the_script_pins_all_that_the_tests_need():
    done = subprocess.run([sys.executable, PYPROJECT.parent / "scripts" / "lowest.py"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    assert {line.split("==")[0] for line in lines} >= {
        "torch",
        "numpy",
        "pytest",
        "captum",
        "scikit-learn",
        "torchvision",
    }
    assert len(lines) == len({lowest(r) for r in requirements(project, ["test"])})
