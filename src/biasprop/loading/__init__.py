"""What files hold: images, arrays and tables as tensors, the names of classes, and models with their weights.

Used by the command line, the experiments and the benchmarks. Of the rest of the package it uses only the errors, the
optional packages (`extras`) and the writing of files.
"""

from .classes import Classes
from .exported import load_exported
from .folders import files_of
from .items import IMAGENET_MEAN, IMAGENET_STD, LARGEST, Item, Preparation
from .models import load_model, model_file
from .onnx_file import load_onnx
from .reading import batches, count, read
from .weights import load_weights

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LARGEST",
    "Classes",
    "Item",
    "Preparation",
    "batches",
    "count",
    "files_of",
    "load_exported",
    "load_model",
    "load_onnx",
    "load_weights",
    "model_file",
    "read",
]
