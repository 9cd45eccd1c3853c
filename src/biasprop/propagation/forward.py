"""Forward mode: ``J x`` in one pass with tangents, of the output or of hidden tensors (mathematics, section 6)."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..graph import Graph, Node, compute_dtype, leading_to, run
from .tape import Tape

__all__ = ["Network", "pushed", "split"]

Network = tuple[Mapping[Node, Tensor], tuple[Tensor, ...], tuple[Any, ...]]
"""What a graph runs on: parameters, inputs, further arguments."""


@torch.no_grad()
def split(graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: Any) -> tuple[Any, Any]:
    """The output and ``J x``, both in the structure of the model's output."""
    primal = tuple(i.to(compute_dtype(i.dtype, graph.precision)) for i in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's forward mode compiles its formulas with a deprecated call
        found: tuple[Any, Any] = torch.func.jvp(partial(_network, graph, parameters, extras), primal, primal)[:2]
    return found


@torch.no_grad()
def pushed(
    tape: Tape,
    nodes: Sequence[Node],
    tangents: Mapping[Node, Tensor],
    added: Mapping[Node, Tensor] | None = None,
) -> list[Tensor]:
    """What reaches some tensors through the linearised network: ``J`` times the tangents of the inputs.

    Args:
        tape: the linearised network.
        nodes: the tensors.
        tangents: of the inputs; 0 where there is none.
        added: what joins on the way, behind an operation.
    """
    added, found, known = added or {}, {}, dict(tangents)
    needed = set(leading_to(nodes, tape.graph.nodes))
    steps = [step for step in tape.steps if step.node in needed]
    last = {operand: step.node for step in steps for operand in step.operands}
    for step in steps:
        before = [known.get(operand) for operand in step.operands]
        here = None if all(t is None for t in before) else step.local.push(before)
        if step.node in added:
            more = added[step.node].expand(step.local.shape)
            here = more if here is None else here + more
        if here is not None:
            known[step.node] = here
        if step.node in nodes:
            found[step.node] = here if here is not None else torch.zeros_like(tape.kept[step.node])
        for operand in step.operands:
            if last[operand] is step.node:
                known.pop(operand, None)
    return [found[node] for node in nodes]


def _network(graph: Graph, parameters: Mapping[Node, Tensor], extras: tuple[Any, ...], *inputs: Tensor) -> Any:
    return run(graph, parameters, inputs, extras)
