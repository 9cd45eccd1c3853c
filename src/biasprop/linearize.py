"""Linearise: run the captured graph at x and keep, for each operation, its local linear model.

The result is a *tape*: the pieces in execution order. Operations that no attributed input reaches, and those with a
constant result, are merely evaluated; what they feed into the network counts as bias where it enters.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from .capture import Graph, Node
from .errors import BiaspropError, InputError, UnsupportedOperation
from .operations import TABLE, Call, Operation, find_rule
from .pieces import Diagonal, Piece, pull_back

__all__ = ["Step", "Tape", "compute_dtype", "linearize", "run"]


@dataclass(frozen=True, eq=False)
class Step:
    """One linearised operation and the nodes that feed it."""

    node: Node
    piece: Piece
    operands: list[Node]


@dataclass(frozen=True, eq=False)
class Tape:
    """The network at x.

    ``outputs`` are the values of the graph's outputs, ``active`` those that depend on x; ``kept`` are the inputs'
    values and those of the hidden tensors asked for.
    """

    steps: list[Step]
    kept: dict[Node, Tensor]
    outputs: list[Any]
    active: dict[Node, Tensor]
    batch: int


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for lower precisions: they cannot hold a complete attribution (spec section 6)."""
    return torch.promote_types(dtype, torch.float32)


def _raise_precision(value: Any) -> Any:
    """Half-precision tensors and dtypes become float32: the explained network computes in one precision."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(compute_dtype(value.dtype))
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return compute_dtype(value)
    return value


def _start(
    graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...]
) -> dict[Node, Any]:
    flat = pytree.tree_leaves(extras)
    values: dict[Node, Any] = {**parameters, **dict(zip(graph.extras, flat, strict=True))}
    values |= dict(zip(graph.inputs, inputs, strict=True))
    return {node: _raise_precision(value) for node, value in values.items()}


def _last_uses(graph: Graph) -> dict[Node, Node]:
    return {operand: node for node in graph.nodes for operand in node.operands()}


def _evaluate(node: Node, values: Mapping[Node, Any], keep: frozenset[Node] = frozenset()) -> tuple[Any, Any]:
    """Arguments with values in the place of nodes, except those to ``keep``; half precision raised."""

    def fill(a: Any) -> Any:
        return _raise_precision(values[a] if isinstance(a, Node) and a not in keep else a)

    return map_aggregate((node.args, node.kwargs), fill)


def _apply(node: Node, values: Mapping[Node, Any]) -> Any:
    args, kwargs = _evaluate(node, values)
    out = node.function(*args, **kwargs)
    return out if node.index is None else out[node.index]


def run(
    graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...] = ()
) -> Any:
    """The network's output, computed by the captured graph; a pure function of ``inputs``."""
    values = _start(graph, parameters, inputs, extras)
    last = _last_uses(graph)
    for node in graph.nodes:
        values[node] = _apply(node, values)
        for operand in node.operands():
            if last.get(operand) is node and operand not in graph.outputs:
                values.pop(operand, None)
    flat = [values[o] if isinstance(o, Node) else o for o in graph.outputs]
    return pytree.tree_unflatten(flat, graph.output_spec)


def linearize(
    graph: Graph,
    parameters: Mapping[Node, Tensor],
    inputs: tuple[Tensor, ...],
    extras: tuple[Any, ...] = (),
    operations: Mapping[Any, Operation] | None = None,
    keep: Collection[Node] = (),
) -> Tape:
    """Run the graph at ``inputs`` and record the local linear model of each operation (spec section 1).

    The tape does not hold the hidden tensors, except those to ``keep`` and what the pieces themselves need.

    Raises:
        UnsupportedOperation: an operation has no rule, or mixes the examples of a batch.
        InputError: an operation fails on this input, or the network's output is not finite.
    """
    values = _start(graph, parameters, inputs, extras)
    active = dict.fromkeys(graph.inputs)
    last = _last_uses(graph)
    kept = dict(zip(graph.inputs, (_raise_precision(x) for x in inputs), strict=True))
    steps: list[Step] = []
    for node in graph.nodes:
        operands = [o for o in node.operands() if o in active]
        try:
            step = _step(node, values, operands, operations or {}) if operands else None
            values[node] = _apply(node, values) if step is None else step.piece.hand_over()
        except BiaspropError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"The network failed at {node!r}: {str(error).splitlines()[0]} The input's shape must be one that "
                "the model accepts."
            ) from error
        if step is not None:
            active[node] = None
            steps.append(step)
        if node in keep:
            kept[node] = values[node]
        for operand in node.operands():
            if last.get(operand) is node and operand not in graph.outputs:
                values.pop(operand, None)
    outputs = [values[o] if isinstance(o, Node) else o for o in graph.outputs]
    reached = {o: values[o] for o in graph.outputs if isinstance(o, Node) and o in active}
    return Tape(steps, kept, outputs, reached, inputs[0].shape[0])


def _step(
    node: Node, values: Mapping[Node, Any], operands: list[Node], operations: Mapping[Any, Operation]
) -> Step | None:
    """The linearised operation; None where its result is locally constant (an index, a comparison)."""
    rule = find_rule(node, operations) if node.floating else None
    if rule is None:
        return None
    args, kwargs = _evaluate(node, values, frozenset(operands))
    call = Call(node, args, kwargs, [values[o] for o in operands])
    if node.batch_dim is None:
        raise UnsupportedOperation(
            f"Operation {node.operation!r} at {node.name!r} mixes the examples of a batch: an explanation is of one "
            "example. Write the model so that each output belongs to one example."
        )
    piece = rule(call)
    if not isinstance(piece, Piece):
        raise UnsupportedOperation(f"The rule for {node!r} returned {piece!r}, and must return a biasprop Piece.")
    if isinstance(piece, Diagonal) and TABLE.get(getattr(node.function, "overloadpacket", None)) is not rule:
        _check_diagonal(piece, call)
    return Step(node, piece, operands)


def _check_diagonal(piece: Diagonal, call: Call) -> None:
    """A rule of the user's own may call an operation elementwise that is not (softmax): w would not be the gradient."""
    g = torch.rand(piece.shape, generator=torch.Generator().manual_seed(0)).to(piece.slope)
    leaves = call.leaves()
    expected = pull_back(call(*leaves), leaves, g[None])[0][0]
    if not torch.allclose(piece.slope * g, expected, rtol=1e-3, atol=1e-6, equal_nan=True):
        raise UnsupportedOperation(f"{call.node!r} does not work element by element: a gate cannot explain it.")
