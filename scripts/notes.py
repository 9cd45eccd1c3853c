"""Print the notes of a release: its section of the changelog; pyproject.toml must say the same version."""

import re
import sys
import tomllib
from pathlib import Path

__all__ = ["notes"]

ROOT = Path(__file__).parents[1]


def notes(version: str) -> str:
    """The section of a version, without its heading.

    Raises:
        SystemExit: pyproject.toml has another version, or the changelog no dated section of it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if project["version"] != version:
        raise SystemExit(f"pyproject.toml says {project['version']}, not {version}.")
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if found is None:
        raise SystemExit(f"CHANGELOG.md has no section '## [{version}] - YEAR-MONTH-DAY'.")
    return found[1].strip()


if __name__ == "__main__":
    print(notes(sys.argv[1]))
