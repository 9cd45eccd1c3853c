"""What is printed: names from files are shown, and never obeyed by the terminal."""

import sys
from typing import TextIO

from ..report import shown

__all__ = ["say", "shown"]


def say(text: object, file: TextIO | None = None) -> None:
    """Print lines, as `shown` writes them, in letters that the terminal has."""
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    line = shown(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=file, flush=True)
