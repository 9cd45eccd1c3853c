"""``torch.export`` files (``.pt2``): programs, which can run code when they are loaded.

``torch.export.load`` unpickles, loads compiled libraries and evaluates size expressions. What it does with a file
cannot be judged by looking at the file, so nothing of one is given to torch unless the user says that it is trusted.
"""

import logging
import os
import warnings
from pathlib import Path

import torch
from torch import nn

from ..errors import FileError

__all__ = ["load_exported"]


def load_exported(path: Path, trust: bool = False) -> nn.Module:
    """The module of an exported program.

    Args:
        path: the file.
        trust: that it may run code.

    Raises:
        FileError: the file is missing, not trusted, damaged or of another kind.
    """
    if not os.path.isfile(path):
        raise FileError(f"There is no file {path}.")
    if not trust:
        raise FileError(
            f"{path} is a .pt2 file: a program, which can run code when it is loaded. Pass --trust (trust=True) if you "
            "trust where it comes from. Files that run no code: a network in .onnx; weights in .safetensors, with "
            "torchvision:NAME, timm:NAME or package.module:factory as the model."
        )
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch logs tracebacks of failures that are reported here, in one sentence
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")  # torch 2.9, of its own
            return torch.export.load(path).module()
    except Exception as error:  # whatever a damaged archive makes torch raise
        reason = (str(error).splitlines() or [""])[0]
        raise FileError(f"Cannot read {path} as a torch.export file: {type(error).__name__}: {reason}") from error
    finally:
        logging.disable(level)
