"""A large batch in pieces: examples do not meet, so that each piece is linearised and swept by itself.

(Capture has looked at that: `biasprop.graph.require_separate`.) What is alive at once is then a piece's, however large
the batch, and its tensors stay near the processor's caches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..graph import Graph, Node
from ..results import BiasSource, Part, TargetAxis
from .forward import Network
from .selection import Target, Targets, Texts
from .sweeping import Swept
from .tape import Tape

__all__ = ["Asked", "first_of", "in_pieces", "size_of", "together"]

NEAR = 2**24
"""Bytes of the largest tensor of a piece: 4 to 6 images of 224 pixels in most networks (measured on the CPU)."""

LEAST = 2
"""Examples in a piece: one alone is a special case of too many operations (``squeeze``)."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a batch, or a piece of one, is run on, and what is asked of it; see `select`."""

    network: Network
    target: Target
    targets: Targets
    texts: Texts

    def piece(self, graph: Graph, part: slice) -> "Asked":
        """Some of the examples.

        Raises:
            _Whole: the targets cannot be cut.
        """
        n = _length(graph, self.network)
        targets = self.targets
        if isinstance(targets, Sequence) and not isinstance(targets, str):
            targets = [_cut(one, n, part) for one in targets]
        elif isinstance(targets, Tensor) and targets.dim() == 2:
            targets = _cut(targets, n, part)
        texts = {key: ends[part] for key, ends in self.texts.items()}
        return Asked(_some_of(graph, self.network, part), _cut(self.target, n, part), targets, texts)


class _Whole(Exception):
    """What is asked is of all examples together."""


def in_pieces(graph: Graph, asked: Asked, size: int) -> Sequence[Asked]:
    """The batch in pieces of about equal length.

    Args:
        graph: the captured network.
        asked: of the whole batch.
        size: bytes of the largest tensor of one example, see `size_of`; 0 for one piece.
    """
    n = _length(graph, asked.network)
    count = min(-(-n * size // NEAR), n // LEAST)
    bounds = [n * k // count for k in range(count + 1)] if count > 1 else []
    try:
        return [asked.piece(graph, slice(*ends)) for ends in pairwise(bounds)] or [asked]
    except _Whole:
        return [asked]


def _cut(target: Any, n: int, part: slice) -> Any:
    """A target of some of the examples: that of each is cut, and one for all of them stays.

    Raises:
        _Whole: it is a callable, which may know the batch, or no target at all, as `select` will say.
    """
    if target is None or isinstance(target, str | int):
        return target
    if callable(target):
        raise _Whole
    try:
        indices = torch.as_tensor(target)
        if indices.dim() == 0 or (indices.dim() == 1 and isinstance(target, tuple)):
            return target
        if len(indices) == n:
            return indices[part]
    except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        raise _Whole from error
    raise _Whole


def _length(graph: Graph, network: Network) -> int:
    """How many examples there are."""
    return graph.examples(network[1], network[2])


def size_of(tape: Tape) -> int:
    """Bytes of its largest tensor, for each example."""
    width = max(value.element_size() for value in tape.kept.values())
    return width * max((step.local.shape.numel() for step in tape.steps), default=0) // tape.batch


def _some_of(graph: Graph, network: Network, part: slice) -> Network:
    """The network for some of the examples."""
    parameters, inputs, extras = network
    n = _length(graph, network)
    leaves, structure = pytree.tree_flatten(extras)
    cut = [_taken(value, node, n, part) for node, value in zip(graph.extras, leaves, strict=True)]
    some = tuple(_taken(value, node, n, part) for node, value in zip(graph.inputs, inputs, strict=True))
    return parameters, some, pytree.tree_unflatten(cut, structure)


def first_of(graph: Graph, network: Network) -> Network:
    """The network for as few examples as say how large its tensors are."""
    whole = graph.batch is not None or _length(graph, network) <= LEAST
    return network if whole else _some_of(graph, network, slice(0, LEAST))


def _taken(value: Any, node: Node, n: int, part: slice) -> Any:
    if not isinstance(value, Tensor) or node.batch_dim is None:
        return value
    dim, inner = node.batch_dim, _inner(value, node.batch_dim, node.batch_inner, n)
    return value.unflatten(dim, (-1, n, inner)).movedim(dim + 1, 0)[part].movedim(0, dim + 1).flatten(dim, dim + 2)


def _joined(values: Sequence[Tensor], dim: int, inner: int | None, sizes: Sequence[int]) -> Tensor:
    """Tensors of some examples each as one, with the examples along ``dim``, ``inner`` entries apart."""
    apart = [v.unflatten(dim, (-1, n, _inner(v, dim, inner, n))) for v, n in zip(values, sizes, strict=True)]
    return torch.cat(apart, dim + 1).flatten(dim, dim + 2)


def _inner(value: Tensor, dim: int, inner: int | None, n: int) -> int:
    return value.shape[dim] // n if inner is None else inner


def together(graph: Graph, done: Sequence[tuple[Swept, list[Any]]]) -> tuple[Swept, list[Any]]:
    """The sweeps over the pieces, and what the network returns there, as those of the batch."""
    if len(done) == 1:
        return done[0]
    swept, outputs = zip(*done, strict=True)
    sizes = [one.value.shape[1] for one in swept]
    found = []
    for node, values in zip(graph.outputs, zip(*outputs, strict=True), strict=True):
        same = not isinstance(node, Node) or node.batch_dim is None or not isinstance(values[0], Tensor)
        found.append(values[0] if same else _joined(values, node.batch_dim, node.batch_inner, sizes))
    return _sweep(swept, sizes), found


def _sweep(swept: Sequence[Swept], sizes: Sequence[int]) -> Swept:
    names = ("value", "unattributed", "withheld", "bypassed")
    value, unattributed, withheld, bypassed = (torch.cat([getattr(one, name) for one in swept], 1) for name in names)
    chances = [one.probability for one in swept if one.probability is not None]
    chance = torch.cat(chances, 1) if len(chances) == len(swept) else None
    parts = tuple(_part(of_pieces, sizes) for of_pieces in zip(*(one.parts for one in swept), strict=True))
    axis, table = _axis([one.axis for one in swept]), _table(swept)
    return Swept(axis, value, chance, parts, table, unattributed, withheld, bypassed)


def _axis(axes: Sequence[TargetAxis]) -> TargetAxis:
    """The index of each example, one after the other."""
    each = zip(*(axis.chosen for axis in axes), strict=True)
    return replace(axes[0], chosen=tuple([index for some in of_pieces for index in some] for of_pieces in each))


def _part(parts: Sequence[Part], sizes: Sequence[int]) -> Part:
    first = parts[0]

    def join(values: Sequence[Tensor], before: int) -> Tensor:
        return _joined(values, before + first.batch_dim, first.batch_inner, sizes)

    handed = [part.handed for part in parts if part.handed is not None]
    return replace(
        first,
        value=join([part.value for part in parts], 0),
        weight=join([part.weight for part in parts], 1),
        beta=join([part.beta for part in parts], 1),
        handed=join(handed, 1) if handed else None,
    )


def _table(swept: Sequence[Swept]) -> list[BiasSource]:
    """A row for each source; what does not enter in a piece is 0 there."""
    longest = max(swept, key=lambda one: len(one.sources))
    rows = {source.name: source for one in (longest, *swept) for source in one.sources}
    found = []
    for name, row in rows.items():
        there = [next((s.amount for s in one.sources if s.name == name), torch.zeros_like(one.value)) for one in swept]
        found.append(replace(row, amount=torch.cat(there, 1)))
    return found
