"""The network at x: its operations as local linear models, in execution order, gates folded into their layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..graph import Graph, Node
from ..kernels.slope import Slope
from ..local_models import Diagonal, LocalModel
from ..results.targets import by_example
from .choice import Choice

__all__ = ["Step", "Tape", "fold", "rows"]


def rows(values: Tensor, node: Node, batch: int) -> Tensor:
    """A tensor like a node's, ``(J, *shape)``, with one row for each example: ``(J, batch, rest)``."""
    return by_example(values, node.batch_dim, batch, node.batch_inner)


@dataclass(frozen=True, eq=False)
class Step:
    """One linearised operation, the nodes that feed it, and the gate that directly consumes it.

    ``gate`` is a chain of elementwise affine operations (batch norm, scaling, shift) up to and including the first
    gate, all read by nobody else. They are steps of their own, because each may be a bias source; here they make the
    layer of mathematics, section 2.
    """

    node: Node
    local: LocalModel
    operands: list[Node]
    gate: tuple["Step", ...] = ()

    def layer(self, choice: Choice) -> tuple[Slope, Tensor | None]:
        """Slope ``c`` and local bias ``h = c * a + d`` of the layer ``y = c * A u + h``; None for an h of 0.

        Of a ReLU, the last of a chain, h is what it would be if all units were open.
        """
        slope, h = Slope(), self.local.intercept if choice.counts(self.node) else None
        for step in self.gate:
            assert isinstance(step.local, Diagonal)
            c, d = step.local.slope, step.local.intercept
            if d is not None:
                c, d = c.finite(), d.nan_to_num(0, 0, 0)
            slope = slope.before(c)
            h = None if h is None else c.scaled(h)
            if d is not None and choice.counts(step.node):
                h = d if h is None else h + d
        return slope.each(lambda t: t.to(self.local.dtype)), None if h is None else h.to(self.local.dtype)


@dataclass(eq=False)
class Tape:
    """What a sweep runs over.

    Attributes:
        graph: the captured network that was linearised.
        steps: its linearised operations.
        cut: the hidden tensors at which the sweep is to stop; the inputs are always among the ends.
        kept: values of the inputs, of the cut, and of whatever else was asked for.
        outputs: values of the graph's outputs.
        active: the values of those that depend on x.
        batch: how many examples.
    """

    graph: Graph
    steps: list[Step]
    cut: tuple[Node, ...]
    kept: dict[Node, Tensor]
    outputs: list[Any]
    active: dict[Node, Tensor]
    batch: int
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [step.node.name for step in self.steps]

    def backwards(self, last: bool = True) -> Iterator[Step]:
        """The steps from the output to the inputs.

        The ``last`` time the tape is used up: each step is forgotten when the next one is taken, so that memory is
        freed as the sweep passes.
        """
        if not last:
            yield from reversed(self.steps)
        while last and self.steps:
            yield self.steps.pop()


def fold(graph: Graph, steps: Sequence[Step]) -> list[Step]:
    """The steps with their gates: what directly follows an operation, and nothing else reads its output.

    As far as gradients go, that is: comparisons and indices do not count as readers.
    """
    differentiable = {step.node for step in steps}
    readers = {
        node: sum(reader is None or reader in differentiable for reader in found)
        for node, found in graph.consumers.items()
    }
    gates: dict[Node, tuple[Step, ...]] = {}
    done: list[Step] = []
    for step in reversed(steps):
        gate = gates.pop(step.node, ())
        if isinstance(step.local, Diagonal) and readers[step.operands[0]] == 1:
            gates[step.operands[0]] = (step, *(gate if step.local.affine else ()))
        done.append(replace(step, gate=gate) if gate and step.local.by_rule else step)
    return done[::-1]
