"""What makes a release: the changelog's section, and workflows whose targets exist."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts.notes import notes

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_has_the_version():
    found = notes(VERSION)
    assert "### Added" in found
    assert "\n## " not in found
    with pytest.raises(SystemExit, match=rf"pyproject.toml says {re.escape(VERSION)}, not 9.9.9"):
        notes("9.9.9")


def test_the_workflows_call_targets_that_are_there():
    yaml = pytest.importorskip("yaml")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    jobs = ci["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert {job["target"] for job in jobs} <= targets
    assert {job["python"] for job in jobs if job["target"] == "test"} == {"3.11", "3.12", "3.13"}
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    said = [step.get("run", "") for step in release["jobs"]["build"]["steps"]]
    assert any("make wheel" in line for line in said)
    assert any("scripts/notes.py" in line for line in said)


def test_it_is_typed_and_its_pages_are_packaged():
    for name in ("py.typed", "report/page/page.css", "report/page/page.js"):
        assert (ROOT / "src" / "biasprop" / name).is_file()
