"""Classes of the inputs: their names, and which class an input belongs to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import FileError, InputError
from .folders import images_below, is_image
from .items import Item

__all__ = ["Classes"]


@dataclass
class Classes:
    """Names of the classes in index order, and by which words an input is known to belong to one.

    ``prefixes``: whether file names begin with the id of their class.
    """

    names: list[str] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    prefixes: bool = False

    @classmethod
    def read(cls, path: Path | None) -> "Classes":
        """One class a line: ``name``, or ``id name`` where file names begin with the id (as in ImageNet)."""
        if path is None:
            return cls()
        try:
            if not os.path.isfile(path):
                raise FileNotFoundError("there is no such file")
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"Cannot read the class names in {path}: {error}.") from error
        lines = [line.strip() for line in lines if line.strip()]
        names = [line.partition(" ")[2] or line for line in lines]
        words = [names, lines, [line.split()[0] for line in lines]]
        return cls(names, {word: i for kind in words for i, word in enumerate(kind)}, prefixes=True)

    @classmethod
    def of_folders(cls, inputs: Sequence[Path], skip: Path | None = None) -> "Classes":
        """Without a file of classes: the sub-folders that hold images, in alphabetical order, as in torchvision."""
        inside = [image.relative_to(path).parts for path in inputs for image in images_below(path, skip)]
        names = sorted({parts[0] for parts in inside if len(parts) > 1})
        return cls(names, {name: i for i, name in enumerate(names)})

    def name(self, index: Any) -> str:
        """The name of a class, or its number."""
        if isinstance(index, int) and 0 <= index < len(self.names):
            return self.names[index].split(",")[0] or self.names[index]
        return f"output {index}"

    def index(self, name: str) -> int:
        """The class that is called so: by any of the names of its line, whatever the case of letters.

        Raises:
            InputError: there is none, or several.
        """
        wanted = name.strip().casefold()
        words = [{word.strip().casefold() for word in (line, *line.split(","))} for line in self.names]
        found = [i for i, some in enumerate(words) if wanted in some]
        if len(found) == 1:
            return found[0]
        near = get_close_matches(wanted, [word for some in words for word in some], n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        many = f"several, {', '.join(map(str, found[:5]))}: give its index." if found else f"no class.{hint}"
        raise InputError(f"{name.strip()!r} is the name of {many}")

    def label(self, item: Item) -> int | None:
        """The true class: what an array or table says; what an image's folder, or its name, is called after."""
        if item.label is not None:
            named = self.ids.get(str(item.label))
            return item.label if named is None and isinstance(item.label, int) else named
        if not is_image(item.path):
            return None
        folders = [self.ids[part] for part in item.path.parts[-2::-1] if part in self.ids]
        return folders[0] if folders else self.ids.get(item.path.stem.split("_")[0]) if self.prefixes else None
