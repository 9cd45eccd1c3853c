"""Whether the examples of a batch stay apart: an explanation is of one example, whatever the others are.

Found by running the graph on two batches that differ in all examples but one, and comparing what each operation makes
of that one: the operation that mixes them shows it in full, however little of it reaches the output.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import InputError, UnsupportedOperation
from .examples import as_it_was, examples_first
from .node import Graph, Node
from .walking import evaluated, started, walk

__all__ = ["mixes", "require_separate"]

ROUNDING = 16  # units in the last place


def mixes(node: Node, flat: bool = False) -> UnsupportedOperation | InputError:
    """The error for an operation that mixes the examples of a batch, or where x is ``flat`` its only dimension."""
    if flat:
        return InputError(
            f"There is no dimension of examples: {node.operation!r} at {node.name!r} brings all entries of x together. "
            "If x is a single example, make it a batch of one with x[None]."
        )
    return UnsupportedOperation(
        f"Operation {node.operation!r} at {node.name!r} mixes the examples of a batch: an explanation is of one "
        "example. Write the model so that each output belongs to one example."
    )


def require_separate(
    graph: Graph, parameters: Mapping[Node, Tensor], inputs: tuple[Tensor, ...], extras: tuple[Any, ...] = ()
) -> None:
    """Look for an operation through which an example depends on another.

    Raises:
        UnsupportedOperation: there is one; the message names it.
        InputError: there is one, and x has a single dimension: it is one example, not a batch.
    """
    batch = graph.examples(inputs, extras)
    apart = [examples_first(x, node, batch) for x, node in zip(inputs, graph.inputs, strict=True)]
    if graph.batch is None:  # two examples are enough
        leaves, structure = pytree.tree_flatten((apart, extras))
        apart, extras = pytree.tree_unflatten([_pair(leaf, batch) for leaf in leaves], structure)
        batch = 2
    if batch == 1:
        return
    generator = torch.Generator().manual_seed(0)
    for kept in (0, batch - 1):  # what accumulates over the batch shows in the last alone
        for scale in (-3.0, 0.75):  # any values; if the network does not take them, such as it is given
            other = [_changed(x, kept, scale, generator) for x in apart]
            pairs = _Pairs(graph, batch, kept, inputs[0].dim() == 1)
            both = (tuple(map(as_it_was, xs, graph.inputs)) for xs in (apart, other))
            values = (started(graph, parameters, one, extras) for one in both)
            try:
                with warnings.catch_warnings(action="ignore"):
                    outputs = walk(graph, pairs.start(*values), pairs.visit)
            except (RuntimeError, ValueError, IndexError):
                continue
            pairs.compare_outputs(outputs)
            break


def _pair(leaf: Any, batch: int) -> Any:
    """The first two examples; a single one twice."""
    if not isinstance(leaf, Tensor) or leaf.dim() == 0 or leaf.shape[0] != batch:
        return leaf
    return torch.cat([leaf, leaf]) if batch == 1 else leaf[:2]


def _changed(x: Tensor, kept: int, scale: float, generator: torch.Generator) -> Tensor:
    """Other values in all examples but one."""
    flat = x.reshape(len(x), -1)
    order = torch.randperm(flat.shape[1], generator=generator).to(x.device)
    changed = flat[:, order] * scale + (scale < 0)
    changed[kept] = flat[kept]
    return changed.reshape(x.shape)


class _Pairs:
    """The visit that runs both batches at once; what does not depend on the inputs is one value for both."""

    def __init__(self, graph: Graph, batch: int, kept: int, flat: bool) -> None:
        self.graph, self.batch, self.kept, self.flat = graph, batch, kept, flat

    def start(self, one: Mapping[Node, Any], two: Mapping[Node, Any]) -> dict[Node, tuple[Any, ...]]:
        """Values of the inputs in pairs, of the rest alone."""
        return {node: (one[node], two[node]) if node in self.graph.inputs else (one[node],) for node in one}

    def visit(self, node: Node, values: Mapping[Node, tuple[Any, ...]]) -> tuple[Any, ...]:
        """The value of a node in each batch.

        Raises:
            UnsupportedOperation: it differs for the example that is the same in both.
        """
        operands = set(node.operands)
        count = max((len(values[o]) for o in operands), default=1)
        each = [{o: values[o][min(k, len(values[o]) - 1)] for o in operands} for k in range(count)]
        found = tuple(evaluated(node, one) for one in each)
        if self.graph.batch is None and count == 2 and self._differ(found[0], found[1], node.batch_dim):
            raise mixes(node, self.flat)
        return found

    def compare_outputs(self, outputs: list[Any]) -> None:
        """For a graph of one batch size, which does not tell in which dimension of a tensor the examples are."""
        for node, values in zip(self.graph.outputs, outputs, strict=True):
            if self.graph.batch is None or not isinstance(node, Node) or len(values) < 2:
                continue
            shape = getattr(values[0], "shape", ())
            dims = [dim for dim, size in enumerate(shape) if size == self.batch]
            if dims and all(self._differ(values[0], values[1], dim) for dim in dims):
                raise mixes(node, self.flat)

    def _differ(self, one: Any, two: Any, dim: int | None) -> bool:
        if not isinstance(one, Tensor) or one.shape != two.shape:
            return isinstance(one, Tensor)
        tolerance = 0.0
        if one.is_floating_point():
            size = one.abs().nan_to_num(0, 0, 0).amax() if one.numel() else 0
            tolerance = float(size) * ROUNDING * torch.finfo(one.dtype).eps
        if dim is not None and one.dim() > dim and one.shape[dim] != self.batch:
            return self._unchanged(one, two, dim, tolerance) < one.shape[dim] // self.batch
        if dim is not None and one.dim() > dim:
            one, two = one.select(dim, self.kept), two.select(dim, self.kept)
        return not bool(_close(one, two, tolerance).all())

    @staticmethod
    def _unchanged(one: Tensor, two: Tensor, dim: int, tolerance: float) -> int:
        """How many rows are the same in both: heads or tokens share a dimension with the examples, in any order."""
        same = _close(one, two, tolerance).movedim(dim, 0)
        return int(same.reshape(len(same), -1).all(1).sum())


def _close(one: Tensor, two: Tensor, tolerance: float) -> Tensor:
    if not one.is_floating_point():
        return one == two
    return torch.isclose(one, two, rtol=0, atol=tolerance, equal_nan=True)
