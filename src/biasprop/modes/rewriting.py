"""The rewrite: what a mode holds becomes a constant of the graph (mathematics, section 10, the table).

Piecewise-linear operations stay as they are, so that a network of these alone stays the same graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.fx.node import map_aggregate

from ..graph import Graph, Node
from ..operations import Operations, family_of, matmul, product, quotient
from ..operations.constant import constant
from ..operations.modulated import along_chord, half_matmul, half_product
from .choice import Mode, Modes
from .ranks import STATISTIC, VALUE, rank_of

__all__ = ["rewrite"]

aten = torch.ops.aten

CURVED = frozenset(
    [
        "gelu",
        "silu",
        "hardswish",
        "elu",
        "selu",
        "celu",
        "mish",
        "softplus",
        "sigmoid",
        "tanh",
        "log_sigmoid",
        "exp",
        "expm1",
        "log1p",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "atan",
        "asinh",
        "erf",
        "square",
    ]
)
"""Smooth gates: of these the chord is taken."""

SOFTMAX = frozenset(["softmax", "_softmax", "_safe_softmax"])


def rewrite(graph: Graph, modes: Modes, own: Operations | None = None) -> Graph:
    """The graph in which each operation has the derivative that its mode gives it; the values are the same.

    Args:
        graph: as captured; it is not changed.
        modes: of the operations.
        own: operations of the user's own, which stay as they are.
    """
    modes.require_known(graph)
    writer = _Writer(graph, modes, own or {})
    for node in graph.nodes:
        writer.write(node)
    if not writer.changed:
        return graph
    outputs = [writer.now[o] if isinstance(o, Node) else o for o in graph.outputs]
    return replace(graph, nodes=writer.nodes, outputs=outputs)


class _Writer:
    """Writes the new nodes, in order; ``now`` says what has become of each of the old ones."""

    def __init__(self, graph: Graph, modes: Modes, own: Operations) -> None:
        self.modes, self.own, self.changed = modes, own, False
        self.nodes: list[Node] = []
        self.now: dict[Node, Node] = {n: n for n in (*graph.inputs, *graph.extras, *graph.parameters)}
        self.active = set(graph.inputs)
        self.ranks: dict[Node, int] = dict.fromkeys(graph.inputs, VALUE)
        self.held: dict[Node, Node] = {}

    def write(self, old: Node) -> None:
        """One operation, as it is or as its mode wants it."""
        args, kwargs = map_aggregate((old.args, old.kwargs), lambda a: self.now[a] if isinstance(a, Node) else a)
        node = replace(old, args=args, kwargs=kwargs)
        if not self._depends(node):
            self.now[old] = self._add(node)
            return
        mode = self.modes.of(node)
        rank = rank_of(node, [o for o in node.operands if o in self.active], self.ranks)
        if mode == "tangent" or (mode == "half" and rank != STATISTIC):
            rank = VALUE  # it only modulates where it is frozen
        trusted = family_of(node, self.own)[1]
        made = self._modulated(node, mode) if trusted else None
        self.changed |= made is not None
        self.now[old] = final = self._add(node) if made is None else made
        self.ranks[final] = rank

    def _depends(self, node: Node) -> bool:
        """Whether a node has a gradient with respect to the inputs."""
        if not node.floating or not any(operand in self.active for operand in node.operands):
            return False
        return family_of(node, self.own)[0].linearize is not constant

    def _modulated(self, node: Node, mode: Mode) -> Node | None:
        """What takes the place of a node; None for itself."""
        name = str(getattr(node.packet, "__name__", node.packet))
        if name in SOFTMAX:
            return self._held(self._add(node)) if mode == "frozen" else self._tangent_of_softmax(node)
        if mode == "tangent":
            return None
        if name in CURVED or (name == "pow" and isinstance(node.args[1], int | float) and node.args[1] > 1):
            return self._new(node, along_chord, (node.function, *node.args), node.kwargs, name=node.name)
        family = family_of(node)[0].linearize
        factors = [a for a in node.args[:2] if isinstance(a, Node) and a in self.active]
        if family is quotient and node.args[1] in self.active:
            return self._quotient(node)
        if len(factors) == 2 and family in (product, matmul) and not node.kwargs:
            return self._product(node, mode, half_product if family is product else half_matmul)
        return None

    def _quotient(self, node: Node) -> Node | None:
        """The denominator is held; where the numerator is a constant that would be all, and it takes its tangent."""
        above, below = node.args[:2]
        if above not in self.active:
            return None
        return self._add(replace(node, args=(above, self._held(below), *node.args[2:])))

    def _product(self, node: Node, mode: Mode, half: Callable[..., Any]) -> Node:
        """The factor of the higher rank is held; of equal ones, each takes half."""
        ranks = [self.ranks[factor] for factor in node.args[:2]]
        if mode == "half":  # a statistic alone is held, as in frozen norms
            ranks = [STATISTIC if rank == STATISTIC else VALUE for rank in ranks]
        if ranks[0] == ranks[1]:
            return self._new(node, half, node.args[:2], {}, name=node.name)
        gate = 0 if ranks[0] > ranks[1] else 1
        factors = [self._held(f) if i == gate else f for i, f in enumerate(node.args[:2])]
        return self._add(replace(node, args=tuple(factors)))

    def _tangent_of_softmax(self, node: Node) -> Node:
        """``p (u - <p, u>) + (p - p (u - <p, u>))`` with ``p`` and the last term held: the Jacobian, exactly."""
        u, dim = node.args[:2]
        p = self._held(self._add(replace(node, name=f"{node.name}.value")))
        masked = self._new(node, aten.eq.Scalar, (p, 0), floating=False, name="masked")
        u = self._new(node, aten.masked_fill.Scalar, (u, masked, 0), name="scores")
        weighted = self._new(node, aten.mul.Tensor, (u, p), name="weighted")
        mean = self._new(node, aten.sum.dim_IntList, (weighted, [dim], True), name="mean")
        centred = self._new(node, aten.sub.Tensor, (u, mean), name="centred")
        linear = self._new(node, aten.mul.Tensor, (centred, p), name="linear")
        rest = self._held(self._new(node, aten.sub.Tensor, (p, linear), name="rest"))
        return self._new(node, aten.add.Tensor, (linear, rest), name=node.name)

    def _held(self, node: Node) -> Node:
        """The value of a node as a constant."""
        if node not in self.held:
            self.held[node] = self._new(node, aten.detach.default, (node,), name="held")
        return self.held[node]

    def _new(
        self,
        like: Node,
        function: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str,
        floating: bool = True,
    ) -> Node:
        """An operation in the place of another: its module, its examples, and what it is called."""
        own = name if name == like.name else f"{like.name}.{name}"
        made = replace(
            like,
            name=own,
            function=function,
            args=args,
            kwargs=dict(kwargs or {}),
            index=None,
            floating=floating,
            origin=like.operation,
        )
        return self._add(made)

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        if self._depends(node):
            self.active.add(node)
        return node
