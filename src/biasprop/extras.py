"""Packages that only parts of biasprop need: imported when they are used, with one clear error where they are not."""

import importlib
from typing import Any

from .errors import MissingExtra

__all__ = ["require"]

USES = {  # by module: what needs it, and its package's name
    "matplotlib": ("Drawing", "matplotlib"),
    "PIL": ("Reading images", "Pillow"),
    "onnx": ("Reading ONNX files", "onnx"),
    "onnx2torch": ("Reading ONNX files", "onnx2torch"),
    "datasets": ("Reading data sets of Hugging Face", "datasets"),
    "pyarrow": ("Reading and writing parquet", "pyarrow"),
    "ray": ("engine='ray'", "ray[data]"),
    "rich": ("The command line", "rich"),
    "sklearn": ("The demo", "scikit-learn"),
    "transformers": ("Reading models of Hugging Face", "transformers"),
    "typer": ("The command line", "typer"),
}


def require(module: str, extra: str) -> Any:
    """The optional module, e.g. ``require("matplotlib.figure", "plot")``.

    Args:
        module: its full name.
        extra: of biasprop, that installs it.

    Raises:
        MissingExtra: it is not installed, or is and cannot be imported; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        user, package = USES.get(root, ("This", root))
        absent = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == root
        reason = "is not installed" if absent else f"cannot be imported ({error})"
        raise MissingExtra(f"{user} needs {package}, which {reason}: pip install 'biasprop[{extra}]'.") from error
