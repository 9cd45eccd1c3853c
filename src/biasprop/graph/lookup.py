"""Token ids: they have no gradient, so that the network begins at the embeddings that are looked up for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .examples import examples_first
from .node import Graph, Node, leading_to
from .walking import evaluated, filled, started, walk

__all__ = ["from_embeddings", "ids_of", "looked_up"]

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
    lookup = replace(graph, nodes=leading_to(inputs, graph.nodes), outputs=list(inputs))
    ids = [node for node, real in zip(graph.inputs, floating, strict=True) if not real]
    rest = [node for node in graph.nodes if node not in inputs]
    return replace(
        graph, inputs=inputs, extras=[*ids, *graph.extras], nodes=rest, lookup=lookup, given=tuple(given), ids=len(ids)
    )


def _embeddings_of(graph: Graph, ids: Node) -> list[Node]:
    reached, found = {ids}, []
    for node in graph.nodes:
        if not any(operand in reached for operand in node.operands):
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
    if graph.lookup is None:
        return inputs, extras
    found, _ = _walked(graph.lookup, parameters, inputs, extras)
    ids = tuple(x for x in inputs if not x.is_floating_point())
    return tuple(found), (*ids, *extras)


def ids_of(
    graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...]
) -> tuple[Tensor | None, ...]:
    """The ids that each of the graph's inputs is looked up for, None where it is numbers.

    They are the given ones, the same tensor, unless the model changes them on their way: it may shift them by one for
    its decoder. Inputs that are looked up for the same ids share them.
    """
    if graph.lookup is None:
        return ()
    _, read = _walked(graph.lookup, parameters, inputs, extras)
    known: dict[int, list[Tensor]] = {i: [inputs[i]] for i in graph.given}
    found: list[Tensor | None] = []
    for node, i in zip(graph.inputs, graph.given, strict=True):
        if node not in read:
            found.append(None)
            continue
        ids = examples_first(read[node], node.args[1], len(inputs[i]))
        ids = ids.reshape_as(inputs[i]) if ids.numel() == inputs[i].numel() else ids.flatten(1)
        same = next((one for one in known[i] if torch.equal(one, ids)), None)
        if same is None:
            known[i].append(ids)
        found.append(ids if same is None else same)
    return tuple(found)


def _walked(
    lookup: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...]
) -> tuple[list[Any], dict[Node, Tensor]]:
    """The values that are looked up, and the ids of each."""
    read: dict[Node, Tensor] = {}

    def visit(node: Node, values: Mapping[Node, Any]) -> Any:
        if node in lookup.outputs:
            (weight, ids, *_), _ = filled(node, values)
            if ids.min() < 0 or ids.max() >= len(weight):
                wrong = ids[(ids < 0) | (ids >= len(weight))][0]
                raise InputError(
                    f"The id {int(wrong)} is outside of the vocabulary of {node.name!r}, which has {len(weight)} "
                    "entries (0 is the first): does the tokenizer belong to this model?"
                )
            read[node] = ids
        return evaluated(node, values)

    with torch.no_grad():
        return walk(lookup, started(lookup, parameters, inputs, extras), visit), read
