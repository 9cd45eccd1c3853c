"""What is printed: names from files are shown, and never obeyed by the terminal."""

import sys
import unicodedata
from typing import TextIO

__all__ = ["say", "shown"]

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's kinds of characters that have no picture: control characters, marks that turn the direction, halves."""


def shown(text: object, keep: str = "") -> str:
    r"""The text with everything escaped, as ``\x1b``, that a terminal would obey or cannot show.

    Args:
        text: e.g. a file's name, or a message with names in it.
        keep: characters that stay as they are.
    """
    letters = (c if c in keep or unicodedata.category(c) not in UNSEEN else _escaped(c) for c in str(text))
    return "".join(letters)


def say(text: object, file: TextIO | None = None) -> None:
    """Print lines, shown as above, in letters that the terminal has."""
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    line = shown(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=file, flush=True)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
