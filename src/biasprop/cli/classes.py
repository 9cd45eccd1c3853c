"""Classes on the command line: their names, and which class an input belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FileError
from .inputs import Item

__all__ = ["Classes"]


@dataclass
class Classes:
    """Names of the classes in index order, and which class a file name belongs to."""

    names: list[str] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> "Classes":
        """One class a line: ``name``, or ``id name`` where file names begin with the id (as in ImageNet)."""
        if path is None:
            return cls()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"Cannot read the class names in {path}: {error}.") from error
        lines = [line.strip() for line in lines if line.strip()]
        names = [line.partition(" ")[2] or line for line in lines]
        return cls(names, {name: i for i, name in enumerate(names)} | {s.split()[0]: i for i, s in enumerate(lines)})

    @classmethod
    def of_folders(cls, inputs: Sequence[Path]) -> "Classes":
        """Without a file of classes: the sub-folders in alphabetical order, as torchvision's ImageFolder has it."""
        names = sorted({p.name for path in inputs if path.is_dir() for p in path.iterdir() if p.is_dir()})
        return cls(names, {name: i for i, name in enumerate(names)})

    def name(self, index: Any) -> str:
        """The name of a class, or its number."""
        if isinstance(index, int) and 0 <= index < len(self.names):
            return self.names[index].split(",")[0]
        return f"output {index}"

    def label(self, item: Item) -> int | None:
        """The true class: what the data say, or what the file or its folder is named after."""
        if isinstance(item.label, int):
            return item.label
        for part in (item.label, item.path.stem.split("_")[0], item.path.parent.name):
            if part in self.ids:
                return self.ids[part]
        return None
