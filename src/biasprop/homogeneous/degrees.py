"""Degrees of homogeneity, propagated through a network (mathematics, section 8).

Each family of operations says what degree it gives and, where it gives none, why; the propagation then goes on as if
that had been mended, so that every operation that breaks homogeneity is found and not only the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..graph import Graph, Node, evaluated, filled, started, walk
from ..operations import Broken, Degree, Scaling, family_of

__all__ = ["Breaker", "propagate"]


@dataclass(frozen=True)
class Breaker:
    """An operation that breaks homogeneity: where (module path), what, and why."""

    name: str
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.operation}): {self.reason}"


@dataclass(frozen=True)
class _Scales:
    """The value of a node that depends on the inputs: all that is known of it is its degree."""

    degree: Degree


def propagate(
    graph: Graph, parameters: Mapping[Node, Tensor], extras: tuple[Any, ...] = ()
) -> tuple[list[Degree], list[Breaker]]:
    """The degree of each output of the network, as if mended, and the operations that break homogeneity.

    Args:
        graph: the captured network.
        parameters: values of its parameters; a bias that is zero breaks nothing.
        extras: values of the further arguments, which do not scale with the inputs.
    """
    visitor = _Visitor()
    outputs = walk(graph, started(graph, parameters, (_Scales(1.0),) * len(graph.inputs), extras), visitor.visit)
    return [value.degree if isinstance(value, _Scales) else 0.0 for value in outputs], visitor.breakers


class _Visitor:
    """The visit that finds degrees: what does not depend on the inputs is evaluated."""

    def __init__(self) -> None:
        self.breakers: list[Breaker] = []

    def visit(self, node: Node, values: Mapping[Node, Any]) -> Any:
        """The value of a node, or its degree."""
        known = {o: values[o].degree for o in node.operands if isinstance(values[o], _Scales)}
        if not known:
            return evaluated(node, values)
        args, kwargs = filled(node, values, known)
        try:
            return _Scales(family_of(node)[0].degree(Scaling(node, args, kwargs, known)))
        except Broken as broken:
            self.breakers.append(Breaker(node.name, node.operation, broken.reason))
            return _Scales(broken.instead)
