"""Texts: files with one a line, and texts that are given as they are."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import FileError, InputError
from .items import Item, Preparation

__all__ = ["count_lines", "line_items", "text_items"]

LARGEST_FILE = 2**30  # bytes


def count_lines(path: Path, preparation: Preparation) -> int:
    """How many examples `line_items` gives."""
    return len(range(len(_lines(path)))[preparation.rows])


def line_items(path: Path, preparation: Preparation) -> Iterator[Item]:
    """The lines of a file but the blank ones, each a text.

    Raises:
        FileError: the file cannot be read as text.
        InputError: there is no tokenizer, or a text is longer than it takes.
    """
    lines = _lines(path)
    for row in range(len(lines))[preparation.rows]:
        yield _item(f"{path.stem}_{row}", path, lines[row], preparation, f"{path}, text {row}")


def text_items(texts: Sequence[str], preparation: Preparation) -> Iterator[Item]:
    """Texts that are given as they are.

    Raises:
        InputError: there is no tokenizer, or a text is empty or longer than the model takes.
    """
    for i, text in enumerate(texts):
        yield _item(f"text_{i}", Path("text"), text, preparation, f"Text {i}")


def _item(name: str, path: Path, text: str, preparation: Preparation, where: str) -> Item:
    if preparation.encoder is None:
        raise InputError(
            f"{where} is a text, and there is no tokenizer that reads it: 'biasprop explain' takes texts with --model "
            "hf:FOLDER (transformers)."
        )
    return Item(name, path, preparation.encoder.ids(text, where), text=text)


def _lines(path: Path) -> list[str]:
    try:
        if not os.path.isfile(path):
            raise FileNotFoundError("there is no such file")
        if path.stat().st_size > LARGEST_FILE:
            raise OSError(f"it has more than {LARGEST_FILE} bytes")
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"Cannot read the texts in {path}: {error}.") from error
    found = [line for line in lines if line]
    if not found:
        raise InputError(f"{path} holds no text: write one a line.")
    return found
