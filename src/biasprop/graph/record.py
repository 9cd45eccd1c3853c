"""A captured graph as plain values and tensors, and back: what a file can hold that nobody needs to trust.

Nothing in a record is run: operations are names, which ``resolve`` looks up among those that it knows, and what a model
returns is built of types that are known already.
"""

import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import CaptureError, FileError
from .export import placeholder
from .node import Graph, Node, overwrite

__all__ = ["as_plain", "from_plain", "recorded", "restored"]

Resolve = Callable[[str], Callable[..., Any] | None]
"""From the name of an operation to it; None where it is none that may be run."""

OF_SIZES = ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge")
SYMBOLIC = ("sym_max", "sym_min", "sym_not", "sym_int", "sym_float", "sym_ite")
OURS = {"overwrite": overwrite, "placeholder": placeholder}
PLAIN = {
    **{f"operator.{name}": getattr(operator, name) for name in OF_SIZES},
    **{f"torch.{name}": getattr(torch, name) for name in SYMBOLIC if hasattr(torch, name)},
    **OURS,
}
"""Functions that are no operations of torch: arithmetic of sizes, and ours."""

OF_TORCH = (torch.dtype, torch.layout, torch.memory_format)
"""Kinds of constants that ``torch`` has by their names."""

IMPORTING = ("collections.defaultdict",)
"""Containers that torch rebuilds by importing what a text says."""

KEPT: dict[str, Any] = {
    "name": str,
    "path": str,
    "index": int | None,
    "batch_dim": int | None,
    "floating": bool,
    "batch_inner": int | None,
    "origin": str,
}
"""What of a node is plain already."""

WHOLE: dict[str, Any] = {"batch": int | None, "ids": int, "given": list}
"""The same of a graph."""


def recorded(graph: Graph) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All of a graph: plain values, and the constants that the model's code makes.

    Raises:
        CaptureError: something in it cannot be kept.
    """
    parts = [graph] if graph.lookup is None else [graph.lookup, graph]
    nodes = list(dict.fromkeys(node for part in parts for node in _all(part)))
    numbers = {node: i for i, node in enumerate(nodes)}

    def plain(value: Any) -> Any:
        return as_plain(value, numbers)

    header = {
        "nodes": [
            {
                **{key: getattr(node, key) for key in KEPT},
                "function": _named(node.function),
                "args": plain(tuple(node.args)),
                "kwargs": {key: plain(value) for key, value in node.kwargs.items()},
            }
            for node in nodes
        ],
        "parts": [
            {
                **{key: [numbers[n] for n in getattr(part, key)] for key in ("inputs", "extras", "nodes")},
                "outputs": plain(list(part.outputs)),
            }
            for part in parts
        ],
        "parameters": {str(numbers[node]): name for node, name in graph.parameters.items()},
        "returns": _structure(graph.output_spec),
        "batch": graph.batch,
        "given": list(graph.given),
        "ids": graph.ids,
        "precision": plain(graph.precision),
        "rounded": plain(graph.rounded),
    }
    return header, dict(graph.constants)


def restored(header: Mapping[str, Any], tensors: Mapping[str, Tensor], resolve: Resolve) -> Graph:
    """The graph of a record.

    Raises:
        FileError: it names an operation that ``resolve`` does not know, or is no record.
    """
    nodes: list[Node] = []
    for entry in header["nodes"]:
        args, kwargs = from_plain(entry["args"], nodes), from_plain({"dict": entry["kwargs"]}, nodes)
        kept = _typed(entry, KEPT, "an operation")
        nodes.append(Node(function=_function(entry["function"], resolve), args=args, kwargs=kwargs, **kept))
    parameters = {nodes[int(i)]: str(name) for i, name in header["parameters"].items()}
    returns = _returned(header["returns"])
    precision = from_plain(header["precision"], nodes)
    whole = _typed(header, WHOLE, "a graph")
    made: Graph | None = None
    for part in header["parts"]:
        inputs, extras, own = ([nodes[i] for i in part[key]] for key in ("inputs", "extras", "nodes"))
        outputs = from_plain(part["outputs"], nodes)
        made = Graph(inputs, extras, parameters, dict(tensors), own, outputs, returns, whole["batch"], lookup=made)
        made.precision = precision
    if made is None:
        raise FileError("The file holds no graph.")
    made.stored = True
    made.given, made.ids = tuple(int(i) for i in whole["given"]), whole["ids"]
    made.rounded = from_plain(header["rounded"], nodes)
    return made


def _named(function: Any) -> str:
    """The name of an operation, or of another function that may stand in a graph.

    Raises:
        CaptureError: it has none.
    """
    if isinstance(function, torch._ops.OpOverload):
        return str(function)
    for name, plain in PLAIN.items():
        if plain is function:
            return name
    raise CaptureError(f"{function!r} is no operation that can be kept in a file.")


def _function(name: str, resolve: Resolve) -> Callable[..., Any]:
    found = PLAIN.get(name) or resolve(name)
    if found is None:
        raise FileError(f"It names the operation {name!r}, which is none that is run from a file.")
    return found


def _typed(entry: Mapping[str, Any], kinds: Mapping[str, Any], of: str) -> dict[str, Any]:
    """Those of the entries, which must be of these kinds."""
    found = {key: entry[key] for key in kinds}
    for key, value in found.items():
        if not isinstance(value, kinds[key]):
            raise FileError(f"It holds {value!r} for the {key} of {of}.")
    return found


def _all(part: Graph) -> Iterable[Node]:
    """Every node comes after those that it reads."""
    return (*part.parameters, *part.inputs, *part.extras, *part.nodes)


def as_plain(value: Any, numbers: Mapping[Node, int] | None = None) -> Any:
    """A value as JSON has it; what JSON does not know is a mapping from its kind.

    Raises:
        CaptureError: it cannot be written down.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [as_plain(v, numbers) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [as_plain(v, numbers) for v in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): as_plain(v, numbers) for key, v in value.items()}}
    if isinstance(value, slice):
        return {"slice": [as_plain(v, numbers) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, Node):
        return {"node": (numbers or {})[value]}
    if kind is complex:
        return {"complex": [repr(value.real), repr(value.imag)]}
    if kind is float:
        return {"float": repr(value)}
    if kind is torch.device:
        return {"device": str(value)}
    if kind in OF_TORCH:
        return {"torch": str(value).removeprefix("torch.")}
    raise CaptureError(f"The captured graph holds {value!r}, which cannot be kept in a file.")


def from_plain(plain: Any, nodes: Sequence[Node] = ()) -> Any:
    """The way back.

    Raises:
        FileError: it holds something else.
    """
    if isinstance(plain, list):
        return [from_plain(v, nodes) for v in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, held),) = plain.items()
    match kind:
        case "tuple":
            return tuple(from_plain(v, nodes) for v in held)
        case "dict":
            return {str(key): from_plain(v, nodes) for key, v in held.items()}
        case "slice":
            return slice(*(from_plain(v, nodes) for v in held))
        case "node":
            return nodes[range(len(nodes))[held]]
        case "complex":
            return complex(*(float(part) for part in held))
        case "float":
            return float(held)
        case "device":
            return torch.device(held)
        case "torch" if type(getattr(torch, held)) in OF_TORCH:
            return getattr(torch, held)
        case _:
            raise FileError(f"It holds a value of an unknown kind, {kind!r}.")


def _structure(spec: pytree.TreeSpec) -> Any:
    """What a model returns, besides its tensors."""
    try:
        return json.loads(pytree.treespec_dumps(spec))
    except (NotImplementedError, TypeError) as error:
        raise CaptureError(f"What the model returns cannot be kept in a file: {error}") from error


def _returned(structure: Any) -> pytree.TreeSpec:
    """The way back, of plain containers and of types that are registered already: reading one imports nothing."""
    version, outermost = structure
    todo = [outermost]
    while todo:
        one = todo.pop()
        if one["type"] in IMPORTING or not _is_plain(one["context"]):
            raise FileError(f"It describes what the model returns with {one['type']!r}.")
        todo += one["children_spec"]
    try:
        return pytree.treespec_loads(json.dumps([version, outermost]))
    except NotImplementedError as error:
        raise FileError(f"The model returns something that is not known yet: {error}") from error


def _is_plain(context: Any) -> bool:
    """Whether it is names or numbers alone; a mapping may name a module to be imported."""
    if isinstance(context, str):
        with suppress(ValueError):
            context = json.loads(context)
    return not isinstance(context, dict) and not (
        isinstance(context, list) and any(isinstance(c, dict | list) for c in context)
    )
