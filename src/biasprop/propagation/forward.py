"""Forward mode: ``J x`` of any tensors of the network at once, in one forward pass with tangents (section 6)."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..graph import Graph, Node, compute_dtype, evaluated, leading_to, run, started, walk
from .choice import Choice
from .tape import Tape

__all__ = ["Network", "chosen_biases", "linear_parts", "split"]

Network = tuple[Mapping[Node, Tensor], tuple[Tensor, ...], tuple[Any, ...]]
"""What a graph runs on: parameters, inputs, further arguments."""


@torch.no_grad()
def split(graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: Any) -> tuple[Any, Any]:
    """The output and ``J x``, both in the structure of the model's output."""
    primal = tuple(i.to(compute_dtype(i.dtype)) for i in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's forward mode compiles its formulas with a deprecated call
        found: tuple[Any, Any] = torch.func.jvp(partial(_network, graph, parameters, extras), primal, primal)[:2]
    return found


def linear_parts(graph: Graph, network: Network, nodes: Sequence[Node]) -> list[tuple[Tensor, Tensor]]:
    """The value of each of some tensors, and its ``J x``."""
    values, linear = split(_up_to(graph, nodes), *network)
    return list(zip(values, linear, strict=True))


@torch.no_grad()
def chosen_biases(tape: Tape, network: Network, nodes: Sequence[Node], choice: Choice) -> list[Tensor]:
    """What the sources that take part add to each of some tensors: the derivative by a factor before all of them."""
    graph = tape.graph
    intercepts = {step.node: step.local.intercept for step in tape.steps}
    chosen = {
        node: torch.where(h.isfinite(), h, 0)  # a masked -inf is no bias
        for node, h in intercepts.items()
        if h is not None and choice.takes(node.name, node.operation)
    }
    values = started(graph, *network)
    before = _up_to(graph, nodes)

    def scaled(factor: Tensor) -> list[Any]:
        def visit(node: Node, known: Mapping[Node, Any]) -> Any:
            value = evaluated(node, known)
            return value + (factor - 1) * chosen[node] if node in chosen else value

        return walk(before, values, visit)

    one = torch.ones((), dtype=values[graph.inputs[0]].dtype, device=values[graph.inputs[0]].device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: list[Tensor] = torch.func.jvp(scaled, (one,), (one,))[1]
    return found


def _network(graph: Graph, parameters: Mapping[Node, Tensor], extras: tuple[Any, ...], *inputs: Tensor) -> Any:
    return run(graph, parameters, inputs, extras)


def _up_to(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """The part of the graph that some tensors depend on, with these as its outputs."""
    before = leading_to(nodes, graph.nodes)
    return replace(graph, nodes=before, outputs=list(nodes), output_spec=pytree.tree_structure(list(nodes)))
