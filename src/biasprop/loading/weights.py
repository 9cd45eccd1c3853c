"""Weights from a file: safetensors, or a state dict that is read without running code."""

import os
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import FileError
from ..graph import abbreviate

__all__ = ["load_weights"]


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the tensors of a ``.safetensors`` file, or of a state dict in ``.pt`` or ``.pth``, into the model.

    Raises:
        FileError: the file is missing, damaged, unsafe, or does not fit the model.
    """
    state = _read_weights(path)
    own = model.state_dict()
    wrong = [f"{n} {tuple(state[n].shape)} for {tuple(own[n].shape)}" for n in own if _differ(state.get(n), own[n])]
    missing, unknown = [n for n in own if n not in state], [n for n in state if n not in own]
    problems = [
        f"{what}: {abbreviate(names, 6)}"
        for what, names in (("missing", missing), ("not in the model", unknown), ("wrong shape or kind", wrong))
        if names
    ]
    if problems:
        raise FileError(f"The weights in {path} do not fit {type(model).__name__}: {'; '.join(problems)}.")
    model.load_state_dict(state)


def _differ(given: Tensor | None, own: Tensor) -> bool:
    return given is not None and (given.shape != own.shape or given.is_complex() != own.is_complex())


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not os.path.isfile(path):
        raise FileError(f"There is no weights file {path}.")
    kind = path.suffix.lower()
    if kind not in (".safetensors", ".pt", ".pth"):
        raise FileError(f"{path} is not a weights file: use .safetensors, or .pt/.pth that hold a state dict.")
    try:
        if kind == ".safetensors":
            return load_file(path)
        _refuse_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages that are deprecated; what they hold is checked below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise FileError(
            f"{path} holds pickled objects, not only tensors; loading it could run code, so it is refused. Save "
            "model.state_dict() with safetensors.torch.save_file."
        ) from error
    except FileError:
        raise
    except Exception as error:  # whatever a damaged file makes torch and safetensors raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(f"Cannot read {path}: {reason.rstrip('.')}. It is damaged or of another kind.") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        raise FileError(f"{path} holds a {type(loaded).__name__}, not a state dict of tensors.")
    for name, tensor in loaded.items():
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
            what = "quantised" if tensor.is_quantized else "without values" if tensor.is_meta else "sparse or nested"
            raise FileError(f"{path}: {name!r} is {what}, and must be an ordinary dense tensor: save it as one.")
    return loaded


def _refuse_packed(path: Path) -> None:
    """torch.save does not compress; a record that does could unpack to any size."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise FileError(f"{path} holds compressed records, which torch.save does not write: it is refused.")
