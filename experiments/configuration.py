"""Settings of an experiment from a JSON file: what it names replaces the default.

A network is ``{"data": ..., "network": ...}`` (a `Training`), ``{"model": ...}`` (a `Checkpoint`) or
``{"package": ...}`` (`Sentences`); their other fields are optional.
"""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from biasprop import InputError

from .sentences import Sentences
from .subjects import Checkpoint
from .training import Training

__all__ = ["configured"]

C = TypeVar("C")


def configured(config: C, path: Path | None) -> C:
    """``config`` with what the file says.

    Raises:
        InputError: the file is not JSON, or names a setting that does not exist.
    """
    if path is None:
        return config
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return replace(config, **{key: _value(value) for key, value in given.items()})  # type: ignore[type-var]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        names = ", ".join(field.name for field in fields(config))  # type: ignore[arg-type]
        raise InputError(f"Cannot take the settings in {path}: {error}. There are: {names}.") from error


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        kind = Checkpoint if "model" in value else Sentences if "package" in value else Training
        return kind(**{key: _value(v) for key, v in value.items()})
    return tuple(_value(v) for v in value) if isinstance(value, list) else value
