"""Token ids: they have no gradient, so that the network begins at the embeddings that are looked up for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .node import Graph, Node
from .walking import evaluated, filled, started, walk

__all__ = ["from_embeddings", "looked_up"]

REARRANGED = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "flatten",
        "unflatten",
        "expand",
        "squeeze",
        "unsqueeze",
        "slice",
        "select",
        "transpose",
        "permute",
        "contiguous",
        "clone",
        "alias",
        "to",
        "_to_copy",
        "clamp",
        "clamp_min",
        "masked_fill",
        "where",
        "cat",
        "roll",
        "new_zeros",
        "copy",
        "slice_scatter",
        "select_scatter",
    ]
)
"""What may be done to ids on their way to the embedding; positions counted from ids are no ids any more."""


def from_embeddings(graph: Graph, floating: Sequence[bool]) -> Graph:
    """The graph that begins at the embeddings of those inputs that are no numbers; `Graph.lookup` leads there.

    Raises:
        InputError: integers are not looked up in an embedding.
    """
    if all(floating):
        return graph
    inputs, given = [], []
    for i, (node, real) in enumerate(zip(graph.inputs, floating, strict=True)):
        found = [node] if real else _embeddings_of(graph, node)
        inputs.extend(found)
        given.extend([i] * len(found))
    needed = set(inputs)
    front = []
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.operands())
            front.append(node)
    lookup = replace(graph, nodes=front[::-1], outputs=list(inputs))
    ids = [node for node, real in zip(graph.inputs, floating, strict=True) if not real]
    rest = [node for node in graph.nodes if node not in inputs]
    return replace(
        graph, inputs=inputs, extras=[*ids, *graph.extras], nodes=rest, lookup=lookup, given=tuple(given), ids=len(ids)
    )


def _embeddings_of(graph: Graph, ids: Node) -> list[Node]:
    reached, found = {ids}, []
    for node in graph.nodes:
        if not any(operand in reached for operand in node.operands()):
            continue
        if node.packet is torch.ops.aten.embedding:
            if node.args[1] in reached and node.args[0] not in reached:
                found.append(node)
        elif str(getattr(node.packet, "__name__", "")) in REARRANGED:
            reached.add(node)
    if not found:
        raise InputError(
            f"The input {ids.name!r} is of integers, and the model does not look them up in an embedding: there is "
            "nothing to attribute to. Use x.float() if they are numbers; ids that need no attribution go into "
            "additional_forward_args."
        )
    return found


def looked_up(
    graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """What the graph begins with and its further arguments, from what the user gives.

    Raises:
        InputError: an id is outside of its vocabulary.
    """
    lookup = graph.lookup
    if lookup is None:
        return inputs, extras

    def visit(node: Node, values: Mapping[Node, Any]) -> Any:
        if node in lookup.outputs:
            (weight, ids, *_), _ = filled(node, values)
            if ids.min() < 0 or ids.max() >= len(weight):
                wrong = ids[(ids < 0) | (ids >= len(weight))][0]
                raise InputError(
                    f"The id {int(wrong)} is outside of the vocabulary of {node.name!r}, which has {len(weight)} "
                    "entries (0 is the first): does the tokenizer belong to this model?"
                )
        return evaluated(node, values)

    with torch.no_grad():
        found = walk(lookup, started(lookup, parameters, inputs, extras), visit)
    ids = tuple(x for x in inputs if not x.is_floating_point())
    return tuple(found), (*ids, *extras)
