"""Models from a SPEC: ``torchvision:NAME``, ``timm:NAME``, ``package.module:factory`` or a ``torch.export`` file."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CaptureError
from .exported import load_exported
from .weights import load_weights

__all__ = ["load_model"]


def load_model(spec: str, weights: Path | None = None, device: str = "cpu") -> nn.Module:
    """The model that ``spec`` means, in eval mode on ``device``.

    Args:
        spec: see the module.
        weights: ``.safetensors``, or ``.pt``/``.pth`` read with ``weights_only=True``. Without it torchvision and timm
            download their pretrained weights.
        device: e.g. ``"cpu"`` or ``"cuda"``.

    Raises:
        FileError: a file is missing, damaged, unsafe, or does not fit the model.
        CaptureError: the spec names no model, or the device does not exist.
    """
    model = _build(spec, pretrained=weights is None)
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


def _build(spec: str, pretrained: bool) -> nn.Module:
    if spec.endswith(".pt2"):
        return load_exported(Path(spec))
    library, _, name = spec.partition(":")
    if not name:
        raise CaptureError(
            f"Unknown model {spec!r}: use torchvision:NAME, timm:NAME, package.module:factory, or a torch.export file "
            "net.pt2."
        )
    match library:
        case "torchvision":
            return _torchvision(name, pretrained)
        case "timm":
            timm = _import("timm", "pip install 'biasprop[vision]'")
            return _guarded(spec, lambda: timm.create_model(name, pretrained=pretrained))
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
    return _guarded(f"torchvision:{name}", lambda: models.get_model(name, **options))


def _import(module: str, remedy: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a missing module, a bad name, or whatever its code raises
        message = f"{type(error).__name__}: {error}"
        raise CaptureError(f"Cannot import {module!r}: {message}. Remedy: {remedy}.") from error


def _guarded(spec: str, make: Any) -> nn.Module:
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
