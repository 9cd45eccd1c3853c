"""Models from a SPEC: ``torchvision:NAME``, ``timm:NAME``, ``hf:FOLDER``, ``package.module:factory``, a file ``.onnx``
or ``.pt2``.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CaptureError
from .exported import load_exported
from .hf import load_hf
from .onnx_file import load_onnx
from .weights import load_weights

__all__ = ["load_model", "model_file", "pretrained_classes"]


def load_model(
    spec: str, weights: Path | None = None, device: str = "cpu", trust: bool = False, download: bool = False
) -> nn.Module:
    """The model that ``spec`` means, in eval mode on ``device``.

    Args:
        spec: see the module.
        weights: ``.safetensors``, or ``.pt``/``.pth`` read with ``weights_only=True``. Without it torchvision and timm
            download their pretrained weights.
        device: e.g. ``"cpu"`` or ``"cuda"``.
        trust: that a ``.pt2`` file, which is a program, may run code.
        download: whether a model that ``hf:`` names may be downloaded.

    Raises:
        FileError: a file is missing, damaged, unsafe, not trusted, or does not fit the model.
        CaptureError: the spec names no model, or the device does not exist.
        MissingExtra: a package that this kind of model needs is not installed.
    """
    model = _build(spec, weights is None, trust, download)
    values = (*model.named_parameters(), *model.named_buffers())
    empty = [name for name, tensor in values if tensor.is_meta]
    if empty:
        raise CaptureError(
            f"{spec} made a model without values: {empty[0]!r} lies on the device 'meta'. Make it on a real device."
        )
    if weights is not None:
        load_weights(model, weights)
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise CaptureError(f"Cannot use the device {device!r}: {str(error).splitlines()[0]}") from error
    for module in model.modules():  # an exported program refuses eval(); it was traced in the mode it will run in
        module.training = False
    return model


def model_file(spec: str) -> Path | None:
    """The file that the spec names, if it is of that kind."""
    return Path(spec) if Path(spec).suffix.lower() in (".pt2", ".onnx") else None


def pretrained_classes(spec: str) -> list[str]:
    """What the pretrained weights of torchvision call their classes; none for other models."""
    library, _, name = spec.partition(":")
    if library != "torchvision":
        return []
    models = _import("torchvision.models", "pip install 'biasprop[vision]'")
    return [str(one) for one in models.get_model_weights(name).DEFAULT.meta.get("categories", [])]


def _build(spec: str, pretrained: bool, trust: bool, download: bool) -> nn.Module:
    file = model_file(spec)
    if file is not None:
        return load_onnx(file) if file.suffix.lower() == ".onnx" else load_exported(file, trust)
    library, _, name = spec.partition(":")
    if not name:
        raise CaptureError(
            f"Unknown model {spec!r}: use torchvision:NAME, timm:NAME, hf:FOLDER, package.module:factory, a file "
            "net.onnx, or a torch.export file net.pt2. Files .pt, .pth and .safetensors hold weights, for --weights."
        )
    match library:
        case "torchvision":
            return _torchvision(name, pretrained)
        case "timm":
            timm = _import("timm", "pip install 'biasprop[vision]'")
            _known(spec, name.partition(".")[0], timm.list_models() if name.isprintable() and ":" not in name else ())
            return _guarded(spec, lambda: timm.create_model(name, pretrained=pretrained))
        case "hf":
            if not pretrained:
                raise CaptureError(f"{spec} comes with its own weights: leave out --weights.")
            return load_hf(name, download)
    if "" not in sys.path:
        sys.path.insert(0, "")
    factory = getattr(_import(library, "run from the folder that holds it"), name, None)
    if not callable(factory):
        raise CaptureError(f"The module {library} has no function or class {name!r} that makes a model.")
    return _guarded(spec, factory)


def _torchvision(name: str, pretrained: bool) -> nn.Module:
    models = _import("torchvision.models", "pip install 'biasprop[vision]'")
    options: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None}
    if name in ("googlenet", "inception_v3") and not pretrained:
        options["init_weights"] = False
    spec = f"torchvision:{name}"
    _known(spec, name.lower(), models.list_models())
    return _guarded(spec, lambda: models.get_model(name, **options))


def _known(spec: str, name: str, names: Sequence[str]) -> None:
    """Refuse a name that the library does not have, with those that are spelled most alike."""
    if not names or name in names:
        return
    library = spec.partition(":")[0]
    near = get_close_matches(name, names, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"{library}'s list_models() lists them."
    raise CaptureError(f"Cannot make the model {spec}: {library} has no model of that name. {hint}")


def _import(module: str, remedy: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a missing module, a bad name, or whatever its code raises
        message = f"{type(error).__name__}: {error}"
        raise CaptureError(f"Cannot import {module!r}: {message}. Remedy: {remedy}.") from error


def _guarded(spec: str, make: Callable[[], Any]) -> nn.Module:
    try:
        model = make()
    except Exception as error:  # third-party code: whatever it raises, the user wants one line
        raise CaptureError(
            f"Cannot make the model {spec}: {type(error).__name__}: {error}. Check its name; without a network "
            "connection give --weights FILE."
        ) from error
    if not isinstance(model, nn.Module):
        raise CaptureError(f"{spec} made a {type(model).__name__}, not a torch.nn.Module.")
    return model
