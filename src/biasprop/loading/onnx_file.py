"""Networks in ``.onnx`` files: data, of which nothing is run.

The file says which operations of a fixed list follow each other; onnx2torch has a PyTorch module for each of them. Its
output is Python source that is made with the names of the file, so every name is replaced by a plain one first.
"""

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import fx, nn

from ..errors import FileError
from ..extras import require
from .onnx_opset import lower
from .onnx_sizes import plain_sizes

__all__ = ["load_onnx"]

LARGEST = 2**31 - 1  # bytes: what a protobuf message can be
KNOWN_DOMAINS = ("", "ai.onnx")


def load_onnx(path: Path) -> nn.Module:
    """The network of an ONNX file that holds its own weights.

    Raises:
        FileError: the file is missing, damaged, refers to other files, or holds an operation that is not known.
        MissingExtra: onnx or onnx2torch is not installed.
    """
    if not os.path.isfile(path):
        raise FileError(f"There is no file {path}.")
    if os.path.getsize(path) > LARGEST:
        raise FileError(f"{path} is larger than {LARGEST} bytes, which no ONNX file can be.")
    onnx = require("onnx", "onnx")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        _refuse_other_files(model, path)
        _give_plain_names(model, path)
        opset = model.opset_import[0].version
        lower(model)
        _refuse_unknown_operations(model, path, opset)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model)
        return plain_sizes(_convert(model), *_batch(model))
    except FileError:
        raise
    except Exception as error:  # whatever a damaged file makes the parser, the checker or the converter raise
        reason = (str(error).strip().splitlines() or [""])[0]
        raise FileError(f"Cannot read {path} as an ONNX network: {type(error).__name__}: {reason}") from error


def _convert(model: Any) -> fx.GraphModule:
    """What onnx2torch warns of, a result that "might differ significantly", is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        made: fx.GraphModule = require("onnx2torch", "onnx").convert(model)
    return made


def _refuse_other_files(model: Any, path: Path) -> None:
    """Weights in other files could be any file of this machine; functions and nested graphs are not converted."""
    if model.functions or model.graph.sparse_initializer:
        raise FileError(f"{path} holds functions or sparse weights, which are not supported: export it without.")
    for tensor in _tensors(model, path):
        if tensor.external_data or tensor.data_location != tensor.DEFAULT:
            raise FileError(
                f"{path} keeps the weights {tensor.name!r} in another file, which is refused: save one file with "
                "onnx.save(onnx.load(FILE), FILE, save_as_external_data=False)."
            )


def _tensors(model: Any, path: Path) -> Iterator[Any]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.HasField("sparse_tensor"):
                raise FileError(f"{path}: the operation {node.op_type} holds a graph of its own: it is not supported.")
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _give_plain_names(model: Any, path: Path) -> None:
    """Letters, digits and underscores; each name once. onnx2torch writes them into source code as they are."""
    taken: set[str] = set()
    for node in model.graph.node:
        if node.domain not in KNOWN_DOMAINS or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", node.op_type):
            raise FileError(
                f"{path} holds the operation {node.op_type!r} of {node.domain!r}, which is not one of ONNX's own."
            )
        node.domain = ""
        base = "_" + re.sub(r"[^A-Za-z0-9]+", "_", node.name or node.op_type).strip("_")[:80]
        base = base[1:] if base[1:2].isalpha() else base
        name, number = base, 1
        while name in taken or name == "initializers":
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        node.name = name
    versions = [opset.version for opset in model.opset_import if opset.domain in KNOWN_DOMAINS]
    if len(versions) != 1:
        raise FileError(f"{path} does not say which version of ONNX's operations it means.")
    del model.opset_import[:]
    model.opset_import.add(domain="", version=versions[0])


def _refuse_unknown_operations(model: Any, path: Path, opset: int) -> None:
    """With the name of the first, and what to do."""
    get_converter = require("onnx2torch.node_converters", "onnx").get_converter
    version = model.opset_import[0].version
    for node in model.graph.node:
        try:
            get_converter(operation_type=node.op_type, version=version, domain="")
        except NotImplementedError as error:
            raise FileError(
                f"{path}: onnx2torch does not know the operation {node.op_type} of opset {opset} (at {node.name!r}). "
                "Export the network again with opset_version=17 or lower, or use its weights with --weights."
            ) from error


def _batch(model: Any) -> tuple[int, frozenset[str]]:
    """The batch size that the file fixes, 0 if none; and the reshapings whose first dimension it is."""
    known = {value.name: _first(value) for value in (*model.graph.input, *model.graph.value_info)}
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    batch = known.get(inputs[0], 0) if inputs else 0
    reshapes = [node for node in model.graph.node if node.op_type == "Reshape" and node.input]
    return batch, frozenset(node.name for node in reshapes if batch and known.get(node.input[0]) == batch)


def _first(value: Any) -> int:
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if len(dims) else 0
