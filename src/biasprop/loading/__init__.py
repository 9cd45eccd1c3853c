"""What files hold: images, arrays, tables and texts as tensors, the names of classes, and models with their weights.

Used by the command line, the experiments and the benchmarks. Of the rest of the package it uses only the errors, the
optional packages (`extras`) and the writing of files.
"""

from .classes import Classes
from .encoder import Encoder
from .exported import load_exported
from .folders import files_of
from .hf import HF, files_of_model, has_tokenizer, load_hf, load_tokenizer, output_names, require_logits
from .items import IMAGENET_MEAN, IMAGENET_STD, LARGEST, Item, Preparation
from .models import load_model, model_file, pretrained_classes
from .onnx_file import load_onnx
from .reading import Files, batches, has_texts, read
from .records import record_item
from .sources import Example, RowSource, Source, source_of
from .texts import text_items
from .weights import load_weights

__all__ = [
    "HF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LARGEST",
    "Classes",
    "Encoder",
    "Example",
    "Files",
    "Item",
    "Preparation",
    "RowSource",
    "Source",
    "batches",
    "files_of",
    "files_of_model",
    "has_texts",
    "has_tokenizer",
    "load_exported",
    "load_hf",
    "load_model",
    "load_onnx",
    "load_tokenizer",
    "load_weights",
    "model_file",
    "output_names",
    "pretrained_classes",
    "read",
    "record_item",
    "require_logits",
    "source_of",
    "text_items",
]
