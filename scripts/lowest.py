"""The lowest versions that pyproject.toml allows, as constraints for pip.

    python scripts/lowest.py [EXTRA ...] > constraints.txt      # `test`, if none is named
    pip install -e '.[test]' -c constraints.txt

Needs Python 3.11 and nothing else. A requirement without a lower bound is an error: nobody knows whether it holds.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["lowest", "requirements"]

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements(project: Mapping[str, Any], extras: Sequence[str]) -> Iterator[str]:
    """What the project needs, with these extras, and with the extras that they name in turn."""
    yield from project["dependencies"]
    groups, wanted = project.get("optional-dependencies", {}), list(extras)
    for extra in wanted:  # grows while it is read
        if extra not in groups:
            raise SystemExit(f"pyproject.toml has no extra {extra!r}. There are: {', '.join(groups)}.")
        for requirement in groups[extra]:
            own = re.fullmatch(rf"\s*{re.escape(project['name'])}\s*\[([^]]*)\]\s*", requirement)
            if own is None:
                yield requirement
            else:
                wanted += [name for name in re.split(r"[\s,]+", own[1].strip()) if name not in wanted]


def lowest(requirement: str) -> str:
    """``name==version`` of a requirement ``name>=version``; a marker is kept, an upper bound is not needed."""
    found = re.fullmatch(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*>=\s*([\w.]+)\s*(?:,[^;]*)?(;.*)?", requirement)
    if found is None:
        raise SystemExit(f"{requirement!r} in pyproject.toml has no lower bound of the form name>=version.")
    name, version, marker = found.groups()
    return f"{name}=={version}{marker or ''}"


def main() -> None:
    """Print a line for each requirement."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    print(*sorted({lowest(r) for r in requirements(project, sys.argv[1:] or ["test"])}, key=str.lower), sep="\n")


if __name__ == "__main__":
    main()
