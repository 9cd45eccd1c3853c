"""Texts: files with one a line, and texts that are given as they are."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import FileError, InputError
from .items import Item, Preparation

__all__ = ["TextLines", "text_item", "text_items"]

LARGEST_FILE = 2**30  # bytes


class TextLines(Sequence[Item]):
    """The lines of a file but the blank ones, each a text."""

    def __init__(self, path: Path, preparation: Preparation) -> None:
        """Reads the file.

        Raises:
            FileError: it cannot be read as text.
            InputError: it holds none.
        """
        self.path, self.preparation, self.lines = path, preparation, _lines(path)
        self.rows = range(len(self.lines))[preparation.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """A text.

        Raises:
            InputError: there is no tokenizer, or the text is longer than it takes.
        """
        row = self.rows[index]
        made = text_item(
            f"{self.path.stem}_{row}", self.path, self.lines[row], self.preparation, f"{self.path}, text {row}"
        )
        return replace(made, row=row)


def text_items(texts: Sequence[str], preparation: Preparation) -> Iterator[Item]:
    """Texts that are given as they are.

    Raises:
        InputError: there is no tokenizer, or a text is empty or longer than the model takes.
    """
    for i, text in enumerate(texts):
        yield text_item(f"text_{i}", Path("text"), text, preparation, f"Text {i}")


def text_item(name: str, path: Path, text: str, preparation: Preparation, where: str) -> Item:
    """A text as an example.

    Raises:
        InputError: there is no tokenizer, or the text is empty or longer than the model takes.
    """
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
