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

from ..graph import Graph, Node, Placed, as_it_was, evaluated, examples_first, started, walk
from ..results import Part, TargetAxis, table_of
from .forward import Network
from .selection import Target, Targets, Texts
from .sweeping import Swept
from .tape import Tape

__all__ = ["Asked", "first_of", "in_pieces", "is_one_piece", "is_separable", "size_of", "together"]

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


@torch.no_grad()
def is_separable(graph: Graph, network: Network) -> bool:
    """Whether two pieces give what both give together: nothing counts the examples, or knows how many there are.

    Tried with the first ones; a batch that is no single piece has enough.
    """
    bounds = (slice(0, LEAST), slice(LEAST, 2 * LEAST), slice(0, 2 * LEAST))
    *parts, whole = (walk(graph, started(graph, *_some_of(graph, network, part)), evaluated) for part in bounds)
    pairs = zip(_outputs(graph, parts, [LEAST, LEAST]), whole, strict=True)
    return all(_is_close(one, other) for one, other in pairs if isinstance(one, Tensor) and one.is_floating_point())


def _is_close(one: Tensor, other: Tensor) -> bool:
    """To rounding, which is that of the largest entries."""
    if one.numel() == 0:
        return True
    bound = torch.finfo(one.dtype).eps ** 0.5 * other.abs().nan_to_num(0, 0, 0).max().item()
    return torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True)


def _some_of(graph: Graph, network: Network, part: slice) -> Network:
    """The network for some of the examples."""
    parameters, inputs, extras = network
    n = _length(graph, network)
    leaves, structure = pytree.tree_flatten(extras)
    cut = [_taken(value, node, n, part) for node, value in zip(graph.extras, leaves, strict=True)]
    some = tuple(_taken(value, node, n, part) for node, value in zip(graph.inputs, inputs, strict=True))
    return parameters, some, pytree.tree_unflatten(cut, structure)


def is_one_piece(graph: Graph, network: Network) -> bool:
    """Whether a batch stays whole: a small one, one on a GPU, one that the graph is fixed to.

    So does one beside a further tensor whose examples are not known, which may be read by their numbers.
    """
    if graph.batch is not None or network[1][0].device.type != "cpu" or _length(graph, network) < 2 * LEAST:
        return True
    leaves = zip(graph.extras, pytree.tree_leaves(network[2]), strict=True)
    return any(isinstance(value, Tensor) and value.dim() and node.batch_dim is None for node, value in leaves)


def first_of(graph: Graph, network: Network) -> Network:
    """The network for as few examples as say how large its tensors are, and how they are laid out."""
    return network if is_one_piece(graph, network) else _some_of(graph, network, slice(0, LEAST))


def _taken(value: Any, node: Node, n: int, part: slice) -> Any:
    if not isinstance(value, Tensor) or node.batch_dim is None:
        return value
    return as_it_was(examples_first(value, node, n)[part], node)


def _joined(values: Sequence[Tensor], where: Placed, sizes: Sequence[int], before: int = 0) -> Tensor:
    """Tensors of some examples each as one."""
    apart = [examples_first(value, where, n, before) for value, n in zip(values, sizes, strict=True)]
    return as_it_was(torch.cat(apart), where, before)


def together(graph: Graph, done: Sequence[tuple[Swept, list[Any]]]) -> tuple[Swept, list[Any]]:
    """The sweeps over the pieces, and what the network returns there, as those of the batch."""
    if len(done) == 1:
        return done[0]
    swept, outputs = zip(*done, strict=True)
    sizes = [one.value.shape[1] for one in swept]
    return _sweep(swept, sizes), _outputs(graph, outputs, sizes)


def _outputs(graph: Graph, outputs: Sequence[Sequence[Any]], sizes: Sequence[int]) -> list[Any]:
    found = []
    for node, values in zip(graph.outputs, zip(*outputs, strict=True), strict=True):
        same = not isinstance(node, Node) or node.batch_dim is None or not isinstance(values[0], Tensor)
        found.append(values[0] if same else _joined(values, node, sizes))
    return found


def _sweep(swept: Sequence[Swept], sizes: Sequence[int]) -> Swept:
    names = ("value", "unattributed", "withheld", "bypassed")
    value, unattributed, withheld, bypassed = (torch.cat([getattr(one, name) for one in swept], 1) for name in names)
    chances = [one.probability for one in swept if one.probability is not None]
    chance = torch.cat(chances, 1) if len(chances) == len(swept) else None
    parts = tuple(_part(of_pieces, sizes) for of_pieces in zip(*(one.parts for one in swept), strict=True))
    axis = _axis([one.axis for one in swept])
    table = table_of([one.sources for one in swept], [one.value for one in swept], 1)
    return Swept(axis, value, chance, parts, table, unattributed, withheld, bypassed)


def _axis(axes: Sequence[TargetAxis]) -> TargetAxis:
    """The index of each example, one after the other."""
    each = zip(*(axis.chosen for axis in axes), strict=True)
    return replace(axes[0], chosen=tuple([index for some in of_pieces for index in some] for of_pieces in each))


def _part(parts: Sequence[Part], sizes: Sequence[int]) -> Part:
    weight, beta = (_joined([getattr(part, n) for part in parts], parts[0], sizes, 1) for n in ("weight", "beta"))
    handed = [part.handed for part in parts if part.handed is not None]
    return replace(
        parts[0],
        value=_joined([part.value for part in parts], parts[0], sizes),
        weight=weight,
        beta=beta,
        handed=_joined(handed, parts[0], sizes, 1) if handed else None,
    )
