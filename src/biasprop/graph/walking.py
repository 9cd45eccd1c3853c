"""The one way to walk a graph: running it, linearising it and finding its degrees are three visits.

A *visit* gives a node its value, from the values of the nodes before it. What a value is, the visit decides: a tensor,
or what is known of a tensor that depends on the inputs.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from .node import Graph, Node
from .precision import raised

__all__ = ["evaluated", "filled", "run", "started", "walk"]

Visit = Callable[[Node, Mapping[Node, Any]], Any]


def walk(graph: Graph, values: Mapping[Node, Any], visit: Visit) -> list[Any]:
    """Give every node its value, in execution order, and forget it as soon as nobody reads it any more.

    Args:
        graph: the captured network.
        values: of its inputs, extra arguments and parameters; see `started`.
        visit: from a node and the values before it to its value.

    Returns:
        The values of the graph's outputs.
    """
    known = dict(values)
    last = graph.last_readers
    for node in graph.nodes:
        known[node] = visit(node, known)
        for operand in node.operands:
            if last.get(operand) is node:
                known.pop(operand, None)
    return [known[o] if isinstance(o, Node) else o for o in graph.outputs]


def started(graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Any, ...], extras: Any) -> dict[Node, Any]:
    """The values that a walk starts from; ``inputs`` are whatever the visit takes for the inputs' values."""
    values: dict[Node, Any] = dict(parameters)
    values |= zip(graph.extras, pytree.tree_leaves(extras), strict=True)
    values |= zip(graph.inputs, inputs, strict=True)
    return {node: raised(value, graph.precision) for node, value in values.items()}


def filled(node: Node, values: Mapping[Node, Any], leave: Collection[Node] = ()) -> tuple[Any, Any]:
    """The arguments of a node with values in the place of nodes, except of those to ``leave``."""

    def fill(a: Any) -> Any:
        return raised(values[a] if isinstance(a, Node) and a not in leave else a)

    args, kwargs = map_aggregate((node.args, node.kwargs), fill)
    return args, kwargs


def evaluated(node: Node, values: Mapping[Node, Any]) -> Any:
    """The visit that runs the operation."""
    args, kwargs = filled(node, values)
    out = node.function(*args, **kwargs)
    return out if node.index is None else out[node.index]


def run(graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: Any = ()) -> Any:
    """The network's output, computed by the captured graph; a pure function of ``inputs``."""
    flat = walk(graph, started(graph, parameters, inputs, extras), evaluated)
    return pytree.tree_unflatten(flat, graph.output_spec)
