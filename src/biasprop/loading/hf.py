"""Models and tokenizers of Hugging Face, from a folder or by name: no pickle, no code of theirs, nothing downloaded
unless asked for.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CaptureError, FileError, InputError
from ..extras import require

__all__ = ["HF", "files_of_model", "has_tokenizer", "load_hf", "load_tokenizer", "output_names", "require_logits"]

HF = "hf:"
"""How a SPEC of this kind begins."""


def load_hf(name: str, download: bool = False) -> nn.Module:
    """The model of the class that its configuration names, with its weights.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name of the Hugging Face hub.
        download: whether a name may be downloaded; otherwise it is looked for among what was downloaded before.

    Raises:
        FileError: the folder lacks the configuration or weights, or they do not fit each other.
        CaptureError: there is no model of that name.
        MissingExtra: transformers is not installed.
    """
    transformers = require("transformers", "text")
    _require_files(name)
    with _quiet(transformers):
        config = _loaded(name, "configuration", download, transformers.AutoConfig.from_pretrained)
        kind = _class_of(transformers, config)
        options = {"config": config, "use_safetensors": True, "output_loading_info": True}
        model, report = _loaded(name, "weights", download, kind.from_pretrained, **options)
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise FileError(
            f"The weights in {name} are not all that {type(model).__name__} has: {len(missing)} are missing, first "
            f"{missing[0]!r}, and would be drawn at random. Train it, or name another class in config.json "
            "(architectures)."
        )
    made: nn.Module = model
    return made


def load_tokenizer(name: str, download: bool = False) -> Any:
    """The tokenizer that belongs to a model; the arguments are those of `load_hf`.

    Raises:
        FileError: the folder holds none, or it cannot be read.
        CaptureError: there is no model of that name.
        MissingExtra: transformers is not installed.
    """
    transformers = require("transformers", "text")
    if not has_tokenizer(name):
        raise FileError(
            f"The folder {name} holds no tokenizer ({', '.join(TOKENIZERS[:3])}, ...): write it there with "
            "tokenizer.save_pretrained(folder)."
        )
    with _quiet(transformers):
        return _loaded(name, "tokenizer", download, transformers.AutoTokenizer.from_pretrained)


def has_tokenizer(name: str) -> bool:
    """Whether a folder holds one; of a name it is not known, and taken to be so."""
    return not os.path.isdir(name) or any(os.path.isfile(os.path.join(name, one)) for one in TOKENIZERS)


def output_names(model: nn.Module) -> list[str]:
    """The classes that a classifier of transformers knows; none for other models."""
    named = getattr(getattr(model, "config", None), "id2label", None)
    if "Classification" not in type(model).__name__ or not isinstance(named, dict):
        return []
    return [str(named.get(i, i)) for i in range(len(named))]


def require_logits(model: nn.Module, x: Tensor | dict[str, Tensor]) -> None:
    """That a model of transformers has something to explain.

    Raises:
        InputError: it is one without a head.
    """
    try:
        with torch.no_grad():
            returned = model(**x) if isinstance(x, dict) else model(x)
    except Exception:  # the explanation says it better
        return
    if isinstance(returned, Mapping) and "logits" not in returned:
        name = type(model).__name__
        raise InputError(
            f"{name} returns {', '.join(returned)} and no logits: nothing of it is a prediction. Give a folder of a "
            f"model with a head, such as {name.removesuffix('Model')}ForSequenceClassification; its config.json names "
            "the class (architectures)."
        )


def files_of_model(spec: str) -> list[Path]:
    """The files in the folder that a SPEC names, if it is of that kind."""
    folder = Path(spec.removeprefix(HF))
    if not spec.startswith(HF) or not os.path.isdir(folder):
        return []
    return sorted(path for path in folder.iterdir() if path.is_file())


TOKENIZERS = ("tokenizer.json", "vocab.txt", "tokenizer.model", "vocab.json", "spiece.model", "tokenizer_config.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def _require_files(name: str) -> None:
    """Of a folder; what is none is a name."""
    if not os.path.isdir(name):
        return
    if not os.path.isfile(os.path.join(name, "config.json")):
        raise FileError(f"The folder {name} holds no config.json: write a model with model.save_pretrained(folder).")
    if not any(os.path.isfile(os.path.join(name, one)) for one in WEIGHTS):
        pickled = [one for one in os.listdir(name) if one.endswith((".bin", ".pt", ".pth"))]
        why = f"; {pickled[0]} may hold pickled objects, which can run code, and is not read" if pickled else ""
        raise FileError(
            f"The folder {name} holds no weights, {' or '.join(WEIGHTS)}{why}: write them with "
            "model.save_pretrained(folder)."
        )


def _class_of(transformers: Any, config: Any) -> Any:
    """That of the configuration's architecture, if it is a model of transformers; else that of its kind, no head."""
    named = (getattr(transformers, str(name), None) for name in config.architectures or ())
    known = (kind for kind in named if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel))
    return next(known, transformers.AutoModel)


def _loaded(name: str, what: str, download: bool, load: Callable[..., Any], **options: Any) -> Any:
    """What one of transformers' loaders gives: whatever it raises, the user wants one line."""
    try:
        return load(name, local_files_only=not download, trust_remote_code=False, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if os.path.isdir(name):
            raise FileError(f"Cannot read the {what} in the folder {name}: {reason}") from error
        if not download:
            raise CaptureError(
                f"There is no folder {name!r}, and no model of that name was downloaded before: check it, or pass "
                f"--download to get it from the Hugging Face hub. ({reason})"
            ) from error
        raise CaptureError(f"Cannot download the {what} of {name!r}: {reason}") from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without its bars and remarks, which are then as they were."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
