"""Reading a ``torch.export`` file (``.pt2``) from a stranger.

``torch.export.load`` unpickles some payloads, loads compiled libraries, and evaluates size expressions; so the archive
is looked through first and refused if it holds anything but JSON, raw tensors and plain size expressions.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import FileError

__all__ = ["load_exported"]

SIZE_NAMES = frozenset(
    [
        "Mod",
        "FloorDiv",
        "CeilDiv",
        "PythonMod",
        "CleanDiv",
        "Max",
        "Min",
        "TrueDiv",
        "IntTrueDiv",
        "Eq",
        "Ne",
        "Le",
        "Lt",
        "Ge",
        "Gt",
        "And",
        "Or",
        "Not",
        "True",
        "False",
        "ToFloat",
        "TruncToInt",
        "Abs",
        "oo",
        "int_oo",
        "Integer",
        "Symbol",
        "Float",
        "Pow",
        "Identity",
        "PowByNatural",
        "Where",
        "positive",
        "integer",
        "nonnegative",
    ]
)


def load_exported(path: Path) -> nn.Module:
    """The module of an exported program.

    Raises:
        FileError: the file is missing, damaged, of another kind, or could run code when loaded.
    """
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe(archive, path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")  # torch 2.9, of its own
            return torch.export.load(path).module()
    except FileError:
        raise
    except Exception as error:  # whatever a damaged archive makes torch raise
        raise FileError(f"Cannot read {path} as a torch.export file: {type(error).__name__}: {error}.") from error


def _refuse_unsafe(archive: zipfile.ZipFile, path: Path) -> None:
    for name in archive.namelist():
        inner = name.partition("/")[2]
        if inner.startswith("data/aotinductor") or inner.endswith((".so", ".pkl")) or "custom_obj" in inner:
            raise FileError(f"{path} holds {inner}, which could run code: it is refused. Export the plain model.")
        if inner.endswith(".json"):
            for key, value in _walk(json.loads(archive.read(name))):
                if key == "use_pickle" and value:
                    raise FileError(f"{path} holds pickled weights ({inner}): it is refused.")
                if key in ("expr_str", "as_expr") and isinstance(value, str):
                    _refuse_expression(value, path)
        elif inner.endswith(".pt"):
            payload = archive.read(name)
            try:
                if payload:
                    torch.load(io.BytesIO(payload), weights_only=True)
            except Exception as error:
                raise FileError(f"{path} holds pickled objects in {inner}: it is refused.") from error


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def _refuse_expression(expression: str, path: Path) -> None:
    names = re.findall(r"[A-Za-z_]\w*", expression)
    if any(n not in SIZE_NAMES and not re.fullmatch(r"[su]\d+", n) for n in names) or "." in re.sub(
        r"\d+\.\d*", "", expression
    ):
        raise FileError(f"{path} has a size expression {expression!r} that is not plain arithmetic: it is refused.")
