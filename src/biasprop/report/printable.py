"""Text of others as it can be printed: shown, and never obeyed by a terminal."""

import unicodedata

__all__ = ["shown"]

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's kinds of characters that have no picture: control characters, marks that turn the direction, halves."""


def shown(text: object, keep: str = "") -> str:
    r"""The text with everything escaped, as ``\x1b``, that a terminal would obey or cannot show.

    Args:
        text: e.g. a file's name, a token, or a message with names in it.
        keep: characters that stay as they are.
    """
    letters = (c if c in keep or unicodedata.category(c) not in UNSEEN else _escaped(c) for c in str(text))
    return "".join(letters)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
