"""Linearise: run the captured graph at x and keep, for each operation, its local linear model.

Operations that no attributed input reaches, and those with a constant result, are merely evaluated; what they feed into
the network counts as bias where it enters.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import BiaspropError, InputError, UnsupportedOperation
from ..graph import Graph, Node, evaluated, filled, mixes, started, walk
from ..kernels.autograd import pull_back
from ..local_models import Diagonal, Kept, LocalModel, Remade, Stencil
from ..operations import Call, Operations, family_of
from ..operations.constant import constant, refused, rewritten
from .tape import Step, Tape, fold

__all__ = ["linearize"]

JOINS = 1  # sums made again on the way to a tensor: of a residual stream, without end, all that came before
LONGEST = 16  # operations, likewise: a norm takes five


def linearize(
    graph: Graph,
    parameters: Mapping[Node, Tensor],
    inputs: tuple[Tensor, ...],
    extras: tuple[Any, ...] = (),
    operations: Operations | None = None,
    cut: Sequence[Node] = (),
    keep: Sequence[Node] = (),
) -> Tape:
    """Run the graph at ``inputs`` and record the local linear model of each operation (mathematics, section 1).

    The tape does not hold the hidden tensors, except those of the ``cut``, those to ``keep``, and what the models
    themselves need.

    Raises:
        UnsupportedOperation: an operation has no local model, or mixes the examples of a batch.
        InputError: an operation fails on this input.
    """
    values = started(graph, parameters, inputs, extras)
    recorder = _Recorder(graph, values, operations or {}, {*cut, *keep})
    outputs = walk(graph, values, recorder.visit)
    pairs = zip(graph.outputs, outputs, strict=True)
    reached = {o: value for o, value in pairs if isinstance(o, Node) and o in recorder.active}
    steps = fold(graph, recorder.steps)
    return Tape(graph, steps, tuple(cut), recorder.kept, outputs, reached, graph.examples(inputs, extras))


class _Recorder:
    """The visit that linearises: what depends on the inputs becomes a step, the rest is evaluated."""

    def __init__(
        self, graph: Graph, values: Mapping[Node, Any], operations: Operations, keep: Collection[Node]
    ) -> None:
        self.operations, self.keep = operations, keep
        self.steps: list[Step] = []
        self.active = set(graph.inputs)
        self.partial: dict[Node, Tensor] = {}  # where a tensor depends on the inputs, if not everywhere
        self.stencils: dict[Node, Stencil] = {}
        self.remade: dict[Node, Remade] = {}  # tensors that are not kept
        self.relevant = _relevant(graph, operations)
        self.kept = {node: values[node] for node in graph.inputs}

    def visit(self, node: Node, values: Mapping[Node, Any]) -> Any:
        """The value of a node; a step where it depends on the inputs."""
        operands = [o for o in node.operands if o in self.active]
        try:
            local = self._linearised(node, values, operands) if operands and node in self.relevant else None
            value = evaluated(node, values) if local is None else local.release()
        except BiaspropError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"The network failed at {node!r}: {str(error).splitlines()[0]} The input's shape must be one that "
                "the model accepts."
            ) from error
        if local is not None:
            self.active.add(node)
            self._reach(node, local, operands)
            self.steps.append(Step(node, local, operands))
            self._keep(node, local, [self.remade.get(operand, values[operand]) for operand in operands])
            if isinstance(local, Stencil):
                self.stencils[node] = local
            for operand in self.stencils.keys() & operands if local.holds else ():
                self.stencils[operand].value = values[operand]
        if node in self.keep:
            self.kept[node] = value
        return value

    def _reach(self, node: Node, local: LocalModel, operands: list[Node]) -> None:
        """What does not depend on the inputs takes no part: constants put beside the others, or in their place."""
        masks = [self.partial.get(operand) for operand in operands]
        if any(mask is not None for mask in masks):
            local.depends = masks
        elif not local.has_constants:
            return
        reached = local.reached(masks)
        if reached is not None and not reached.all():
            self.partial[node] = reached

    def _keep(self, node: Node, local: LocalModel, operands: list[Kept]) -> None:
        """Of what a cheap operation makes of tensors that are kept anyway, its readers keep how to make it again."""
        again = [not isinstance(kept, Tensor) for kept in operands]
        if any(again):
            local.keep(operands)
        if local.cheap and (local.holds or all(again)):
            made = Remade(local, operands)
            if made.joins <= JOINS and made.length <= LONGEST:
                self.remade[node] = made

    def _linearised(self, node: Node, values: Mapping[Node, Any], operands: list[Node]) -> LocalModel | None:
        """The operation's local model; None where its result is locally constant (an index, a comparison)."""
        family, trusted = family_of(node, self.operations)
        if not node.floating or family.linearize is constant:
            return None
        if node.batch_dim is None and family.linearize not in (refused, rewritten):
            raise mixes(node)
        args, kwargs = filled(node, values, frozenset(operands))
        call = Call(node, args, kwargs, [values[o] for o in operands], trusted)
        local = family.linearize(call)
        if not isinstance(local, LocalModel):
            raise UnsupportedOperation(
                f"The linearisation of {node!r} returned {local!r}, and must return one of biasprop.local_models."
            )
        if isinstance(local, Diagonal) and not trusted:
            _check_diagonal(local, call)
        return local


def _relevant(graph: Graph, operations: Operations) -> set[Node]:
    """The nodes that an output depends on to the first order; what only leads to a constant needs no local model."""
    found = {o for o in graph.outputs if isinstance(o, Node)}
    for node in reversed(graph.nodes):
        if node in found and node.floating and family_of(node, operations)[0].linearize is not constant:
            found.update(node.operands)
    return found


def _check_diagonal(local: Diagonal, call: Call) -> None:
    """The user may call an operation elementwise that is not (softmax): w would not be the gradient."""
    g = torch.rand(local.shape, generator=torch.Generator().manual_seed(0)).to(call.operands[0])
    leaves = call.leaves()
    expected = pull_back(call(*leaves), leaves, g[None])[0][0]
    if not torch.allclose(local.slope.times(g), expected, rtol=1e-3, atol=1e-6, equal_nan=True):
        raise UnsupportedOperation(f"{call.node!r} does not work element by element: a gate cannot explain it.")
