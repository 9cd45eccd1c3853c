"""The fingerprint of a captured network: its operations, what they read, their constants and the weights.

Two networks with the same weights differ in it if one has a ReLU where the other has a ReLU6. It is the same in every
process, on every device, and for every size of the batch.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..files import add_tensor
from ..graph import Graph, Node
from ..operations import Family, Operations

__all__ = ["fingerprint"]


def fingerprint(graph: Graph, model: nn.Module, operations: Operations | None = None) -> str:
    """SHA-256 of the network that ``graph`` was captured from, with the weights that ``model`` has now.

    ``operations`` are the user's own families, by which the sources are told apart.
    """
    digest = hashlib.sha256()
    places = {node: f"{kind}{i}" for kind, nodes in _kinds(graph).items() for i, node in enumerate(nodes)}
    for node, tensor in graph.read_parameters(model).items():
        digest.update(f"{places[node]} {graph.parameters[node]} ".encode())
        add_tensor(digest, tensor)
    for node in graph.nodes:
        digest.update(f"{places[node]} {_described(node, places)}\n".encode())
    digest.update(_text(graph.outputs, places).encode())
    for line in sorted(f"{_name(key)}: {_family(made)}" for key, made in (operations or {}).items()):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _kinds(graph: Graph) -> dict[str, list[Node]]:
    return {"input": graph.inputs, "extra": graph.extras, "weight": list(graph.parameters), "node": graph.nodes}


def _described(node: Node, places: Mapping[Node, str]) -> str:
    """One operation; the name only where it may be a bias source, since that of an index may depend on the capture."""
    name = node.name if node.floating else ""
    arguments = _text((node.args, node.kwargs), places)
    return f"{name!r} {_name(node.function)} {arguments} {node.index} {node.batch_dim} {node.floating}"


def _text(value: Any, places: Mapping[Node, str]) -> str:
    """An argument; never an address in memory, nor the device that it is computed on."""
    if isinstance(value, Node):
        return places[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one, places) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_text(value[key], places)}' for key in sorted(value))}}}"
    if isinstance(value, Tensor):
        digest = hashlib.sha256()
        add_tensor(digest, value)
        return digest.hexdigest()
    if isinstance(value, slice):
        return f"slice{_text((value.start, value.stop, value.step), places)}"
    if value is None or isinstance(value, bool | int | float | complex | str | type(...)):
        return repr(value)
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return str(value)
    return _name(value) if callable(value) else type(value).__qualname__


def _name(function: Any) -> str:
    """Of an operation of torch's, ``aten.relu.default``; of any other function where it is defined."""
    if isinstance(function, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return str(function)
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"


def _family(made: Family | Callable[..., Any]) -> str:
    linearize: Any = made.linearize if isinstance(made, Family) else made
    if not isinstance(linearize, partial):
        return _name(linearize)
    options = sorted(f"{key}={_text(value, {})}" for key, value in linearize.keywords.items())
    return f"{_name(linearize.func)}({', '.join([_text(linearize.args, {}), *options])})"
