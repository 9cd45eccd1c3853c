"""What a folder of attributions is of: one job, told from all others by everything that changes its results."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import FileError, InputError
from ..files import write_atomically

__all__ = ["FORMAT", "Manifest"]

FORMAT = "biasprop-attributions-1"
LARGEST = 2**24  # bytes


@dataclass(frozen=True)
class Manifest:
    """A job.

    Attributes:
        version: of biasprop.
        network: fingerprint of the captured graph and the weights.
        data: what the data set is called.
        settings: rule, linearization, hand-over, preparation and the like, as plain values.
        example: shape of the first example, with which the network was captured, and its kind.
        features: names of the features of a table.
        classes: names of the classes.
    """

    version: str
    network: str
    data: str
    settings: dict[str, Any]
    example: dict[str, Any]
    features: list[str] | None
    classes: list[str]

    def write(self, path: Path) -> None:
        """Atomically, with a checksum.

        Raises:
            FileError: the folder cannot be written to.
        """
        content = asdict(self)
        text = json.dumps({"format": FORMAT, "sha256": _digest(content), **content}, indent=1, ensure_ascii=True)
        write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """What `write` wrote.

        Raises:
            FileError: it is missing, damaged, or something else.
        """
        try:
            if os.path.getsize(path) > LARGEST:
                raise ValueError(f"it has more than {LARGEST} bytes")
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
                raise ValueError(f"it is not of the format {FORMAT}")
            if content.pop("sha256", None) != _digest(content):
                raise ValueError("its content does not match its checksum")
            made = cls(**content)
            made._check()
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise FileError(
                f"Cannot read {path}: {error}. It must be the manifest of attributions that biasprop wrote."
            ) from error
        return made

    def _check(self) -> None:
        texts = (self.version, self.network, self.data)
        names = [*self.classes, *(self.features or [])]
        keeping = self.settings["keeping"]
        fits = (
            all(isinstance(one, str) for one in (*texts, *names))
            and isinstance(self.classes, list)
            and isinstance(self.features, list | None)
            and all(isinstance(keeping[name], bool) for name in ("half", "sources"))
            and isinstance(self.settings["terms"], bool)
            and isinstance(self.example["shape"], list)
        )
        if not fits:
            raise ValueError("a field has the wrong type")

    def require_same(self, other: "Manifest", folder: Path) -> None:
        """That this job is that of the folder.

        Raises:
            InputError: it is not; the message says in what it differs.
        """
        differences = [
            f"{what} ({_short(old)}, now {_short(new)})" for what, old, new in _compared(other, self) if old != new
        ]
        if differences:
            raise InputError(
                f"{folder} holds the attributions of another job; they differ in {'; '.join(differences)}. Choose "
                "another folder, or remove it."
            )


def _compared(old: Manifest, new: Manifest) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = [
        ("the version of biasprop", old.version, new.version),
        ("the data", old.data, new.data),
        ("the network or its weights", old.network, new.network),
        ("the features", old.features, new.features),
    ]
    for key in sorted({*old.settings, *new.settings}):
        one, two = old.settings.get(key), new.settings.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found += [(f"{key}.{name}", one.get(name), two.get(name)) for name in sorted({*one, *two})]
        else:
            found.append((key, one, two))
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
